//! Bearer tokens: JSON Web Tokens signed with HS256 and nothing else.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use jsonwebtoken::dangerous::insecure_decode_claims;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, EncodingKey, Header, Validation};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::principal::{Namespaces, Scopes};
use super::secrets::{KeyId, Keys};
use super::token_validity::Credential;
use crate::api::http::envelope::Code;
use crate::crypto::ready_for_tokens;
use crate::model::name::Namespace;
use crate::model::owner::CERTIFICATE_ISSUER;
use crate::model::text;
use crate::model::time::{UnixMs, age};

/// The only audience that Portolan accepts.
pub const AUDIENCE: &str = "portolan";
/// Allowed difference between two clocks.
const LEEWAY_SECONDS: f64 = 30.0;
/// Longest token, in bytes.
const MAX_TOKEN: usize = 8 * 1024;
/// Longest `iss` and `sub`, in characters.
const MAX_NAME: usize = 256;

/// A larger `exp` is in milliseconds: as seconds it would be after the year 5138.
const TOO_MANY_SECONDS: f64 = 1e11;

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
    /// `crit` asks for an extension.
    #[error("the token's header asks for an extension (crit); none is known here")]
    Extension,
    /// No secret verifies it.
    #[error("the token is not signed with any of this server's secrets")]
    Signature,
    /// A claim is missing or of the wrong type.
    #[error(
        "the token's claims are not what is needed: sub must be text and exp a number; namespaces is a list of names, iss and \
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
            _ => Code::TokenInvalid,
        }
    }
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    iss: Option<String>,
    exp: f64,
    nbf: Option<f64>,
    aud: Option<Audience>,
    namespaces: Option<Vec<Box<str>>>,
    scope: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

/// The claims of a valid token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bearer {
    pub(super) issuer: Arc<str>,
    pub(super) subject: Arc<str>,
    pub(super) scopes: Scopes,
    pub(super) namespaces: Namespaces,
    /// What its validity still depends on.
    pub(super) credential: Credential,
}

/// What verification depends on besides the secrets.
#[derive(Debug, Clone)]
pub(super) struct TokenRules {
    /// Furthest `exp`, counted from now.
    pub(super) longest: Duration,
    /// The namespace of a token that names none.
    pub(super) default_namespace: Namespace,
}

/// Signature and algorithm are the library's, times are ours: they follow the process's clock.
static SIGNED: LazyLock<Validation> = LazyLock::new(|| {
    let mut validation = Validation::new(Algorithm::HS256);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    validation
});

impl TokenRules {
    /// Verifies `token` at `now`, wall clock.
    pub(super) fn verify(&self, token: &str, keys: &Keys, now: UnixMs) -> Result<Bearer, TokenError> {
        if token.len() > MAX_TOKEN {
            return Err(TokenError::Malformed);
        }
        ready_for_tokens();
        let mut refusal = TokenError::Signature;
        for key in &keys.verify {
            match jsonwebtoken::decode::<Claims>(token, &key.decoding, &SIGNED) {
                Ok(data) if data.header.crit.is_some() => return Err(TokenError::Extension),
                Ok(data) => return self.judge(data.claims, key.id, now),
                Err(error) => refusal = why(error.kind(), token),
            }
            if refusal != TokenError::Signature {
                break;
            }
        }
        Err(refusal)
    }

    fn judge(&self, claims: Claims, key: KeyId, now: UnixMs) -> Result<Bearer, TokenError> {
        let ends = self.timely(&claims, now)?;
        let meant = match &claims.aud {
            None => true,
            Some(Audience::One(one)) => one == AUDIENCE,
            Some(Audience::Many(many)) => many.iter().any(|one| one == AUDIENCE),
        };
        if !meant {
            return Err(TokenError::Audience);
        }
        let issuer = claims.iss.unwrap_or_default();
        if claims.sub.is_empty() || !sound(&claims.sub) || !sound(&issuer) || issuer == CERTIFICATE_ISSUER {
            return Err(TokenError::Claims);
        }
        Ok(Bearer {
            issuer: issuer.into(),
            subject: claims.sub.into(),
            scopes: claims.scope.as_deref().map_or_else(default_scopes, scopes),
            namespaces: self.namespaces(claims.namespaces),
            credential: Credential { ends, key },
        })
    }

    /// When the token ends, if it is valid now.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "a double holds 285,000 years of ms"
    )]
    fn timely(&self, claims: &Claims, now: UnixMs) -> Result<UnixMs, TokenError> {
        let (at, exp) = (now, claims.exp);
        let now = now.0 as f64 / 1000.0;
        let longest = self.longest;
        if now >= exp + LEEWAY_SECONDS {
            let expired = UnixMs((exp * 1000.0) as i64);
            return Err(TokenError::Expired { at: expired, ago: at.since(expired) });
        }
        if exp > now + longest.as_secs_f64() + LEEWAY_SECONDS {
            let ahead = seconds(exp - now);
            return Err(if exp < TOO_MANY_SECONDS {
                TokenError::TooLong { ahead, longest }
            } else {
                TokenError::Milliseconds
            });
        }
        match claims.nbf {
            Some(nbf) if nbf > now + LEEWAY_SECONDS => Err(TokenError::NotYet { ahead: seconds(nbf - now) }),
            _ => Ok(UnixMs(((exp + LEEWAY_SECONDS) * 1000.0) as i64)),
        }
    }

    fn namespaces(&self, claim: Option<Vec<Box<str>>>) -> Namespaces {
        match claim {
            None => Namespaces::Only([self.default_namespace.as_str().into()].into()),
            Some(list) if list.iter().any(|name| **name == *"*") => Namespaces::All,
            Some(list) => Namespaces::Only(list.into()),
        }
    }
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

