//! The definition of the version before named checks, and the one that replaces it.

use control_plane::ControlPlane;
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::{instance, named, services, with};
use crate::common::define;
use crate::sync::replica::until;

/// As it was shipped with one check an instance.
const BEFORE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cluster/crd/one-check.yaml");

async fn create(api: &Api<DynamicObject>, name: &str, spec: &Value) -> DynamicObject {
    api.create(&PostParams::default(), &named(name, spec)).await.expect("created")
}

/// Spec and status.
async fn content(api: &Api<DynamicObject>, name: &str) -> Value {
    let object = api.get(name).await.expect("kept");
    json!({"uid": object.metadata.uid, "generation": object.metadata.generation, "data": object.data})
}

#[tokio::test]
async fn objects_of_the_version_before_are_kept_and_can_be_changed() {
    let plane = ControlPlane::start().await.expect("a control plane");
    plane.kubectl().run(&["apply", "--server-side", "-f", BEFORE]).await.expect("the old definition");
    plane.kubectl().until_established("services.portolan.dev").await.expect("established");
    let namespace = plane.namespace("upgrade").await.expect("a namespace");
    let api = services(&plane, &namespace).await;
    let check =
        json!({"http": {"path": "/healthz", "headers": [{"name": "X-A", "value": "b"}]}, "intervalSeconds": 10});
    create(&api, "manifest", &with(instance(&json!({"weight": 0, "zone": "eu-1a"})), "check", check)).await;
    let registered =
        json!({"generation": 7, "owner": {"subject": "ci"}, "check": {"grpc": {}}, "metadata": {"a": "b"}});
    create(&api, "registered", &with(instance(&registered), "source", json!("Rest"))).await;
    let status = json!({"status": {
        "observedGeneration": 1, "ready": "1/1", "state": "Healthy", "healthy": 1, "total": 1,
        "instances": [{"name": "a", "health": "Healthy", "reason": "Passed", "probeHash": "0123456789abcdef"}],
    }});
    for name in ["manifest", "registered"] {
        api.patch_status(name, &PatchParams::default(), &Patch::Merge(&status)).await.expect("a status");
    }
    let before = [content(&api, "manifest").await, content(&api, "registered").await];

    define(&plane).await;
    let add_tags = json!({"spec": {"instances": [{"name": "a", "baseUrl": "http://10.0.0.5:8080", "tags": ["t"]}]}});
    until("the new definition is served", async || {
        let dry = PatchParams { dry_run: true, ..PatchParams::default() };
        let patched = api.patch("manifest", &dry, &Patch::Merge(&add_tags)).await.expect("taken");
        patched.data["spec"]["instances"][0]["tags"] == json!(["t"])
    })
    .await;
    assert_eq!([content(&api, "manifest").await, content(&api, "registered").await], before);

    let checks = json!({"spec": {"checks": [{"name": "disk", "advisory": true, "http": {"path": "/disk"}}]}});
    let changed = api.patch("manifest", &PatchParams::default(), &Patch::Merge(&checks)).await.expect("taken");
    assert_eq!(changed.data["spec"]["checks"], checks["spec"]["checks"]);
    assert_eq!(changed.data["status"], before[0]["data"]["status"], "and its status is kept");
    let mut rest = api.get("registered").await.expect("kept");
    rest.data["spec"]["instances"][0]["weight"] = json!(5);
    rest.data["spec"]["instances"][0]["drain"] =
        json!({"reason": "kernel", "by": "ci", "since": "2026-01-02T03:04:05.678Z"});
    api.replace("registered", &PostParams::default(), &rest).await.expect("a registration goes on");
    let over = json!({"spec": {"checks": checks["spec"]["checks"]}});
    let refused = api.patch("registered", &PatchParams::default(), &Patch::Merge(&over)).await;
    let refused = refused.expect_err("refused").to_string();
    assert!(refused.contains("was registered over REST, and a manifest cannot change it"), "{refused}");
}
