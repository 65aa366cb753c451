//! Certificates of every pair of curve and hash that OpenSSL makes. Those in `curves/` are made by it, for a hundred years:
//! a CA for each curve, and for each hash a server's certificate with one key, whose secret number stands here.
//! The keys sign with code other than the probers' own TLS, which knows fewer pairs.

use std::sync::Arc;

use p256::ecdsa::signature::hazmat::PrehashSigner;
use portolan::model::check::TlsCheck;
use portolan::model::outcome::Reason;
use portolan::prober::{DialSettings, Dialer};
use ring::digest;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::sign::{CertifiedKey, Signer, SigningKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, SignatureAlgorithm, SignatureScheme, SupportedProtocolVersion};
use tokio_rustls::TlsAcceptor;

use super::harness::*;
use super::tls::serving;

/// Curve, the scheme of TLS 1.3 for it, the key's number.
const CURVES: [(&str, SignatureScheme, &str); 3] = [
    (
        "P256",
        SignatureScheme::ECDSA_NISTP256_SHA256,
        "485120da3c98132db6ea9f11e013c8b50d54810a8a08284ff81d7f8a03371bec",
    ),
    (
        "P384",
        SignatureScheme::ECDSA_NISTP384_SHA384,
        "7c0ff7c33ef8bceda64e66479575dc51e35e48f08cbc07e2221bea0ab7fac6616a109f9288cc9c89107ce4e9f13db6ba",
    ),
    (
        "P521",
        SignatureScheme::ECDSA_NISTP521_SHA512,
        "00bf01a0eb6bcfe6c0cf18abee46a0bc4dd1e120bc701c42a99e65b1f797f1a2c6ad67babdb187e9f8429188890be4afa710c5254a80c2510beb769e2a2058843c06",
    ),
];
const HASHES: [(&str, SignatureScheme); 3] = [
    ("sha256", SignatureScheme::ECDSA_NISTP256_SHA256),
    ("sha384", SignatureScheme::ECDSA_NISTP384_SHA384),
    ("sha512", SignatureScheme::ECDSA_NISTP521_SHA512),
];

/// A key that signs by one scheme.
#[derive(Debug, Clone)]
struct Key {
    number: Vec<u8>,
    scheme: SignatureScheme,
    honest: bool,
}

impl Key {
    fn new(hex: &str, scheme: SignatureScheme) -> Self {
        let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal");
        Self { number: (0..hex.len()).step_by(2).map(byte).collect(), scheme, honest: true }
    }
}

impl SigningKey for Key {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        offered.contains(&self.scheme).then(|| Box::new(self.clone()) as Box<dyn Signer>)
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ECDSA
    }
}

impl Signer for Key {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        let algorithm = match self.scheme {
            SignatureScheme::ECDSA_NISTP256_SHA256 => &digest::SHA256,
            SignatureScheme::ECDSA_NISTP384_SHA384 => &digest::SHA384,
            _ => &digest::SHA512,
        };
        let hash = digest::digest(algorithm, if self.honest { message } else { b"another handshake" });
        let hash = hash.as_ref();
        Ok(match self.number.len() {
            32 => {
                let key = p256::ecdsa::SigningKey::from_slice(&self.number).expect("a key");
                let signature: p256::ecdsa::Signature = key.sign_prehash(hash).expect("a signature");
                signature.to_der().as_bytes().to_vec()
            }
            48 => {
                let key = p384::ecdsa::SigningKey::from_slice(&self.number).expect("a key");
                let signature: p384::ecdsa::Signature = key.sign_prehash(hash).expect("a signature");
                signature.to_der().as_bytes().to_vec()
            }
            _ => {
                let key = p521::ecdsa::SigningKey::from_slice(&self.number).expect("a key");
                let padded = [&vec![0; 66 - hash.len()], hash].concat();
                let signature: p521::ecdsa::Signature = key.sign_prehash(&padded).expect("a signature");
                signature.to_der().as_bytes().to_vec()
            }
        })
    }

    fn scheme(&self) -> SignatureScheme {
        self.scheme
    }
}

fn file(name: &str) -> String {
    format!("{}/tests/probe/curves/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn acceptor(certificate: &str, key: Key, version: &'static SupportedProtocolVersion) -> TlsAcceptor {
    let certificate = CertificateDer::from_pem_file(file(certificate)).expect("a certificate");
    let shown = Arc::new(SingleCertAndKey::from(CertifiedKey::new(vec![certificate], Arc::new(key))));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(&[version]).expect("a version");
    TlsAcceptor::from(Arc::new(builder.with_no_client_auth().with_cert_resolver(shown)))
}

fn dialer() -> Dialer {
    Dialer::new(DialSettings { ca_dir: Some(file("").into()), ..settings() })
}

fn of(authority: &str) -> TlsCheck {
    TlsCheck { ca: Some(format!("{authority}-ca.pem")), ..TlsCheck::default() }
}

#[tokio::test]
async fn every_curve_passes_with_every_hash() {
    let dialer = dialer();
    for (curve, newest, number) in CURVES {
        for (hash, scheme) in HASHES {
            for (version, scheme) in [(&TLS12, scheme), (&TLS13, newest)] {
                let name = format!("{curve}-{hash}.pem");
                let server = serving(acceptor(&name, Key::new(number, scheme), version)).await;
                let outcome = probe_with(&dialer, &https(loopback(), server.port(), of(curve)), AMPLE).await;
                println!("{name} {scheme:?} {version:?}");
                assert_pass(&outcome);
            }
        }
    }
}

#[tokio::test]
async fn a_wrong_signature_fails_with_every_curve() {
    let dialer = dialer();
    for (curve, newest, number) in CURVES {
        let (honest, another) = (Key::new(number, newest), if curve == "P521" { "P384" } else { "P521" });
        let server = serving(acceptor(&format!("{curve}-sha512.pem"), honest.clone(), &TLS13)).await;
        let other_ca = https(loopback(), server.port(), of(another));
        assert_fail(&probe_with(&dialer, &other_ca, AMPLE).await, Reason::CertificateInvalid);
        // Whoever shows a certificate without having its key is refused, also where any certificate will do.
        let thief = Key { honest: false, ..honest };
        let server = serving(acceptor(&format!("{curve}-sha512.pem"), thief, &TLS13)).await;
        for check in [of(curve), TlsCheck { verify: false, ..TlsCheck::default() }] {
            let outcome = probe_with(&dialer, &https(loopback(), server.port(), check), AMPLE).await;
            assert_ne!(outcome.reason, Reason::Passed, "{curve}: {outcome:?}");
        }
    }
}
