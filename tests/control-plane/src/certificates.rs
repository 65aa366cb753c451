//! The keys and certificates of one control plane: one authority for both sides.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};

/// Paths of PEM files in one folder.
#[derive(Debug)]
pub(crate) struct Certificates {
    folder: PathBuf,
}

impl Certificates {
    pub(crate) fn write(folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let files = Self { folder: folder.to_owned() };
        let authority = authority()?;
        put(&files.authority(), &authority.pem())?;
        let names = ["127.0.0.1", "localhost", "kubernetes.default.svc"].map(str::to_owned);
        let server = issue(&authority, CertificateParams::new(names)?, ExtendedKeyUsagePurpose::ServerAuth)?;
        put(&files.server().0, &server.0)?;
        put(&files.server().1, &server.1)?;
        let mut person = CertificateParams::default();
        person.distinguished_name.push(DnType::OrganizationName, "system:masters");
        person.distinguished_name.push(DnType::CommonName, "admin");
        let admin = issue(&authority, person, ExtendedKeyUsagePurpose::ClientAuth)?;
        put(&files.admin().0, &admin.0)?;
        put(&files.admin().1, &admin.1)?;
        let accounts = KeyPair::generate()?;
        put(&files.accounts().0, &accounts.public_key_pem())?;
        put(&files.accounts().1, &accounts.serialize_pem())?;
        Ok(files)
    }

    pub(crate) fn authority(&self) -> PathBuf {
        self.folder.join("ca.crt")
    }

    pub(crate) fn server(&self) -> (PathBuf, PathBuf) {
        self.pair("server")
    }

    pub(crate) fn admin(&self) -> (PathBuf, PathBuf) {
        self.pair("admin")
    }

    /// What ServiceAccount tokens are checked and signed with.
    pub(crate) fn accounts(&self) -> (PathBuf, PathBuf) {
        self.pair("sa")
    }

    fn pair(&self, name: &str) -> (PathBuf, PathBuf) {
        (self.folder.join(format!("{name}.crt")), self.folder.join(format!("{name}.key")))
    }
}

fn authority() -> Result<CertifiedIssuer<'static, KeyPair>> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "control-plane");
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    Ok(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?)
}

fn issue(
    authority: &CertifiedIssuer<'static, KeyPair>,
    mut params: CertificateParams,
    usage: ExtendedKeyUsagePurpose,
) -> Result<(String, String)> {
    params.extended_key_usages = vec![usage];
    let key = KeyPair::generate()?;
    Ok((params.signed_by(&key, authority)?.pem(), key.serialize_pem()))
}

fn put(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
