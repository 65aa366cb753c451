//! Certificates of servers that are probed: when they expire.

use std::sync::Arc;

use portolan::prober::ProberSettings;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use reqwest::Method;
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::app::{Options, TestApp};

/// An https server whose certificate expires on the first day of a year.
async fn server(tasks: &mut JoinSet<()>, year: i32) -> std::net::SocketAddr {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("a name");
    params.not_after = date_time_ymd(year, 1, 1);
    let certificate = params.self_signed(&key).expect("a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
    let shown = vec![certificate.der().clone()];
    let config = config.with_no_client_auth().with_single_cert(shown, PrivateKeyDer::Pkcs8(key.serialize_der().into()));
    let acceptor = TlsAcceptor::from(Arc::new(config.expect("a usable key")));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tasks.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut head = [0; 1024];
            let _ = stream.read(&mut head).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        }
    });
    address
}

#[tokio::test]
async fn the_expiry_of_a_certificate_is_in_the_probes_and_the_metrics_and_moves_no_revision() {
    let app = TestApp::with(Options { prober: Some(ProberSettings::default()), ..Options::default() }).await;
    let mut tasks = JoinSet::new();
    let address = server(&mut tasks, 2100).await;
    let body = json!({
        "name": "a", "base_url": format!("https://{address}"), "health_url": format!("https://{address}/"),
        "check": {"interval_seconds": 86400, "http": {"tls": {"verify": false}}},
    });
    let id = app.register(&body).await.ok()["data"]["id"].as_str().expect("an id").to_owned();
    let check = format!("/api/v1/services/{id}/health-check");
    let probe = || async { app.send(app.request(Method::POST, &check)).await.ok() };
    let outcome = probe().await["checks"][0]["outcome"].clone();
    assert_eq!(outcome["verdict"], "pass", "{outcome}");
    assert_eq!(outcome["certificate_expires_at"], "2100-01-01T00:00:00.000Z", "{outcome}");
    let revision = || async { app.get("/api/v1/services/discover?name=a").await.ok()["data"]["revision"].clone() };
    let before = revision().await;
    probe().await;
    assert_eq!(revision().await, before);
    let probes = app.get(&format!("/api/v1/probes?id={id}")).await.ok();
    assert_eq!(probes["data"][0]["instances"][0]["last"]["certificate_expires_at"], "2100-01-01T00:00:00.000Z");
    let series = "portolan_certificate_expiry_seconds{namespace=\"default\",service=\"a\"} 4102444800\n";
    let text = app.get("/metrics").await.text();
    assert!(text.contains(series) && text.ends_with("# EOF\n"), "{text}");
    app.send(app.request(Method::DELETE, &format!("/api/v1/services/{id}"))).await.ok();
    let text = app.get("/metrics").await.text();
    assert!(!text.contains("portolan_certificate_expiry_seconds"), "{text}");
}

#[tokio::test]
async fn a_certificate_counts_until_its_server_shows_another() {
    let app = TestApp::with(Options { prober: Some(ProberSettings::default()), ..Options::default() }).await;
    let (mut first, mut second) = (JoinSet::new(), JoinSet::new());
    let (sooner, later) = (server(&mut first, 2090).await, server(&mut second, 2100).await);
    let check = |name: &str, address| json!({"name": name, "url": format!("https://{address}/"), "http": {"tls": {"verify": false}}, "interval_seconds": 86400});
    let checks = [check("later", later), check("sooner", sooner)];
    let body = json!({"name": "a", "base_url": format!("https://{later}"), "checks": checks});
    let id = app.register(&body).await.ok()["data"]["id"].as_str().expect("an id").to_owned();
    let path = format!("/api/v1/services/{id}/health-check");
    let probe = || async { app.send(app.request(Method::POST, &path)).await.ok() };
    let expires = || async {
        let text = app.get("/metrics").await.text();
        let line = text.lines().find(|line| line.starts_with("portolan_certificate_expiry_seconds{"));
        line.and_then(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
    };
    probe().await;
    assert_eq!(expires().await, Some(3_786_912_000), "the first of both");
    first.shutdown().await;
    let failed = probe().await;
    assert!(failed.to_string().contains("ConnectRefused"), "{failed}");
    // The other check shows its certificate after the failure.
    probe().await;
    assert_eq!(expires().await, Some(3_786_912_000), "that of the server which is away still counts");
}

#[tokio::test]
async fn a_probe_that_only_observes_changes_nothing() {
    let app = TestApp::with(Options { prober: Some(ProberSettings::default()), ..Options::default() }).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let body = json!({
        "name": "a", "base_url": format!("http://{address}"),
        "check": {"tcp": {}, "interval_seconds": 86400, "unhealthy_threshold": 1},
    });
    let id = app.register(&body).await.ok()["data"]["id"].as_str().expect("an id").to_owned();
    let path = format!("/api/v1/services/{id}");
    app.send(app.request(Method::POST, &format!("{path}/health-check"))).await.ok();
    drop(listener);
    let read = || async {
        let mut service = app.get(&path).await.ok()["data"].clone();
        // When it was probed last is not a change.
        service["last_health_check"] = Value::Null;
        let history = app.get(&format!("{path}/history")).await.ok()["data"].clone();
        let streak =
            app.get(&format!("/api/v1/probes?id={id}")).await.ok()["data"][0]["instances"][0]["streak"].clone();
        (service, history, streak)
    };
    let before = read().await;
    assert_eq!(before.0["status"], "healthy", "{before:?}");
    for _ in 0..3 {
        let shown = app.send(app.request(Method::POST, &format!("{path}/health-check?observe=true"))).await.ok();
        assert_eq!(shown["checks"][0]["outcome"]["reason"], "ConnectRefused", "{shown}");
    }
    // Written after whatever those probes would have changed.
    app.add("later").await;
    assert_eq!(read().await, before);
    // The same, meant: now it counts.
    app.send(app.request(Method::POST, &format!("{path}/health-check"))).await.ok();
    assert_eq!(app.get(&path).await.ok()["data"]["status"], "unhealthy");
}
