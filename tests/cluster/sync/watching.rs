//! What is applied is found, what is deleted is not, and nothing in between stops the watch.

use std::sync::Arc;

use portolan::model::outcome::{Health, Reason};
use serde_json::json;

use super::backend::Backend;
use super::replica::{Replica, Setup, key, until};
use super::{apply, manifest, objects, shared};

#[tokio::test]
async fn what_is_applied_changed_and_deleted_is_so_in_the_catalog() {
    let (plane, namespace) = shared("applied").await;
    let replica = Setup::of(&namespace).start(plane.admin()).await;
    let (one, two) = (Backend::start(), Backend::start());
    apply(plane, &manifest(&namespace, "cart", &[one.url()])).await;
    replica.until_health(&namespace, "cart", Health::Healthy).await;
    let object = objects(plane, &namespace).await.get("cart").await.expect("it is there");
    let entry = replica.entry(&namespace, "cart").expect("it is known");
    assert_eq!(Some(entry.service().id.to_string()), object.metadata.uid, "its id is the object's uid");

    apply(plane, &manifest(&namespace, "cart", &[one.url(), two.url()])).await;
    until("the second instance is healthy", async || {
        let entry = replica.entry(&namespace, "cart").expect("it stays");
        assert_eq!(entry.health(), Health::Healthy, "the first one's verdict stays");
        entry.service().instances.iter().filter(|i| i.reason == Reason::Passed).count() == 2
    })
    .await;

    plane.kubectl().run(&["delete", "services.portolan.dev", "cart", "-n", &namespace]).await.expect("deleted");
    replica.until_gone(&namespace, "cart").await;
    assert!(replica.ingest.known(&key(&namespace, "cart")).is_none());
    replica.stop().await;
}

#[tokio::test]
async fn an_object_that_waits_for_its_finalizers_is_gone_from_discovery() {
    let (plane, namespace) = shared("finalizer").await;
    let replica = Setup::of(&namespace).start(plane.admin()).await;
    let backend = Backend::start();
    let mut cart = manifest(&namespace, "cart", &[backend.url()]);
    cart["metadata"]["finalizers"] = json!(["tests.portolan.dev/wait"]);
    apply(plane, &cart).await;
    replica.until_health(&namespace, "cart", Health::Healthy).await;
    let delete = ["delete", "services.portolan.dev", "cart", "-n", &namespace, "--wait=false"];
    plane.kubectl().run(&delete).await.expect("deletion begins");
    replica.until_gone(&namespace, "cart").await;
    let going = || replica.ingest.known(&key(&namespace, "cart")).expect("the object is there yet").parsed.deleting;
    until("it is known to go", async || going()).await;

    cart["metadata"]["finalizers"] = json!([]);
    apply(plane, &cart).await;
    until("it is gone", async || replica.ingest.known(&key(&namespace, "cart")).is_none()).await;
    replica.stop().await;
}

#[tokio::test]
async fn a_follower_shows_the_leaders_verdicts_and_writes_nothing() {
    let (plane, namespace) = shared("follows").await;
    let leader = Setup::of(&namespace).start(plane.admin()).await;
    let follower = Setup::of(&namespace).follows().start(plane.admin()).await;
    let mut backend = Backend::start();
    apply(plane, &manifest(&namespace, "cart", &[backend.url()])).await;
    follower.until_health(&namespace, "cart", Health::Healthy).await;
    backend.down().await;
    follower.until_health(&namespace, "cart", Health::Unhealthy).await;
    let said = |replica: &Replica| {
        let entry = replica.entry(&namespace, "cart").expect("known");
        let (service, instance) = (entry.service(), &entry.service().instances[0]);
        (service.id, service.revision, service.registered_at, instance.reason, instance.since)
    };
    until("both say the same", async || said(&leader) == said(&follower)).await;
    assert_eq!(follower.metric("portolan_status_writes_total{result=\"written\"}"), 0);
    leader.stop().await;
    follower.stop().await;
}

#[tokio::test]
async fn a_former_leader_shows_the_leaders_verdicts_even_if_nothing_changes() {
    let (plane, namespace) = shared("hands-over").await;
    let replica = Setup::of(&namespace).start(plane.admin()).await;
    let mut backend = Backend::start();
    apply(plane, &manifest(&namespace, "cart", &[backend.url()])).await;
    let api = objects(plane, &namespace).await;
    super::until_condition(&api, "cart", "Ready", "True").await;
    // Alone: it sees the backend die, and may not write that.
    replica.role.set(portolan::model::ports::Role::Alone);
    backend.down().await;
    replica.until_health(&namespace, "cart", Health::Unhealthy).await;
    replica.role.set(portolan::model::ports::Role::Follows);
    replica.until_health(&namespace, "cart", Health::Healthy).await;
    replica.stop().await;
}

