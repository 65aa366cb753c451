//! Certificates and keys in PEM: files, and texts from elsewhere.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, RootCertStore};
use secrecy::{ExposeSecret, SecretSlice};

use super::certificate::Certificate;

/// Largest file, in bytes.
const MAX_FILE: u64 = 1024 * 1024;

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let meta = std::fs::metadata(path)?;
    if !meta.is_file() || meta.len() > MAX_FILE {
        return Err(io::Error::other("it is not a file of at most 1 MiB"));
    }
    std::fs::read(path)
}

/// The sections of a PEM file, each with its BEGIN line. One without an end does not swallow the next.
fn sections(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    const BEGIN: &[u8] = b"-----BEGIN ";
    let starts: Vec<_> = memchr::memmem::find_iter(bytes, BEGIN).collect();
    let ends: Vec<_> = starts.iter().skip(1).copied().chain([bytes.len()]).collect();
    starts.into_iter().zip(ends).filter_map(|(start, end)| bytes.get(start..end))
}

/// What a CA file holds.
pub(crate) struct Authorities {
    /// Its certificates as a root store.
    pub(crate) roots: RootCertStore,
    /// The same certificates, plain.
    pub(crate) named: Vec<CertificateDer<'static>>,
    /// How many more cannot be read, and so are not trusted.
    pub(crate) skipped: usize,
}

/// Reads a CA file.
///
/// # Errors
/// When the file cannot be read, or holds no certificate that can.
pub(crate) fn authorities(path: &Path) -> io::Result<Authorities> {
    authorities_in(&read(path)?)
}

/// Reads what a CA file would hold.
///
/// # Errors
/// When it holds no certificate that can be read.
pub(crate) fn authorities_in(bytes: &[u8]) -> io::Result<Authorities> {
    let (mut roots, mut named, mut skipped) = (RootCertStore::empty(), Vec::new(), 0);
    for certificate in certificates(bytes) {
        match certificate.and_then(|der| roots.add(der.clone()).ok().map(|()| der)) {
            Some(der) => named.push(der),
            None => skipped += 1,
        }
    }
    if named.is_empty() {
        let why = if skipped > 0 { "it holds no certificate that can be read" } else { "it holds no certificate" };
        return Err(io::Error::other(why));
    }
    Ok(Authorities { roots, named, skipped })
}

/// The certificates of a file, none for each that cannot be read: PEM, or a single one in DER.
fn certificates(bytes: &[u8]) -> Vec<Option<CertificateDer<'static>>> {
    if bytes.first() == Some(&0x30) {
        return vec![Some(CertificateDer::from(bytes.to_vec()))];
    }
    let is_one = |section: &&[u8]| {
        section.split(|b| *b == b'\n').next().is_some_and(|line| memchr::memmem::find(line, b"CERTIFICATE-").is_some())
    };
    sections(bytes).filter(is_one).map(|section| CertificateDer::from_pem_slice(section).ok()).collect()
}

/// The files of a client's pair: one with certificate and key, if it exists, else `NAME.crt` and `NAME.key`.
pub(crate) fn pair_files(folder: &Path, name: &str) -> Vec<PathBuf> {
    let both = folder.join(name);
    if both.is_file() { vec![both] } else { ["crt", "key"].map(|end| folder.join(format!("{name}.{end}"))).to_vec() }
}

/// A certificate with its chain, and its key, from these files.
///
/// # Errors
/// When a file cannot be read, lacks its part, or the two do not belong together.
pub(crate) fn pair(files: &[PathBuf], provider: &CryptoProvider) -> io::Result<Arc<CertifiedKey>> {
    let mut all = Vec::new();
    for file in files {
        let called = file.file_name().unwrap_or_default().display();
        all.extend(read(file).map_err(|error| io::Error::other(format!("{called}: {error}")))?);
        all.push(b'\n');
    }
    pair_in(SecretSlice::from(all).expose_secret(), provider)
}

/// A certificate with its chain, and its key, from this text.
///
/// # Errors
/// When it lacks a part, or the two do not belong together.
pub(crate) fn pair_in(all: &[u8], provider: &CryptoProvider) -> io::Result<Arc<CertifiedKey>> {
    let chain: Vec<_> = certificates(all).into_iter().flatten().collect();
    if chain.is_empty() {
        return Err(io::Error::other("it holds no certificate"));
    }
    let key = sections(all).find_map(|section| PrivateKeyDer::from_pem_slice(section).ok());
    let key = key.ok_or_else(|| io::Error::other("it holds no private key without a passphrase"))?;
    let unusable = |_| io::Error::other("its private key is of a kind that cannot be used");
    let pair = CertifiedKey::new(chain, provider.key_provider.load_private_key(key).map_err(unusable)?);
    pair.keys_match().map_err(|error| unfit(&pair, &error))?;
    Ok(Arc::new(pair))
}

/// Why a certificate and a key do not go together.
fn unfit(pair: &CertifiedKey, error: &rustls::Error) -> io::Error {
    if matches!(error, rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) {
        return io::Error::other("its private key is not that of its certificate");
    }
    let version = pair.cert.first().and_then(|leaf| Certificate::read(leaf)).map(|leaf| leaf.version);
    io::Error::other(match version {
        Some(version @ 1..=2) => {
            format!("its certificate is an X.509 version {version} certificate; issue one with a subjectAltName")
        }
        _ => format!("its certificate cannot be used: {error}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_foreign_key_is_called_one() {
        let provider = crate::crypto::provider();
        let (old, key) = (include_str!("testdata/version-1.pem"), include_str!("testdata/p521-pkcs8.pem"));
        let own = format!("{}{key}", include_str!("testdata/p521-cert.pem"));
        assert!(pair_in(own.as_bytes(), &provider).is_ok());
        let why = |text: &str| pair_in(text.as_bytes(), &provider).expect_err("it cannot be used").to_string();
        let expected = "its certificate is an X.509 version 1 certificate; issue one with a subjectAltName";
        assert_eq!(why(old), expected);
        let made = rcgen::generate_simple_self_signed(vec!["a.test".to_owned()]).expect("a certificate");
        assert_eq!(why(&format!("{}{key}", made.cert.pem())), "its private key is not that of its certificate");
    }
}
