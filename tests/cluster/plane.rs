//! The control plane itself does what the other tests rely on.

use std::pin::pin;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use control_plane::{ControlPlane, Kubeconfig, Options, Refused};
use futures::StreamExt;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{Api, ListParams, PostParams, WatchParams};

use crate::common::shared;

/// Set in the child of `everything_ends_with_a_process_that_is_killed`.
const CHILD: &str = "PORTOLAN_TEST_CHILD";
const SOON: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_mins(2);

fn config_map(name: &str) -> ConfigMap {
    serde_json::from_value(serde_json::json!({ "metadata": { "name": name }, "data": { "a": "b" } })).expect("a map")
}

async fn answers(kubeconfig: &Kubeconfig) -> bool {
    let client = kubeconfig.client().await.expect("a client");
    matches!(tokio::time::timeout(SOON, client.apiserver_version()).await, Ok(Ok(_)))
}

#[tokio::test]
async fn objects_are_applied_and_read() {
    let plane = shared().await;
    let namespace = plane.namespace("objects").await.expect("a namespace");
    let map =
        format!("{{apiVersion: v1, kind: ConfigMap, metadata: {{name: a, namespace: {namespace}}}, data: {{k: v}}}}");
    assert_eq!(plane.kubectl().apply(&map).await.expect("applied"), "configmap/a created\n");
    let api: Api<ConfigMap> = Api::namespaced(plane.client().await.expect("a client"), &namespace);
    assert_eq!(api.get("a").await.expect("found").data.expect("data")["k"], "v");

    let wrong = plane.kubectl().apply(&map.replace("data: {k: v}", "data: [1]")).await.expect_err("not a map");
    assert!(
        wrong.downcast_ref::<Refused>().expect("kubectl's own end").stderr.contains("cannot restore map from slice"),
        "{wrong}"
    );
}

#[tokio::test]
async fn a_service_account_has_its_rights_and_the_audit_log_shows_it() {
    let plane = shared().await;
    let namespace = plane.namespace("accounts").await.expect("a namespace");
    let kubectl = plane.kubectl();
    for args in [
        ["create", "serviceaccount", "reader", "-n", &namespace].as_slice(),
        &["create", "role", "reader", "--verb=list", "--resource=configmaps", "-n", &namespace],
        &[
            "create",
            "rolebinding",
            "reader",
            "--role=reader",
            &format!("--serviceaccount={namespace}:reader"),
            "-n",
            &namespace,
        ],
    ] {
        kubectl.run(args).await.expect("created");
    }
    let reader = plane.service_account(&namespace, "reader").await.expect("a token");
    let mut audit = plane.audit().expect("an audit log");
    let api: Api<ConfigMap> = Api::namespaced(reader.client().await.expect("a client"), &namespace);
    api.list(&ListParams::default()).await.expect("allowed");
    let refused = api.create(&PostParams::default(), &config_map("b")).await.expect_err("not allowed");
    assert!(refused.to_string().contains("cannot create resource"), "{refused}");

    let user = format!("system:serviceaccount:{namespace}:reader");
    let mine: Vec<_> = audit.requests().await.expect("requests").into_iter().filter(|r| r.user == user).collect();
    let seen: Vec<_> = mine.iter().map(|r| (r.verb.as_str(), r.resource.as_str(), r.code)).collect();
    assert_eq!(seen, [("list", "configmaps", 200), ("create", "configmaps", 403)]);

    let kubectl = plane.kubectl_as(&reader);
    assert!(kubectl.can_i(&["list", "configmaps", "-n", &namespace]).await.expect("an answer"));
    assert!(!kubectl.can_i(&["list", "secrets", "-n", &namespace]).await.expect("an answer"));
}

#[tokio::test]
async fn a_proxy_cuts_freezes_and_refuses() {
    let plane = shared().await;
    let proxy = plane.proxy().await.expect("a proxy");
    let through = plane.admin().through(proxy.address()).expect("a kubeconfig");
    assert!(answers(&through).await);
    proxy.freeze();
    assert!(!answers(&through).await);
    proxy.refuse();
    assert!(!answers(&through).await);
    proxy.pass();
    assert!(answers(&through).await);

    let api: Api<Namespace> = Api::all(through.client().await.expect("a client"));
    let mut watch = pin!(api.watch(&WatchParams::default(), "0").await.expect("a watch"));
    watch.next().await.expect("a first event").expect("no error");
    proxy.cut();
    let end = async { while let Some(Ok(_)) = watch.next().await {} };
    tokio::time::timeout(PATIENCE, end).await.expect("a watch ends when it is cut");
}

#[tokio::test]
async fn the_api_server_is_paused_killed_and_restarted_with_its_data() {
    let mut plane = ControlPlane::start_with(Options::default().without_audit()).await.expect("a control plane");
    let api: Api<ConfigMap> = Api::default_namespaced(plane.client().await.expect("a client"));
    api.create(&PostParams::default(), &config_map("kept")).await.expect("created");

    plane.pause().expect("stopped");
    assert!(!answers(plane.admin()).await);
    plane.resume().expect("continued");
    assert!(answers(plane.admin()).await);

    plane.kill().expect("killed");
    assert!(!answers(plane.admin()).await);
    plane.restart().await.expect("restarted");
    api.get("kept").await.expect("kept");
    let counted = plane.metric("apiserver_request_total").await.expect("metrics");
    let gets = |(labels, value): &(String, f64)| labels.contains("configmaps") && *value >= 1.0;
    assert!(counted.iter().any(gets), "{counted:?}");

    let folder = plane.folder().to_owned();
    drop(plane);
    assert!(!folder.exists(), "its folder goes with it");
}

#[tokio::test]
async fn everything_ends_with_a_process_that_is_killed() {
    if std::env::var_os(CHILD).is_some() {
        let plane = ControlPlane::start().await.expect("a control plane");
        println_for_the_parent(&plane.folder().display().to_string());
        std::future::pending::<()>().await;
    }
    let mut child = Command::new(std::env::current_exe().expect("this binary"))
        .args(["--exact", "plane::everything_ends_with_a_process_that_is_killed", "--nocapture"])
        .env(CHILD, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a child");
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().expect("stdout")));
    let folder = lines
        .find_map(|line| line.expect("a line").strip_prefix("folder ").map(std::path::PathBuf::from))
        .expect("the child says its folder");
    assert!(!users(&folder).is_empty(), "two servers run in {}", folder.display());

    child.kill().expect("SIGKILL");
    child.wait().expect("gone");
    let started = Instant::now();
    while folder.exists() || !users(&folder).is_empty() {
        assert!(started.elapsed() < PATIENCE, "still there: {:?}", users(&folder));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn println_for_the_parent(folder: &str) {
    use std::io::Write;
    writeln!(std::io::stdout(), "\nfolder {folder}").expect("prints");
}

/// The processes that have `folder` in their command line.
fn users(folder: &std::path::Path) -> Vec<String> {
    let folder = folder.to_str().expect("UTF-8");
    let processes = std::fs::read_dir("/proc").expect("processes").flatten();
    let lines = processes.filter_map(|entry| std::fs::read_to_string(entry.path().join("cmdline")).ok());
    lines.filter(|line| line.contains(folder)).collect()
}
