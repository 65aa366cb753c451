//! TLS under the http check; the servers' certificates are made here.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use portolan::model::check::TlsCheck;
use portolan::model::outcome::{Outcome, Reason, Stage, Verdict};
use portolan::model::url::Host;
use portolan::prober::dial::{DialSettings, Dialer};
use portolan::telemetry::metrics::Metrics;
use rcgen::{BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio::io::AsyncWriteExt as _;
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

/// A server's side of TLS with that certificate; `alpn` is what it offers inside.
pub(crate) fn acceptor((certificate, key): (Certificate, KeyPair), alpn: &[u8]) -> TlsAcceptor {
    let key = rustls::crypto::ring::sign::any_supported_type(&private(&key)).expect("a usable key");
    let shown = CertifiedKey::new(vec![certificate.der().clone()], key);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions =
        ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
    // this resolver does not compare key and certificate, which lets a test show what it has no key for
    let mut config = versions.with_no_client_auth().with_cert_resolver(Arc::new(SingleCertAndKey::from(shown)));
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
    fn new() -> Self {
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
        probe_with(&self.dialer, &https(loopback(), server.port(), tls), AMPLE).await
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
    let mut old = params(&["127.0.0.1"]);
    (old.not_before, old.not_after) = (date_time_ymd(2001, 1, 1), date_time_ymd(2002, 1, 1));
    let mut early = params(&["127.0.0.1"]);
    (early.not_before, early.not_after) = (date_time_ymd(2999, 1, 1), date_time_ymd(3000, 1, 1));
    for (params, word) in [(old, "expired"), (early, "not valid yet")] {
        let server = serving(acceptor(house.ca.issue_with(&params), HTTP1)).await;
        let outcome = house.probe(&server, corp()).await;
        assert_fail(&outcome, Reason::CertificateInvalid);
        assert!(outcome.message.contains(word), "{outcome:?}");
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
async fn verification_can_be_turned_off_but_the_key_must_still_sign() {
    let house = House::new();
    let key = KeyPair::generate().expect("a key");
    let own = params(&["elsewhere.corp"]).self_signed(&key).expect("a certificate");
    let stolen = own.clone();
    let server = serving(acceptor((own, key), HTTP1)).await;
    assert_pass(&house.probe(&server, unverified()).await);
    assert_fail(&house.probe(&server, corp()).await, Reason::CertificateInvalid);
    let thief = serving(acceptor((stolen, KeyPair::generate().expect("a key")), HTTP1)).await;
    assert_eq!(house.probe(&thief, unverified()).await.verdict, Verdict::Fail);
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
