//! Acknowledgements: every replica shows them, and they outlast the leader and the databases.

use portolan::model::time::UnixMs;
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::Cluster;
use super::replica::Replica;
use crate::sync::backend::Backend;
use crate::sync::replica::until;

/// The acknowledgement of instance `b` of `service` in the object's status; null if there is none.
async fn written(cluster: &Cluster<'_>, service: &str) -> Value {
    let object = cluster.objects.get(service).await.expect("it is there");
    let instances = object.data["status"]["instances"].as_array().cloned().unwrap_or_default();
    let b = instances.into_iter().find(|instance| instance["name"] == "b").unwrap_or_default();
    b["acknowledgement"].clone()
}

/// What readers get of it.
async fn shown(replica: &Replica, service: &str) -> Value {
    let service = replica.service(service).await;
    let b = service["instances"].as_array().into_iter().flatten().find(|instance| instance["name"] == "b");
    b.map(|b| b["acknowledged"].clone()).unwrap_or_default()
}

async fn until_all_show(replicas: &[&Replica], service: &str, note: Option<&str>) {
    let note = json!(note);
    until(&format!("all show {note}"), async || {
        for replica in replicas {
            if shown(replica, service).await["note"] != note {
                return false;
            }
        }
        true
    })
    .await;
}

/// A service of two instances of which `b` is down.
async fn half_down(cluster: &Cluster<'_>, name: &str, up: &Backend) -> Backend {
    let mut down = Backend::start();
    down.down().await;
    cluster.apply(name, &[up.url(), down.url()]).await;
    cluster.until_state(name, "Degraded").await;
    down
}

#[tokio::test]
async fn it_is_known_everywhere_and_outlasts_the_leader_and_the_databases() {
    let cluster = Cluster::shared().await;
    let up = Backend::start();
    let (one, two) = cluster.two().await;
    let mut down = half_down(&cluster, "cart", &up).await;
    until("the follower knows it", async || two.service("cart").await["instances"][1]["status"] == "unhealthy").await;

    let (status, answer) = two.acknowledge("cart", &json!({"note": "disk ordered"})).await;
    assert_eq!(status, StatusCode::OK, "the follower passes it on: {answer}");
    let given = answer["data"]["acknowledged"].clone();
    assert_eq!((&given["note"], &given["by"]), (&json!("disk ordered"), &json!("anonymous")));
    let written_down = written(&cluster, "cart").await;
    assert_eq!(written_down["since"], given["since"], "an answer means that it is written");
    assert_eq!(written_down["wholeService"], true);
    until_all_show(&[&one, &two], "cart", Some("disk ordered")).await;
    until("both show the same", async || one.service("cart").await == two.service("cart").await).await;

    // Somebody else's write carries a status that may be older than what the leader knows.
    let label = ["label", "psvc", "cart", "-n", &cluster.namespace, "tier=gold"];
    cluster.plane.kubectl().run(&label).await.expect("labelled");
    one.kill();
    cluster.until_leads("two").await;
    two.kill();
    // A replica whose database nobody wrote before.
    let three = cluster.start("three").await;
    cluster.until_leads("three").await;
    three.until_ready().await;
    until_all_show(&[&three], "cart", Some("disk ordered")).await;
    assert_eq!(shown(&three, "cart").await["since"], given["since"]);
    let four = cluster.start("four").await;
    four.until_ready().await;
    until_all_show(&[&four], "cart", Some("disk ordered")).await;

    down.up();
    cluster.until_state("cart", "Healthy").await;
    until_all_show(&[&three, &four], "cart", None).await;
    until("the status forgets it", async || written(&cluster, "cart").await.is_null()).await;
    let said = four.history("cart").await;
    assert!(said.iter().any(|message| message.ends_with("(disk ordered) ended with the failure")), "{said:?}");
    three.stop().await;
    four.stop().await;
}

#[tokio::test]
async fn it_ends_when_withdrawn_when_its_time_is_up_and_with_a_new_failure() {
    let cluster = Cluster::shared().await;
    let mut up = Backend::start();
    let (one, two) = cluster.two().await;
    let _down = half_down(&cluster, "cart", &up).await;
    until("the follower knows it", async || two.service("cart").await["instances"][1]["status"] == "unhealthy").await;
    let both = [&one, &two];
    let known = async |note: &str, seconds: Option<u32>| {
        let mut body = json!({ "note": note });
        if let Some(seconds) = seconds {
            body["for_seconds"] = json!(seconds);
        }
        let (status, answer) = two.acknowledge("cart", &body).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        until_all_show(&both, "cart", Some(note)).await;
        answer["data"]["acknowledged"].clone()
    };

    known("for now", None).await;
    let line = format!("namespace=\"{}\" service=\"cart\"", cluster.namespace);
    until("the replica that the client asked says who did it", async || {
        let log = two.log();
        let audited =
            log.lines().find(|said| said.contains("portolan::audit: acknowledge: done") && said.contains(&line));
        audited.is_some_and(|said| said.contains("kind=\"anonymous\"") && said.contains("note=\"for now\""))
    })
    .await;
    // The replicas of this test have no pods by which the leader would know that the line is written already.
    let log = one.log();
    let mut again = log.lines().filter(|said| said.contains("portolan::audit: acknowledge"));
    assert!(again.all(|said| said.contains("passed_on=true")), "{log}");
    assert_eq!(two.withdraw("cart").await, StatusCode::OK);
    assert!(written(&cluster, "cart").await.is_null(), "an answer means that it is written");
    until_all_show(&both, "cart", None).await;

    // Long enough to be seen.
    let given = known("a moment", Some(4)).await;
    until_all_show(&both, "cart", None).await;
    let until_when: UnixMs = given["until"].as_str().expect("an end").parse().expect("a time");
    assert!(UnixMs::wall() >= until_when, "not before its end");
    until("the status forgets it", async || written(&cluster, "cart").await.is_null()).await;

    known("b is broken", None).await;
    up.down().await;
    cluster.until_state("cart", "Down").await;
    until_all_show(&both, "cart", None).await;
    until("the status forgets it", async || written(&cluster, "cart").await.is_null()).await;
    until("the follower says why", async || {
        two.history("cart").await.iter().any(|said| said.ends_with("ended because this is a new failure"))
    })
    .await;
    for (replica, how) in
        [(&one, "was withdrawn"), (&two, "was withdrawn"), (&one, "ended by itself"), (&two, "ended by itself")]
    {
        let said = replica.history("cart").await;
        assert!(said.iter().any(|said| said.ends_with(how)), "{how}: {said:?}");
    }
    one.stop().await;
    two.stop().await;
}
