//! Defaults and limits of checks.

use std::time::Duration;

use portolan::model::outcome::Health;
use portolan::model::time::UnixMs;
use serde_json::json;

use super::Stage;
use super::listener::Listener;
use crate::sync::replica::{Replica, Setup, until};

/// Longer than any test.
const LONG: Duration = Duration::from_hours(6);

impl Stage {
    /// Waits until the next probe of each instance is that far away, or nearer.
    async fn until_next_due(&self, replica: &Replica, far: bool) {
        until(&format!("the next probes are far away: {far}"), async || {
            let all = self.probing(replica).await;
            let soon = UnixMs::wall().plus(Duration::from_secs(20));
            !all.is_empty() && all.iter().all(|one| (one.next_due > soon) == far)
        })
        .await;
    }
}

#[tokio::test]
async fn a_default_counts_where_a_manifest_leaves_the_value_out_and_changes_without_a_new_verdict() {
    let stage = Stage::new().await;
    let listener = Listener::at([127, 0, 0, 1].into()).await;
    stage.policy("p", json!({ "checks": { "defaults": { "intervalSeconds": 1 } } })).await;
    let setup = Setup { interval: LONG, ..Setup::of(&stage.namespace) };
    let replica = setup.follows_policies().start(stage.plane.admin()).await;
    stage.apply(json!({ "instances": [{ "name": "a", "baseUrl": listener.url() }] })).await;
    // By the server's own default there would be one probe.
    listener.until_more(3).await;
    let message = stage.until("PolicyApplied", "True InForce").await;
    assert_eq!(message, format!("the NamespacePolicy {} applies here", stage.named("p")));
    replica.until_health(&stage.namespace, "shop", Health::Healthy).await;
    let entry = replica.entry(&stage.namespace, "shop").expect("it is there");
    assert_eq!(
        entry.service().instances[0].spec.check.timing.interval_seconds,
        None,
        "what is registered stays as it is"
    );
    let since = entry.service().instances[0].since;

    stage.policy("p", json!({ "checks": { "defaults": { "intervalSeconds": 86_400 } } })).await;
    stage.until_next_due(&replica, true).await;
    let entry = replica.entry(&stage.namespace, "shop").expect("it is there");
    let instance = &entry.service().instances[0];
    assert_eq!((instance.health, instance.since), (Health::Healthy, since), "it is not proved again");

    // What the manifest says itself counts.
    stage.apply(json!({ "check": { "tcp": {}, "intervalSeconds": 1 }, "instances": [{ "name": "a", "baseUrl": listener.url() }] })).await;
    stage.until_next_due(&replica, false).await;
    listener.until_more(2).await;
    stage.delete_policy("p").await;
    until("no policy applies", async || stage.condition("PolicyApplied").await.0 == " ").await;
    replica.stop().await;
}

#[tokio::test]
async fn a_value_beyond_a_limit_is_replaced_and_the_status_says_so() {
    let stage = Stage::new().await;
    let listener = Listener::at([127, 0, 0, 1].into()).await;
    let replica = Setup::of(&stage.namespace).follows_policies().start(stage.plane.admin()).await;
    let check = json!({ "tcp": {}, "intervalSeconds": 1, "timeoutSeconds": 30 });
    stage.apply(json!({ "check": check, "instances": [{ "name": "a", "baseUrl": listener.url() }] })).await;
    stage.until_next_due(&replica, false).await;
    listener.until_more(2).await;
    stage
        .policy("p", json!({ "checks": { "limits": { "minIntervalSeconds": 86_400, "maxTimeoutSeconds": 5 } } }))
        .await;
    let message = stage.until("PolicyApplied", "True Limited").await;
    let policy = stage.named("p");
    assert!(
        message
            .contains(&format!("check.intervalSeconds is 1, but the NamespacePolicy {policy} allows at least 86400"))
            && message
                .contains(&format!("check.timeoutSeconds is 30, but the NamespacePolicy {policy} allows at most 5")),
        "{message}"
    );
    stage.until_next_due(&replica, true).await;
    assert_eq!(stage.condition("Accepted").await.0, "True Accepted");
    // The server's own default, of one second, is limited, too.
    stage.apply(json!({ "check": { "tcp": {} }, "instances": [{ "name": "a", "baseUrl": listener.url() }] })).await;
    stage.until("PolicyApplied", "True InForce").await;
    stage.until_next_due(&replica, true).await;
    replica.stop().await;
}

#[tokio::test]
async fn two_policies_combine_by_name_and_by_strictness() {
    let stage = Stage::new().await;
    let listener = Listener::at([127, 0, 0, 1].into()).await;
    let defaults = |seconds: u32| json!({ "defaults": { "intervalSeconds": seconds } });
    // Applied against the order of their names.
    stage.policy("b", json!({ "checks": defaults(1) })).await;
    stage.policy("a", json!({ "checks": defaults(86_400), "networks": { "deny": ["127.0.0.2/32"] } })).await;
    let setup = Setup { interval: LONG, ..Setup::of(&stage.namespace) };
    let replica = setup.follows_policies().start(stage.plane.admin()).await;
    stage.apply(json!({ "instances": [{ "name": "a", "baseUrl": listener.url() }] })).await;
    let message = stage.until("PolicyApplied", "True InForce").await;
    assert_eq!(message, format!("the NamespacePolicies {}, {} apply here", stage.named("a"), stage.named("b")));
    listener.until_more(3).await;
    // The stricter limit counts, and is named.
    stage.policy("a", json!({ "checks": { "limits": { "minIntervalSeconds": 86_400 } } })).await;
    stage
        .policy(
            "b",
            json!({ "checks": { "limits": { "minIntervalSeconds": 2 }, "defaults": { "intervalSeconds": 2 } } }),
        )
        .await;
    stage.until_next_due(&replica, true).await;
    // The networks of each have to admit an address.
    stage.policy("a", json!({ "networks": { "allow": ["127.0.0.0/8"] } })).await;
    stage.policy("b", json!({ "networks": { "deny": ["127.0.0.1/32"] } })).await;
    let message = stage.until_reason("a", "AddressDenied").await;
    assert!(message.contains(&stage.named("b")), "{message}");
    stage.delete_policy("b").await;
    stage.until_reason("a", "Passed").await;
    replica.stop().await;
}

#[tokio::test]
async fn of_too_many_instances_the_first_are_used() {
    let stage = Stage::new().await;
    let listener = Listener::at([127, 0, 0, 1].into()).await;
    let replica = Setup::of(&stage.namespace).follows_policies().start(stage.plane.admin()).await;
    let instance = |name: &str| json!({ "name": name, "baseUrl": listener.url() });
    stage.apply(json!({ "instances": [instance("c"), instance("a"), instance("b")] })).await;
    stage.until("Accepted", "True Accepted").await;
    stage.policy("p", json!({ "checks": { "limits": { "maxInstancesPerService": 2 } } })).await;
    let message = stage.until("Accepted", "False PartiallyInvalid").await;
    assert!(message.contains("c: it exceeds the 2 instances") && message.contains(&stage.named("p")), "{message}");
    let names = || {
        let entry = replica.entry(&stage.namespace, "shop").expect("it is there");
        entry.service().instances.iter().map(|one| one.name.to_string()).collect::<Vec<_>>()
    };
    until("two are served", async || names() == ["a", "b"]).await;
    stage.delete_policy("p").await;
    stage.until("Accepted", "True Accepted").await;
    until("all are served", async || names() == ["a", "b", "c"]).await;
    replica.stop().await;
}
