//! Portolan as a pod runs it: with the environment of an overlay's Deployment, and the rights of its ServiceAccount.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use control_plane::{ControlPlane, Guarded};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::common::{Installed, install, shared};
use crate::sync::replica::until;

const PATIENCE: Duration = Duration::from_mins(3);

/// The environment that the kubelet would set from the Deployment.
async fn environment(plane: &ControlPlane, namespace: &str) -> Vec<(String, String)> {
    let text =
        plane.kubectl().run(&["get", "deployment", "portolan", "-n", namespace, "-o", "json"]).await.expect("found");
    let deployment: Value = serde_json::from_str(&text).expect("JSON");
    let env = deployment["spec"]["template"]["spec"]["containers"][0]["env"].as_array().expect("a list").clone();
    let value = |entry: &Value| match entry["valueFrom"]["fieldRef"]["fieldPath"].as_str() {
        // A reference to an earlier variable.
        None => entry["value"].as_str().expect("a value").replace("$(POD_NAMESPACE)", namespace),
        Some("metadata.namespace") => namespace.to_owned(),
        Some("metadata.name") => "portolan-0".to_owned(),
        Some("status.podIP") => "127.0.0.1".to_owned(),
        Some(other) => panic!("no word for {other}"),
    };
    env.iter().map(|entry| (entry["name"].as_str().expect("a name").to_owned(), value(entry))).collect()
}

