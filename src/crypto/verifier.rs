//! Which servers' certificates a client of ours trusts: probes, the commands, replicas.
//!
//! A CA file trusts what `curl --cacert` trusts: what its certificates signed, and those certificates themselves, whether a server's or a
//! CA's. Dates and names are checked in any case.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme};

use super::certificate::{Certificate, day};

/// Shortest RSA key that is verified, in bits.
const MIN_RSA: usize = 2048;
/// Longest one.
const MAX_RSA: usize = 8192;
/// Most CAs between a server's certificate and a trusted one.
const MAX_DEPTH: u64 = 6;

/// What is wrong with a certificate, in more detail than rustls reports.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    #[error(
        "the server's certificate has no subjectAltName; its common name does not count, so issue one with the name as subjectAltName"
    )]
    NoNames,
    #[error("the server's certificate is X.509 version {0}; issue one of version 3 with a subjectAltName")]
    OldVersion(u8),
    #[error("{0} has an RSA key of {1} bits, which is too short; at least {MIN_RSA} are needed")]
    ShortKey(&'static str, usize),
    #[error("the server's certificate expired on {0}; renew it")]
    Expired(String),
    #[error(
        "a CA certificate in the server's chain expired on {0}; renew it, and replace it in the file of tls.ca if it is there"
    )]
    CaExpired(String),
    #[error("the server's certificate is valid from {0} only; is a clock wrong?")]
    NotYet(String),
    #[error(
        "the server shows a CA's own certificate (CA:TRUE); issue one for the server, or name this one with tls.ca"
    )]
    CaAsServer,
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Self::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(fault))))
    }
}

/// Verifies against trusted certificates.
#[derive(Debug)]
pub(crate) struct Verifier {
    roots: Arc<WebPkiServerVerifier>,
    /// The certificates of a CA file; empty for the system's roots, which are CAs only.
    named: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl Verifier {
    /// Trusts `roots`, and the certificates of a CA file themselves. None without roots.
    pub(crate) fn new(
        roots: Arc<RootCertStore>,
        named: Vec<CertificateDer<'static>>,
        provider: Arc<CryptoProvider>,
    ) -> Option<Self> {
        let roots = WebPkiServerVerifier::builder_with_provider(roots, provider.clone()).build().ok()?;
        Some(Self { roots, named, provider })
    }

    fn named(&self) -> impl Iterator<Item = Certificate<'_>> {
        self.named.iter().filter_map(|der| Certificate::read(der))
    }

    /// Verifies a certificate that rustls does not accept for a server: trusted itself, or signed by a CA of the file.
    fn by_file(
        &self,
        shown: &CertificateDer<'_>,
        above: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: i64,
    ) -> Result<(), Error> {
        let leaf = Certificate::read(shown).ok_or(CertificateError::BadEncoding)?;
        in_time(&leaf, now)?;
        if !self.named.contains(shown) {
            self.signed(&leaf, above, now)?;
        }
        if !leaf.for_servers {
            return Err(CertificateError::InvalidPurpose.into());
        }
        let parsed = ParsedCertificate::try_from(shown).map_err(|why| explained(&why, &leaf))?;
        verify_server_name(&parsed, name).map_err(|why| explained(&why, &leaf))
    }

