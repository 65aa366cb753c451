//! Why a token is not valid.

use std::time::Duration;

use crate::api::http::envelope::Code;
use crate::model::time::{UnixMs, age};

/// Why a token is not valid, for its sender or maker. Claims are repeated only where one of the secrets signed them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not three parts of base64url JSON, or over 8 KiB.
    #[error(
        "this is not a JSON Web Token: it has three parts of base64url text with dots between them, in at most 8 KiB"
    )]
    Malformed,
    /// Two headers, of which neither takes precedence.
    #[error("there are several Authorization headers; send one")]
    Several,
    /// `alg` is not HS256, or the header is not JSON.
    #[error("the token's header must be JSON that names the algorithm HS256, the only one accepted")]
    Algorithm,
    /// The same where tokens of ServiceAccounts are accepted, too.
    #[error(
        "the token's header must be JSON that names the algorithm RS256 or ES256, as a ServiceAccount's token does, or HS256, as one of \
         Portolan's own does"
    )]
    AnyAlgorithm,
    /// HS256, where no secret could verify it.
    #[error(
        "this server has no secret that verifies HS256, or its file is gone; in a cluster, send a ServiceAccount's token with the audience \
         portolan"
    )]
    NoSecret,
    /// The keys that verify tokens of ServiceAccounts were not read yet.
    #[error(
        "the keys of the cluster's tokens are not known yet, because the Kubernetes API has not given them; try again"
    )]
    KeysUnknown,
    /// No key of the cluster has its `kid`.
    #[error(
        "the token is not signed with a key of this cluster's API server; after a change of keys, try again in a few seconds"
    )]
    Key,
    /// The key with its `kid` does not verify it.
    #[error("the token's signature does not match the key that it names")]
    KeySignature,
    /// `iss` is not the API server.
    #[error("the token is not issued by this cluster's API server")]
    Issuer,
    /// It is nobody's, or says two things.
    #[error(
        "the token is not a ServiceAccount's: its sub must be system:serviceaccount:NAMESPACE:NAME, and its kubernetes.io must say the same"
    )]
    Account,
    /// `aud` names others.
    #[error(
        "the token is for another audience: project one with the audience portolan, or with one of the server's PORTOLAN_TOKEN_AUDIENCES"
    )]
    AccountAudience,
    /// The Kubernetes API does not accept it any longer.
    #[error("the Kubernetes API does not accept the token: its pod or its ServiceAccount is gone")]
    Revoked,
    /// The issuer of owners that are ServiceAccounts.
    #[error("the token's iss is kubernetes, which stands for the cluster's own tokens; give it another one")]
    Reserved,
    /// `crit` asks for an extension.
    #[error("the token's header asks for an extension (crit); none is known here")]
    Extension,
    /// No secret verifies it.
    #[error("the token is not signed with any of this server's secrets")]
    Signature,
    /// A claim is missing or of the wrong type.
    #[error(
        "the token's claims are malformed: sub must be text and exp a number; namespaces is a list of names, iss and \
         scope are text"
    )]
    Claims,
    /// `aud` names others.
    #[error("the token is for another audience: its aud must name portolan, or be absent")]
    Audience,
    /// `nbf` lies ahead.
    #[error("the token is not valid yet: its nbf lies {} ahead", age(*.ahead))]
    NotYet {
        /// Time until then.
        ahead: Duration,
    },
    /// `exp` lies too far ahead.
    #[error(
        "the token expires too late: its exp lies {} ahead, and PORTOLAN_TOKEN_MAX_DAYS allows {} here",
        age(*.ahead), age(*.longest)
    )]
    TooLong {
        /// Time until then.
        ahead: Duration,
        /// The most allowed.
        longest: Duration,
    },
    /// `exp` is a time in milliseconds.
    #[error("the token's exp is far too large: it counts seconds since 1970, not milliseconds")]
    Milliseconds,
    /// `exp` has passed.
    #[error("the token expired at {at}, {} ago", age(*.ago))]
    Expired {
        /// Its `exp`.
        at: UnixMs,
        /// Time since then.
        ago: Duration,
    },
}

impl TokenError {
    /// The code of the refusal.
    pub fn code(self) -> Code {
        match self {
            Self::Expired { .. } => Code::TokenExpired,
            Self::KeysUnknown => Code::Unavailable,
            _ => Code::TokenInvalid,
        }
    }
}
