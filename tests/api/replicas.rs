//! Connections of other replicas, which show the server's own certificate.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use portolan::api::tls::TlsSettings;
use reqwest::{Certificate, Client, Identity};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::app::{Options, TestApp};
use crate::authority::{Authority, Pair};

/// Long enough for the slowest machine; reached only when a test fails.
const HANG: Duration = Duration::from_mins(2);

/// A server with a certificate of `ca`; with `peers` it knows replicas by that CA, too.
async fn server(folder: &Path, ca: &Authority, pair: &Pair, peers: bool) -> TestApp {
    let (cert, key) = pair.write(folder, "tls");
    let client_ca = Some(Authority::new("clients").write(folder, "clients.crt"));
    let peer_ca = peers.then(|| ca.write(folder, "peers.crt"));
    let tls = Some(TlsSettings { cert, key, client_ca, peer_ca });
    TestApp::with(Options { auth: true, tls, ..Options::default() }).await
}

/// One connection, kept open, that shows `pair`.
struct Line {
    stream: TlsStream<TcpStream>,
    host: String,
}

impl Line {
    async fn open(app: &TestApp, ca: &Authority, pair: &Pair) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(ca.pem().as_bytes()).expect("PEM")).expect("a certificate");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config =
            ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
        let chain = vec![CertificateDer::from_pem_slice(pair.cert.as_bytes()).expect("a certificate")];
        let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).expect("a key");
        let config = config.with_root_certificates(roots).with_client_auth_cert(chain, key).expect("a usable pair");
        let tcp = TcpStream::connect(app.address).await.expect("it listens");
        let name = ServerName::try_from("127.0.0.1").expect("an address");
        let stream = TlsConnector::from(Arc::new(config)).connect(name, tcp).await.expect("a handshake");
        Self { stream, host: app.address.to_string() }
    }

    /// Registers a service on behalf of a client with a certificate. Returns the answer in lower case.
    async fn register(&mut self, name: &str) -> String {
        let body = format!(r#"{{"name":"{name}","base_url":"http://127.0.0.1:9"}}"#);
        let request = format!(
            "POST /api/v1/services/register HTTP/1.1\r\nHost: {}\r\nPortolan-Certificate-Subject: web.example.org\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.host,
            body.len()
        );
        self.stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        let read = async {
            while !is_whole(&answer) {
                let mut piece = [0; 4096];
                let len = self.stream.read(&mut piece).await.expect("it is open");
                assert!(len > 0, "closed without an answer");
                answer.push_str(std::str::from_utf8(&piece[..len]).expect("ASCII"));
            }
        };
        tokio::time::timeout(HANG, read).await.expect("an answer");
        answer.to_ascii_lowercase()
    }
}

/// Whether an answer has its whole body.
fn is_whole(answer: &str) -> bool {
    let Some((head, body)) = answer.split_once("\r\n\r\n") else { return false };
    let length =
        head.to_ascii_lowercase().lines().find_map(|line| Some(line.strip_prefix("content-length: ")?.parse()));
    body.len() >= length.and_then(Result::ok).unwrap_or(0)
}

/// A watch of a client that shows `pair`.
async fn watch(app: &TestApp, ca: &Authority, pair: &Pair) -> reqwest::Response {
    let root = Certificate::from_pem(ca.pem().as_bytes()).expect("a certificate");
    let identity = Identity::from_pem(format!("{}{}", pair.key, pair.cert).as_bytes()).expect("a pair");
    let client: Client =
        portolan::crypto::http_client().no_proxy().tls_certs_only([root]).identity(identity).build().expect("a client");
    let answer = client.get(format!("https://{}/api/v1/watch", app.address)).send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
    answer
}

async fn until_ended(mut watch: reqwest::Response) {
    let ended = async { while watch.chunk().await.ok().flatten().is_some() {} };
    tokio::time::timeout(HANG, ended).await.expect("the stream ends");
}

/// Waits until the server shows the certificate.
async fn until_shown(app: &TestApp, ca: &Authority, pair: &Pair) {
    let wanted = CertificateDer::from_pem_slice(pair.cert.as_bytes()).expect("a certificate");
    let shown = async {
        loop {
            let line = Line::open(app, ca, pair).await;
            if line.stream.get_ref().1.peer_certificates().and_then(<[_]>::first) == Some(&wanted) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(HANG, shown).await.expect("the renewed certificate is shown");
}

#[tokio::test]
async fn a_connection_with_the_former_key_no_longer_counts_as_a_replicas() {
    let (folder, ca) = (tempfile::tempdir().expect("a folder"), Authority::new("servers"));
    let pair = ca.issue(&["127.0.0.1"]);
    let app = server(folder.path(), &ca, &pair, false).await;
    let (mut line, stream) = (Line::open(&app, &ca, &pair).await, watch(&app, &ca, &pair).await);
    let answer = line.register("a").await;
    assert!(answer.starts_with("http/1.1 200"), "{answer}");

    ca.issue(&["127.0.0.1"]).write(folder.path(), "tls");
    until_ended(stream).await;
    let answer = line.register("b").await;
    assert!(answer.starts_with("http/1.1 503") && answer.contains("connection: close"), "{answer}");
    assert!(answer.contains("retry-after: 1"), "{answer}");
}

#[tokio::test]
async fn a_connection_goes_on_while_the_replicas_ca_and_names_still_identify_it() {
    let (folder, ca) = (tempfile::tempdir().expect("a folder"), Authority::new("servers"));
    let pair = ca.issue(&["127.0.0.1"]);
    let app = server(folder.path(), &ca, &pair, true).await;
    let (mut line, mut stream) = (Line::open(&app, &ca, &pair).await, watch(&app, &ca, &pair).await);
    let renewed = ca.issue(&["127.0.0.1"]);
    renewed.write(folder.path(), "tls");
    until_shown(&app, &ca, &renewed).await;
    let answer = line.register("later").await;
    assert!(answer.starts_with("http/1.1 200"), "{answer}");
    let heard = async {
        let mut text = String::new();
        while !text.contains("\"later\"") {
            text.push_str(&String::from_utf8_lossy(&stream.chunk().await.expect("open").expect("it goes on")));
        }
    };
    tokio::time::timeout(HANG, heard).await.expect("the watch goes on");

    ca.issue(&["127.0.0.1", "other.example.org"]).write(folder.path(), "tls");
    until_ended(stream).await;
    let answer = line.register("b").await;
    assert!(answer.starts_with("http/1.1 503"), "{answer}");
}
