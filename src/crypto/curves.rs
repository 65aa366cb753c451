//! ECDSA signatures of certificates that ring does not verify: everything with P-521, and SHA-512 with P-256 and P-384.
//! OpenSSL creates such certificates and clients accept them, so a check must not call their servers unhealthy.

use p521::ecdsa::signature::hazmat::PrehashVerifier;
use ring::digest;
use rustls::SignatureScheme;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm, alg_id};

type Algorithms = &'static [&'static dyn SignatureVerificationAlgorithm];

/// Length of a P-521 integer in bytes.
const P521_BYTES: usize = 66;

#[derive(Debug, Clone, Copy)]
enum Curve {
    P256,
    P384,
    P521,
}

#[derive(Debug, Clone, Copy)]
enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

#[derive(Debug)]
struct Ecdsa(Curve, Hash);

const P256_SHA512: Ecdsa = Ecdsa(Curve::P256, Hash::Sha512);
const P384_SHA512: Ecdsa = Ecdsa(Curve::P384, Hash::Sha512);
const P521_SHA256: Ecdsa = Ecdsa(Curve::P521, Hash::Sha256);
const P521_SHA384: Ecdsa = Ecdsa(Curve::P521, Hash::Sha384);
const P521_SHA512: Ecdsa = Ecdsa(Curve::P521, Hash::Sha512);

static ADDED: Algorithms = &[&P256_SHA512, &P384_SHA512, &P521_SHA256, &P521_SHA384, &P521_SHA512];

/// TLS 1.2 schemes leave the curve open. These are the algorithms that ring's interpretation of a scheme lacks.
fn added_for(scheme: SignatureScheme) -> Algorithms {
    match scheme {
        SignatureScheme::ECDSA_NISTP256_SHA256 => &[&P521_SHA256],
        SignatureScheme::ECDSA_NISTP384_SHA384 => &[&P521_SHA384],
        _ => &[],
    }
}

/// `ring`'s algorithms and these. Call it once: it leaks what it allocates.
pub(super) fn added_to(ring: WebPkiSupportedAlgorithms) -> WebPkiSupportedAlgorithms {
    let widened = |&(scheme, known): &(SignatureScheme, Algorithms)| -> (SignatureScheme, Algorithms) {
        (scheme, [known, added_for(scheme)].concat().leak())
    };
    let mut mapping: Vec<_> = ring.mapping.iter().map(widened).collect();
    // The curve that TLS 1.3 assigns to this scheme comes first.
    mapping.push((SignatureScheme::ECDSA_NISTP521_SHA512, &[&P521_SHA512, &P384_SHA512, &P256_SHA512]));
    WebPkiSupportedAlgorithms { all: [ring.all, ADDED].concat().leak(), mapping: mapping.leak() }
}

impl SignatureVerificationAlgorithm for Ecdsa {
    fn verify_signature(&self, key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        let algorithm = match self.1 {
            Hash::Sha256 => &digest::SHA256,
            Hash::Sha384 => &digest::SHA384,
            Hash::Sha512 => &digest::SHA512,
        };
        let hash = digest::digest(algorithm, message);
        verify(self.0, key, hash.as_ref(), signature).map_err(|_| InvalidSignature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        match self.0 {
            Curve::P256 => alg_id::ECDSA_P256,
            Curve::P384 => alg_id::ECDSA_P384,
            Curve::P521 => alg_id::ECDSA_P521,
        }
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        match self.1 {
            Hash::Sha256 => alg_id::ECDSA_SHA256,
            Hash::Sha384 => alg_id::ECDSA_SHA384,
            Hash::Sha512 => alg_id::ECDSA_SHA512,
        }
    }
}

fn verify(curve: Curve, key: &[u8], hash: &[u8], signature: &[u8]) -> Result<(), signature::Error> {
    match curve {
        Curve::P256 => {
            let signature = p256::ecdsa::Signature::from_der(signature)?;
            p256::ecdsa::VerifyingKey::from_sec1_bytes(key)?.verify_prehash(hash, &signature)
        }
        Curve::P384 => {
            let signature = p384::ecdsa::Signature::from_der(signature)?;
            p384::ecdsa::VerifyingKey::from_sec1_bytes(key)?.verify_prehash(hash, &signature)
        }
        Curve::P521 => {
            let signature = p521::ecdsa::Signature::from_der(signature)?;
            // A hash is a number, so leading zeros change nothing. The verifier requires at least half of the curve's length.
            let mut number = [0; P521_BYTES];
            number[P521_BYTES - hash.len()..].copy_from_slice(hash);
            p521::ecdsa::VerifyingKey::from_sec1_bytes(key)?.verify_prehash(&number, &signature)
        }
    }
}
