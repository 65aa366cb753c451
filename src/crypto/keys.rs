//! Private keys of client certificates: those that ring supports, and P-521, which ring cannot sign with.

use std::sync::Arc;

use p521::ecdsa::signature::Signer as _;
use p521::pkcs8::DecodePrivateKey as _;
use rustls::crypto::KeyProvider;
use rustls::pki_types::{PrivateKeyDer, SubjectPublicKeyInfoDer, alg_id};
use rustls::sign::{Signer, SigningKey, public_key_to_spki};
use rustls::{Error, SignatureAlgorithm, SignatureScheme};

/// Loads keys of P-521, and all others through ring.
#[derive(Debug)]
pub(super) struct Keys(pub(super) &'static dyn KeyProvider);

impl KeyProvider for Keys {
    fn load_private_key(&self, key: PrivateKeyDer<'static>) -> Result<Arc<dyn SigningKey>, Error> {
        match p521(&key) {
            Some(key) => Ok(Arc::new(P521(Arc::new(key)))),
            None => self.0.load_private_key(key),
        }
    }
}

fn p521(key: &PrivateKeyDer<'_>) -> Option<p521::ecdsa::SigningKey> {
    let secret = match key {
        PrivateKeyDer::Pkcs8(der) => p521::SecretKey::from_pkcs8_der(der.secret_pkcs8_der()).ok()?,
        PrivateKeyDer::Sec1(der) => p521::SecretKey::from_sec1_der(der.secret_sec1_der()).ok()?,
        _ => return None,
    };
    p521::ecdsa::SigningKey::from_bytes(&secret.to_bytes()).ok()
}

#[derive(Clone)]
struct P521(Arc<p521::ecdsa::SigningKey>);

/// Does not show the key.
impl std::fmt::Debug for P521 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("P521")
    }
}

impl SigningKey for P521 {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let wanted = offered.contains(&SignatureScheme::ECDSA_NISTP521_SHA512);
        wanted.then(|| Box::new(self.clone()) as Box<dyn Signer>)
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        let point = p521::ecdsa::VerifyingKey::from(&*self.0).to_encoded_point(false);
        Some(public_key_to_spki(&alg_id::ECDSA_P521, point))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ECDSA
    }
}

impl Signer for P521 {
    /// With SHA-512, as its scheme says.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let signed: Result<p521::ecdsa::Signature, _> = self.0.try_sign(message);
        let signature = signed.map_err(|error| Error::General(error.to_string()))?;
        Ok(signature.to_der().as_bytes().to_vec())
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ECDSA_NISTP521_SHA512
    }
}

#[cfg(test)]
mod tests {
    use p521::elliptic_curve::sec1::ToEncodedPoint as _;
    use rustls::pki_types::pem::PemObject as _;

    use super::*;

    #[test]
    fn signatures_with_a_p521_key_verify_in_both_encodings() {
        let provider = crate::crypto::provider();
        for pem in [include_str!("testdata/p521-sec1.pem"), include_str!("testdata/p521-pkcs8.pem")] {
            let der = PrivateKeyDer::from_pem_slice(pem.as_bytes()).expect("a key");
            let public = p521::PublicKey::from_secret_scalar(p521(&der).expect("P-521").as_nonzero_scalar());
            let public = public.to_encoded_point(false);
            let key = provider.key_provider.load_private_key(der).expect("a usable key");
            assert!(key.choose_scheme(&[SignatureScheme::ECDSA_NISTP256_SHA256]).is_none());
            let signer = key.choose_scheme(&[SignatureScheme::ECDSA_NISTP521_SHA512]).expect("its scheme");
            let signature = signer.sign(b"a handshake").expect("a signature");
            let verifiers = provider.signature_verification_algorithms.mapping;
            let (_, verifiers) = verifiers.iter().find(|(scheme, _)| *scheme == signer.scheme()).expect("its verifier");
            let verified = |message: &[u8]| verifiers[0].verify_signature(public.as_bytes(), message, &signature);
            assert!(verified(b"a handshake").is_ok() && verified(b"another handshake").is_err());
            assert!(!format!("{key:?}").contains("Scalar"));
        }
    }
}