    /// Follows the signatures up to a CA of the file.
    fn signed(&self, leaf: &Certificate<'_>, above: &[CertificateDer<'_>], now: i64) -> Result<(), Error> {
        let above: Vec<_> = above.iter().take(8).filter_map(|der| Certificate::read(der)).collect();
        let mut current = leaf.clone();
        for depth in 0..=MAX_DEPTH {
            let may = |ca: &Certificate<'_>| {
                let long_enough = ca.path_length.is_none_or(|most| most >= depth);
                // Name constraints are left to rustls, which accepts no such leaf.
                ca.subject == current.issuer && ca.ca && long_enough && !ca.constrains_names
            };
            if let Some(ca) = self.named().find(|ca| may(ca) && self.signs(ca, &current)) {
                return ca_in_time(&ca, now);
            }
            let Some(next) = above.iter().find(|ca| may(ca) && self.signs(ca, &current)) else { break };
            ca_in_time(next, now)?;
            current = next.clone();
        }
        Err(CertificateError::UnknownIssuer.into())
    }

    fn signs(&self, ca: &Certificate<'_>, certificate: &Certificate<'_>) -> bool {
        let algorithms = self.provider.signature_verification_algorithms.all.iter();
        let mut fitting = algorithms.filter(|algorithm| {
            algorithm.public_key_alg_id().as_ref() == ca.key_algorithm
                && algorithm.signature_alg_id().as_ref() == certificate.algorithm
        });
        fitting.any(|algorithm| algorithm.verify_signature(ca.key, certificate.signed, certificate.signature).is_ok())
    }

    /// Checks the dates of trusted CAs, which rustls does not: those of a file count, since an operator renews them.
    fn anchor_in_time(&self, shown: &CertificateDer<'_>, above: &[CertificateDer<'_>], now: i64) -> Result<(), Error> {
        let read: Vec<_> = std::iter::once(shown).chain(above).filter_map(|der| Certificate::read(der)).collect();
        let signers = self.named().filter(|ca| read.iter().any(|certificate| certificate.issuer == ca.subject));
        let mut late = None;
        for ca in signers {
            match ca_in_time(&ca, now) {
                Ok(()) => return Ok(()),
                Err(why) => late = Some(why),
            }
        }
        late.map_or(Ok(()), Err)
    }

    /// Names a key that is too short as the reason for a signature that does not verify.
    fn short_key(&self, why: Error, shown: &CertificateDer<'_>, above: &[CertificateDer<'_>]) -> Error {
        let short = |der: &[u8]| Certificate::read(der).and_then(|read| read.rsa_bits()).filter(|bits| *bits < MIN_RSA);
        let cas = || above.iter().chain(&self.named).find_map(|der| short(der));
        if why != CertificateError::BadSignature.into() {
            return why;
        }
        match short(shown) {
            Some(bits) => Fault::ShortKey("the server's certificate", bits).into(),
            None => cas().map_or(why, |bits| Fault::ShortKey("a CA certificate above the server's", bits).into()),
        }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        above: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        stapled: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let Err(why) = self.roots.verify_server_cert(shown, above, name, stapled, now) else {
            self.anchor_in_time(shown, above, seconds)?;
            return Ok(ServerCertVerified::assertion());
        };
        let Some(leaf) = Certificate::read(shown) else { return Err(why) };
        if !self.named.is_empty() && (leaf.ca || self.named.contains(shown)) {
            let verified = self.by_file(shown, above, name, seconds);
            return verified.map(|()| ServerCertVerified::assertion()).map_err(|why| self.short_key(why, shown, above));
        }
        Err(self.short_key(explained(&why, &leaf), shown, above))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, shown, signed, &self.provider.signature_verification_algorithms)
            .map_err(|why| self.short_key(why, shown, &[]))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, shown, signed, &self.provider.signature_verification_algorithms)
            .map_err(|why| self.short_key(why, shown, &[]))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn in_time(leaf: &Certificate<'_>, now: i64) -> Result<(), Error> {
    if now > leaf.not_after {
        return Err(Fault::Expired(day(leaf.not_after)).into());
    }
    if now < leaf.not_before {
        return Err(Fault::NotYet(day(leaf.not_before)).into());
    }
    Ok(())
}

fn ca_in_time(ca: &Certificate<'_>, now: i64) -> Result<(), Error> {
    if now > ca.not_after { Err(Fault::CaExpired(day(ca.not_after)).into()) } else { Ok(()) }
}

