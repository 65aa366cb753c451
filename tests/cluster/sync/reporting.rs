//! The leader writes what it proved to status, once, and reports it in events.

use std::time::Duration;

use control_plane::Request;
use k8s_openapi::api::events::v1::Event;
use kube::api::{Api, ListParams};
use portolan::model::outcome::Health;
use portolan::model::ports::Role;
use serde_json::json;

use super::backend::Backend;
use super::replica::{Setup, until};
use super::{apply, manifest, objects, shared, status, until_condition};

/// Writes that are counted.
const WRITTEN: &str = "portolan_status_writes_total{result=\"written\"}";

#[tokio::test]
async fn status_says_what_was_proved() {
    let (plane, namespace) = shared("status").await;
    let replica = Setup::of(&namespace).start(plane.admin()).await;
    let api = objects(plane, &namespace).await;
    let (one, mut two) = (Backend::start(), Backend::start());
    apply(plane, &manifest(&namespace, "cart", &[one.url(), two.url()])).await;
    let ready = ["wait", "psvc/cart", "-n", &namespace, "--for=condition=Ready", "--timeout=30s"];
    plane.kubectl().run(&ready).await.expect("ready");
    until("both are healthy", async || status(&api, "cart").await["healthy"] == 2).await;
    insta::assert_json_snapshot!("healthy", status(&api, "cart").await);

    two.down().await;
    until_condition(&api, "cart", "Degraded", "True").await;
    let said = status(&api, "cart").await;
    assert_eq!((&said["healthy"], &said["instances"][1]["reason"]), (&json!(1), &json!("ConnectRefused")));
    drop(one);
    until_condition(&api, "cart", "Ready", "False").await;
    let said = status(&api, "cart").await;
    assert_eq!((&said["healthy"], &said["total"]), (&json!(0), &json!(2)));
    replica.stop().await;
}

#[tokio::test]
async fn every_generation_gets_a_status_even_under_a_storm_of_changes() {
    let (plane, namespace) = shared("storm").await;
    let replica = Setup::of(&namespace).start(plane.admin()).await;
    let api = objects(plane, &namespace).await;
    let backend = Backend::start();
    for round in 0..30 {
        let mut cart = manifest(&namespace, "cart", &[backend.url()]);
        cart["spec"]["description"] = json!(format!("round {round}"));
        apply(plane, &cart).await;
    }
    until("the last generation is observed", async || {
        let object = api.get("cart").await.expect("it is there");
        let observed = &object.data["status"]["observedGeneration"];
        object.metadata.generation == Some(30) && *observed == 30 && object.data["status"]["healthy"] == 1
    })
    .await;
    replica.stop().await;
}

#[tokio::test]
async fn no_request_is_sent_while_nothing_happens() {
    let (plane, namespace) = shared("quiet").await;
    let replica = Setup::of(&namespace).start(plane.admin()).await;
    let backend = Backend::start();
    let many: Vec<String> =
        (0..50).map(|n| manifest(&namespace, &format!("cart-{n}"), &[backend.url()]).to_string()).collect();
    plane.kubectl().apply(&many.join("\n---\n")).await.expect("applied");
    let api = objects(plane, &namespace).await;
    until("all are ready", async || {
        let all = api.list(&ListParams::default()).await.expect("a list");
        all.items.len() == 50 && all.iter().all(|object| object.data["status"]["healthy"] == 1)
    })
    .await;
    let written = replica.metric(WRITTEN);
    assert!((50..=100).contains(&written), "{written}");
    let mut audit = plane.audit().expect("an audit log");
    tokio::time::sleep(Duration::from_secs(5)).await;
    let mut asked = audit.requests().await.expect("requests");
    let is_ours = |request: &Request| request.namespace == namespace && request.resource == "services.portolan.dev";
    asked.retain(|request| is_ours(request) && request.verb != "watch");
    assert_eq!(asked, []);
    replica.stop().await;
}

