//! Starts in which something is missing.

use control_plane::{ControlPlane, Options};
use reqwest::Method;

use super::pod::Pod;
use super::until;
use crate::common::define;

#[tokio::test(flavor = "multi_thread")]
async fn it_waits_for_its_definition_and_starts_from_its_file_without_an_answer() {
    let plane = ControlPlane::start_with(Options::default().without_audit()).await.expect("a control plane");
    let folder = tempfile::tempdir().expect("a folder");
    let start = async || Pod::start(folder.path(), plane.admin(), "default", "portolan-0").await;

    let mut pod = start().await;
    until("it says what it waits for", async || {
        let answer = pod.get("/readyz").await;
        answer.status == 503 && answer.text.contains("portolan crd | kubectl apply")
    })
    .await;
    assert_eq!(pod.get("/healthz").await.status, 200);
    let refused = pod.get("/api/v1/services").await;
    assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (503, "2"));
    assert_eq!(refused.json()["code"], "unavailable");
    define(&plane).await;
    until("it is ready", async || pod.is_ready().await).await;
    until("it leads", async || pod.leads().await).await;
    let service = "{apiVersion: portolan.dev/v1alpha1, kind: Service, metadata: {name: users, namespace: default}, \
                   spec: {check: {none: {}}, instances: [{name: a, baseUrl: 'http://192.0.2.1:80'}]}}";
    plane.kubectl().apply(service).await.expect("applied");
    until("it is found", async || pod.service("users").await.is_some()).await;
    let written = "portolan_status_writes_total{result=\"written\"} 1";
    until("its status is written", async || pod.get("/metrics").await.text.contains(written)).await;
    let metrics = pod.get("/metrics").await.text;
    let counted = format!("rest_client_requests_total{{code=\"201\",method=\"POST\",host=\"{}\"}}", plane.address());
    assert!(metrics.contains(&counted), "{metrics}");
    let epoch = pod.get("/api/v1/services/discover?name=users").await.header("etag").to_owned();
    pod.process.terminate().expect("SIGTERM");
    until("it has ended", async || pod.process.has_ended()).await;

    plane.pause().expect("SIGSTOP");
    let pod = start().await;
    until("it serves the file", async || pod.service("users").await.is_some()).await;
    assert!(pod.is_ready().await);
    let stale = pod.get("/api/v1/services/discover?name=users").await;
    assert!(stale.header("portolan-stale-seconds").parse::<u64>().is_ok_and(|age| age > 0), "{:?}", stale.headers);
    assert_eq!(stale.header("etag"), epoch, "a client's copy is still good");
    let write = pod.ask(Method::DELETE, "/api/v1/services/deregister?name=users").await;
    assert!(write.status == 503 || write.status == 409, "{}", write.text);

    plane.resume().expect("SIGCONT");
    until("it is current", async || pod.get("/api/v1/services").await.header("portolan-stale-seconds").is_empty())
        .await;
    until("it leads again", async || pod.leads().await).await;
    assert!(pod.log().contains("written"), "it said that it serves the file: {}", pod.log());
}
