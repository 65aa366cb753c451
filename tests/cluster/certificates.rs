//! Certificates of checks that stand in ConfigMaps and Secrets of the service's namespace.

use std::sync::{Arc, Mutex};

use control_plane::{ControlPlane, Kubectl};
use kube::api::{Api, DynamicObject};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::common::{Installed, install, shared};
use crate::leading::authority::{Authority, Pair};
use crate::leading::pod::Pod;
use crate::sync::replica::until;
use crate::sync::{apply, manifest, objects, status};

/// An https server that demands a client certificate.
struct Backend {
    config: Arc<Mutex<Arc<ServerConfig>>>,
    url: String,
    _tasks: JoinSet<()>,
}

fn config(server: &Pair, clients: &Authority) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let der = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate");
    let mut roots = RootCertStore::empty();
    roots.add(der(&clients.pem())).expect("a CA");
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
    let key = PrivateKeyDer::from_pem_slice(server.key.as_bytes()).expect("a key");
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
    let config = config.with_client_cert_verifier(verifier.expect("a verifier"));
    Arc::new(config.with_single_cert(vec![der(&server.cert)], key).expect("a usable pair"))
}

impl Backend {
    async fn start(server: &Pair, clients: &Authority) -> Self {
        let config = Arc::new(Mutex::new(config(server, clients)));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("https://{}", listener.local_addr().expect("an address"));
        let (mut tasks, current) = (JoinSet::new(), Arc::clone(&config));
        tasks.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = TlsAcceptor::from(Arc::clone(&current.lock().expect("not poisoned")));
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let mut head = [0; 1024];
                let _ = stream.read(&mut head).await;
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
                let _ = stream.shutdown().await;
            }
        });
        Self { config, url, _tasks: tasks }
    }

    fn shows(&self, server: &Pair, clients: &Authority) {
        *self.config.lock().expect("not poisoned") = config(server, clients);
    }
}

/// Applied again, it replaces what was there.
async fn bundle(plane: &ControlPlane, namespace: &str, ca: &Authority) {
    let object = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "corp-ca", "namespace": namespace },
        "data": { "ca.crt": ca.pem() },
    });
    plane.kubectl().apply(&object.to_string()).await.expect("applied");
}

async fn pair(plane: &ControlPlane, namespace: &str, cert: &str, key: &str) {
    let object = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
        "metadata": { "name": "probe-tls", "namespace": namespace },
        "stringData": { "tls.crt": cert, "tls.key": key },
    });
    plane.kubectl().apply(&object.to_string()).await.expect("applied");
}

/// A service whose check trusts `corp-ca` and shows `probe-tls`, as the documentation writes it.
async fn serve(plane: &ControlPlane, namespace: &str, url: &str) -> Api<DynamicObject> {
    let mut ledger = manifest(namespace, "ledger", &[url.to_owned()]);
    let tls = json!({ "caFrom": { "configMap": "corp-ca" }, "clientCertFrom": { "secret": "probe-tls" } });
    ledger["spec"]["check"] = json!({ "http": { "tls": tls }, "intervalSeconds": 1 });
    apply(plane, &ledger).await;
    objects(plane, namespace).await
}

/// Waits until the instance's message has these words.
async fn until_said(api: &Api<DynamicObject>, words: &str) {
    until(&format!("the status says: {words}"), async || {
        let said = status(api, "ledger").await;
        said["instances"][0]["reason"] == "CaUnavailable"
            && said["instances"][0]["message"].as_str().is_some_and(|message| message.contains(words))
    })
    .await;
}

async fn until_state(api: &Api<DynamicObject>, state: &str) {
    until(&format!("the service is {state}"), async || status(api, "ledger").await["state"] == state).await;
}