#[tokio::test]
async fn a_new_leader_writes_what_differs_and_a_former_one_stops() {
    let (plane, namespace) = shared("leads").await;
    let mut backend = Backend::start();
    let first = Setup::of(&namespace).start(plane.admin()).await;
    let api = objects(plane, &namespace).await;
    for name in ["cart", "shop"] {
        apply(plane, &manifest(&namespace, name, &[backend.url()])).await;
        until_condition(&api, name, "Ready", "True").await;
    }
    let second = Setup::of(&namespace).follows().start(plane.admin()).await;
    second.until_health(&namespace, "shop", Health::Healthy).await;
    first.role.set(Role::Follows);
    let written = first.metric(WRITTEN);
    let mut audit = plane.audit().expect("an audit log");
    second.role.set(Role::Leads);
    apply(plane, &manifest(&namespace, "late", &[backend.url()])).await;
    until_condition(&api, "late", "Ready", "True").await;
    backend.down().await;
    for name in ["cart", "shop", "late"] {
        until_condition(&api, name, "Ready", "False").await;
    }
    assert_eq!(first.metric(WRITTEN), written);
    let mut wrote = audit.requests().await.expect("requests");
    wrote.retain(|request| request.namespace == namespace && request.subresource == "status");
    let mut wrote: Vec<_> = wrote.into_iter().map(|request| (request.name, request.code)).collect();
    wrote.sort();
    // The new one's first report says that it is being probed, unless its verdict came at once.
    wrote.dedup_by(|later, first| later == first && later.0 == "late");
    assert_eq!(wrote, ["cart", "late", "shop"].map(|name| (name.to_owned(), 200)));
    first.stop().await;
    second.stop().await;
}

#[tokio::test]
async fn transitions_are_events() {
    let (plane, namespace) = shared("events").await;
    let replica = Setup::of(&namespace).start(plane.admin()).await;
    let mut backend = Backend::start();
    apply(plane, &manifest(&namespace, "cart", &[backend.url()])).await;
    replica.until_health(&namespace, "cart", Health::Healthy).await;
    let api = objects(plane, &namespace).await;
    until_condition(&api, "cart", "Ready", "True").await;
    backend.down().await;
    let events: Api<Event> = Api::namespaced(plane.client().await.expect("a client"), &namespace);
    until("the fall is reported", async || {
        let all = events.list(&ListParams::default()).await.expect("a list");
        all.iter().any(|event| event.type_.as_deref() == Some("Warning"))
    })
    .await;
    let described = plane.kubectl().run(&["describe", "psvc", "cart", "-n", &namespace]).await.expect("described");
    assert!(described.contains("Warning"), "{described}");
    let all = events.list(&ListParams::default()).await.expect("a list");
    for event in &all {
        assert_eq!(event.reporting_controller.as_deref(), Some("portolan.dev/portolan"));
        assert_eq!(event.reporting_instance.as_deref(), Some("replica-0"));
    }
    let before = all.items.len();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(events.list(&ListParams::default()).await.expect("a list").items.len(), before, "no repeats");
    replica.stop().await;
}

#[tokio::test]
async fn what_a_finalizer_holds_shows_that_it_is_going() {
    let (plane, namespace) = shared("going").await;
    let replica = Setup::of(&namespace).start(plane.admin()).await;
    let backend = Backend::start();
    let mut cart = manifest(&namespace, "cart", &[backend.url()]);
    cart["metadata"]["finalizers"] = json!(["example.com/backup"]);
    apply(plane, &cart).await;
    let api = objects(plane, &namespace).await;
    until_condition(&api, "cart", "Ready", "True").await;
    plane.kubectl().run(&["delete", "psvc/cart", "-n", &namespace, "--wait=false"]).await.expect("deleted");
    until_condition(&api, "cart", "Ready", "False").await;
    replica.until_gone(&namespace, "cart").await;
    let shown = plane.kubectl().run(&["get", "psvc", "-n", &namespace]).await.expect("a table");
    assert!(shown.contains("Terminating"), "{shown}");
    let said = status(&api, "cart").await;
    let message = said["conditions"][1]["message"].as_str().expect("words");
    assert!(message.ends_with("its finalizers hold it: example.com/backup"), "{said}");

    let free = json!([{ "op": "remove", "path": "/metadata/finalizers" }]).to_string();
    let patch = ["patch", "psvc/cart", "-n", &namespace, "--type=json", "-p", &free];
    plane.kubectl().run(&patch).await.expect("patched");
    until("it is gone", async || api.get_opt("cart").await.expect("an answer").is_none()).await;
    replica.stop().await;
}
