//! Replicas that speak HTTPS with each other and with clients that have a certificate.

use std::path::{Path, PathBuf};

use reqwest::{Certificate, Client, Identity, Method};
use serde_json::json;

use super::authority::{Authority, Pair};
use super::pod::Pod;
use super::until;
use crate::common::{install, shared};

/// The name in the replicas' certificates, beside the address at which the test asks them.
const NAMES: [&str; 2] = ["portolan.portolan.svc", "127.0.0.1"];

/// The files of one replica.
struct Files(PathBuf);

impl Files {
    fn new(folder: &Path, name: &str, ca: &Authority, clients: &Authority, pair: &Pair) -> Self {
        let folder = folder.join(name);
        std::fs::create_dir(&folder).expect("a new folder");
        ca.write(&folder, "ca.crt");
        clients.write(&folder, "clients.crt");
        pair.write(&folder, "tls");
        Self(folder)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("UTF-8").to_owned()
    }
}

fn client(ca: &Authority, pair: &Pair) -> Client {
    let root = Certificate::from_pem(ca.pem().as_bytes()).expect("a certificate");
    let identity = Identity::from_pem(format!("{}{}", pair.key, pair.cert).as_bytes()).expect("a pair");
    let builder = portolan::crypto::http_client().no_proxy().tls_certs_only([root]).identity(identity);
    builder.build().expect("a client")
}

#[tokio::test(flavor = "multi_thread")]
async fn followers_know_the_leader_through_a_renewal_and_pass_on_what_a_certificate_may() {
    let plane = shared().await;
    let installed = install(plane, "cluster").await;
    let (namespace, folder) = (installed.namespace.as_str(), tempfile::tempdir().expect("a folder"));
    let (ca, clients) = (Authority::new("servers"), Authority::new("clients"));
    let id = |account: &str| format!("spiffe://cluster.local/ns/{namespace}/sa/{account}");
    let (web, mail) = (clients.issue(&[&id("web")]), clients.issue(&[&id("mail")]));
    let start = async |name: &str, pair: &Pair, peers: bool| {
        let files = Files::new(folder.path(), name, &ca, &clients, pair);
        let mut settings = vec![
            ("ENABLE_AUTH", "true".to_owned()),
            ("JWT_SECRET", "0123456789abcdef0123456789abcdef-for-tests".to_owned()),
            ("PORTOLAN_BIND_ADDRESS", "127.0.0.1".to_owned()),
            ("PORTOLAN_TLS_CERT", files.path("tls.crt")),
            ("PORTOLAN_TLS_KEY", files.path("tls.key")),
            ("PORTOLAN_TLS_CLIENT_CA", files.path("clients.crt")),
        ];
        settings.extend(peers.then(|| ("PORTOLAN_TLS_PEER_CA", files.path("ca.crt"))));
        let settings: Vec<_> = settings.iter().map(|(name, value)| (*name, &**value)).collect();
        let pod = Pod::start_with(folder.path(), &installed.account, namespace, name, &settings).await;
        (pod.asked_by(client(&ca, &web)), files)
    };
    let pair = ca.issue(&NAMES);
    let (one, other) = (start("portolan-0", &pair, true).await, start("portolan-1", &pair, true).await);
    until("one leads", async || one.0.leads().await || other.0.leads().await).await;
    until("both are ready", async || one.0.is_ready().await && other.0.is_ready().await).await;
    let ((leader, files), (follower, _)) = if one.0.leads().await { (one, other) } else { (other, one) };
    until("the follower sees the leader", async || follower.leader().await.contains(&leader.name)).await;

    let body = json!({
        "name": "batch", "namespace": namespace, "base_url": "http://10.0.0.1:80", "check": {"heartbeat": {"ttl_seconds": 60}},
    });
    let registered = follower.register(&body).await;
    assert_eq!(registered.status, 200, "{}\n{}", registered.text, follower.log());
    let service = format!("/api/v1/services/{}", registered.json()["data"]["id"].as_str().expect("an id"));
    let check = format!("{service}/health-check");
    let renewed = async |pair: &Pair| {
        let before = leader.log().matches("read the changed certificate").count();
        pair.write(&files.0, "tls");
        let count = async || leader.log().matches("read the changed certificate").count();
        until("the leader shows another certificate", async || count().await > before).await;
    };
    // One with the same names that the replicas' CA has not issued.
    renewed(&Authority::new("somebody").issue(&NAMES)).await;
    assert_eq!(follower.ask(Method::POST, &check).await.status, 503, "{}", follower.log());
    // The renewal has reached the leader only: each verifies the other by the CA.
    let pair = ca.issue(&NAMES);
    renewed(&pair).await;
    let checked = follower.ask(Method::POST, &check).await;
    assert_eq!(checked.status, 200, "{}\n{}\n{}", checked.text, follower.log(), leader.log());

    // Without the CA's file the same certificate counts.
    let (pinned, _) = start("portolan-2", &pair, false).await;
    until("it sees the leader", async || pinned.is_ready().await && pinned.leader().await.contains(&leader.name)).await;
    let (beat, warned) = (format!("{service}/instances/default/heartbeat"), json!({"status": "warn", "note": "full"}));
    let accepted = pinned.send(Method::PUT, &beat, &warned).await;
    assert_eq!(accepted.status, 200, "{}\n{}\n{}", accepted.text, pinned.log(), leader.log());
    until("it came to the leader", async || leader.get(&service).await.text.contains("full")).await;
    let pinned = pinned.asked_by(client(&ca, &mail));
    let refused = [pinned.send(Method::PUT, &beat, &warned).await, pinned.ask(Method::POST, &check).await];
    for refused in refused {
        assert!(refused.status == 403 && refused.text.contains("not_owner"), "another's: {}", refused.text);
    }
}
