//! Clients with a CA file or a certificate of their own.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::pem::{self, Authorities};
use super::provider;
use super::stamp::Stamp;
use super::verifier::Verifier;

/// Settings of a client of HTTP/1.1 that trusts what `verifier` accepts, and answers a server that asks for a certificate by `shows`.
///
/// # Errors
/// If the provider supports no version of TLS.
pub(crate) fn tls_client(
    verifier: Arc<dyn ServerCertVerifier>,
    shows: Option<Arc<dyn ResolvesClientCert>>,
) -> Result<ClientConfig, Error> {
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let mut config = builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    if let Some(shows) = shows {
        config.client_auth_cert_resolver = shows;
    }
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// A verifier that trusts a CA file and nothing else, as `curl --cacert` does. A changed file is read again.
///
/// # Errors
/// When the file cannot be read, or holds no certificate that can.
pub(crate) fn trusting(ca: &Path) -> io::Result<Arc<dyn ServerCertVerifier>> {
    Ok(Arc::new(Trusting(Reread::new(vec![ca.to_owned()], verifier_of)?)))
}

fn verifier_of(files: &[PathBuf]) -> io::Result<Arc<Verifier>> {
    let [ca] = files else { return Err(io::ErrorKind::InvalidInput.into()) };
    let Authorities { roots, named, .. } = pem::authorities(ca)?;
    Verifier::new(Arc::new(roots), named, provider()).map(Arc::new).ok_or_else(|| io::Error::other("it is empty"))
}

/// A verifier that trusts the system's CAs.
///
/// # Errors
/// When there are none.
pub(crate) fn trusting_the_system() -> io::Result<Arc<dyn ServerCertVerifier>> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let none = || io::Error::other("this machine has no trusted root certificates; install ca-certificates");
    Ok(Arc::new(Verifier::new(Arc::new(roots), Vec::new(), provider()).ok_or_else(none)?))
}

/// A client's certificate with its key: from two files, or both from one. Changed files are read again, for commands that run for long.
///
/// # Errors
/// When a file cannot be read, lacks its part, or the two do not belong together.
pub(crate) fn shown(cert: &Path, key: &Path) -> io::Result<Arc<dyn ResolvesClientCert>> {
    let mut files: Vec<PathBuf> = vec![cert.to_owned(), key.to_owned()];
    files.dedup();
    Ok(Arc::new(Pair(Reread::new(files, |files| pem::pair(files, &provider()))?)))
}

/// What files hold, read again when they change. Files that cannot be used leave in force what was read before.
#[derive(Debug)]
struct Reread<T> {
    files: Vec<PathBuf>,
    read: fn(&[PathBuf]) -> io::Result<T>,
    last: Mutex<(Vec<Option<Stamp>>, T)>,
}

impl<T: Clone> Reread<T> {
    fn new(files: Vec<PathBuf>, read: fn(&[PathBuf]) -> io::Result<T>) -> io::Result<Self> {
        let last = Mutex::new((stamps(&files), read(&files)?));
        Ok(Self { files, read, last })
    }

    fn current(&self) -> T {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let now = stamps(&self.files);
        if last.0 != now
            && let Ok(read) = (self.read)(&self.files)
        {
            *last = (now, read);
        }
        last.1.clone()
    }
}

fn stamps(files: &[PathBuf]) -> Vec<Option<Stamp>> {
    files.iter().map(|file| Stamp::of(file)).collect()
}

#[derive(Debug)]
struct Pair(Reread<Arc<CertifiedKey>>);

impl ResolvesClientCert for Pair {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.current())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[derive(Debug)]
struct Trusting(Reread<Arc<Verifier>>);

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        above: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        stapled: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.0.current().verify_server_cert(shown, above, name, stapled, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.current().verify_tls12_signature(message, shown, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.current().verify_tls13_signature(message, shown, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.current().supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    #[test]
    fn a_renewed_pair_is_shown_and_files_that_do_not_fit_are_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let [cert, key] = ["a.crt", "a.key"].map(|name| folder.path().join(name));
        let write = || {
            let pair = KeyPair::generate().expect("a key");
            let params = CertificateParams::new(vec!["a.test".to_owned()]).expect("a name");
            let made = params.self_signed(&pair).expect("a certificate");
            std::fs::write(&cert, made.pem()).expect("written");
            std::fs::write(&key, pair.serialize_pem()).expect("written");
            made.der().clone()
        };
        let first = write();
        let resolver = shown(&cert, &key).expect("a pair");
        let leaf = || resolver.resolve(&[], &[]).expect("a certificate").cert[0].clone();
        assert_eq!(leaf(), first);
        let second = write();
        assert_eq!(leaf(), second);
        std::fs::write(&key, "nonsense, and longer than a key can be").expect("written");
        assert_eq!(leaf(), second);
        let third = write();
        assert_eq!(leaf(), third);
    }
}
