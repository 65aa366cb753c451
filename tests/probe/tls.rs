//! TLS under the http check; the servers' certificates are made here.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use portolan::model::check::{Target, TlsCheck};
use portolan::model::outcome::{Outcome, Reason, Stage, Verdict};
use portolan::model::time::UnixMs;
use portolan::model::url::Host;
use portolan::prober::{DialSettings, Dialer};
use portolan::telemetry::metrics::Metrics;
use rcgen::{BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use super::harness::*;

/// A private certificate authority.
pub(crate) struct Ca(CertifiedIssuer<'static, KeyPair>);

impl Ca {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a certificate"))
    }

    pub(crate) fn write(&self, folder: &Path, file: &str) {
        std::fs::write(folder.join(file), self.0.pem()).expect("can be written");
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    fn certificate(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    /// A certificate for `names` and its key.
    pub(crate) fn issue(&self, names: &[&str]) -> (Certificate, KeyPair) {
        self.issue_with(&params(names))
    }

    fn issue_with(&self, params: &CertificateParams) -> (Certificate, KeyPair) {
        let key = KeyPair::generate().expect("a key");
        (params.signed_by(&key, &self.0).expect("a certificate"), key)
    }
}

fn params(names: &[&str]) -> CertificateParams {
    CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).expect("names")
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// The same with CA:TRUE.
fn careless(names: &[&str]) -> CertificateParams {
    let mut params = params(names);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

/// The same, from the first day of a year to that of another.
fn in_time(mut params: CertificateParams, from: i32, to: i32) -> CertificateParams {
    (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(to, 1, 1));
    params
}

/// A server's side of TLS with that certificate; `alpn` is what it offers inside.
pub(crate) fn acceptor((certificate, key): (Certificate, KeyPair), alpn: &[u8]) -> TlsAcceptor {
    showing(vec![certificate.der().clone()], private(&key), alpn)
}

fn showing(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>, alpn: &[u8]) -> TlsAcceptor {
    let key = provider().key_provider.load_private_key(key).expect("a usable key");
    let versions =
        ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().expect("versions");
    // this resolver does not compare key and certificate, which lets a test show what it has no key for
    let shown = Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain, key)));
    let mut config = versions.with_no_client_auth().with_cert_resolver(shown);
    config.alpn_protocols = vec![alpn.to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

fn private(key: &KeyPair) -> PrivateKeyDer<'static> {
    PrivateKeyDer::Pkcs8(key.serialize_der().into())
}

pub(crate) async fn serving(acceptor: TlsAcceptor) -> Server {
    Server::start(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            read_head(&mut stream).await;
            drop(stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await);
            until_closed(&mut stream).await;
        }
    })
    .await
}

const HTTP1: &[u8] = b"http/1.1";

/// A CA whose certificate is `corp.pem` of a CA folder, and a dialer that knows the folder.
pub(crate) struct House {
    pub(crate) ca: Ca,
    outside: tempfile::TempDir,
    dialer: Dialer,
}

impl House {
    pub(crate) fn new() -> Self {
        Self::counting(Metrics::default())
    }

    pub(crate) fn counting(metrics: Metrics) -> Self {
        let outside = tempfile::tempdir().expect("a folder");
        let folder = outside.path().join("ca");
        std::fs::create_dir(&folder).expect("can be made");
        let ca = Ca::new();
        ca.write(&folder, "corp.pem");
        ca.write(outside.path(), "outside.pem");
        let dialer = Dialer::new(DialSettings { ca_dir: Some(folder), metrics, ..settings() });
        Self { ca, outside, dialer }
    }

    /// A server with a certificate of the CA.
    pub(crate) async fn serving(&self) -> Server {
        serving(acceptor(self.ca.issue(&["127.0.0.1"]), HTTP1)).await
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.outside.path().join("ca")
    }

    pub(crate) async fn probe(&self, server: &Server, tls: TlsCheck) -> Outcome {
        self.probe_target(&https(loopback(), server.port(), tls)).await
    }

