//! HTTPS: certificates that change, clients that show one, and handshakes that come to nothing.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use portolan::api::access::{Mint, mint};
use portolan::api::tls::TlsSettings;
use portolan::model::time::UnixMs;
use reqwest::{Certificate, Client, Identity, Method, RequestBuilder, StatusCode};
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use crate::app::{Options, SECRET, TestApp, token};
use crate::authority::{Authority, Pair};

/// Long enough for the slowest machine; reached only when a test fails.
const HANG: Duration = Duration::from_mins(2);

/// A server with TLS, and the folder with its files.
struct Https {
    app: TestApp,
    folder: tempfile::TempDir,
    ca: Authority,
    clients: Authority,
}

impl Https {
    async fn start() -> Self {
        Self::with(Options::default(), false).await
    }

    async fn with(options: Options, clients: bool) -> Self {
        let (folder, ca) = (tempfile::tempdir().expect("a folder"), Authority::new("servers"));
        let (cert, key) = ca.issue(&["127.0.0.1"]).write(folder.path(), "tls");
        let authority = Authority::new("clients");
        let client_ca = clients.then(|| authority.write(folder.path(), "clients.crt"));
        let tls = Some(TlsSettings { cert, key, client_ca, peer_ca: None });
        let app = TestApp::with(Options { tls, ..options }).await;
        Self { app, folder, ca, clients: authority }
    }

    /// A server with auth on that asks clients for a certificate.
    async fn mutual(required: bool) -> Self {
        let options = Options { auth: true, certificate_required: required, ..Options::default() };
        Self::with(options, true).await
    }

    fn url(&self, target: &str) -> String {
        format!("https://{}{target}", self.app.address)
    }

    /// A client that trusts `ca` and shows `pair`.
    fn client_of(ca: &Authority, pair: Option<&Pair>) -> Client {
        let root = Certificate::from_pem(ca.pem().as_bytes()).expect("a certificate");
        let builder = portolan::crypto::http_client().no_proxy().tls_certs_only([root]);
        let builder = match pair {
            None => builder,
            Some(Pair { cert, key }) => {
                builder.identity(Identity::from_pem(format!("{key}{cert}").as_bytes()).expect("a pair"))
            }
        };
        builder.build().expect("a client")
    }

    fn client(&self) -> Client {
        Self::client_of(&self.ca, None)
    }

    /// A client with a certificate for these names.
    fn named(&self, names: &[&str]) -> Client {
        Self::client_of(&self.ca, Some(&self.clients.issue(names)))
    }

    /// None where the server is quicker to give up than the machine to shake hands.
    async fn metric(&self, client: &Client, name: &str) -> Option<i64> {
        let text = client.get(self.url("/metrics")).send().await.ok()?.text().await.ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Some(line.unwrap_or("0").parse().expect("a number"))
    }

    /// Waits until the metric has the value.
    async fn until_metric(&self, client: &Client, name: &str, wanted: i64) {
        let wait = async {
            while self.metric(client, name).await != Some(wanted) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(HANG, wait).await.expect("the metric never came about");
    }

    async fn tcp(&self) -> TcpStream {
        TcpStream::connect(self.app.address).await.expect("it listens")
    }

    fn register(&self, client: &Client, name: &str, namespace: Option<&str>) -> RequestBuilder {
        let body = json!({"name": name, "base_url": "http://127.0.0.1:9", "namespace": namespace});
        client.post(self.url("/api/v1/services/register")).json(&body)
    }
}

/// The status, and the code of a refusal.
async fn outcome(request: RequestBuilder) -> (u16, String) {
    let answer = request.send().await.expect("an answer");
    let status = answer.status().as_u16();
    let json: Value = answer.json().await.unwrap_or_default();
    (status, json["code"].as_str().unwrap_or_default().to_owned())
}

/// The status; none where the handshake fails.
async fn outcome_or_none(request: RequestBuilder) -> Option<u16> {
    request.send().await.ok().map(|answer| answer.status().as_u16())
}

/// The number of rejections for that reason.
fn rejected(reason: &str) -> String {
    format!("portolan_rejected_total{{reason=\"{reason}\"}}")
}

async fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(HANG, stream.read_to_end(&mut bytes)).await.expect("the connection never ended");
    read.expect("ended cleanly, not by a reset");
    String::from_utf8_lossy(&bytes).into_owned()
}

