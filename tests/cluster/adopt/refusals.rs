//! Objects of labelled core Services that cannot be created or deleted yet.

use kube::api::{DynamicObject, PostParams};
use serde_json::json;

use super::{Stage, http, pod};
use crate::common::{install_with, shared};
use crate::leading;
use crate::publish::webhooks::Webhook;
use crate::sync::replica::{Setup, until};

#[tokio::test]
async fn an_object_that_another_install_may_have_created_is_deleted_only_once_its_status_names_this_one() {
    let stage = Stage::new().await;
    let client = stage.plane.client().await.expect("a client");
    let services: kube::Api<k8s_openapi::api::core::v1::Service> = kube::Api::namespaced(client, &stage.namespace);
    let uid = services.get("web").await.expect("a Service").metadata.uid;
    // The label that asks for it is one that this install does not see.
    let object = json!({
        "apiVersion": "portolan.dev/v1alpha1", "kind": "Service",
        "metadata": {
            "name": "web", "labels": { "portolan.dev/adopted": "true" },
            "ownerReferences": [{ "apiVersion": "v1", "kind": "Service", "name": "web", "uid": uid, "controller": true }],
        },
        "spec": { "from": { "service": "web", "port": 80 } },
    });
    let object: DynamicObject = serde_json::from_value(object).expect("an object");
    stage.objects.create(&PostParams::default(), &object).await.expect("created");
    let status = json!({ "status": { "state": "Down" } }).to_string();
    let patch = ["patch", "psvc", "web", "--subresource=status", "--type=merge", "-p", &status];
    let rule = ("portolan.dev", "services/status", "UPDATE");
    let webhook = Webhook::start(stage.plane, &stage.namespace, rule, (&patch, "")).await;
    let replica = Setup::of(&stage.namespace).adopts().start(stage.plane.admin()).await;
    let exists = async |name: &str| stage.objects.get_opt(name).await.expect("an answer").is_some();
    // When these are there, the labels have been compared again and again.
    for name in ["first", "second"] {
        stage.core_service(name, &json!({ "selector": { "app": "web" }, "ports": [{ "port": 80 }] })).await;
        stage.kubectl(&["label", "service", name, "portolan.dev/adopt=true"]).await;
        until(&format!("{name} is adopted"), async || exists(name).await).await;
    }
    assert!(exists("web").await, "its status names no install");
    webhook.remove().await;
    until("it is deleted", async || !exists("web").await).await;
    replica.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exceeded_quota_is_not_reported_as_missing_rights() {
    let plane = shared().await;
    let installed = install_with(plane, "cluster", &["adopt"]).await;
    let stage = Stage::at(plane, installed.namespace.clone()).await;
    let hard = json!({ "count/services.portolan.dev": "0" });
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": { "name": "none", "namespace": stage.namespace },
        "spec": { "hard": hard },
    });
    crate::sync::apply(plane, &quota).await;
    // Nothing else counts here.
    let counted = json!({ "status": { "hard": hard, "used": hard } }).to_string();
    stage.kubectl(&["patch", "quota", "none", "--subresource=status", "--type=merge", "-p", &counted]).await;
    let web = json!({ "selector": { "app": "web" }, "ports": [{ "name": "http", "port": 80 }] });
    stage.core_service("web", &web).await;
    stage.kubectl(&["label", "service", "web", "portolan.dev/adopt=true"]).await;
    stage.slice("web-1", &http(8080), &[pod("a", "10.1.0.1", true)]).await;
    let folder = tempfile::tempdir().expect("a folder");
    let settings = [("PORTOLAN_ADOPT", "true")];
    let leader =
        leading::pod::Pod::start_with(folder.path(), &installed.account, &stage.namespace, "portolan-0", &settings)
            .await;
    until("it says why", async || leader.log().contains("exceeded quota: none")).await;
    assert!(!leader.log().contains("deploy/components"), "{}", leader.log());
    stage.kubectl(&["delete", "quota", "none"]).await;
    until("it is adopted", async || stage.objects.get_opt("web").await.expect("an answer").is_some()).await;
    drop(leader);
}