    pub(crate) async fn probe_target(&self, target: &Target) -> Outcome {
        probe_with(&self.dialer, target, AMPLE).await
    }
}

fn corp() -> TlsCheck {
    TlsCheck { ca: Some("corp.pem".to_owned()), ..TlsCheck::default() }
}

fn unverified() -> TlsCheck {
    TlsCheck { verify: false, ..TlsCheck::default() }
}

#[tokio::test]
async fn a_certificate_of_the_named_ca_passes() {
    let house = House::new();
    let server = serving(acceptor(house.ca.issue(&["127.0.0.1", "localhost"]), HTTP1)).await;
    let outcome = house.probe(&server, corp()).await;
    assert_pass(&outcome);
    assert!(outcome.timings.tls_us.is_some(), "{outcome:?}");
    let by_name = https(Host::Name("localhost".to_owned()), server.port(), corp());
    assert_pass(&probe_with(&house.dialer, &by_name, AMPLE).await);
    server.quiet().await;
}

#[tokio::test]
async fn every_probe_sees_the_certificate_anew() {
    let house = House::new();
    let acceptor = acceptor(house.ca.issue(&["127.0.0.1"]), HTTP1);
    let (seen, mut handshakes) = tokio::sync::mpsc::unbounded_channel();
    let server = Server::start(move |stream| {
        let (acceptor, seen) = (acceptor.clone(), seen.clone());
        async move {
            let mut stream = acceptor.accept(stream).await.expect("a handshake");
            seen.send(stream.get_ref().1.handshake_kind()).expect("the test listens");
            read_head(&mut stream).await;
            drop(stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await);
            until_closed(&mut stream).await;
        }
    })
    .await;
    for _ in 0..3 {
        assert_pass(&house.probe(&server, corp()).await);
        assert_eq!(handshakes.recv().await.flatten(), Some(rustls::HandshakeKind::Full));
    }
}

#[tokio::test]
async fn a_certificate_is_for_its_name() {
    let house = House::new();
    let server = serving(acceptor(house.ca.issue(&["db.corp"]), HTTP1)).await;
    let outcome = house.probe(&server, corp()).await;
    assert_fail(&outcome, Reason::CertificateInvalid);
    assert_eq!(outcome.stage, Stage::Tls);
    assert!(outcome.message.contains("another name") && !outcome.message.contains("db.corp"), "{outcome:?}");
    let overridden = TlsCheck { server_name: Some("db.corp".to_owned()), ..corp() };
    assert_pass(&house.probe(&server, overridden).await);
    let wrong = TlsCheck { server_name: Some("other.corp".to_owned()), ..corp() };
    assert_fail(&house.probe(&server, wrong).await, Reason::CertificateInvalid);
}

#[tokio::test]
async fn a_certificate_has_its_time() {
    let house = House::new();
    let (old, early) = (in_time(params(&["127.0.0.1"]), 2001, 2002), in_time(params(&["127.0.0.1"]), 2999, 3000));
    for (params, word) in [(old, "expired on 2002-01-01"), (early, "from 2999-01-01")] {
        let server = serving(acceptor(house.ca.issue_with(&params), HTTP1)).await;
        let outcome = house.probe(&server, corp()).await;
        assert_fail(&outcome, Reason::CertificateInvalid);
        assert!(outcome.message.contains(word), "{outcome:?}");
        assert_eq!(outcome.certificate_expires_at, Some(UnixMs(params.not_after.unix_timestamp() * 1000)));
    }
    let params = in_time(params(&["127.0.0.1"]), 2001, 2999);
    let server = serving(acceptor(house.ca.issue_with(&params), HTTP1)).await;
    for tls in [corp(), unverified()] {
        let outcome = house.probe(&server, tls).await;
        assert_pass(&outcome);
        assert_eq!(outcome.certificate_expires_at, Some(UnixMs(params.not_after.unix_timestamp() * 1000)));
    }
}