/// The Role and its RoleBinding, word for word as docs/checks.md has them, for another namespace and another install.
fn documented_rights(namespace: &str, install: &str) -> String {
    let text = include_str!("../../docs/checks.md");
    let blocks = text.split("```yaml\n").filter_map(|rest| rest.split_once("```")).map(|(block, _)| block);
    let block = blocks.into_iter().find(|block| block.contains("kind: RoleBinding")).expect("the document has them");
    block
        .replace("namespace: shop", &format!("namespace: {namespace}"))
        .replace("namespace: portolan", &format!("namespace: {install}"))
}

async fn can_read(kubectl: &Kubectl, namespace: &str) -> [bool; 3] {
    let mut can = [false; 3];
    for (can, question) in can.iter_mut().zip([["get", "secrets"], ["list", "secrets"], ["get", "configmaps"]]) {
        *can = kubectl.can_i(&[question[0], question[1], "-n", namespace]).await.expect("an answer");
    }
    can
}

/// Portolan with all that it logs, which watches these namespaces beside its own.
async fn pod(plane: &ControlPlane, installed: &Installed, watched: &[&str], folder: &std::path::Path) -> Pod {
    let watched = [&[&*installed.namespace], watched].concat().join(",");
    let settings = [("PORTOLAN_WATCH_NAMESPACES", &*watched), ("LOG_LEVEL", "trace")];
    assert_eq!(can_read(&plane.kubectl_as(&installed.account), &installed.namespace).await, [false; 3]);
    Pod::start_with(folder, &installed.account, &installed.namespace, "portolan-0", &settings).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespaces_certificates_serve_its_checks_by_rights_that_it_grants_and_its_key_stays_unseen() {
    let plane = shared().await;
    let installed = install(plane, "cluster").await;
    let shop = plane.namespace("shop").await.expect("a namespace");
    let folder = tempfile::tempdir().expect("a folder");
    let pod = pod(plane, &installed, &[&shop], folder.path()).await;
    let (ca, clients) = (Authority::new("servers"), Authority::new("clients"));
    let probe = clients.issue(&["probe.example.org"]);
    let backend = Backend::start(&ca.issue(&["127.0.0.1"]), &clients).await;
    bundle(plane, &shop, &ca).await;
    let api = serve(plane, &shop, &backend.url).await;

    until_said(&api, "the ConfigMap corp-ca of this namespace may not be read by Portolan; let a Role").await;
    let said = status(&api, "ledger").await;
    let conditions = said["conditions"].as_array().expect("a list");
    let ready = conditions.iter().find(|condition| condition["type"] == "Ready").expect("the condition");
    assert_eq!((&ready["status"], &ready["reason"]), (&json!("Unknown"), &json!("CheckCannotRun")), "{said}");

    plane.kubectl().apply(&documented_rights(&shop, &installed.namespace)).await.expect("applied");
    until_said(&api, "the Secret probe-tls of this namespace does not exist; create it").await;
    pair(plane, &shop, &probe.cert, &clients.issue(&["other"]).key).await;
    until_said(&api, "its private key is not that of its certificate").await;
    pair(plane, &shop, &probe.cert, &probe.key).await;
    until_state(&api, "Healthy").await;
    let account = plane.kubectl_as(&installed.account);
    assert_eq!(can_read(&account, &shop).await, [false; 3], "no right but for these names");

    // Both sides change their authority at once, as a Secret of cert-manager does.
    let (ca, clients) = (Authority::new("next servers"), Authority::new("next clients"));
    backend.shows(&ca.issue(&["127.0.0.1"]), &clients);
    until_state(&api, "Down").await;
    let renewed = clients.issue(&["probe.example.org"]);
    bundle(plane, &shop, &ca).await;
    pair(plane, &shop, &renewed.cert, &renewed.key).await;
    until_state(&api, "Healthy").await;

    let found = pod.service("ledger").await;
    assert!(found.is_none(), "its namespace is not the default one: {found:?}");
    let mut seen = vec![("the log", pod.log())];
    for target in
        ["/api/v1/services?namespace=", "/api/v1/probes?namespace=", "/api/v1/services/discover?name=ledger&namespace="]
    {
        seen.push(("an answer", pod.get(&format!("{target}{shop}")).await.text));
    }
    seen.push(("the metrics", pod.get("/metrics").await.text));
    seen.push(("the object", serde_json::to_string(&api.get("ledger").await.expect("found")).expect("JSON")));
    seen.push((
        "the events",
        plane.kubectl().run(&["get", "events", "-n", &shop, "-o", "yaml"]).await.expect("events"),
    ));
    for file in std::fs::read_dir(folder.path()).expect("a folder") {
        let bytes = std::fs::read(file.expect("a file").path()).unwrap_or_default();
        seen.push(("a file", String::from_utf8_lossy(&bytes).into_owned()));
    }
    assert!(seen[0].1.contains("probe-tls"), "the requests are in the log");
    for key in [&probe.key, &renewed.key] {
        for (what, text) in &seen {
            for secret in traces_of(key) {
                assert!(!text.contains(&secret), "{what} has a part of the key");
            }
        }
    }
    assert!(
        seen.iter().any(|(what, text)| *what == "an answer" && text.contains("probe-tls")),
        "its name is no secret"
    );
}

/// Texts that only a copy of the key has: lines of its PEM, and of that in base64, at each of the three alignments.
fn traces_of(key: &str) -> Vec<String> {
    let line = key.lines().nth(1).expect("a line").to_owned();
    let whole = k8s_openapi::ByteString(key.as_bytes().to_vec());
    let Ok(Value::String(coded)) = serde_json::to_value(&whole) else { panic!("base64") };
    let middle = coded.len() / 2;
    let bytes = line.bytes().take(16).map(|byte| byte.to_string()).collect::<Vec<_>>().join(", ");
    vec![line, coded[middle..middle + 32].to_owned(), bytes]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_cannot_use_the_certificates_of_another_namespace() {
    let plane = shared().await;
    let installed = install(plane, "cluster").await;
    let (shop, mail) = (plane.namespace("shop").await.expect("one"), plane.namespace("mail").await.expect("another"));
    let folder = tempfile::tempdir().expect("a folder");
    let (ca, clients) = (Authority::new("servers"), Authority::new("clients"));
    let probe = clients.issue(&["probe.example.org"]);
    let backend = Backend::start(&ca.issue(&["127.0.0.1"]), &clients).await;
    bundle(plane, &shop, &ca).await;
    pair(plane, &shop, &probe.cert, &probe.key).await;
    plane.kubectl().apply(&documented_rights(&shop, &installed.namespace)).await.expect("applied");
    let _pod = pod(plane, &installed, &[&shop, &mail], folder.path()).await;
    let (owner, other) = (serve(plane, &shop, &backend.url).await, serve(plane, &mail, &backend.url).await);
    until_state(&owner, "Healthy").await;
    until_said(&other, "the ConfigMap corp-ca of this namespace may not be read by Portolan").await;
    plane.kubectl().apply(&documented_rights(&mail, &installed.namespace)).await.expect("applied");
    until_said(&other, "the ConfigMap corp-ca of this namespace does not exist").await;
    bundle(plane, &mail, &ca).await;
    until_said(&other, "the Secret probe-tls of this namespace does not exist").await;

    let mut reaching = manifest(&mail, "ledger", std::slice::from_ref(&backend.url));
    let tls = json!({ "caFrom": { "configMap": "corp-ca", "namespace": shop } });
    reaching["spec"]["check"] = json!({ "http": { "tls": tls } });
    let refused = plane.kubectl().apply(&reaching.to_string()).await.expect_err("refused").to_string();
    assert!(refused.contains("namespace"), "{refused}");
    for name in ["../../shop/configmaps/corp-ca", "shop/corp-ca"] {
        reaching["spec"]["check"]["http"]["tls"] = json!({ "caFrom": { "configMap": name } });
        assert!(plane.kubectl().apply(&reaching.to_string()).await.is_err(), "{name}");
    }
}
