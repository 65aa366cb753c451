//! What the API server refuses of a policy, and what its status says.

use serde_json::{Value, json};

use super::Stage;
use crate::sync::replica::{Setup, until};

#[tokio::test]
async fn a_policy_that_cannot_be_meant_is_refused_at_apply() {
    let stage = Stage::new().await;
    let selector = |expression: Value| json!({ "namespaceSelector": { "matchExpressions": [expression] } });
    for (spec, words) in [
        (json!({ "networks": { "allow": ["10.0.0.0/33"] } }), "spec.networks.allow[0]"),
        (json!({ "networks": { "deny": ["10.0.0.0/8", "10.0.0.1"] } }), "spec.networks.deny[1]"),
        (json!({ "networks": { "deny": ["corp"] } }), "cidr"),
        (json!({ "networks": { "allow": [] } }), "spec.networks.allow"),
        (selector(json!({ "key": "a", "operator": "In" })), "In and NotIn need values"),
        (selector(json!({ "key": "a", "operator": "Exists", "values": ["b"] })), "Exists and DoesNotExist take none"),
        (selector(json!({ "key": "a b", "operator": "Exists" })), "spec.namespaceSelector.matchExpressions[0].key"),
        (selector(json!({ "key": "a", "operator": "Near" })), "Unsupported value"),
        (json!({ "namespaceSelector": { "matchLabels": { "a b": "c" } } }), "a key of matchLabels is a label's key"),
        (json!({ "namespaceSelector": { "matchLabels": { "a": "c d" } } }), "spec.namespaceSelector.matchLabels"),
        (json!({ "checks": { "limits": { "minIntervalSeconds": 0 } } }), "minIntervalSeconds"),
        (json!({ "checks": { "limits": { "maxInstancesPerService": 257 } } }), "maxInstancesPerService"),
        (
            json!({ "checks": { "defaults": { "intervalSeconds": 5 }, "limits": { "minIntervalSeconds": 10 } } }),
            "the default is below limits.minIntervalSeconds",
        ),
        (
            json!({ "checks": { "defaults": { "timeoutSeconds": 20 }, "limits": { "maxTimeoutSeconds": 10 } } }),
            "the default is above limits.maxTimeoutSeconds",
        ),
        (
            json!({ "checks": { "defaults": { "intervalSeconds": 5, "retryIntervalSeconds": 6 } } }),
            "retryIntervalSeconds is longer than intervalSeconds",
        ),
    ] {
        let object = stage.policy_object("bad", spec.clone()).to_string();
        let error = stage.plane.kubectl().apply(&object).await.expect_err("it is refused").to_string();
        assert!(error.contains(words), "{spec}: {error}");
    }
    let good = json!({
        "namespaceSelector": { "matchLabels": { "example.com/tenant": "" }, "matchExpressions": [
            { "key": "stage", "operator": "NotIn", "values": ["dev", "test"] }, { "key": "legacy", "operator": "DoesNotExist" },
        ] },
        "checks": { "defaults": { "intervalSeconds": 30, "timeoutSeconds": 5 }, "limits": { "minIntervalSeconds": 30, "maxTimeoutSeconds": 5 } },
        "networks": { "allow": ["10.0.0.0/8", "fd00::/8", "10.1.2.3/8"], "deny": [] },
    });
    stage.policy("good", good).await;
    stage.delete_policy("good").await;
}

#[tokio::test]
async fn the_status_says_whether_it_is_in_force_and_how_much_it_selects() {
    let stage = Stage::new().await;
    let replica = Setup::of(&stage.namespace).follows_policies().start(stage.plane.admin()).await;
    stage.policy("p", json!({ "networks": { "deny": ["192.0.2.0/24"] } })).await;
    let is = async |path: &str| stage.policy_status("p", path).await;
    until("it is accepted", async || is("conditions[?(@.type==\"Accepted\")].status").await == "True").await;
    assert_eq!((is("namespaces").await, is("services").await), ("1".to_owned(), "0".to_owned()));
    assert_eq!((is("observedGeneration").await, is("install").await), ("1".to_owned(), "portolan/portolan".to_owned()));
    stage
        .apply(json!({ "instances": [{ "name": "a", "baseUrl": "http://192.0.2.1", "check": { "none": {} } }] }))
        .await;
    until("it counts the service", async || is("services").await == "1").await;
    stage.label("policy-test-").await;
    until("it selects nothing", async || is("namespaces").await == "0" && is("services").await == "0").await;
    let table = ["get", "namespacepolicies", &stage.named("p"), "--no-headers"];
    let table = stage.plane.kubectl().run(&table).await.expect("a table");
    assert_eq!(table.split_whitespace().skip(1).take(3).collect::<Vec<_>>(), ["True", "0", "0"], "{table}");
    replica.stop().await;
}

#[tokio::test]
async fn the_status_that_an_install_left_behind_is_taken_over_although_there_is_no_service() {
    let stage = Stage::new().await;
    stage.policy("p", json!({ "networks": { "deny": ["192.0.2.0/24"] } })).await;
    let gone = format!("{}-gone/portolan", stage.namespace);
    let left = json!({ "status": { "install": gone, "namespaces": 9, "services": 9, "conditions": [] } }).to_string();
    let (name, kubectl) = (stage.named("p"), stage.plane.kubectl());
    let patch = ["patch", "namespacepolicies", &name, "--subresource=status", "--type=merge", "-p", &left];
    kubectl.run(&patch).await.expect("patched");
    let replica = Setup::of(&stage.namespace).follows_policies().start(stage.plane.admin()).await;
    let is = async |path: &str| stage.policy_status("p", path).await;
    until("it is this install's", async || is("install").await == "portolan/portolan").await;
    assert_eq!((is("namespaces").await, is("services").await), ("1".to_owned(), "0".to_owned()));
    replica.stop().await;
}