#[tokio::test]
async fn an_unknown_issuer_is_not_trusted() {
    let house = House::new();
    let server = serving(acceptor(Ca::new().issue(&["127.0.0.1"]), HTTP1)).await;
    assert_fail(&house.probe(&server, corp()).await, Reason::CertificateInvalid);
    // the system's roots do not know it either; a machine without roots cannot tell
    let outcome = house.probe(&server, TlsCheck::default()).await;
    assert_ne!(outcome.verdict, Verdict::Pass);
    assert!([Reason::CertificateInvalid, Reason::CaUnavailable].contains(&outcome.reason), "{outcome:?}");
}

#[tokio::test]
async fn verification_can_be_turned_off_for_any_certificate() {
    let house = House::new();
    let key = KeyPair::generate().expect("a key");
    let own = params(&["elsewhere.corp"]).self_signed(&key).expect("a certificate");
    let server = serving(acceptor((own.clone(), key), HTTP1)).await;
    assert_pass(&house.probe(&server, unverified()).await);
    assert_fail(&house.probe(&server, corp()).await, Reason::CertificateInvalid);
    // the key that signs must be the certificate's all the same
    let thief = serving(acceptor((own.clone(), KeyPair::generate().expect("a key")), HTTP1)).await;
    std::fs::write(house.folder().join("own.pem"), own.pem()).expect("can be written");
    let named = TlsCheck { server_name: Some("elsewhere.corp".to_owned()), ..trusting("own.pem") };
    assert_pass(&house.probe(&server, named.clone()).await);
    for check in [named, unverified()] {
        assert_fail(&house.probe(&thief, check).await, Reason::CertificateInvalid);
    }
}

fn trusting(file: &str) -> TlsCheck {
    TlsCheck { ca: Some(file.to_owned()), ..TlsCheck::default() }
}

#[tokio::test]
async fn an_old_certificate_passes_unverified_and_else_says_its_version() {
    let house = House::new();
    let [certificate, key] = ["v1.pem", "v1.key"].map(|file| {
        std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/probe/fixtures").join(file)).expect("a fixture")
    });
    std::fs::write(house.folder().join("v1.pem"), &certificate).expect("can be written");
    let shown = CertificateDer::from_pem_slice(&certificate).expect("PEM");
    let server = serving(showing(vec![shown], PrivateKeyDer::from_pem_slice(&key).expect("PEM"), HTTP1)).await;
    assert_pass(&house.probe(&server, unverified()).await);
    for check in [corp(), trusting("v1.pem")] {
        let outcome = house.probe(&server, check).await;
        assert_fail(&outcome, Reason::CertificateInvalid);
        assert!(outcome.message.contains("version 1"), "{outcome:?}");
    }
}

#[tokio::test]
async fn a_ca_file_trusts_what_it_names_be_it_a_servers_own() {
    let house = House::new();
    let key = || KeyPair::generate().expect("a key");
    // CA:TRUE is what `openssl req -x509` gives
    let expect = [
        (careless(&["127.0.0.1"]), None),
        (params(&["127.0.0.1"]), None),
        (careless(&["other.corp"]), Some("another name")),
        (careless(&[]), Some("no subjectAltName")),
        (in_time(careless(&["127.0.0.1"]), 2001, 2002), Some("expired on 2002-01-01")),
    ];
    for (n, (params, word)) in expect.into_iter().enumerate() {
        let signer = key();
        let own = params.self_signed(&signer).expect("a certificate");
        let file = format!("own{n}.pem");
        std::fs::write(house.folder().join(&file), own.pem()).expect("can be written");
        let server = serving(acceptor((own, signer), HTTP1)).await;
        let outcome = house.probe(&server, trusting(&file)).await;
        match word {
            None => assert_pass(&outcome),
            Some(word) => {
                assert_fail(&outcome, Reason::CertificateInvalid);
                assert!(outcome.message.contains(word), "{outcome:?}");
            }
        }
        assert_fail(&house.probe(&server, corp()).await, Reason::CertificateInvalid);
    }
    // one that an unknown CA issued, and one with CA:TRUE that a known one did
    let (issued, signer) = Ca::new().issue(&["127.0.0.1"]);
    std::fs::write(house.folder().join("issued.pem"), issued.pem()).expect("can be written");
    let server = serving(acceptor((issued, signer), HTTP1)).await;
    assert_pass(&house.probe(&server, trusting("issued.pem")).await);
    let careless = careless(&["127.0.0.1"]);
    let server = serving(acceptor(house.ca.issue_with(&careless), HTTP1)).await;
    assert_pass(&house.probe(&server, corp()).await);
    let server = serving(acceptor(Ca::new().issue_with(&careless), HTTP1)).await;
    assert_fail(&house.probe(&server, corp()).await, Reason::CertificateInvalid);
}

