//! Two replicas of the program, under the rights that the overlay gives them.

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use reqwest::Method;
use serde_json::{Value, json};

use super::pod::Pod;
use super::until;
use crate::common::{install, shared};

fn services(client: kube::Client, namespace: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("portolan.dev", "v1alpha1", "Service");
    Api::namespaced_with(client, namespace, &ApiResource::from_gvk(&kind))
}

async fn health_in_status(api: &Api<DynamicObject>) -> Value {
    let object = api.get("users").await.expect("the service");
    object.data["status"]["instances"][0].clone()
}

/// The two of them, the leader first.
async fn in_order(one: Pod, other: Pod) -> (Pod, Pod) {
    if one.leads().await { (one, other) } else { (other, one) }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_proved_outlives_a_frozen_and_a_killed_leader() {
    let plane = shared().await;
    let installed = install(plane, "cluster").await;
    let (namespace, folder) = (installed.namespace.as_str(), tempfile::tempdir().expect("a folder"));
    let start = async |name| Pod::start(folder.path(), &installed.account, namespace, name).await;
    let (one, other) = (start("portolan-0").await, start("portolan-1").await);
    until("one leads", async || one.leads().await || other.leads().await).await;
    until("both are ready", async || one.is_ready().await && other.is_ready().await).await;
    let (mut leader, mut follower) = in_order(one, other).await;

    let backend = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("tcp://{}", backend.local_addr().expect("an address"));
    let client = plane.client().await.expect("a client");
    let api = services(client.clone(), namespace);
    let object = json!({
        "apiVersion": "portolan.dev/v1alpha1", "kind": "Service", "metadata": {"name": "users"},
        "spec": {"check": {"intervalSeconds": 1, "timeoutSeconds": 1}, "instances": [{"name": "a", "baseUrl": url}]},
    });
    let manager = PatchParams::apply("tests");
    api.patch("users", &manager, &Patch::Apply(&object)).await.expect("applied");
    until("status says so", async || health_in_status(&api).await["health"] == "Healthy").await;
    until("the follower knows", async || follower.health("users").await == "healthy").await;
    let since = health_in_status(&api).await["since"].clone();

    until("the follower sees the leader", async || follower.leader().await.contains(&leader.name)).await;
    until("they tell who leads", async || {
        leader.leader_event().await.starts_with("this replica leads")
            && follower.leader_event().await.starts_with("another replica leads")
    })
    .await;
    let current = ("mirror".to_owned(), true, "up to date with the cluster".to_owned());
    until("both tell that they are current", async || {
        leader.server_events().await.contains(&current) && follower.server_events().await.contains(&current)
    })
    .await;
    let events = follower.server_events().await;
    assert!(events.contains(&("server".into(), true, "started; serving requests".into())), "{events:?}");

    // The leader makes a check that was requested from the follower.
    let id = follower.service("users").await.expect("found")["id"].as_str().expect("an id").to_owned();
    let check = format!("/api/v1/services/{id}/health-check");
    let passed_on = follower.ask(Method::POST, &check).await;
    assert_eq!(passed_on.status, 200, "{}\n{}\n{}", passed_on.text, follower.log(), leader.log());
    assert_eq!(passed_on.json()["checks"][0]["outcome"]["verdict"], "pass", "{}", passed_on.text);
    assert_eq!(
        follower.service("users").await.expect("found")["id"],
        leader.service("users").await.expect("found")["id"]
    );

    // The leader freezes; the other takes over from the published health.
    leader.process.pause().expect("SIGSTOP");
    until("the other leads", async || {
        assert_eq!(follower.health("users").await, "healthy", "nothing is forgotten");
        follower.leads().await
    })
    .await;
    assert_eq!(health_in_status(&api).await["since"], since, "a takeover changes nothing");
    until("it reports that", async || follower.leader_event().await.starts_with("this replica leads")).await;
    drop(backend);
    until("the other writes", async || health_in_status(&api).await["health"] == "Unhealthy").await;

    leader.process.resume().expect("SIGCONT");
    until("the woken one follows", async || leader.leader().await.contains(&follower.name)).await;
    // What was on its way when it froze may arrive now, and is corrected.
    until("no stale status survives", async || health_in_status(&api).await["health"] == "Unhealthy").await;
    let since = Instant::now();
    while since.elapsed() < Duration::from_secs(3) {
        assert_eq!(health_in_status(&api).await["health"], "Unhealthy", "a stale status comes back");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(leader.health("users").await, "unhealthy");
    until("it reports that", async || leader.leader_event().await.starts_with("another replica leads")).await;

    // Now the other one dies.
    follower.process.kill().expect("SIGKILL");
    until("the first leads again", async || {
        assert_eq!(leader.health("users").await, "unhealthy", "nothing is forgotten");
        leader.leads().await
    })
    .await;

    // A replica that is stopped releases the Lease.
    leader.process.terminate().expect("SIGTERM");
    until("it has ended", async || leader.process.has_ended()).await;
    assert!(leader.log().contains("released the Lease"), "{}", leader.log());
    let leases: Api<Lease> = Api::namespaced(client, namespace);
    let lease = leases.get("portolan").await.expect("the Lease").spec.expect("a spec");
    assert_eq!(lease.holder_identity.as_deref(), Some(""));
}
