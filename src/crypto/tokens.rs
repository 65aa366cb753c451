//! The signatures of JSON Web Tokens: HS256 for Portolan's own; RS256 and ES256, which Kubernetes signs with, are only verified.

use std::sync::Once;

use jsonwebtoken::crypto::{CryptoProvider, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{ErrorKind, Result};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind};
use ring::rsa::PublicKeyComponents;
use ring::signature::{ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use signature::{Error, Verifier};

use super::hs256;

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: hs256::signer,
    verifier_factory: verifier,
    key_utils: KeyUtils::new_unimplemented(),
};

/// Must be called before signing or verifying a token. Only the first call has an effect.
pub(crate) fn ready() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // An error means that a provider is installed already, which is fine too.
        let _ = PROVIDER.install_default();
    });
}

/// An algorithm takes only keys of its own family: a public key never serves as the secret of an HMAC.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "the library calls it so")]
fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>> {
    match (algorithm, key.family(), key.kind()) {
        (Algorithm::RS256, AlgorithmFamily::Rsa, DecodingKeyKind::RsaModulusExponent { n, e }) => {
            Ok(Box::new(Rs256(PublicKeyComponents { n: n.clone(), e: e.clone() })))
        }
        (Algorithm::ES256, AlgorithmFamily::Ec, DecodingKeyKind::SecretOrDer(point)) => {
            Ok(Box::new(Es256(UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point.clone()))))
        }
        (Algorithm::RS256 | Algorithm::ES256, ..) => Err(ErrorKind::InvalidKeyFormat.into()),
        _ => hs256::verifier(*algorithm, key),
    }
}

/// RSASSA-PKCS1-v1_5 with SHA-256; the modulus has 2048 to 8192 bits.
struct Rs256(PublicKeyComponents<Vec<u8>>);

impl Verifier<Vec<u8>> for Rs256 {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> std::result::Result<(), Error> {
        self.0.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature).map_err(|_| Error::new())
    }
}

impl JwtVerifier for Rs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::RS256
    }
}

/// ECDSA on P-256 with SHA-256; the signature is two numbers of 32 bytes.
struct Es256(UnparsedPublicKey<Vec<u8>>);

impl Verifier<Vec<u8>> for Es256 {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> std::result::Result<(), Error> {
        self.0.verify(message, signature).map_err(|_| Error::new())
    }
}

impl JwtVerifier for Es256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::ES256
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use jsonwebtoken::{Validation, decode};
    use ring::rand::SystemRandom;
    use ring::rsa::KeyPair as RsaKeyPair;
    use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256};
    use rustls::pki_types::PrivatePkcs8KeyDer;
    use rustls::pki_types::pem::PemObject as _;
    use serde_json::{Value, json};

    use super::*;

    fn message(alg: &str) -> String {
        of("a", alg)
    }

    fn of(subject: &str, alg: &str) -> String {
        let part = |json: Value| URL_SAFE_NO_PAD.encode(json.to_string());
        format!("{}.{}", part(json!({ "alg": alg })), part(json!({ "sub": subject })))
    }

    fn signed(message: &str, signature: &[u8]) -> String {
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn judged(token: &str, key: &DecodingKey, algorithm: Algorithm) -> Result<()> {
        ready();
        let mut validation = Validation::new(algorithm);
        validation.validate_exp = false;
        validation.required_spec_claims.clear();
        decode::<Value>(token, key, &validation).map(drop)
    }

    fn rsa() -> (RsaKeyPair, DecodingKey) {
        let pem = include_bytes!("testdata/rsa-pkcs8.pem");
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem).expect("a key");
        let pair = RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).expect("usable");
        let public = PublicKeyComponents::<Vec<u8>>::from(pair.public());
        let key = DecodingKey::from_rsa_raw_components(&public.n, &public.e);
        (pair, key)
    }

    fn rs256(message: &str) -> String {
        let (pair, _) = rsa();
        let mut signature = vec![0; pair.public().modulus_len()];
        pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message.as_bytes(), &mut signature).expect("signed");
        signed(message, &signature)
    }

    fn p256() -> (EcdsaKeyPair, DecodingKey) {
        let random = SystemRandom::new();
        let der = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("a key");
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der.as_ref(), &random).expect("usable");
        let point = pair.public_key().as_ref();
        let text = |number: &[u8]| URL_SAFE_NO_PAD.encode(number);
        let key = DecodingKey::from_ec_components(&text(&point[1..33]), &text(&point[33..])).expect("a point");
        (pair, key)
    }

    fn es256(pair: &EcdsaKeyPair, message: &str) -> String {
        signed(message, pair.sign(&SystemRandom::new(), message.as_bytes()).expect("signed").as_ref())
    }

    #[test]
    fn signatures_verify_with_their_key_and_no_other() {
        let ((_, rsa), (pair, ec), (_, other)) = (rsa(), p256(), p256());
        let token = rs256(&message("RS256"));
        judged(&token, &rsa, Algorithm::RS256).expect("its key");
        let (_, signature) = token.rsplit_once('.').expect("three parts");
        let changed = format!("{}.{signature}", of("b", "RS256"));
        assert!(judged(&changed, &rsa, Algorithm::RS256).is_err(), "another subject");
        let token = es256(&pair, &message("ES256"));
        judged(&token, &ec, Algorithm::ES256).expect("its key");
        assert!(judged(&token, &other, Algorithm::ES256).is_err());
        assert!(judged(&signed(&message("ES256"), &[0; 64]), &ec, Algorithm::ES256).is_err(), "zeros sign nothing");
        assert!(judged(&signed(&message("ES256"), &[]), &ec, Algorithm::ES256).is_err());
    }

    #[test]
    fn an_algorithm_takes_no_key_of_another() {
        let ((_, rsa), (pair, ec)) = (rsa(), p256());
        for algorithm in [Algorithm::HS256, Algorithm::RS384, Algorithm::PS256, Algorithm::ES384, Algorithm::EdDSA] {
            assert!(verifier(&algorithm, &rsa).is_err() && verifier(&algorithm, &ec).is_err(), "{algorithm:?}");
        }
        assert!(verifier(&Algorithm::ES256, &rsa).is_err() && verifier(&Algorithm::RS256, &ec).is_err());
        let secret = DecodingKey::from_secret(&[7; 64]);
        assert!(verifier(&Algorithm::RS256, &secret).is_err() && verifier(&Algorithm::ES256, &secret).is_err());
        let token = es256(&pair, &message("RS256"));
        assert!(judged(&token, &ec, Algorithm::ES256).is_err(), "the header says otherwise");
        let small = DecodingKey::from_rsa_raw_components(&[0xff; 128], &[1, 0, 1]);
        assert!(judged(&rs256(&message("RS256")), &small, Algorithm::RS256).is_err(), "1024 bits");
    }
}
