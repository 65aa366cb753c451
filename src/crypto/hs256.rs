//! HMAC with SHA-256 for JSON Web Tokens; the only algorithm that signs.

use jsonwebtoken::crypto::{JwtSigner, JwtVerifier};
use jsonwebtoken::errors::{ErrorKind, Result};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, EncodingKey};
use ring::hmac;
use signature::{Error, Signer, Verifier};

struct Hs256(hmac::Key);

impl Hs256 {
    fn new(algorithm: Algorithm, family: AlgorithmFamily, secret: &[u8]) -> Result<Box<Self>> {
        if algorithm != Algorithm::HS256 {
            return Err(ErrorKind::InvalidAlgorithm.into());
        }
        if family != AlgorithmFamily::Hmac {
            return Err(ErrorKind::InvalidKeyFormat.into());
        }
        Ok(Box::new(Self(hmac::Key::new(hmac::HMAC_SHA256, secret))))
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the library calls it so")]
pub(super) fn signer(algorithm: &Algorithm, key: &EncodingKey) -> Result<Box<dyn JwtSigner>> {
    Ok(Hs256::new(*algorithm, key.family(), key.as_bytes())?)
}

pub(super) fn verifier(algorithm: Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>> {
    Ok(Hs256::new(algorithm, key.family(), key.try_get_as_bytes()?)?)
}

impl Signer<Vec<u8>> for Hs256 {
    fn try_sign(&self, message: &[u8]) -> std::result::Result<Vec<u8>, Error> {
        Ok(hmac::sign(&self.0, message).as_ref().to_vec())
    }
}

impl Verifier<Vec<u8>> for Hs256 {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> std::result::Result<(), Error> {
        // In constant time.
        hmac::verify(&self.0, message, signature).map_err(|_| Error::new())
    }
}

impl JwtSigner for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

impl JwtVerifier for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{Header, Validation, decode, encode};
    use serde_json::{Value, json};

    use super::*;
    use crate::crypto::tokens::ready;

    /// The example of RFC 7515, appendix A.1: its key, its token.
    const KEY: &str = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
    const TOKEN: &str = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

    fn validation(algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        validation.validate_exp = false;
        validation
    }

    #[test]
    fn verifies_the_example_of_the_standard_and_rejects_a_changed_byte() {
        use base64::Engine as _;
        ready();
        let secret = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(KEY).expect("base64");
        let key = DecodingKey::from_secret(&secret);
        let read = decode::<Value>(TOKEN, &key, &validation(Algorithm::HS256)).expect("a token of the standard");
        assert_eq!(read.claims["iss"], "joe");
        let changed = TOKEN.replace("dBjf", "dBjg");
        let refused = decode::<Value>(changed, &key, &validation(Algorithm::HS256)).expect_err("another signature");
        assert!(matches!(refused.kind(), ErrorKind::InvalidSignature), "{refused:?}");
    }

    #[test]
    fn signs_and_verifies_only_hs256() {
        ready();
        let key = EncodingKey::from_secret(&[7; 64]);
        for other in [Algorithm::HS384, Algorithm::HS512] {
            let refused = encode(&Header::new(other), &json!({"sub": "a"}), &key).expect_err("another algorithm");
            assert!(matches!(refused.kind(), ErrorKind::InvalidAlgorithm), "{refused:?}");
        }
        let claims = json!({"sub": "a", "exp": 4_102_444_800_u32});
        let token = encode(&Header::new(Algorithm::HS256), &claims, &key).expect("a token");
        let key = DecodingKey::from_secret(&[7; 64]);
        assert!(decode::<Value>(&token, &key, &validation(Algorithm::HS512)).is_err());
        assert!(decode::<Value>(&token, &key, &validation(Algorithm::HS256)).is_ok());
    }
}