fn default_scopes() -> Scopes {
    Scopes { read: true, register: true, admin: false }
}

/// Unknown scopes belong to other services that share the issuer.
fn scopes(claim: &str) -> Scopes {
    let has = |word| claim.split(' ').any(|w| w == word);
    let admin = has("admin");
    Scopes { read: admin || has("read"), register: admin || has("register"), admin }
}

fn why(kind: &ErrorKind, token: &str) -> TokenError {
    match kind {
        ErrorKind::InvalidSignature => TokenError::Signature,
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName => TokenError::Algorithm,
        // The library reports an unknown algorithm, above all `none`, as a header that is not JSON.
        ErrorKind::Json(_) if jsonwebtoken::decode_header(token).is_err() => TokenError::Algorithm,
        ErrorKind::Json(_) => TokenError::Claims,
        _ => TokenError::Malformed,
    }
}

/// The claims of a new token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mint {
    /// The holder; together with the issuer, the owner of what it registers.
    pub subject: String,
    /// Usually empty.
    pub issuer: Option<String>,
    /// Namespaces it covers; `None` is the default one, `["*"]` all.
    pub namespaces: Option<Vec<String>>,
    /// Its grants; `None` is read and register.
    pub scopes: Option<Scopes>,
    /// Its lifetime; a server accepts at most `PORTOLAN_TOKEN_MAX_DAYS`.
    pub lasts: Duration,
}

impl Mint {
    /// The claims for another token like this one, as far as it can be parsed. Verifies nothing: for the token's holder alone.
    pub fn like(token: &str) -> Option<Self> {
        let claims: serde_json::Value = insecure_decode_claims(token).ok()?;
        let text = |name: &str| claims[name].as_str().filter(|text| !text.is_empty() && sound(text)).map(str::to_owned);
        let known = |name: &&str| *name == "*" || name.parse::<Namespace>().is_ok();
        let namespaces = claims["namespaces"]
            .as_array()
            .map(|list| list.iter().filter_map(serde_json::Value::as_str).filter(known).map(str::to_owned).collect());
        Some(Self {
            subject: text("sub")?,
            issuer: text("iss"),
            namespaces,
            scopes: claims["scope"].as_str().map(scopes),
            lasts: USUAL_LIFE,
        })
    }
}

/// The default lifetime of a token.
pub const USUAL_LIFE: Duration = Duration::from_hours(24);

/// Whether a subject or issuer is safe to show in a log and a terminal.
fn sound(name: &str) -> bool {
    text::accept(name, MAX_NAME).is_ok()
}

/// A token that could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MintError {
    /// The subject is empty or unsafe.
    #[error("a subject is 1 to {MAX_NAME} characters without line breaks and control characters")]
    Subject,
    /// No grants at all.
    #[error("a token without a scope allows nothing; give read, register or admin")]
    NoScope,
    /// The signer failed.
    #[error("the token could not be signed: {0}")]
    Sign(String),
}

#[derive(Serialize)]
struct MintClaims<'a> {
    sub: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a str>,
    aud: &'static str,
    iat: i64,
    exp: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespaces: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
}

impl Scopes {
    /// The `scope` claim.
    pub fn claim(self) -> String {
        let words = [(self.read, "read"), (self.register, "register"), (self.admin, "admin")];
        words.into_iter().filter_map(|(on, word)| on.then_some(word)).collect::<Vec<_>>().join(" ")
    }
}

/// Makes a token, valid from `now` (wall clock).
///
/// # Errors
/// [`MintError`] when no server would accept it.
pub fn mint(secret: &SecretString, what: &Mint, now: UnixMs) -> Result<String, MintError> {
    if what.subject.is_empty() || !sound(&what.subject) || !what.issuer.as_deref().is_none_or(sound) {
        return Err(MintError::Subject);
    }
    if what.scopes == Some(Scopes::default()) {
        return Err(MintError::NoScope);
    }
    let claims = MintClaims {
        sub: &what.subject,
        iss: what.issuer.as_deref(),
        aud: AUDIENCE,
        iat: now.0 / 1000,
        exp: now.plus(what.lasts).0 / 1000,
        namespaces: what.namespaces.as_deref(),
        scope: what.scopes.map(Scopes::claim),
    };
    let key = EncodingKey::from_secret(secret.expose_secret().as_bytes());
    ready_for_tokens();
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key).map_err(|e| MintError::Sign(e.to_string()))
}
