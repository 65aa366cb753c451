//! What identifies an owner: a token, or a client's certificate.

use std::sync::Arc;

use super::service::Owner;

/// The issuer of an owner that a client's certificate names. No token may have it.
pub const CERTIFICATE_ISSUER: &str = "certificate";

impl Owner {
    /// The owner that a client's certificate names.
    pub fn certificate(subject: Arc<str>) -> Self {
        Self::Token { issuer: CERTIFICATE_ISSUER.into(), subject }
    }

    /// `anonymous`, `token` or `certificate`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Anonymous => "anonymous",
            Self::Token { issuer, .. } if **issuer == *CERTIFICATE_ISSUER => CERTIFICATE_ISSUER,
            Self::Token { .. } => "token",
        }
    }
}