#[tokio::test]
async fn a_certificate_without_names_says_so() {
    let house = House::new();
    let server = serving(acceptor(house.ca.issue(&[]), HTTP1)).await;
    let outcome = house.probe(&server, corp()).await;
    assert_fail(&outcome, Reason::CertificateInvalid);
    assert!(outcome.message.contains("no subjectAltName"), "{outcome:?}");
}

#[tokio::test]
async fn a_bad_part_of_a_ca_file_costs_nothing_else() {
    let house = House::new();
    let server = house.serving().await;
    let good = std::fs::read_to_string(house.folder().join("corp.pem")).expect("readable");
    let cut = good.lines().take(3).collect::<Vec<_>>().join("\n");
    let garbled = good.replace("MII", "!!!");
    let foreign = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (n, file) in [
        format!("\u{feff}{good}"),
        format!("Bag Attributes\n{cut}\n{good}"),
        format!("{garbled}{foreign}{good}"),
        format!("{good}{foreign}{garbled}{cut}"),
        good.replace('\n', "\r\n"),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("ca{n}.pem");
        std::fs::write(house.folder().join(&name), file).expect("can be written");
        let outcome = house.probe(&server, trusting(&name)).await;
        assert_eq!(outcome.reason, Reason::Passed, "{n}: {outcome:?}");
    }
    std::fs::write(house.folder().join("none.pem"), format!("{garbled}{cut}")).expect("can be written");
    let outcome = house.probe(&server, trusting("none.pem")).await;
    assert_inconclusive(&outcome, Reason::CaUnavailable);
    assert!(outcome.message.contains("can be read"), "{outcome:?}");
}

/// A server that takes clients of the CA alone, in one version of TLS.
pub(crate) async fn wanting_a_client(house: &House, version: &'static rustls::SupportedProtocolVersion) -> Server {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(house.ca.certificate()).expect("a root");
    let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(roots.into(), provider());
    let (certificate, key) = house.ca.issue(&["127.0.0.1"]);
    let config = ServerConfig::builder_with_provider(provider()).with_protocol_versions(&[version]).expect("a version");
    let config = config.with_client_cert_verifier(verifier.build().expect("a verifier"));
    let config = config.with_single_cert(vec![certificate.der().clone()], private(&key)).expect("a pair");
    serving(TlsAcceptor::from(Arc::new(config))).await
}

#[tokio::test]
async fn a_server_may_want_to_know_its_client() {
    let house = House::new();
    let write = |file: &str, text: &str| std::fs::write(house.folder().join(file), text).expect("can be written");
    let (certificate, key) = house.ca.issue(&["prober.corp"]);
    write("probe.crt", &certificate.pem());
    write("probe.key", &key.serialize_pem());
    write("both.pem", &(key.serialize_pem() + &certificate.pem()));
    let (stranger, its_key) = Ca::new().issue(&["prober.corp"]);
    write("stranger.pem", &(stranger.pem() + &its_key.serialize_pem()));
    write("mixed.pem", &(certificate.pem() + &its_key.serialize_pem()));
    let showing = |name: &str| TlsCheck { client_cert: Some(name.to_owned()), ..corp() };
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let server = wanting_a_client(&house, version).await;
        for _ in 0..5 {
            let outcome = house.probe(&server, corp()).await;
            assert_fail(&outcome, Reason::TlsFailed);
            assert!(outcome.message.contains("wants a client certificate"), "{version:?}: {outcome:?}");
            let outcome = house.probe(&server, showing("stranger.pem")).await;
            assert_fail(&outcome, outcome.reason);
            assert!(outcome.message.contains("may not accept"), "{version:?}: {outcome:?}");
        }
        assert_pass(&house.probe(&server, showing("probe")).await);
        assert_pass(&house.probe(&server, showing("both.pem")).await);
        assert_pass(&house.probe(&server, TlsCheck { verify: false, ca: None, ..showing("probe") }).await);
        for unusable in ["missing", "mixed.pem", "corp.pem", "../probe"] {
            assert_inconclusive(&house.probe(&server, showing(unusable)).await, Reason::CaUnavailable);
        }
    }
}