fn config(https: &Https, versions: &[&'static rustls::SupportedProtocolVersion]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    let ca = rustls::pki_types::CertificateDer::from_pem_slice(https.ca.pem().as_bytes()).expect("a certificate");
    roots.add(ca).expect("a root");
    let builder = ClientConfig::builder_with_provider(portolan::crypto::provider());
    builder.with_protocol_versions(versions).expect("known").with_root_certificates(roots).with_no_client_auth()
}

#[tokio::test]
async fn both_versions_of_tls_and_only_http_1_1_are_spoken() {
    let https = Https::start().await;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let mut config = config(&https, &[version]);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let name = ServerName::try_from("127.0.0.1").expect("an address");
        let connector = TlsConnector::from(Arc::new(config.clone()));
        let mut stream = connector.connect(name.clone(), https.tcp().await).await.expect("a handshake");
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("ended by a close_notify");
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok\n"), "{answer}");
        config.alpn_protocols = vec![b"h2".to_vec()];
        let refused = TlsConnector::from(Arc::new(config)).connect(name, https.tcp().await).await;
        assert!(refused.expect_err("no HTTP/2").to_string().contains("NoApplicationProtocol"));
    }
}

#[tokio::test]
async fn large_answers_arrive_whole_and_events_at_once() {
    let https = Https::start().await;
    let client = https.client();
    let description = "d".repeat(900);
    for n in 0..120 {
        let body = json!({"name": format!("s{n}"), "base_url": "http://127.0.0.1:9", "description": description});
        let sent = client.post(https.url("/api/v1/services/register")).json(&body).send().await.expect("an answer");
        assert_eq!(sent.status(), 200);
    }
    let answer = client.get(https.url("/api/v1/services")).send().await.expect("an answer");
    let json: Value = answer.json().await.expect("a whole body");
    assert_eq!(json["data"].as_array().map(Vec::len), Some(120));
    let mut watch = client.get(https.url("/api/v1/watch")).send().await.expect("an answer");
    let heard = async {
        let mut text = String::new();
        let mut added = false;
        while !text.contains("\"late\"") {
            text.push_str(&String::from_utf8_lossy(&watch.chunk().await.expect("open").expect("more")));
            if !added && text.contains("s119") {
                added = true;
                assert_eq!(outcome(https.register(&client, "late", None)).await.0, 200);
            }
        }
    };
    tokio::time::timeout(HANG, heard).await.expect("the event never came");
}

#[tokio::test]
async fn plain_http_gets_a_sentence() {
    let https = Https::start().await;
    let mut stream = https.tcp().await;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await.expect("sent");
    let answer = rest(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("https://"), "{answer}");
    let mut stream = https.tcp().await;
    stream.write_all(b"\0\0\0\0nonsense").await.expect("sent");
    let mut nothing = Vec::new();
    let _ = tokio::time::timeout(HANG, stream.read_to_end(&mut nothing)).await.expect("closed");
    assert!(nothing.is_empty());
    let client = https.client();
    https.until_metric(&client, &rejected("plain_http"), 1).await;
    https.until_metric(&client, &rejected("tls_handshake"), 1).await;
}

