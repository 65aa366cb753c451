//! Callers that are ServiceAccounts, with tokens that the API server gives and takes back; Portolan has the rights of the overlay, and no secret.

mod away;
mod namespaces;
mod tokens;

use control_plane::{ControlPlane, Kubeconfig};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::{Installed, install, repository, shared};
use crate::leading::pod::{Answer, Pod};
use crate::sync::replica::until;

/// Where Portolan is installed, and a namespace in which the ServiceAccount `api` may register.
struct Stage<'a> {
    plane: &'a ControlPlane,
    own: String,
    account: Kubeconfig,
    shop: String,
    folder: TempDir,
}

impl Stage<'static> {
    async fn new() -> Self {
        Self::at(shared().await).await
    }
}

impl<'a> Stage<'a> {
    async fn at(plane: &'a ControlPlane) -> Self {
        let Installed { namespace: own, account } = install(plane, "cluster").await;
        let shop = plane.namespace("shop").await.expect("a namespace");
        let file = std::fs::read_to_string(repository().join("deploy/rest-namespace.yaml")).expect("a file");
        let file = file.replace("namespace: portolan", &format!("namespace: {own}"));
        let kubectl = plane.kubectl();
        kubectl.run_with(&["apply", "-n", &shop, "-f", "-"], &file).await.expect("opened to registrations");
        kubectl.run(&["create", "serviceaccount", "api", "-n", &shop]).await.expect("created");
        Self { plane, own, account, shop, folder: tempfile::tempdir().expect("a folder") }
    }

    /// A replica that answers, with auth on.
    async fn pod(&self, name: &str, settings: &[(&str, &str)]) -> Pod {
        self.pod_as(&self.account, name, settings).await
    }

    async fn pod_as(&self, account: &Kubeconfig, name: &str, settings: &[(&str, &str)]) -> Pod {
        let namespaces = format!("{},{}", self.own, self.shop);
        let usual = [
            ("ENABLE_AUTH", "true"),
            ("PORTOLAN_BIND_ADDRESS", "127.0.0.1"),
            ("PORTOLAN_WATCH_NAMESPACES", &*namespaces),
            ("PORTOLAN_REST_NAMESPACES", &*namespaces),
        ];
        let settings = [&usual[..], settings].concat();
        let pod = Pod::start_with(self.folder.path(), account, &self.own, name, &settings).await;
        until("it is ready", async || pod.is_ready().await).await;
        until("it knows the cluster's keys", async || pod.log().contains("read the keys of the cluster's tokens"))
            .await;
        pod
    }

    /// `kubectl create token api` with these flags.
    async fn token(&self, flags: &[&str]) -> String {
        let args = [&["create", "token", "api", "-n", &self.shop, "--duration=10m"], flags].concat();
        self.plane.kubectl().run(&args).await.expect("a token").trim().to_owned()
    }

    /// A token as a pod gets one that projects it for Portolan.
    async fn projected(&self) -> String {
        self.token(&["--audience=portolan"]).await
    }

    /// Lets the ServiceAccount write in Portolan's own namespace.
    async fn bind_writer(&self) {
        let role = format!("--clusterrole=portolan-writer-{}", self.own);
        let account = format!("--serviceaccount={}:api", self.shop);
        let args = ["create", "rolebinding", "api", "-n", &self.own, &role, &account];
        self.plane.kubectl().run(&args).await.expect("bound");
    }

    async fn service(&self, namespace: &str, name: &str) -> Value {
        let args = ["get", "services.portolan.dev", name, "-n", namespace, "-o", "json"];
        serde_json::from_str(&self.plane.kubectl().run(&args).await.expect("found")).expect("JSON")
    }
}

/// A registration in `namespace` with a lease.
fn registration(namespace: &str, name: &str) -> Value {
    json!({"name": name, "namespace": namespace, "instance": "a", "base_url": "http://10.0.0.5:80", "ttl_seconds": 60})
}

async fn register(pod: &Pod, token: &str, body: &Value) -> Answer {
    pod.send_as(token, Method::POST, "/api/v1/services/register", body).await
}

/// Status and code.
fn outcome(answer: &Answer) -> (u16, String) {
    (answer.status.as_u16(), answer.json()["code"].as_str().unwrap_or_default().to_owned())
}

/// The hint or the message of a refusal.
fn reason(answer: &Answer) -> String {
    let json = answer.json();
    let text = json["hint"].as_str().or(json["error"].as_str());
    text.unwrap_or_default().to_owned()
}

async fn heartbeat(pod: &Pod, token: &str, id: &str) -> Answer {
    let target = format!("/api/v1/services/{id}/instances/a/heartbeat");
    pod.send_as(token, Method::PUT, &target, &json!({"status": "pass"})).await
}

fn id(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()["data"]["id"].as_str().expect("an id").to_owned()
}
