//! Slices whose owner is gone go too, and without a leader all stay.

use kube::ResourceExt;
use kube::api::{DeleteParams, PostParams};
use portolan::model::ports::Role;
use serde_json::json;

use super::{Stage, instance};
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
