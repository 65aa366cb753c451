//! Certificates of checks that objects of the cluster hold: what the prober asks for, and what the operator reads.
//!
//! The text may contain a private key. It has no `Debug`, no `Display` and no JSON, and its memory is cleared when the last user drops it.

use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;
use secrecy::{ExposeSecret, SecretSlice};
use sha2::{Digest, Sha256};

use super::name::Namespace;

/// The keys of a Secret of the type `kubernetes.io/tls`: the certificate with its chain, and its key.
pub const PAIR_KEYS: [&str; 2] = ["tls.crt", "tls.key"];

/// The kinds of object that can hold a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectKind {
    /// Anybody who may read the namespace sees it: CA bundles.
    ConfigMap,
    /// CA bundles, and pairs of a certificate and its private key.
    Secret,
}

impl ObjectKind {
    /// Its kind in Kubernetes.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
        }
    }
}

/// An object that holds certificates.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CertificateObject {
    /// The namespace of the service whose check names it.
    pub namespace: Namespace,
    /// Its kind.
    pub kind: ObjectKind,
    /// Its name.
    pub name: String,
}

/// `the Secret probe of this namespace`: the reader of a service's status knows which one that is.
impl fmt::Display for CertificateObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the {} {} of this namespace", self.kind.as_str(), self.name)
    }
}

/// What is wanted of an object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectPart {
    /// The value of this key.
    Key(String),
    /// Those of [`PAIR_KEYS`], one after the other.
    Pair,
}

/// PEM text of an object, perhaps with a private key.
pub struct Pem {
    text: SecretSlice<u8>,
    digest: [u8; 32],
}

impl Pem {
    /// Takes the text over.
    pub fn new(text: Vec<u8>) -> Self {
        let digest = Sha256::digest(&text).into();
        Self { text: SecretSlice::from(text), digest }
    }

    /// The text, for whoever parses it.
    pub fn expose(&self) -> &[u8] {
        self.text.expose_secret()
    }

    /// Its SHA-256: texts with the same one are the same. Not for logs either.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }
}

impl PartialEq for Pem {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl Eq for Pem {}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pem")
    }
}

/// Why there is no text of an object. Each message continues a sentence that names the object: `the Secret probe of this namespace …`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// 404.
    #[error("does not exist; create it, or correct the name")]
    NotFound,
    /// 403.
    #[error(
        "may not be read by Portolan; let a Role with resourceNames grant its ServiceAccount the verb get, as docs/checks.md shows"
    )]
    Forbidden,
    /// The object lacks a key.
    #[error("has no key {0}; add it, or correct the key")]
    NoKey(String),
    /// A value is larger than the bound.
    #[error("has more than {0} KiB in a key; keep only the certificates that are needed")]
    TooLarge(usize),
    /// The answer was no object of that kind.
    #[error("cannot be understood as the Kubernetes API sent it")]
    Malformed,
    /// The namespace, or the whole cluster, names too many objects.
    #[error("is not read, because {0} are named by checks already; let checks share objects")]
    TooMany(&'static str),
    /// The Kubernetes API refused or broke off for a reason of its own.
    #[error("cannot be read now: the Kubernetes API {0}")]
    Unavailable(String),
    /// Its first reading takes longer than this probe can wait.
    #[error("is being read; the next probe will have it")]
    Pending,
}

/// Reads certificates of objects, each object once for all the checks that name it, and again as it may have changed.
pub trait CertificateObjects: fmt::Debug + Send + Sync + 'static {
    /// The part of the object as it was read last. Waits for the first reading, for as long as the caller does.
    fn get(
        &self,
        object: CertificateObject,
        part: ObjectPart,
    ) -> BoxFuture<'static, Result<Arc<Pem>, CertificateError>>;

    /// What was read did not serve a handshake, so it may have changed: has it read again soon.
    fn doubt(&self, object: &CertificateObject);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_no_text_in_debug() {
        let pem = Pem::new(b"-----BEGIN PRIVATE KEY-----".to_vec());
        assert_eq!(format!("{pem:?} {:?}", Some(Arc::new(Pem::new(Vec::new())))), "Pem Some(Pem)");
        assert_eq!(pem.digest(), Pem::new(pem.expose().to_vec()).digest());
    }

    #[test]
    fn messages_continue_a_sentence_and_fit_into_a_status() {
        let namespace: Namespace = "x".repeat(63).parse().expect("a namespace");
        let object = CertificateObject { namespace, kind: ObjectKind::Secret, name: "probe".to_owned() };
        let said = format!("{object} {}", CertificateError::Forbidden);
        assert!(
            said.starts_with("the Secret probe of this namespace may not be read by Portolan; let a Role"),
            "{said}"
        );
        assert!(said.len() <= 200, "{said}");
    }
}
