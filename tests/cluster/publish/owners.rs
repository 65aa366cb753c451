//! Slices whose owner is gone go too, and without a leader all stay.

use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use portolan::model::ports::Role;
use serde_json::json;

use super::{Stage, instance};
use crate::common::install_with;
use crate::leading::pod::Pod;
use crate::sync::backend::Backend;
use crate::sync::replica::{Setup, until};

const WHOLE: [&str; 1] = ["192.0.2.1:5432 ready serving"];

#[tokio::test]
async fn endpoints_go_with_their_service_or_its_wish() {
    let stage = Stage::new().await;
    let replica = Setup::of(&stage.namespace).publishes(&[]).start(stage.plane.admin()).await;
    let backend = Backend::start();
    let mut orders = stage.manifest(&[instance("a", "192.0.2.1:5432", &backend)]);
    stage.apply(&orders).await;
    stage.until_endpoints(&WHOLE).await;
    orders["spec"]["publish"] = json!(null);
    stage.apply(&orders).await;
    stage.until_endpoints(&[]).await;
    until("the condition goes", async || stage.published().await.0.is_empty()).await;
    orders["spec"]["publish"] = json!({ "service": "db" });
    stage.apply(&orders).await;
    stage.until_endpoints(&WHOLE).await;
    stage.objects.delete("orders", &DeleteParams::default()).await.expect("deleted");
    stage.until_endpoints(&[]).await;
    replica.stop().await;
}

#[tokio::test]
async fn without_a_leader_slices_stay_and_the_next_one_removes_what_nobody_owns() {
    let stage = Stage::new().await;
    let replica = Setup::of(&stage.namespace).publishes(&[]).start(stage.plane.admin()).await;
    let backend = Backend::start();
    let orders = stage.manifest(&[instance("a", "192.0.2.1:5432", &backend)]);
    stage.apply(&orders).await;
    let mut billing = orders.clone();
    billing["metadata"]["name"] = json!("billing");
    billing["spec"]["instances"] = json!([instance("b", "192.0.2.2:5432", &backend)]);
    stage.apply(&billing).await;
    stage.until_endpoints(&["192.0.2.1:5432 ready serving", "192.0.2.2:5432 ready serving"]).await;
    replica.role.set(Role::Follows);
    replica.stop().await;

    // While nobody leads: one object goes, one no longer wishes it, and one slice loses its owner.
    stage.objects.delete("billing", &DeleteParams::default()).await.expect("deleted");
    let mut lost = stage.slices().await.remove(0);
    lost.metadata = kube::api::ObjectMeta {
        name: Some("lost".into()),
        labels: lost.metadata.labels.take(),
        ..kube::api::ObjectMeta::default()
    };
    stage.slices.create(&PostParams::default(), &lost).await.expect("created");
    let mut foreign = lost.clone();
    foreign.metadata.name = Some("foreign".into());
    foreign.labels_mut().insert("endpointslice.kubernetes.io/managed-by".into(), "staff".into());
    foreign.endpoints.iter_mut().for_each(|endpoint| endpoint.addresses = vec!["192.0.2.99".into()]);
    stage.slices.create(&PostParams::default(), &foreign).await.expect("created");
    assert_eq!(stage.slices().await.len(), 3, "nobody removed any");

    let follower = Setup::of(&stage.namespace).follows().publishes(&[]).start(stage.plane.admin()).await;
    follower.until_complete().await;
    assert_eq!(stage.slices().await.len(), 3, "it does not lead");
    follower.role.set(Role::Leads);
    stage.until_endpoints(&WHOLE).await;
    assert_eq!(stage.slices().await.len(), 1);
    assert!(stage.slices.get_opt("foreign").await.expect("an answer").is_some(), "it is another's");
    follower.stop().await;
}

#[tokio::test]
async fn a_slice_that_another_version_of_the_resource_owns_is_kept() {
    let stage = Stage::new().await;
    let replica = Setup::of(&stage.namespace).publishes(&[]).start(stage.plane.admin()).await;
    let mut backend = Backend::start();
    stage.apply(&stage.manifest(&[instance("a", "192.0.2.1:5432", &backend)])).await;
    stage.until_endpoints(&WHOLE).await;
    let before = stage.slices().await.remove(0);
    let mut owners = before.owner_references().to_vec();
    owners[0].api_version = "portolan.dev/v2".into();
    let other = json!({ "metadata": { "ownerReferences": owners } });
    stage.slices.patch(&before.name_any(), &PatchParams::default(), &Patch::Merge(&other)).await.expect("patched");
    backend.down().await;
    stage.until_endpoints(&["192.0.2.1:5432"]).await;
    assert_eq!(stage.slices().await[0].uid(), before.uid());
    replica.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_installs_leave_each_others_slices_alone() {
    let stage = Stage::new().await;
    let mut audit = stage.plane.audit().expect("an audit log");
    let backend = Backend::start();
    let folder = tempfile::tempdir().expect("a folder");
    let mut pods = Vec::new();
    // The second one would publish none of this, and remove what there is.
    for (name, deny) in [("one-0", "none"), ("two-0", "192.0.2.0/24")] {
        let own = install_with(stage.plane, "cluster", &["publish"]).await;
        let watched = format!("{},{}", own.namespace, stage.namespace);
        let settings = [
            ("PORTOLAN_PUBLISH", "true"),
            ("PORTOLAN_PUBLISH_DENY", deny),
            ("PORTOLAN_WATCH_NAMESPACES", watched.as_str()),
        ];
        let pod = Pod::start_with(folder.path(), &own.account, &own.namespace, name, &settings).await;
        until("it leads", async || pod.leads().await).await;
        pods.push(pod);
    }
    let names: Vec<String> = (1..=12).map(|n| format!("orders-{n:02}")).collect();
    for (name, n) in names.iter().zip(1..) {
        let mut orders = stage.manifest(&[instance("a", &format!("192.0.2.{n}:5432"), &backend)]);
        orders["metadata"]["name"] = json!(name);
        stage.apply(&orders).await;
    }
    let mut published = 0;
    for name in &names {
        until(&format!("{name} says what became of it"), async || {
            let status = crate::sync::status(&stage.objects, name).await;
            let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
            let reason = |wanted: &str| conditions.iter().any(|condition| condition["reason"] == wanted);
            published += usize::from(reason("Published"));
            reason("Published") || reason("NothingToPublish")
        })
        .await;
    }
    let asked = audit.requests().await.expect("requests").into_iter();
    let ours = asked.filter(|request| {
        request.namespace == stage.namespace && request.resource.starts_with("endpointslices") && request.verb != "list"
    });
    let verbs: Vec<String> = ours.map(|request| request.verb).filter(|verb| verb != "watch").collect();
    assert!(verbs.iter().all(|verb| verb == "create" || verb == "update"), "{verbs:?}");
    assert_eq!(stage.endpoints().await.len(), published);
    drop(pods);
}
