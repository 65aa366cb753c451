//! Callers while the API server is away, and through another replica.

use reqwest::Method;
use serde_json::Value;

use super::{Stage, heartbeat, id, outcome, register, registration};
use crate::leading::pod::Pod;
use crate::sync::replica::until;

#[tokio::test(flavor = "multi_thread")]
async fn while_the_api_server_is_paused_reads_and_heartbeats_go_on_and_writes_wait() {
    let stage = Stage::new().await;
    let proxy = stage.plane.proxy().await.expect("a proxy");
    let account = stage.account.through(proxy.address()).expect("a kubeconfig");
    let pod = stage.pod_as(&account, "portolan-0", &[("PORTOLAN_READ_AUTH", "true")]).await;
    let (known, unknown) = (stage.projected().await, stage.projected().await);
    until("it leads", async || pod.leads().await).await;
    let id = id(&register(&pod, &known, &registration(&stage.shop, "users")).await);
    let discover = format!("/api/v1/services/discover?name=users&namespace={}", stage.shop);
    let reads = async |token: &str| pod.send_as(token, Method::GET, &discover, &Value::Null).await.status;
    assert_eq!(reads(&known).await, 200);

    proxy.freeze();
    let mut other = registration(&stage.shop, "others");
    let refused = register(&pod, &unknown, &other).await;
    assert_eq!(outcome(&refused), (503, "unavailable".to_owned()), "{}", refused.text);
    assert!(refused.header("retry-after").parse::<u32>().is_ok_and(|seconds| seconds > 0), "{:?}", refused.headers);
    assert_eq!(reads(&unknown).await, 200, "verified with the keys that are known");
    assert_eq!(heartbeat(&pod, &unknown, &id).await.status, 200, "its lease must not expire for that");
    let renewed = register(&pod, &unknown, &registration(&stage.shop, "users")).await;
    assert_eq!(renewed.status, 200, "{}", renewed.text);
    let lags = async || {
        let answer = pod.send_as(&unknown, Method::GET, &discover, &Value::Null).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        !answer.header("portolan-stale-seconds").is_empty()
    };
    until("it knows that the API server is away", lags).await;
    let elsewhere = format!("/api/v1/services/discover?name=users&namespace={}", stage.own);
    let unsure = pod.send_as(&unknown, Method::GET, &elsewhere, &Value::Null).await;
    assert_eq!(outcome(&unsure), (503, "unavailable".to_owned()), "nobody says whether it may read there");

    proxy.pass();
    other["instance"] = "b".into();
    until("writes work again", async || register(&pod, &unknown, &other).await.status == 200).await;
}

/// The two of them, the leader first.
async fn in_order(one: Pod, other: Pod) -> (Pod, Pod) {
    if one.leads().await { (one, other) } else { (other, one) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_passes_a_heartbeat_on_with_the_callers_token() {
    let stage = Stage::new().await;
    let (one, other) = (stage.pod("portolan-0", &[]).await, stage.pod("portolan-1", &[]).await);
    until("one leads", async || one.leads().await || other.leads().await).await;
    let (leader, follower) = in_order(one, other).await;
    until("the follower sees it", async || follower.leader().await.contains(&leader.name)).await;
    let token = stage.projected().await;
    let id = id(&register(&follower, &token, &registration(&stage.shop, "users")).await);
    until("the leader has its lease", async || heartbeat(&leader, &token, &id).await.status == 200).await;
    let heard = async || {
        let text = leader.get("/metrics").await.text;
        let count = text.lines().find_map(|line| line.strip_prefix("portolan_heartbeats_total "));
        count.and_then(|count| count.parse::<f64>().ok()).unwrap_or_default()
    };
    let before = heard().await;
    let beat = heartbeat(&follower, &token, &id).await;
    assert_eq!(beat.status, 200, "{}", beat.text);
    assert!(heard().await > before, "the leader heard it");
    let check = format!("/api/v1/services/{id}/health-check?observe=true");
    let checked = follower.send_as(&token, Method::POST, &check, &Value::Null).await;
    assert_eq!(checked.status, 200, "{}", checked.text);
    let forged = format!("{}{}", &token[..token.len() - 6], "AAAAAA");
    assert_eq!(heartbeat(&follower, &forged, &id).await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_starts_again_while_the_api_server_is_away_knows_the_clusters_keys() {
    let stage = Stage::new().await;
    let proxy = stage.plane.proxy().await.expect("a proxy");
    let account = stage.account.through(proxy.address()).expect("a kubeconfig");
    let closed = [("PORTOLAN_READ_AUTH", "true")];
    let pod = stage.pod_as(&account, "portolan-0", &closed).await;
    let token = stage.projected().await;
    until("it leads", async || pod.leads().await).await;
    let id = id(&register(&pod, &token, &registration(&stage.shop, "users")).await);
    drop(pod);
    proxy.freeze();
    let pod = stage.pod_as(&account, "portolan-0", &closed).await;
    let discover = format!("/api/v1/services/discover?name=users&namespace={}", stage.shop);
    assert_eq!(pod.send_as(&token, Method::GET, &discover, &Value::Null).await.status, 200);
    assert_eq!(heartbeat(&pod, &token, &id).await.status, 200, "kept for the next leader, or heard");
    let forged = format!("{}{}", &token[..token.len() - 6], "AAAAAA");
    assert_eq!(pod.send_as(&forged, Method::GET, &discover, &Value::Null).await.status, 401);
    proxy.pass();
}