#[tokio::test]
async fn deletes_missed_while_down_are_found_at_the_next_start() {
    let (plane, namespace) = shared("missed").await;
    let backend = Backend::start();
    let replica = Setup::of(&namespace).start(plane.admin()).await;
    for name in ["stays", "goes"] {
        apply(plane, &manifest(&namespace, name, &[backend.url()])).await;
        replica.until_health(&namespace, name, Health::Healthy).await;
    }
    let folder = replica.stop().await;
    plane.kubectl().run(&["delete", "services.portolan.dev", "goes", "-n", &namespace]).await.expect("deleted");

    let replica = Setup::of(&namespace).in_folder(folder).start(plane.admin()).await;
    replica.until_complete().await;
    assert!(replica.entry(&namespace, "goes").is_none());
    let stays = replica.entry(&namespace, "stays").expect("it is there");
    assert_eq!(stays.health(), Health::Healthy, "and its verdict with it");
    replica.stop().await;
}

/// Whether the catalog and the index share one spec; holding equal specs twice would take a fifth of a large cluster's memory.
fn is_held_once(replica: &Replica, namespace: &str, name: &str) -> bool {
    let (entry, known) = (replica.entry(namespace, name), replica.ingest.known(&key(namespace, name)));
    let shown = &entry.as_ref().expect("it is shown").service().instances[0].spec;
    let mirrored = known.as_ref().expect("it is known").parsed.mirrored.as_ref().expect("it is valid");
    Arc::ptr_eq(&mirrored.instances[0].spec, shown)
}

#[tokio::test]
async fn a_spec_is_held_once_even_after_a_status_write_and_a_start_from_the_file() {
    let (plane, namespace) = shared("once").await;
    let (backend, other) = (Backend::start(), Backend::start());
    let replica = Setup::of(&namespace).start(plane.admin()).await;
    apply(plane, &manifest(&namespace, "cart", &[backend.url()])).await;
    super::until_condition(&objects(plane, &namespace).await, "cart", "Ready", "True").await;
    let said = || replica.ingest.known(&key(&namespace, "cart")).is_some_and(|known| known.status().is_some());
    until("the status is known", async || said()).await;
    until("it is held once", async || is_held_once(&replica, &namespace, "cart")).await;
    let folder = replica.stop().await;

    let replica = Setup::of(&namespace).in_folder(folder).start(plane.admin()).await;
    replica.until_complete().await;
    assert!(is_held_once(&replica, &namespace, "cart"), "after the start");
    apply(plane, &manifest(&namespace, "cart", &[other.url()])).await;
    until("the other address is known", async || {
        let entry = replica.entry(&namespace, "cart").expect("it is shown");
        entry.service().instances[0].spec.base_url.as_str() == other.url()
    })
    .await;
    until("this is held once", async || is_held_once(&replica, &namespace, "cart")).await;
    replica.stop().await;
}

#[tokio::test]
async fn several_namespaces_are_watched_apart() {
    let (plane, here) = shared("here").await;
    let (there, elsewhere) =
        (plane.namespace("there").await.expect("one"), plane.namespace("else").await.expect("one"));
    let backend = Backend::start();
    for namespace in [&here, &there, &elsewhere] {
        apply(plane, &manifest(namespace, "cart", &[backend.url()])).await;
    }
    let mut setup = Setup::of(&here);
    setup.namespaces.push(there.parse().expect("a namespace"));
    let replica = setup.start(plane.admin()).await;
    replica.until_complete().await;
    assert!(replica.entry(&here, "cart").is_some() && replica.entry(&there, "cart").is_some());
    assert!(replica.entry(&elsewhere, "cart").is_none());
    replica.stop().await;
}

#[tokio::test]
async fn the_answer_to_its_own_write_does_not_advance_the_watch() {
    let (plane, namespace) = shared("heard").await;
    let elsewhere = plane.namespace("unheard").await.expect("a namespace");
    let replica = Setup::of(&namespace).follows().start(plane.admin()).await;
    replica.until_complete().await;
    let heard = || *replica.catalog.watch_revision().borrow();
    until("the list was heard", async || heard() > 0).await;

    // Its watch does not deliver this one, so the answer stays ahead.
    apply(plane, &manifest(&elsewhere, "cart", &["http://10.0.0.5:80".to_owned()])).await;
    let answer = objects(plane, &elsewhere).await.get("cart").await.expect("it is there");
    let answer = serde_json::from_value(serde_json::to_value(answer).expect("JSON")).expect("a service");
    replica.ingest.put(answer).await.expect("taken in");
    let ahead = replica.entry(&elsewhere, "cart").expect("it is shown").service().revision;
    assert!(heard() < ahead, "what others wrote before was not heard");

    apply(plane, &manifest(&namespace, "cart", &["http://10.0.0.5:80".to_owned()])).await;
    until("the watch was heard", async || heard() > ahead).await;
    assert!(replica.entry(&namespace, "cart").is_some(), "what was heard is shown");
    replica.stop().await;
}
