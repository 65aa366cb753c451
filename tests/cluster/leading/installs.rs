//! Two installs that watch the same namespace.

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::events::v1::Event;
use kube::api::{Api, DeleteParams, ListParams};
use serde_json::Value;

use super::pod::Pod;
use super::until;
use crate::common::{install, shared};
use crate::sync::backend::Backend;
use crate::sync::{apply, manifest, objects};

/// Probes that ended, of all kinds.
async fn probes(pod: &Pod) -> u64 {
    let text = pod.get("/metrics").await.text;
    let counts = text.lines().filter(|line| line.starts_with("portolan_probes_total{"));
    counts.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

/// The line of `/readyz?verbose` on installs.
async fn word(pod: &Pod) -> String {
    let text = pod.get("/readyz?verbose").await.text;
    text.lines().find(|line| line.contains("installs: ")).unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_installs_over_one_namespace_one_writes_and_the_other_takes_over_after_its_end() {
    let plane = shared().await;
    let (first, second) = (install(plane, "cluster").await, install(plane, "cluster").await);
    let watched = plane.namespace("overlap").await.expect("a namespace");
    let folder = tempfile::tempdir().expect("a folder");
    let watching = |own: &str| format!("{own},{watched}");
    let (of_first, of_second) = (watching(&first.namespace), watching(&second.namespace));
    let namespaces = |all| ("PORTOLAN_WATCH_NAMESPACES", all);
    let mut one =
        Pod::start_with(folder.path(), &first.account, &first.namespace, "one-0", &[namespaces(of_first.as_str())])
            .await;
    until("the first leads", async || one.leads().await).await;
    let backend = Backend::start();
    for name in ["cart", "mail", "shop"] {
        apply(plane, &manifest(&watched, name, &[backend.url()])).await;
    }
    let api = objects(plane, &watched).await;
    let all_say = async |install: &str, state: &str| {
        let all = api.list(&ListParams::default()).await.expect("a list").items;
        let says = |status: &Value| status["install"] == format!("{install}/portolan") && status["state"] == state;
        all.len() == 3 && all.iter().all(|object| says(&object.data["status"]))
    };
    until("the first has proved them", async || all_say(&first.namespace, "Healthy").await).await;

    // Its verdicts differ, so it would write each of them.
    let deny = ("PORTOLAN_PROBE_DENY", "127.0.0.0/8");
    let two = Pod::start_with(
        folder.path(),
        &second.account,
        &second.namespace,
        "two-0",
        &[namespaces(of_second.as_str()), deny],
    )
    .await;
    until("the second leads", async || two.leads().await).await;
    until("it probes for its own readers", async || probes(&two).await >= 9).await;
    until("it says so", async || word(&two).await.starts_with("[+] installs: another install writes")).await;
    let events: Api<Event> = Api::namespaced(plane.client().await.expect("a client"), &watched);
    until("each object has an event that says so", async || {
        let all = events.list(&ListParams::default()).await.expect("a list").items;
        all.iter().filter(|event| event.reason.as_deref() == Some("OtherInstall")).count() == 3
    })
    .await;
    assert!(word(&two).await.contains(&format!("3 of {}/portolan", first.namespace)), "{}", word(&two).await);
    assert!(two.get("/metrics").await.text.contains("portolan_objects_of_other_installs 3"));
    assert_eq!(two.log().matches("is left alone").count(), 3, "{}", two.log());
    assert!(word(&one).await.starts_with("[+] installs: no other install"), "{}", word(&one).await);

    let mut audit = plane.audit().expect("an audit log");
    let (of_one, of_two) = (probes(&one).await, probes(&two).await);
    until("both have probed all again and again", async || {
        probes(&one).await >= of_one + 15 && probes(&two).await >= of_two + 15
    })
    .await;
    let mut wrote = audit.requests().await.expect("requests");
    wrote.retain(|request| request.namespace == watched && request.verb != "watch");
    assert_eq!(wrote.iter().filter(|r| r.resource == "services.portolan.dev" && r.subresource == "status").count(), 0);
    let written = events.list(&ListParams::default()).await.expect("a list").items;
    let usual = |event: &Event| matches!(event.reason.as_deref(), Some("OtherInstall" | "Healthy"));
    assert!(written.iter().all(usual), "no verdict of the second is an event: {written:?}");
    assert!(all_say(&first.namespace, "Healthy").await);

    one.process.kill().expect("SIGKILL");
    let leases: Api<Lease> = Api::namespaced(plane.client().await.expect("a client"), &first.namespace);
    leases.delete("portolan", &DeleteParams::default()).await.expect("deleted");
    until("the second has taken them over", async || all_say(&second.namespace, "Invalid").await).await;
    until("it says so", async || word(&two).await.starts_with("[+] installs: no other install")).await;
    assert!(two.log().contains("takes over the objects of"), "{}", two.log());
}