#[tokio::test]
async fn an_old_version_of_tls_is_named() {
    let house = House::new();
    // a server's alert protocol_version, as one answers that knows TLS 1.0 alone
    let old = Server::start(|mut stream| async move {
        drop(stream.read_u8().await);
        drop(stream.write_all(&[0x15, 3, 1, 0, 2, 2, 70]).await);
        until_closed(&mut stream).await;
    })
    .await;
    let outcome = house.probe(&old, corp()).await;
    assert_fail(&outcome, Reason::TlsFailed);
    assert!(outcome.message.contains("TLS 1.2"), "{outcome:?}");
}

#[tokio::test]
async fn what_does_not_speak_tls_fails_at_that_stage() {
    let plain = Server::start(|mut stream| async move {
        drop(stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await);
        until_closed(&mut stream).await;
    })
    .await;
    let house = House::new();
    let outcome = house.probe(&plain, unverified()).await;
    assert_fail(&outcome, Reason::TlsFailed);
    assert_eq!(outcome.stage, Stage::Tls);
    let closing = Server::start(|stream| async move { drop(stream) }).await;
    assert_fail(&house.probe(&closing, unverified()).await, Reason::ConnectionReset);
    let hung = Server::start(|mut stream| async move { until_closed(&mut stream).await }).await;
    let outcome = probe_with(&house.dialer, &https(loopback(), hung.port(), unverified()), SHORT).await;
    assert_fail(&outcome, Reason::Timeout);
    assert_eq!(outcome.stage, Stage::Tls);
    hung.quiet().await;
}

#[tokio::test]
async fn a_server_without_http1_inside_says_so() {
    let house = House::new();
    let server = serving(acceptor(house.ca.issue(&["127.0.0.1"]), b"h2")).await;
    assert_fail(&house.probe(&server, corp()).await, Reason::TlsFailed);
}

#[tokio::test]
async fn a_ca_that_this_machine_lacks_is_no_fault_of_the_target() {
    let house = House::new();
    let server = serving(acceptor(house.ca.issue(&["127.0.0.1"]), HTTP1)).await;
    std::fs::write(house.folder().join("junk.pem"), "no certificate").expect("can be written");
    std::fs::create_dir(house.folder().join("folder.pem")).expect("can be made");
    for file in ["missing.pem", "junk.pem", "folder.pem", "../outside.pem", "."] {
        let check = TlsCheck { ca: Some(file.to_owned()), ..TlsCheck::default() };
        assert_inconclusive(&house.probe(&server, check).await, Reason::CaUnavailable);
    }
    let without = https(loopback(), server.port(), corp());
    assert_inconclusive(&probe_with(&dialer(), &without, AMPLE).await, Reason::CaUnavailable);
}

#[tokio::test]
async fn a_changed_ca_file_is_read_again() {
    let house = House::new();
    let next = Ca::new();
    let server = serving(acceptor(next.issue(&["127.0.0.1"]), HTTP1)).await;
    assert_fail(&house.probe(&server, corp()).await, Reason::CertificateInvalid);
    next.write(&house.folder(), "corp.pem");
    let end = Instant::now() + AMPLE;
    while house.probe(&server, corp()).await.verdict != Verdict::Pass {
        assert!(Instant::now() < end, "the new file is not used");
    }
}
