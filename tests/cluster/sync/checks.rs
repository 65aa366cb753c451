//! Several checks of an instance: the required ones decide, the advisory ones warn.

use k8s_openapi::api::events::v1::Event;
use kube::api::{Api, DynamicObject, ListParams};
use portolan::model::outcome::{Health, Reason};
use serde_json::{Value, json};

use super::backend::Backend;
use super::replica::{Replica, Setup, until};
use super::{apply, manifest, objects, shared, status};

/// The only instance's status.
async fn instance(api: &Api<DynamicObject>) -> Value {
    status(api, "cart").await["instances"][0].clone()
}

/// The notes of the events with that reason.
async fn notes(plane: &control_plane::ControlPlane, namespace: &str, reason: &str) -> Vec<String> {
    let api: Api<Event> = Api::namespaced(plane.client().await.expect("a client"), namespace);
    let all = api.list(&ListParams::default()).await.expect("events").items.into_iter();
    all.filter(|event| event.reason.as_deref() == Some(reason)).filter_map(|event| event.note).collect()
}

/// What readers of this replica get: health, the check that decides, the check that warns.
fn shown(replica: &Replica, namespace: &str) -> (Health, String, Option<String>) {
    let entry = replica.entry(namespace, "cart").expect("known");
    let instance = &entry.service().instances[0];
    let warning = instance.warning.as_ref().map(|warning| warning.check.to_string());
    (instance.health, instance.decided_by.to_string(), warning)
}

#[tokio::test]
async fn a_required_check_decides_and_an_advisory_one_warns() {
    let (plane, namespace) = shared("checks").await;
    let leader = Setup::of(&namespace).start(plane.admin()).await;
    let follower = Setup::of(&namespace).follows().start(plane.admin()).await;
    let api = objects(plane, &namespace).await;
    let (base, mut admin, mut disk) = (Backend::start(), Backend::start(), Backend::start());
    let mut cart = manifest(&namespace, "cart", &[base.url()]);
    cart["spec"]["checks"] = json!([
        {"name": "disk", "advisory": true, "url": disk.url(), "tcp": {}, "intervalSeconds": 1},
        {"name": "admin", "url": admin.url(), "tcp": {}, "intervalSeconds": 1},
    ]);
    apply(plane, &cart).await;
    until("all pass", async || instance(&api).await["health"] == "Healthy").await;
    // Whichever passed last; the plain one is left out.
    let decides = instance(&api).await["decidedBy"].as_str().unwrap_or("default").to_owned();
    assert!(["default", "admin"].contains(&&*decides), "{decides} only advises");

    disk.down().await;
    until("it warns", async || instance(&api).await["warning"]["check"] == "disk").await;
    let warned = instance(&api).await;
    assert_eq!((&warned["health"], &warned["warning"]["reason"]), (&json!("Healthy"), &json!("ConnectRefused")));
    let both = async |wanted: (Health, &str, Option<&str>)| {
        let wanted = (wanted.0, wanted.1.to_owned(), wanted.2.map(str::to_owned));
        until(&format!("both show {wanted:?}"), async || {
            shown(&leader, &namespace) == wanted && shown(&follower, &namespace) == wanted
        })
        .await;
    };
    both((Health::Healthy, &decides, Some("disk"))).await;
    until("an event tells it", async || {
        let notes = notes(plane, &namespace, "InstanceWarning").await;
        notes.iter().any(|note| note.starts_with("instance a has a warning (check disk: ConnectRefused): "))
    })
    .await;

    admin.down().await;
    until("it is down", async || instance(&api).await["health"] == "Unhealthy").await;
    let down = instance(&api).await;
    assert_eq!((&down["decidedBy"], &down["reason"]), (&json!("admin"), &json!("ConnectRefused")));
    both((Health::Unhealthy, "admin", Some("disk"))).await;
    until("an event names the check", async || {
        notes(plane, &namespace, "Down").await.iter().any(|note| note.contains("a (check admin: ConnectRefused)"))
    })
    .await;

    admin.up();
    disk.up();
    both((Health::Healthy, "admin", None)).await;
    until("the status says so", async || instance(&api).await["warning"] == Value::Null).await;
    leader.stop().await;
    follower.stop().await;
}

#[tokio::test]
async fn a_change_of_a_named_check_proves_the_instance_anew() {
    let (plane, namespace) = shared("renamed").await;
    let replica = Setup::of(&namespace).start(plane.admin()).await;
    let api = objects(plane, &namespace).await;
    let (base, mut admin) = (Backend::start(), Backend::start());
    let mut cart = manifest(&namespace, "cart", &[base.url()]);
    cart["spec"]["checks"] = json!([{"name": "admin", "url": admin.url(), "tcp": {}, "intervalSeconds": 1}]);
    apply(plane, &cart).await;
    let hash = async || api.get("cart").await.expect("there").data["status"]["instances"][0]["probeHash"].clone();
    replica.until_health(&namespace, "cart", Health::Healthy).await;
    until("it is reported", async || instance(&api).await["health"] == "Healthy").await;
    let before = hash().await;
    admin.down().await;
    replica.until_health(&namespace, "cart", Health::Unhealthy).await;
    cart["spec"]["checks"][0]["advisory"] = json!(true);
    apply(plane, &cart).await;
    until("it is healthy by its plain check", async || {
        let instance = instance(&api).await;
        instance["health"] == "Healthy" && instance["warning"]["check"] == "admin"
    })
    .await;
    assert_ne!(hash().await, before);
    let entry = replica.entry(&namespace, "cart").expect("known");
    assert_eq!(entry.service().instances[0].reason, Reason::Passed);
    replica.stop().await;
}
