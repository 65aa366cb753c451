//! A certificate authority of the tests, and what it issues.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose, SanType};

/// Signs certificates.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, in PEM.
pub(crate) struct Pair {
    pub(crate) cert: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("a certificate"))
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// Writes its own certificate.
    pub(crate) fn write(&self, folder: &Path, name: &str) -> PathBuf {
        let path = folder.join(name);
        std::fs::write(&path, self.pem()).expect("written");
        path
    }

    /// A certificate for these names: a DNS name, an address, or a URI, as each looks.
    pub(crate) fn issue(&self, names: &[&str]) -> Pair {
        self.issue_with(names, |_| {})
    }

    pub(crate) fn issue_with(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Pair {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names.iter().map(|name| alt_name(name)).collect();
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        let cert = params.signed_by(&key, &self.0).expect("a certificate");
        Pair { cert: cert.pem(), key: key.serialize_pem() }
    }
}

fn alt_name(name: &str) -> SanType {
    if name.contains("://") {
        return SanType::URI(name.try_into().expect("ASCII"));
    }
    name.parse().map_or_else(|_| SanType::DnsName(name.try_into().expect("ASCII")), SanType::IpAddress)
}

impl Pair {
    /// Writes both as `NAME.crt` and `NAME.key`, the key for its owner alone.
    pub(crate) fn write(&self, folder: &Path, name: &str) -> (PathBuf, PathBuf) {
        use std::os::unix::fs::PermissionsExt as _;
        let [cert, key] = ["crt", "key"].map(|end| folder.join(format!("{name}.{end}")));
        std::fs::write(&cert, &self.cert).expect("written");
        std::fs::write(&key, &self.key).expect("written");
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).expect("its owner's");
        (cert, key)
    }
}