/// The error with more detail, where the certificate has it.
fn explained(why: &Error, leaf: &Certificate<'_>) -> Error {
    use CertificateError as E;
    let seconds = |time: &UnixTime| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    let Error::InvalidCertificate(why) = why else { return why.clone() };
    match why {
        E::ExpiredContext { not_after, .. } if seconds(not_after) != leaf.not_after => {
            Fault::CaExpired(day(seconds(not_after))).into()
        }
        E::ExpiredContext { .. } | E::Expired => Fault::Expired(day(leaf.not_after)).into(),
        E::NotValidYetContext { not_before, .. } => Fault::NotYet(day(seconds(not_before))).into(),
        E::NotValidForName | E::NotValidForNameContext { .. } if !leaf.names => Fault::NoNames.into(),
        E::BadEncoding | E::Other(_) if leaf.version < 3 => Fault::OldVersion(leaf.version).into(),
        E::Other(_) if leaf.ca => Fault::CaAsServer.into(),
        other => Error::InvalidCertificate(other.clone()),
    }
}

/// `tls: {"verify": false}`: any certificate is accepted. Its key must still sign the handshake where that can be verified; it is meant for
/// old versions, short keys and rare curves, where it cannot.
#[derive(Debug)]
pub(crate) struct AnyCertificate {
    provider: Arc<CryptoProvider>,
}

impl AnyCertificate {
    pub(crate) fn new(provider: Arc<CryptoProvider>) -> Self {
        Self { provider }
    }

    fn signed(&self, message: &[u8], shown: &CertificateDer<'_>, signed: &DigitallySignedStruct) -> Result<(), Error> {
        let Some(leaf) = Certificate::read(shown) else { return Ok(()) };
        if leaf.rsa_bits().is_some_and(|bits| !(MIN_RSA..=MAX_RSA).contains(&bits)) {
            return Ok(());
        }
        let mut known = self.provider.signature_verification_algorithms.mapping.iter();
        let known = known.find(|(scheme, _)| *scheme == signed.scheme).map_or(&[][..], |(_, algorithms)| algorithms);
        let mut fitting =
            known.iter().filter(|known| known.public_key_alg_id().as_ref() == leaf.key_algorithm).peekable();
        let unknown = fitting.peek().is_none();
        let honest = fitting.any(|known| known.verify_signature(leaf.key, message, signed.signature()).is_ok());
        if unknown || honest { Ok(()) } else { Err(CertificateError::BadSignature.into()) }
    }
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signed(message, shown, signed).map(|()| HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signed(message, shown, signed).map(|()| HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![
            SignatureScheme::ECDSA_NISTP256_SHA256,
            SignatureScheme::ECDSA_NISTP384_SHA384,
            SignatureScheme::ECDSA_NISTP521_SHA512,
            SignatureScheme::ED25519,
            SignatureScheme::ED448,
            SignatureScheme::RSA_PSS_SHA256,
            SignatureScheme::RSA_PSS_SHA384,
            SignatureScheme::RSA_PSS_SHA512,
            SignatureScheme::RSA_PKCS1_SHA256,
            SignatureScheme::RSA_PKCS1_SHA384,
            SignatureScheme::RSA_PKCS1_SHA512,
            SignatureScheme::RSA_PKCS1_SHA1,
            SignatureScheme::ECDSA_SHA1_Legacy,
        ]
    }
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::pem::PemObject as _;

    use super::*;

    #[test]
    fn a_short_key_is_named_as_the_reason() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/probe/fixtures/rsa1024.pem");
        let old = CertificateDer::from_pem_file(file).expect("a fixture");
        let mut roots = RootCertStore::empty();
        roots.add(old.clone()).expect("a root");
        let verifier =
            Verifier::new(Arc::new(roots), vec![old.clone()], crate::crypto::provider()).expect("a verifier");
        let other = CertificateDer::from(vec![0x30, 0]);
        for (shown, above, whose) in [
            (&old, &[][..], "the server's certificate"),
            (&other, std::slice::from_ref(&old), "a CA certificate above the server's"),
        ] {
            let why = verifier.short_key(CertificateError::BadSignature.into(), shown, above);
            let Error::InvalidCertificate(CertificateError::Other(why)) = why else { panic!("{why}") };
            assert_eq!(why.0.downcast_ref(), Some(&Fault::ShortKey(whose, 1024)));
        }
        let why = verifier.short_key(CertificateError::UnknownIssuer.into(), &CertificateDer::from(vec![]), &[]);
        assert_eq!(why, CertificateError::UnknownIssuer.into());
    }
}
