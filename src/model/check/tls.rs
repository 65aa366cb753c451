//! TLS of a check: which certificates are trusted, and which one is shown. They come from files of Portolan's machine, or from objects of the
//! service's own namespace.

use crate::model::certificates::{CertificateObject, ObjectKind};
use crate::model::name::Namespace;

/// Longest `tls.server_name`, in bytes.
const MAX_SERVER_NAME: usize = 253;
/// Longest `tls.ca`, in bytes.
const MAX_CA: usize = 255;
/// Longest `tls.client_cert`, in bytes, which leaves room for the extension.
const MAX_CLIENT_CERT: usize = 251;
/// Longest name of a ConfigMap or Secret, and longest key, in bytes.
pub const MAX_OBJECT_NAME: usize = 253;
/// The key of a bundle where none is given.
pub const DEFAULT_CA_KEY: &str = "ca.crt";

/// How a server's certificate is judged.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TlsCheck {
    /// Whether it is verified at all; default true.
    pub verify: bool,
    /// The name expected in it, instead of the URL's host.
    pub server_name: Option<String>,
    /// A file name in the operator's `PORTOLAN_CA_DIR` to trust instead of the system's roots; never a path.
    pub ca: Option<String>,
    /// What to trust instead of the system's roots, in an object of the service's namespace; never together with `ca`.
    pub ca_from: Option<Box<CaFrom>>,
    /// The client certificate shown to a server that requests one: a pair of `PORTOLAN_CA_DIR`, `NAME.crt` with `NAME.key`, or one PEM file
    /// of that name with both; never a path.
    pub client_cert: Option<String>,
    /// The same, as a Secret of the service's namespace with `tls.crt` and `tls.key`; never together with `client_cert`.
    pub client_cert_from: Option<Box<str>>,
    /// The service's namespace, in a target that names objects. Only [`Target::resolved`](super::Target::resolved) sets it; without it, no object
    /// is read.
    pub namespace: Option<Namespace>,
}

/// Where a check's CA bundle is: one key of an object in the service's namespace.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CaFrom {
    /// What kind of object.
    pub kind: ObjectKind,
    /// Its name.
    pub name: String,
    /// The key of the bundle, in PEM.
    pub key: String,
}

impl Default for TlsCheck {
    fn default() -> Self {
        Self {
            verify: true,
            server_name: None,
            ca: None,
            ca_from: None,
            client_cert: None,
            client_cert_from: None,
            namespace: None,
        }
    }
}

impl TlsCheck {
    /// Whether it names objects of the service's namespace.
    pub fn names_objects(&self) -> bool {
        self.ca_from.is_some() || self.client_cert_from.is_some()
    }

    /// The object with what is trusted, and the key. None where no certificate is verified.
    pub fn ca_object(&self) -> Option<(CertificateObject, &str)> {
        let from = self.ca_from.as_deref().filter(|_| self.verify)?;
        Some((self.object(from.kind, &from.name)?, &from.key))
    }

    /// The Secret with the client certificate.
    pub fn client_cert_object(&self) -> Option<CertificateObject> {
        self.object(ObjectKind::Secret, self.client_cert_from.as_deref()?)
    }

    fn object(&self, kind: ObjectKind, name: &str) -> Option<CertificateObject> {
        Some(CertificateObject { namespace: self.namespace.clone()?, kind, name: name.to_owned() })
    }

    /// Takes objects from this namespace and from no other.
    pub(super) fn bind(&mut self, namespace: &str) {
        self.namespace = if self.names_objects() { namespace.parse().ok() } else { None };
    }

    pub(super) fn accept(&self) -> Result<(), String> {
        let name = |b: u8| b.is_ascii_alphanumeric() || b"-._:".contains(&b);
        let fits = |n: &String| (1..=MAX_SERVER_NAME).contains(&n.len()) && n.bytes().all(name);
        if !self.server_name.as_ref().is_none_or(fits) {
            return Err("tls.server_name is a DNS name or an address".to_owned());
        }
        let fits = |name: &String, most: usize| is_plain(name, most) && !name.starts_with('.');
        if !self.ca.as_ref().is_none_or(|ca| fits(ca, MAX_CA)) {
            return Err("tls.ca is the name of a file in PORTOLAN_CA_DIR, never a path".to_owned());
        }
        if !self.client_cert.as_ref().is_none_or(|name| fits(name, MAX_CLIENT_CERT)) {
            return Err("tls.client_cert is the name of a pair of files in PORTOLAN_CA_DIR, never a path".to_owned());
        }
        self.accept_objects()
    }

