//! Checks that cannot run as they are set up on the server.

use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::ListParams;
use serde_json::{Value, json};

use super::backend::Backend;
use super::replica::{Setup, until};
use super::{apply, manifest, objects, shared, status};

/// A CA's certificate; it has signed none that is shown here.
const CA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/probe/fixtures/rsa1024.pem");

fn ready(status: &Value) -> &Value {
    let conditions = status["conditions"].as_array().map_or(&[][..], Vec::as_slice);
    conditions.iter().find(|condition| condition["type"] == "Ready").unwrap_or(&Value::Null)
}

#[tokio::test]
async fn a_missing_ca_file_is_named_at_once_and_taken_up_when_it_is_there() {
    let (plane, namespace) = shared("barred").await;
    let cas = tempfile::tempdir().expect("a folder");
    let setup = Setup { ca_dir: Some(cas.path().to_owned()), ..Setup::of(&namespace) };
    let replica = setup.start(plane.admin()).await;
    let backend = Backend::start();
    let mut cart = manifest(&namespace, "cart", &[backend.url().replace("http", "https")]);
    cart["spec"]["check"] = json!({ "http": { "tls": { "ca": "corp.pem" } }, "intervalSeconds": 1 });
    apply(plane, &cart).await;
    let api = objects(plane, &namespace).await;
    let says = async |reason: &str, words: &str| {
        let said = status(&api, "cart").await;
        let instance = &said["instances"][0];
        instance["reason"] == reason && instance["message"].as_str().is_some_and(|message| message.contains(words))
    };
    until("the missing file is named", async || says("CaUnavailable", "the CA file corp.pem in PORTOLAN_CA_DIR").await)
        .await;
    let said = status(&api, "cart").await;
    assert_eq!((&said["state"], &said["reason"]), (&json!("Unknown"), &json!("CaUnavailable")), "{said}");
    assert_eq!(ready(&said)["reason"], "CheckCannotRun", "{said}");
    assert!(ready(&said)["message"].as_str().expect("words").contains("No such file"), "{said}");
    let events: Api<Event> = Api::namespaced(plane.client().await.expect("a client"), &namespace);
    let events = async || {
        let all = events.list(&ListParams::default()).await.expect("a list").items;
        all.into_iter().filter(|event| event.reason.as_deref() == Some("CheckCannotRun")).count()
    };
    until("an event says so", async || events().await == 1).await;

    std::fs::write(cas.path().join("corp.pem"), "no certificate").expect("written");
    until("what is wrong now is said", async || says("CaUnavailable", "it holds no certificate").await).await;
    std::fs::copy(CA, cas.path().join("corp.pem")).expect("copied");
    until("it is checked by itself", async || status(&api, "cart").await["state"] == "Down").await;
    assert_eq!(events().await, 1, "one event for all that time");
    replica.stop().await;
}

#[tokio::test]
async fn manifests_that_cannot_be_used_are_counted_by_namespace() {
    let (plane, namespace) = shared("rejected").await;
    let replica = Setup::of(&namespace).start(plane.admin()).await;
    let counted = format!("portolan_objects_rejected{{namespace=\"{namespace}\"}}");
    let backend = Backend::start();
    // The address policy is beyond the schema.
    let denied = ["http://169.254.169.254:80".to_owned()];
    apply(plane, &manifest(&namespace, "cart", &denied)).await;
    apply(plane, &manifest(&namespace, "mail", &[backend.url()])).await;
    until("one of two is counted", async || {
        replica.metric(&counted) == 1 && replica.entry(&namespace, "mail").is_some()
    })
    .await;
    apply(plane, &manifest(&namespace, "cart", &[backend.url()])).await;
    until("none is", async || replica.metric(&counted) == 0).await;
    replica.stop().await;
}
