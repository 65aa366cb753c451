//! Portolan's own bearer tokens: JSON Web Tokens signed with HS256 and nothing else.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use jsonwebtoken::dangerous::insecure_decode_claims;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, EncodingKey, Header, Validation};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::principal::{Namespaces, Scopes};
use super::secrets::{KeyId, Keys};
use super::token_error::TokenError;
use super::token_validity::Credential;
use crate::crypto::ready_for_tokens;
use crate::model::name::Namespace;
use crate::model::ports::ServiceAccount;
use crate::model::text;
use crate::model::time::UnixMs;

/// The only audience that Portolan accepts.
pub const AUDIENCE: &str = "portolan";
/// Allowed difference between two clocks.
const LEEWAY_SECONDS: f64 = 30.0;
/// The issuer of owners that are ServiceAccounts, whatever URL the cluster's API server has in its tokens: it may change, and a backup may be
/// restored into another cluster.
pub(super) const CLUSTER: &str = "kubernetes";
/// Longest token, in bytes.
pub(super) const MAX_TOKEN: usize = 8 * 1024;
/// Longest `iss` and `sub`, in characters.
const MAX_NAME: usize = 256;

/// A larger `exp` is in milliseconds: as seconds it would be after the year 5138.
const TOO_MANY_SECONDS: f64 = 1e11;

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

/// The claim `aud`.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Audience {
    /// Whether it names one of `accepted`.
    pub(super) fn is_one_of(&self, accepted: &[impl AsRef<str>]) -> bool {
        let is = |name: &String| accepted.iter().any(|one| one.as_ref() == name);
        match self {
            Self::One(one) => is(one),
            Self::Many(many) => many.iter().any(is),
        }
    }
}

/// What a valid token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bearer {
    pub(super) issuer: Arc<str>,
    pub(super) subject: Arc<str>,
    pub(super) scopes: Scopes,
    pub(super) namespaces: Namespaces,
    /// The holder, where the token is a ServiceAccount's.
    pub(super) account: Option<Arc<ServiceAccount>>,
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
pub(super) fn signed_with(algorithm: Algorithm) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    validation
}

static SIGNED: LazyLock<Validation> = LazyLock::new(|| signed_with(Algorithm::HS256));

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
        let ends = timely((claims.exp, claims.nbf), self.longest, now)?;
        if claims.aud.is_some_and(|aud| !aud.is_one_of(&[AUDIENCE])) {
            return Err(TokenError::Audience);
        }
        let issuer = claims.iss.unwrap_or_default();
        if claims.sub.is_empty() || !sound(&claims.sub) || !sound(&issuer) {
            return Err(TokenError::Claims);
        }
        if issuer == CLUSTER {
            return Err(TokenError::Reserved);
        }
        Ok(Bearer {
            issuer: issuer.into(),
            subject: claims.sub.into(),
            scopes: claims.scope.as_deref().map_or_else(default_scopes, scopes),
            namespaces: self.namespaces(claims.namespaces),
            account: None,
            credential: Credential { ends, key },
        })
    }

    fn namespaces(&self, claim: Option<Vec<Box<str>>>) -> Namespaces {
        match claim {
            None => Namespaces::Only([self.default_namespace.as_str().into()].into()),
            Some(list) if list.iter().any(|name| **name == *"*") => Namespaces::All,
            Some(list) => Namespaces::Only(list.into()),
        }
    }
}

/// When a token with these `exp` and `nbf` ends, leeway included, if it is valid now.
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "a double holds 285,000 years of ms")]
pub(super) fn timely((exp, nbf): (f64, Option<f64>), longest: Duration, now: UnixMs) -> Result<UnixMs, TokenError> {
    let at = now;
    let now = now.0 as f64 / 1000.0;
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
    match nbf {
        Some(nbf) if nbf > now + LEEWAY_SECONDS => Err(TokenError::NotYet { ahead: seconds(nbf - now) }),
        _ => Ok(UnixMs(((exp + LEEWAY_SECONDS) * 1000.0) as i64)),
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

/// What the library's error says about `token`.
pub(super) fn why(kind: &ErrorKind, token: &str) -> TokenError {
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

/// The ServiceAccount of a cluster's token, as far as it can be parsed: its namespace and name. Verifies nothing: for the token's holder alone.
pub fn account_of(token: &str) -> Option<(Namespace, String)> {
    let claims: serde_json::Value = insecure_decode_claims(token).ok()?;
    let (namespace, name) = ServiceAccount::parse(claims["sub"].as_str().filter(|sub| sound(sub))?)?;
    claims["kubernetes.io"].is_object().then(|| (namespace, name.to_owned()))
}

/// The default lifetime of a token.
pub const USUAL_LIFE: Duration = Duration::from_hours(24);

/// Whether a subject or issuer is safe to show in a log and a terminal.
pub(super) fn sound(name: &str) -> bool {
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
