//! Which namespaces are watched, and labels that change.

use portolan::model::outcome::Health;
use portolan::model::ports::Role;
use serde_json::json;

use super::listener::Listener;
use super::{LABEL, Stage};
use crate::sync::replica::{Setup, until};
use crate::sync::status;

impl Stage {
    /// Whether the status says nothing: it is what the API server fills in.
    async fn is_silent(&self) -> bool {
        status(&self.objects, "shop").await == json!({ "observedGeneration": -1, "healthy": 0, "total": 0 })
    }
}

#[tokio::test]
async fn only_selected_namespaces_are_watched_and_labels_count_without_a_restart() {
    let (stage, other) = (Stage::new().await, Stage::new().await);
    let (own, foreign) = (Listener::at([127, 0, 0, 1].into()).await, Listener::at([127, 0, 0, 1].into()).await);
    stage.apply(json!({ "instances": [{ "name": "a", "baseUrl": own.url() }] })).await;
    other.apply(json!({ "instances": [{ "name": "a", "baseUrl": foreign.url() }] })).await;
    let selector = format!("{LABEL} in ({},both)", stage.namespace);
    let namespaces = [&stage, &other].map(|one| one.namespace.parse().expect("a namespace"));
    let setup = || Setup { namespaces: namespaces.to_vec(), ..Setup::of_all() }.selects(&selector);
    let replica = setup().start(stage.plane.admin()).await;
    let follower = setup().follows().start(stage.plane.admin()).await;
    stage.until_reason("a", "Passed").await;
    replica.until_complete().await;
    own.until_more(3).await;
    assert!(replica.entry(&other.namespace, "shop").is_none());
    assert_eq!(foreign.count(), 0);
    assert!(other.is_silent().await, "nobody wrote its status");

    other.label(&format!("{LABEL}=both")).await;
    other.until_reason("a", "Passed").await;
    follower.until_health(&other.namespace, "shop", Health::Healthy).await;
    other.label(&format!("{LABEL}-")).await;
    replica.until_gone(&other.namespace, "shop").await;
    follower.until_gone(&other.namespace, "shop").await;
    until("its status is withdrawn", async || other.is_silent().await).await;
    let before = foreign.count();
    own.until_more(3).await;
    assert_eq!(foreign.count(), before, "it is not probed any more");
    let refused = replica.metric("portolan_status_writes_total{result=\"refused\"}");
    assert_eq!(refused, 0, "the Kubernetes API took the withdrawal");
    // A change that nobody watches counts once it is watched again.
    other.apply(json!({ "version": "2", "instances": [{ "name": "b", "baseUrl": foreign.url() }] })).await;
    other.label(&format!("{LABEL}=both")).await;
    other.until_reason("b", "Passed").await;
    until("the follower has it", async || {
        let entry = follower.entry(&other.namespace, "shop");
        entry.is_some_and(|entry| entry.service().instances[0].name.as_str() == "b")
    })
    .await;
    follower.stop().await;
    replica.stop().await;
}

#[tokio::test]
async fn a_restart_with_a_selector_forgets_what_it_does_not_select() {
    let stage = Stage::new().await;
    let listener = Listener::at([127, 0, 0, 1].into()).await;
    stage.apply(json!({ "instances": [{ "name": "a", "baseUrl": listener.url() }] })).await;
    let replica = Setup::of(&stage.namespace).start(stage.plane.admin()).await;
    stage.until_reason("a", "Passed").await;
    let folder = replica.stop().await;
    let setup = || Setup::of(&stage.namespace).selects("no-such-label");
    let replica = setup().in_folder(folder).start(stage.plane.admin()).await;
    replica.until_gone(&stage.namespace, "shop").await;
    until("its status is withdrawn", async || stage.is_silent().await).await;
    replica.stop().await;
}

#[tokio::test]
async fn a_namespace_that_is_relabelled_gets_another_policy() {
    let stage = Stage::new().await;
    let listener = Listener::at([127, 0, 0, 1].into()).await;
    let mine = &stage.namespace;
    let of = |value: &str| json!({ "matchLabels": { LABEL: format!("{mine}{value}") } });
    stage.policy("a", json!({ "networks": { "deny": ["127.0.0.0/8"] } })).await;
    stage.policy("b", json!({ "namespaceSelector": of("-b"), "networks": { "allow": ["127.0.0.0/8"] } })).await;
    let replica = Setup::of(mine).follows_policies().start(stage.plane.admin()).await;
    stage.apply(json!({ "instances": [{ "name": "a", "baseUrl": listener.url() }] })).await;
    stage.until_reason("a", "AddressDenied").await;
    assert_eq!(listener.count(), 0);
    stage.label(&format!("{LABEL}={mine}-b")).await;
    stage.until_reason("a", "Passed").await;
    let message = stage.until("PolicyApplied", "True InForce").await;
    assert!(message.contains(&stage.named("b")), "{message}");
    stage.label(&format!("{LABEL}={mine}")).await;
    stage.until_reason("a", "AddressDenied").await;
    // A replica that only follows sees the same.
    replica.role.set(Role::Follows);
    stage.label(&format!("{LABEL}={mine}-b")).await;
    until("it follows the labels", async || {
        replica
            .ingest
            .known(&crate::sync::replica::key(mine, "shop"))
            .is_some_and(|known| known.parsed.problems.is_empty())
    })
    .await;
    replica.stop().await;
}
