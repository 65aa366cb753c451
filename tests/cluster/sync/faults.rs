//! The Kubernetes API goes away and comes back, is cut off, forgets, or has never heard of us.

use std::time::Duration;

use control_plane::{ControlPlane, Options};
use portolan::model::outcome::Health;
use serde_json::json;

use super::backend::Backend;
use super::replica::{Setup, until};
use super::{DEFINITION, apply, install, manifest, objects, shared};

async fn own(options: Options) -> ControlPlane {
    ControlPlane::start_with(options).await.expect("a control plane")
}

#[tokio::test]
async fn a_watch_that_is_cut_goes_on_where_it_was() {
    let (plane, namespace) = shared("cut").await;
    let proxy = plane.proxy().await.expect("a proxy");
    let through = plane.admin().through(proxy.address()).expect("a kubeconfig");
    let replica = Setup::of(&namespace).start(&through).await;
    replica.until_complete().await;
    let backend = Backend::start();
    for round in 0..5 {
        proxy.cut();
        let name = format!("cart-{round}");
        apply(plane, &manifest(&namespace, &name, &[backend.url()])).await;
        replica.until_health(&namespace, &name, Health::Healthy).await;
    }
    proxy.refuse();
    apply(plane, &manifest(&namespace, "late", &[backend.url()])).await;
    plane.kubectl().run(&["delete", "services.portolan.dev", "cart-0", "-n", &namespace]).await.expect("deleted");
    assert!(replica.entry(&namespace, "cart-0").is_some(), "it is served as last known");
    proxy.pass();
    replica.until_health(&namespace, "late", Health::Healthy).await;
    replica.until_gone(&namespace, "cart-0").await;
    replica.stop().await;
}

#[tokio::test]
async fn an_api_server_that_is_paused_killed_and_restarted_loses_nothing() {
    let mut plane = own(Options::default()).await;
    install(&plane).await;
    let replica = Setup::of("default").start(plane.admin()).await;
    let mut backend = Backend::start();
    apply(&plane, &manifest("default", "cart", &[backend.url()])).await;
    let api = objects(&plane, "default").await;
    super::until_condition(&api, "cart", "Ready", "True").await;

    plane.pause().expect("stopped");
    backend.down().await;
    replica.until_health("default", "cart", Health::Unhealthy).await;
    tokio::time::sleep(Duration::from_secs(7)).await;
    plane.resume().expect("continued");
    super::until_condition(&api, "cart", "Ready", "False").await;

    plane.kill().expect("killed");
    backend.up();
    replica.until_health("default", "cart", Health::Healthy).await;
    plane.restart().await.expect("restarted");
    super::until_condition(&api, "cart", "Ready", "True").await;
    apply(&plane, &manifest("default", "second", &[backend.url()])).await;
    replica.until_health("default", "second", Health::Healthy).await;
    replica.stop().await;
}

#[tokio::test]
async fn a_compacted_revision_is_listed_again() {
    // Without its cache the API server answers from what etcd has kept.
    let plane = own(Options::default().compacting_every(2).flag("--watch-cache=false")).await;
    install(&plane).await;
    let proxy = plane.proxy().await.expect("a proxy");
    let through = plane.admin().through(proxy.address()).expect("a kubeconfig");
    let replica = Setup::of("default").start(&through).await;
    let backend = Backend::start();
    for name in ["stays", "goes"] {
        apply(&plane, &manifest("default", name, &[backend.url()])).await;
        replica.until_health("default", name, Health::Healthy).await;
    }
    proxy.refuse();
    plane.kubectl().run(&["delete", "services.portolan.dev", "goes"]).await.expect("deleted");
    for round in 0..12 {
        apply(&plane, &manifest("default", &format!("new-{round}"), &[backend.url()])).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let mut audit = plane.audit().expect("an audit log");
    proxy.pass();
    replica.until_health("default", "new-11", Health::Healthy).await;
    replica.until_gone("default", "goes").await;
    let asked: Vec<_> =
        audit.requests().await.expect("requests").into_iter().map(|r| (r.verb, r.resource, r.code)).collect();
    let has = |verb: &str, code| asked.contains(&(verb.to_owned(), "services.portolan.dev".to_owned(), code));
    assert!(has("watch", 410) || has("list", 200), "it was listed again: {asked:?}");
    assert_eq!(replica.catalog.snapshot().total().total(), 13);
    replica.stop().await;
}

#[tokio::test]
async fn a_crd_that_comes_later_is_found_and_a_malformed_object_stops_nothing() {
    let plane = own(Options::default()).await;
    let replica = Setup::of_all().start(plane.admin()).await;
    until("the watch is known to be broken", async || replica.metric("portolan_watch_restarts_total") >= 2).await;
    assert!(!replica.ingest.is_complete());

    // A schema that admits everything, so that a malformed object is stored.
    let mut lax: serde_json::Value = serde_json::from_str(
        &plane.kubectl().run(&["create", "-f", DEFINITION, "--dry-run=client", "-o", "json"]).await.expect("the CRD"),
    )
    .expect("JSON");
    lax["spec"]["versions"][0]["schema"]["openAPIV3Schema"] =
        json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    lax["spec"]["versions"][0].as_object_mut().expect("a version").remove("selectableFields");
    apply(&plane, &lax).await;
    plane.kubectl().until_established("services.portolan.dev").await.expect("served");
    let mut odd = manifest("default", "odd", &["http://127.0.0.1:9".to_owned()]);
    odd["spec"]["instances"] = json!({ "a": "b" });
    apply(&plane, &odd).await;
    replica.until_complete().await;
    install(&plane).await;

    let backend = Backend::start();
    apply(&plane, &manifest("default", "cart", &[backend.url()])).await;
    replica.until_health("default", "cart", Health::Healthy).await;
    assert!(replica.entry("default", "odd").is_none());
    let known = replica.ingest.known(&super::replica::key("default", "odd")).expect("it is known");
    assert!(known.parsed.mirrored.is_none());
    let api = objects(&plane, "default").await;
    super::until_condition(&api, "odd", "Stalled", "True").await;
    super::until_condition(&api, "cart", "Ready", "True").await;
    replica.stop().await;
}