    fn accept_objects(&self) -> Result<(), String> {
        if self.ca.is_some() && self.ca_from.is_some() {
            return Err("give either tls.ca or tls.ca_from, not both".to_owned());
        }
        if self.client_cert.is_some() && self.client_cert_from.is_some() {
            return Err("give either tls.client_cert or tls.client_cert_from, not both".to_owned());
        }
        if let Some(from) = &self.ca_from {
            if !is_object_name(&from.name) {
                return Err("tls.ca_from names a ConfigMap or a Secret of the service's namespace".to_owned());
            }
            if !is_plain(&from.key, MAX_OBJECT_NAME) {
                return Err(format!("tls.ca_from.key is the key of the bundle, such as {DEFAULT_CA_KEY}"));
            }
        }
        if !self.client_cert_from.as_deref().is_none_or(is_object_name) {
            return Err("tls.client_cert_from names a Secret of the service's namespace".to_owned());
        }
        Ok(())
    }
}

/// Whether it has nothing but letters, digits, `-`, `.` and `_`.
fn is_plain(text: &str, most: usize) -> bool {
    (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
}

/// Whether it is an RFC 1123 subdomain, as names of ConfigMaps and Secrets are. Nothing else may become part of a request's path.
fn is_object_name(name: &str) -> bool {
    let label = |label: &str| {
        let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        !label.is_empty() && label.bytes().all(inner) && !label.starts_with('-') && !label.ends_with('-')
    };
    name.len() <= MAX_OBJECT_NAME && name.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::check::{Check, Plan, Words};
    use crate::model::url::EndpointUrl;

    #[test]
    fn names_of_objects_are_subdomains() {
        for good in ["a", "corp-ca", "a.b-c.1", &"x".repeat(253)] {
            assert!(is_object_name(good), "{good}");
        }
        for bad in ["", "A", "a/b", "..", "a..b", "-a", "a-", "a b", "a?b", "a%2fb", &"x".repeat(254)] {
            assert!(!is_object_name(bad), "{bad}");
        }
    }

    fn target_of(namespace: &str, check: &str) -> TlsCheck {
        let check: Check = serde_json::from_str(check).expect("a check");
        let base = EndpointUrl::base("https://10.0.0.5:8443").expect("a URL");
        let plan = check.plan(&base, None, std::time::Duration::from_secs(30)).expect("it fits");
        let Plan::Probe(target, _) = plan else { panic!("it is probed") };
        let words = Words { service: "cart", instance: "a", namespace, version: "" };
        match target.resolved(words) {
            crate::model::check::Target::Http { tls: Some(tls), .. } => tls,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn objects_come_from_the_namespace_of_the_service() {
        let check = r#"{"http":{"tls":{"ca_from":{"config_map":"corp-ca"},"client_cert_from":{"secret":"probe"}}}}"#;
        let tls = target_of("shop", check);
        let (object, key) = tls.ca_object().expect("an object");
        assert_eq!(
            (object.namespace.as_str(), object.kind, &*object.name, key),
            ("shop", ObjectKind::ConfigMap, "corp-ca", "ca.crt")
        );
        let pair = tls.client_cert_object().expect("a Secret");
        assert_eq!((pair.namespace.as_str(), pair.kind, &*pair.name), ("shop", ObjectKind::Secret, "probe"));
        assert_ne!(tls, target_of("mail", check));
        let blind = target_of("shop", r#"{"http":{"tls":{"verify":false,"ca_from":{"config_map":"corp-ca"}}}}"#);
        assert_eq!(blind.ca_object(), None, "nothing is verified");
        assert_eq!(target_of("shop", r#"{"http":{"tls":{"ca":"corp.pem"}}}"#).namespace, None);
    }

    #[test]
    fn a_target_without_a_namespace_reads_no_object() {
        let tls = TlsCheck { client_cert_from: Some("probe".into()), ..TlsCheck::default() };
        assert_eq!((tls.names_objects(), tls.client_cert_object()), (true, None));
    }
}
