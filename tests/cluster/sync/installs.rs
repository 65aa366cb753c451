//! Which install writes an object's status.

use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::json;

use super::backend::Backend;
use super::replica::{Setup, until};
use super::{apply, manifest, objects, status, until_condition};
use crate::common::{install, shared};

#[tokio::test]
async fn an_install_that_may_not_read_the_others_lease_never_takes_over() {
    let plane = shared().await;
    let installed = install(plane, "namespaced").await;
    let namespace = installed.namespace.as_str();
    let (backend, api) = (Backend::start(), objects(plane, namespace).await);
    apply(plane, &manifest(namespace, "cart", &[backend.url()])).await;
    // An install that no longer exists.
    let gone = json!({ "status": { "install": "gone/portolan", "healthy": 0, "total": 1 } });
    api.patch_status("cart", &PatchParams::default(), &Patch::Merge(&gone)).await.expect("written");

    let replica = Setup::of(namespace).installed_in(namespace).start(&installed.account).await;
    let events: Api<Event> = Api::namespaced(plane.client().await.expect("a client"), namespace);
    until("it says that it leaves the object alone", async || {
        let all = events.list(&ListParams::default()).await.expect("a list").items;
        all.iter().any(|event| event.reason.as_deref() == Some("OtherInstall"))
    })
    .await;
    let said = status(&api, "cart").await;
    assert_eq!((&said["install"], &said["state"]), (&json!("gone/portolan"), &json!(null)));
    assert_eq!(replica.metric("portolan_objects_of_other_installs"), 1);

    // As the log says: a person hands it to whichever install watches it.
    let free = json!({ "status": { "install": null } });
    api.patch_status("cart", &PatchParams::default(), &Patch::Merge(&free)).await.expect("written");
    until_condition(&api, "cart", "Ready", "True").await;
    assert_eq!(status(&api, "cart").await["install"], format!("{namespace}/portolan"));
    until("nothing is another's", async || replica.metric("portolan_objects_of_other_installs") == 0).await;
    replica.stop().await;
}
