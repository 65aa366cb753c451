//! 10,000 endpoints cost what 10,000 written instances do, and nothing while nothing changes.

use futures::StreamExt;
use serde_json::{Value, json};

use super::{Stage, http, pod};
use crate::common::{Installed, install_with, shared};
use crate::leading::pod::Pod;
use crate::sync::replica::until;

const SERVICES: usize = 40;
const EACH: usize = 250;
/// What Kubernetes puts into one slice.
const SLICE: usize = 100;

/// Runs one for each service, a few at a time.
async fn each(one: impl AsyncFn(usize)) {
    futures::stream::iter(0..SERVICES).for_each_concurrent(8, |n| one(n)).await;
}

fn address(service: usize, n: usize) -> String {
    format!("10.{}.{}.{}", 100 + service, n / 250, n % 250 + 1)
}

impl Stage {
    async fn apply_as(&self, name: &str, spec: &Value) {
        let manifest = json!({ "apiVersion": "portolan.dev/v1alpha1", "kind": "Service", "metadata": { "name": name }, "spec": spec });
        let object = serde_json::from_value(manifest).expect("an object");
        self.objects.create(&kube::api::PostParams::default(), &object).await.expect("created");
    }

    /// Waits until the status of every object counts all instances healthy, or none of them checked.
    async fn until_all(&self, ready: &str) {
        until(&format!("all are {ready}"), async || {
            let all = self.objects.list(&kube::api::ListParams::default()).await.expect("a list").items;
            all.len() == SERVICES && all.iter().all(|object| object.data["status"]["ready"] == ready)
        })
        .await;
    }
}

/// A leader in its own namespace, and what it has there.
async fn started(components: &[&str], settings: &[(&str, &str)], folder: &std::path::Path) -> (Stage, Installed, Pod) {
    let installed = install_with(shared().await, "cluster", components).await;
    let stage = Stage::at(shared().await, installed.namespace.clone()).await;
    let pod = Pod::start_with(folder, &installed.account, &installed.namespace, "portolan-0", settings).await;
    (stage, installed, pod)
}

/// In MB of 10^6 bytes, once it stays the same.
async fn resident_mb(pod: &Pod) -> f64 {
    let metrics = pod.get("/metrics").await.text;
    let bytes = metrics.lines().find_map(|line| line.strip_prefix("process_resident_memory_bytes "));
    bytes.and_then(|bytes| bytes.parse::<f64>().ok()).expect("a metric") / 1e6
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_endpoints_cost_what_written_instances_do() {
    let folders = [tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder")];
    let (written, _, writing) = started(&[], &[], folders[0].path()).await;
    each(async |service| {
        let of = |n| json!({ "name": format!("pod-{n:04}"), "baseUrl": format!("http://{}:8080", address(service, n)), "zone": "eu-1a" });
        let instances: Vec<Value> = (0..EACH).map(of).collect();
        written.apply_as(&format!("web-{service}"), &json!({ "check": { "none": {} }, "instances": instances })).await;
    })
    .await;
    written.until_all("0/250").await;
    until("it has all of them", async || {
        writing.get("/api/v1/services/stats").await.text.contains("\"total_services\":40")
    })
    .await;
    let written_mb = resident_mb(&writing).await;
    drop(writing);

    let (stage, installed, pod_) = started(&["adopt"], &[("PORTOLAN_ADOPT", "true")], folders[1].path()).await;
    each(async |service| {
        let name = format!("web-{service}");
        let core = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": { "name": name },
            "spec": { "selector": { "app": name }, "ports": [{ "name": "http", "port": 80 }] },
        });
        let core: k8s_openapi::api::core::v1::Service = serde_json::from_value(core).expect("a Service");
        let client = stage.plane.client().await.expect("a client");
        let services = kube::api::Api::namespaced(client, &stage.namespace);
        services.create(&kube::api::PostParams::default(), &core).await.expect("created");
        for slice in 0..EACH.div_ceil(SLICE) {
            let of = |n| pod(&format!("pod-{n:04}"), &address(service, n), true);
            let endpoints: Vec<Value> = (slice * SLICE..EACH.min((slice + 1) * SLICE)).map(of).collect();
            stage.slice_of(&name, "IPv4", &format!("{name}-{slice}"), &http(8080), &endpoints).await;
        }
        stage.apply_as(&name, &json!({ "from": { "service": name } })).await;
    })
    .await;
    stage.until_all("250/250").await;
    let adopted_mb = resident_mb(&pod_).await;
    println!(
        "resident memory: {written_mb:.0} MB with 10,000 written instances, {adopted_mb:.0} MB with 10,000 adopted endpoints"
    );
    assert!(adopted_mb < written_mb * 1.5 + 10.0, "{adopted_mb} MB, and {written_mb} MB written");

    // One endpoint of one slice changes: one status is written, and nothing is listed or read.
    let mut audit = stage.plane.audit().expect("an audit log");
    let mut endpoints: Vec<Value> = (200..250).map(|n| pod(&format!("pod-{n:04}"), &address(7, n), true)).collect();
    endpoints[49] = pod("pod-0249", &address(7, 249), false);
    stage.slice_of("web-7", "IPv4", "web-7-2", &http(8080), &endpoints).await;
    until("the status says so", async || {
        stage.objects.get("web-7").await.expect("it is there").data["status"]["ready"] == "249/250"
    })
    .await;
    let agent = format!("system:serviceaccount:{}:portolan", installed.namespace);
    let asked: Vec<_> =
        audit.requests().await.expect("requests").into_iter().filter(|request| request.user == agent).collect();
    let statuses: Vec<&str> =
        asked.iter().filter(|request| request.subresource == "status").map(|request| request.name.as_str()).collect();
    assert_eq!(statuses, ["web-7"]);
    let read: Vec<_> = asked
        .iter()
        .filter(|request| {
            ["get", "list"].contains(&request.verb.as_str()) && request.resource != "leases.coordination.k8s.io"
        })
        .collect();
    assert!(read.is_empty(), "{read:?}");
}