/// The pod and its address. Folders and ports are the machine's; the rest comes from the Deployment.
async fn run(plane: &ControlPlane, installed: &Installed, folder: &Path) -> (Guarded, String) {
    let log = folder.join("log");
    let mut command = Command::new(env!("CARGO_BIN_EXE_portolan"));
    command.arg("serve").envs(environment(plane, &installed.namespace).await);
    command.env("DB_PATH", folder.join("services.db")).env("JWT_SECRET_FILE", folder.join("secret"));
    command.env("SERVER_PORT", "0");
    command.env("KUBECONFIG", installed.account.path()).env("PORTOLAN_BIND_ADDRESS", "127.0.0.1");
    command.env("PORTOLAN_PROBE_ALLOW", "127.0.0.0/8");
    let mut pod = Guarded::start(&command, &log).expect("started");
    let started = Instant::now();
    loop {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        if let Some(rest) = text.split("listening on ").nth(1) {
            return (pod, rest.split([' ', '"']).next().expect("an address").to_owned());
        }
        assert!(!pod.has_ended() && started.elapsed() < PATIENCE, "it does not start: {text}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn output(args: &[&str], env: &[(&str, &str)]) -> std::process::Output {
    Command::new(env!("CARGO_BIN_EXE_portolan")).args(args).envs(env.iter().copied()).output().expect("it runs")
}

fn portolan_succeeds(args: &[&str], env: &[(&str, &str)]) -> bool {
    output(args, env).status.success()
}

fn portolan(args: &[&str], env: &[(&str, &str)]) -> String {
    let said = output(args, env);
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    String::from_utf8(said.stdout).expect("UTF-8").trim().to_owned()
}

/// The token of a ServiceAccount in Portolan's own namespace, in a file as a pod mounts it.
async fn projected(plane: &ControlPlane, namespace: &str, file: &Path) {
    let kubectl = plane.kubectl();
    kubectl.run(&["create", "serviceaccount", "program", "-n", namespace]).await.expect("created");
    let token = ["create", "token", "program", "-n", namespace, "--audience=portolan"];
    std::fs::write(file, kubectl.run(&token).await.expect("a token")).expect("written");
}

/// A token of Portolan's own, which needs a secret. The server is running already.
fn minted(folder: &Path, file: &Path) {
    let secret = folder.join("secret");
    std::fs::write(&secret, "0123456789abcdef0123456789abcdef-for-tests").expect("written");
    let env = [("JWT_SECRET_FILE", secret.to_str().expect("UTF-8"))];
    std::fs::write(file, portolan(&["token", "--subject", "test"], &env)).expect("written");
}

/// Applies, probes, writes status and events, registers over REST, and is refused nothing in all of that.
async fn does_its_work(plane: &ControlPlane, overlay: &str) {
    let installed = install(plane, overlay).await;
    let namespace = installed.namespace.as_str();
    let mut audit = plane.audit().expect("an audit log");
    let folder = tempfile::tempdir().expect("a folder");
    let (_pod, url) = run(plane, &installed, folder.path()).await;

    let backend = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let base_url = format!("tcp://{}", backend.local_addr().expect("an address"));
    let service = json!({
        "apiVersion": "portolan.dev/v1alpha1", "kind": "Service",
        "metadata": { "name": "applied", "namespace": namespace },
        "spec": { "instances": [{ "name": "a", "baseUrl": base_url }] },
    });
    plane.kubectl().apply(&service.to_string()).await.expect("applied");
    let is_ready = async |name: &str| {
        let object = format!("services.portolan.dev/{name}");
        let args = ["wait", "--for=condition=Ready", &object, "-n", namespace, "--timeout=40s"];
        plane.kubectl().run(&args).await.expect("ready");
    };
    is_ready("applied").await;
    let read = async |target: &str| {
        let client = portolan::crypto::http_client().no_proxy().build().expect("a client");
        let answer = client.get(format!("{url}{target}")).send().await.expect("an answer");
        answer.text().await.expect("a body")
    };
    let found: Value = serde_json::from_str(&read("/api/v1/services/discover?name=applied").await).expect("JSON");
    assert_eq!((&found["data"]["status"], &found["data"]["base_url"]), (&json!("healthy"), &json!(base_url)), "served");
    let parts = read("/readyz?verbose").await;
    assert!(
        parts.contains("[+] leader: this replica") && parts.contains("[+] mirror: up to date with the cluster\n"),
        "{parts}"
    );

    let file = folder.path().join("token");
    if overlay == "cluster" {
        projected(plane, namespace, &file).await;
    } else {
        // Without rights outside the namespace it cannot review the cluster's tokens.
        minted(folder.path(), &file);
    }
    let token = [("PORTOLAN_TOKEN_FILE", file.to_str().expect("UTF-8"))];
    let args = ["register", "--name", "registered", "--base-url", &base_url, "--check-tcp", "--server", &url];
    until("the token is taken", async || portolan_succeeds(&args, &token)).await;
    is_ready("registered").await;
    portolan(&["deregister", "registered", "--server", &url], &token);

    let user = format!("system:serviceaccount:{namespace}:portolan");
    let mine: Vec<_> = audit.requests().await.expect("requests").into_iter().filter(|r| r.user == user).collect();
    assert!(mine.iter().any(|r| r.subresource == "status" && r.code == 200), "no status was written: {mine:?}");
    assert!(
        mine.iter().any(|r| r.resource == "events.events.k8s.io" && r.code == 201),
        "no event was written: {mine:?}"
    );
    let definition = |r: &control_plane::Request| r.resource == "customresourcedefinitions.apiextensions.k8s.io";
    let refused: Vec<_> =
        mine.iter().filter(|r| r.code == 403 && !(overlay == "namespaced" && definition(r))).collect();
    assert!(refused.is_empty(), "{refused:?}");
}

#[tokio::test]
async fn a_pod_of_the_cluster_overlay_does_its_work_and_is_refused_nothing() {
    // It watches every namespace, so other tests use another control plane.
    let plane = ControlPlane::start().await.expect("a control plane");
    does_its_work(&plane, "cluster").await;
}

/// It may not read the definition, which belongs to no namespace, and works without.
#[tokio::test]
async fn a_pod_of_the_namespaced_overlay_does_its_work_and_is_refused_nothing() {
    does_its_work(shared().await, "namespaced").await;
}