#[tokio::test]
async fn a_handshake_that_stalls_is_cut_off_and_holds_up_nobody() {
    let https = Https::with(Options { quick: true, ..Options::default() }, false).await;
    let mut stalled = Vec::new();
    for _ in 0..40 {
        let mut stream = https.tcp().await;
        // A record that announces a ClientHello of 512 bytes, of which the first few come.
        stream.write_all(&[22, 3, 1, 2, 0, 1, 0, 1]).await.expect("sent");
        stalled.push(stream);
    }
    let mut silent = https.tcp().await;
    let client = https.client();
    https.until_metric(&client, "portolan_store_commit_errors_total", 0).await;
    for stream in &mut stalled {
        assert_eq!(rest(stream).await, "");
    }
    assert_eq!(rest(&mut silent).await, "");
    let counted = async |reason: &str| https.metric(&client, &rejected(reason)).await.unwrap_or_default();
    let all = async {
        while counted("slow_handshake").await < 40 || counted("silent_connection").await < 1 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(HANG, all).await.expect("both are counted");
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_while_requests_go_on() {
    let https = Arc::new(Https::start().await);
    let (asked, stop) = (Arc::new(AtomicUsize::new(0)), tokio_util::sync::CancellationToken::new());
    let mut tasks = JoinSet::new();
    for _ in 0..4 {
        let (https, asked, stop) = (Arc::clone(&https), Arc::clone(&asked), stop.clone());
        tasks.spawn(async move {
            while !stop.is_cancelled() {
                // A handshake for each.
                let answer = https.client().get(https.url("/healthz")).send().await.expect("never refused");
                assert_eq!(answer.status(), StatusCode::OK);
                asked.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let client = https.client();
    let in_force = |year: i32| {
        let (https, client) = (Arc::clone(&https), client.clone());
        let at = jiff::civil::date(i16::try_from(year).expect("a year"), 1, 1).to_zoned(jiff::tz::TimeZone::UTC);
        let seconds = at.expect("a day").timestamp().as_second();
        async move { https.until_metric(&client, "portolan_tls_certificate_expiry_seconds", seconds).await }
    };
    for year in [2100, 2101, 2102] {
        let renewed = https.ca.issue_with(&["127.0.0.1"], |params| params.not_after = rcgen::date_time_ymd(year, 1, 1));
        renewed.write(https.folder.path(), "tls");
        in_force(year).await;
    }
    let before = asked.load(Ordering::Relaxed);
    let more = async {
        while asked.load(Ordering::Relaxed) < before + 8 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(HANG, more).await.expect("requests go on");
    stop.cancel();
    while let Some(ended) = tasks.join_next().await {
        ended.expect("no request failed");
    }
}

#[tokio::test]
async fn a_changed_pair_that_cannot_be_used_leaves_the_old_one_in_force_until_a_good_one_comes() {
    let https = Https::start().await;
    let client = https.client();
    let failed = |wanted| https.until_metric(&client, "portolan_tls_reload_failed", wanted);
    let (cert, key) = (https.folder.path().join("tls.crt"), https.folder.path().join("tls.key"));
    let handshake = || async { https.client().get(https.url("/healthz")).send().await.expect("a handshake").status() };
    let spoil: [&dyn Fn(); 4] = [
        &|| std::fs::write(&key, https.ca.issue(&["127.0.0.1"]).key).expect("written"),
        &|| std::fs::write(&cert, "no certificate").expect("written"),
        &|| std::fs::remove_file(&key).expect("removed"),
        &|| {
            let ended = https.ca.issue_with(&["127.0.0.1"], |params| {
                params.not_after = rcgen::date_time_ymd(2020, 1, 1);
            });
            ended.write(https.folder.path(), "tls");
        },
    ];
    for spoil in spoil {
        spoil();
        failed(1).await;
        assert_eq!(handshake().await, 200);
        https.ca.issue(&["127.0.0.1"]).write(https.folder.path(), "tls");
        failed(0).await;
        assert_eq!(handshake().await, 200);
    }
}

#[tokio::test]
async fn a_certificate_is_an_owner_of_its_own() {
    let https = Https::mutual(false).await;
    let web = https.named(&["spiffe://cluster.local/ns/shop/sa/web", "web.shop.svc"]);
    let mail = https.named(&["spiffe://cluster.local/ns/shop/sa/mail"]);
    let (plain, dns) = (https.client(), https.named(&["build.example.org"]));
    assert_eq!(outcome(https.register(&plain, "a", Some("shop"))).await, (401, "token_required".to_owned()));
    assert_eq!(outcome(https.register(&web, "a", Some("shop"))).await.0, 200);
    assert_eq!(outcome(https.register(&web, "a", Some("shop"))).await.0, 200, "a renewal");
    assert_eq!(outcome(https.register(&mail, "a", Some("shop"))).await, (403, "not_owner".to_owned()));
    assert_eq!(
        outcome(https.register(&web, "b", None)).await,
        (403, "namespace_forbidden".to_owned()),
        "a workload's namespace is that of its SPIFFE id"
    );
    assert_eq!(outcome(https.register(&dns, "c", None)).await.0, 200, "any other certificate has the default one");
    assert_eq!(outcome(https.register(&dns, "c", Some("shop"))).await, (403, "namespace_forbidden".to_owned()));
    // A renewed certificate with the same name is the same owner.
    let renewed = https.named(&["spiffe://cluster.local/ns/shop/sa/web"]);
    assert_eq!(outcome(https.register(&renewed, "a", Some("shop"))).await.0, 200);
    let nobody = https.named(&["*.example.org"]);
    assert_eq!(outcome(https.register(&nobody, "d", None)).await, (401, "token_required".to_owned()));
}

#[tokio::test]
async fn a_token_wins_over_the_certificate_beside_it() {
    let https = Https::mutual(false).await;
    let web = https.named(&["spiffe://cluster.local/ns/shop/sa/web"]);
    let ci = token("ci", None, None);
    let by_token = |name: &str, token: &str| https.register(&web, name, None).bearer_auth(token);
    assert_eq!(outcome(by_token("a", &ci)).await.0, 200, "the token's namespace counts");
    let other = https.client();
    assert_eq!(outcome(https.register(&other, "a", None).bearer_auth(&ci)).await.0, 200, "and the token's owner");
    assert_eq!(outcome(by_token("a", "x.y.z")).await, (401, "token_invalid".to_owned()), "a bad one is not ignored");
    let posing = Mint {
        subject: "spiffe://cluster.local/ns/shop/sa/web".to_owned(),
        issuer: Some("certificate".to_owned()),
        namespaces: None,
        scopes: None,
        lasts: Duration::from_hours(1),
    };
    let posing = mint(&SECRET.into(), &posing, UnixMs::wall()).expect("a token");
    assert_eq!(outcome(by_token("a", &posing)).await, (401, "token_invalid".to_owned()), "no token is a certificate");
}

#[tokio::test]
async fn a_page_of_another_site_cannot_use_a_visitors_certificate() {
    let https = Https::mutual(false).await;
    let web = https.named(&["build.example.org"]);
    let from_page = https.register(&web, "a", None).header("origin", "https://evil.example");
    assert_eq!(outcome(from_page).await, (403, "cross_origin".to_owned()));
    let by_token = https.register(&web, "a", None).header("origin", "https://evil.example");
    assert_eq!(outcome(by_token.bearer_auth(token("ci", None, None))).await.0, 200, "no page has a token by itself");
}

#[tokio::test]
async fn a_required_certificate_is_asked_of_everyone_but_the_kubelet() {
    let https = Https::mutual(true).await;
    let (plain, web) = (https.client(), https.named(&["build.example.org"]));
    for open in ["/healthz", "/readyz"] {
        assert_ne!(plain.get(https.url(open)).send().await.expect("an answer").status(), 403, "{open}");
    }
    for closed in ["/", "/metrics", "/api/v1/services", "/api/v1/health", "/nowhere", "/api/v1/watch"] {
        let refused = outcome(plain.get(https.url(closed))).await;
        assert_eq!(refused, (403, "certificate_required".to_owned()), "{closed}");
    }
    let by_token = https.register(&plain, "a", None).bearer_auth(token("ci", None, None));
    assert_eq!(outcome(by_token).await, (403, "certificate_required".to_owned()), "a token does not replace it");
    assert_eq!(outcome(https.register(&web, "a", None)).await.0, 200);
    assert_eq!(outcome(web.get(https.url("/api/v1/services"))).await.0, 200);
    let nobody = https.named(&["*.example.org"]);
    assert_eq!(outcome(nobody.get(https.url("/metrics"))).await, (403, "certificate_required".to_owned()));
}

#[tokio::test]
async fn a_certificate_of_another_ca_or_past_its_end_breaks_the_handshake() {
    let https = Https::mutual(false).await;
    let foreign = Authority::new("somebody").issue(&["build.example.org"]);
    let ended = https.clients.issue_with(&["build.example.org"], |params| {
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    });
    for (pair, alert) in [(&foreign, "UnknownCA"), (&ended, "CertificateExpired")] {
        let client = Https::client_of(&https.ca, Some(pair));
        let error = client.get(https.url("/healthz")).send().await.expect_err("no handshake");
        assert!(format!("{error:?}").contains(alert), "{error:?}");
    }
}

#[tokio::test]
async fn a_ca_that_is_taken_away_takes_its_clients_with_it() {
    let https = Https::mutual(false).await;
    let web = https.named(&["build.example.org"]);
    assert_eq!(outcome(https.register(&web, "a", None)).await.0, 200);
    let mut watch = web.get(https.url("/api/v1/watch")).send().await.expect("an answer");
    let plain = https.client();
    // The first step of every rotation: the next CA beside the present one.
    let next = Authority::new("the next");
    std::fs::write(https.folder.path().join("clients.crt"), format!("{}{}", next.pem(), https.clients.pem()))
        .expect("written");
    let both = Https::client_of(&https.ca, Some(&next.issue(&["build.example.org"])));
    let known = async {
        while outcome_or_none(https.register(&both, "a", None)).await.is_none_or(|status| status != 200) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(HANG, known).await.expect("the next CA counts");
    let heard = async {
        assert_eq!(outcome(https.register(&both, "b", None)).await.0, 200);
        let mut text = String::new();
        while !text.contains("\"b\"") {
            text.push_str(&String::from_utf8_lossy(&watch.chunk().await.expect("open").expect("it goes on")));
        }
    };
    tokio::time::timeout(HANG, heard).await.expect("those of the present one are not disturbed");
    next.write(https.folder.path(), "clients.crt");
    let ended = async { while watch.chunk().await.ok().flatten().is_some() {} };
    tokio::time::timeout(HANG, ended).await.expect("its watch ends");
    // On the same connection, or by a handshake that fails.
    let again = https.register(&web, "a", None).send().await;
    assert!(again.is_err() || again.is_ok_and(|answer| answer.status() == 403), "it is known no more");
    assert_eq!(outcome(plain.request(Method::GET, https.url("/api/v1/services"))).await.0, 200, "others go on");
}

#[tokio::test]
async fn files_that_do_not_fit_are_refused_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let ca = Authority::new("servers");
    let (cert, _) = ca.issue(&["127.0.0.1"]).write(folder.path(), "one");
    let (_, key) = ca.issue(&["127.0.0.1"]).write(folder.path(), "other");
    let load = |cert: PathBuf, key: PathBuf, client_ca: Option<PathBuf>| {
        let files = TlsSettings { cert, key, client_ca, peer_ca: None };
        let loaded = portolan::api::tls::ServerTls::load(files, portolan::telemetry::metrics::Metrics::default());
        loaded.map(|_| ()).expect_err("they do not fit").to_string()
    };
    let said = load(cert.clone(), key.clone(), None);
    assert!(said.contains("PORTOLAN_TLS_KEY") && said.contains("not that of its certificate"), "{said}");
    let said = load(folder.path().join("missing"), key.clone(), None);
    assert!(said.contains("missing"), "{said}");
    let own = folder.path().join("one.key");
    let said = load(cert, own.clone(), Some(own));
    assert!(said.contains("PORTOLAN_TLS_CLIENT_CA") && !said.contains("PRIVATE"), "{said}");
}
