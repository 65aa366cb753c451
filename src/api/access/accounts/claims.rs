//! Verifies a ServiceAccount's token with the cluster's keys.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use jsonwebtoken::{Algorithm, Validation};
use serde::Deserialize;

use super::keys::Issuer;
use crate::api::access::principal::{Namespaces, Scopes};
use crate::api::access::token::{Audience, Bearer, CLUSTER, MAX_TOKEN, signed_with, sound, timely, why};
use crate::api::access::token_error::TokenError;
use crate::api::access::token_validity::Credential;
use crate::crypto::ready_for_tokens;
use crate::model::ports::ServiceAccount;
use crate::model::time::UnixMs;

/// What a token's holder may do in its own namespace, and in others as far as RBAC allows it. Nobody is an admin by being a pod.
const SCOPES: Scopes = Scopes { read: true, register: true, admin: false };

/// What verification depends on besides the keys.
#[derive(Debug, Clone)]
pub(super) struct AccountRules {
    /// At least one of them must be in `aud`.
    pub(super) audiences: Arc<[String]>,
    /// The values of `iss` that are accepted besides the one that the API server publishes.
    pub(super) issuers: Arc<[String]>,
    /// Furthest `exp`, counted from now.
    pub(super) longest: Duration,
}

/// The claims of a [bound token](https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#bound-service-account-tokens).
/// A token from a Secret has no `exp` and no `aud`, and is refused.
#[derive(Deserialize)]
struct Claims {
    sub: String,
    iss: String,
    exp: f64,
    nbf: Option<f64>,
    aud: Audience,
    #[serde(rename = "kubernetes.io")]
    kubernetes: Kubernetes,
}

#[derive(Deserialize)]
struct Kubernetes {
    namespace: String,
    serviceaccount: Named,
}

#[derive(Deserialize)]
struct Named {
    name: String,
    uid: String,
}

static RS256: LazyLock<Validation> = LazyLock::new(|| signed_with(Algorithm::RS256));
static ES256: LazyLock<Validation> = LazyLock::new(|| signed_with(Algorithm::ES256));

impl AccountRules {
    /// Verifies `token` at `now`, wall clock.
    pub(super) fn verify(&self, token: &str, issuer: &Issuer, now: UnixMs) -> Result<Bearer, TokenError> {
        if token.len() > MAX_TOKEN {
            return Err(TokenError::Malformed);
        }
        if issuer.keys.is_empty() {
            return Err(TokenError::KeysUnknown);
        }
        ready_for_tokens();
        let header = jsonwebtoken::decode_header(token).map_err(|error| refusal(&error, token))?;
        if header.crit.is_some() {
            return Err(TokenError::Extension);
        }
        // A key that the token brings itself (`jwk`, `x5c`, `jku`) is never looked at.
        let key = issuer.keys.iter().find(|key| Some(&key.kid) == header.kid.as_ref()).ok_or(TokenError::Key)?;
        let rules = if key.algorithm == Algorithm::RS256 { &RS256 } else { &ES256 };
        let read = jsonwebtoken::decode::<Claims>(token, &key.decoding, rules);
        let claims = read.map_err(|error| refusal(&error, token))?.claims;
        let account = self.judge(&claims, issuer)?;
        let ends = timely((claims.exp, claims.nbf), self.longest, now)?;
        Ok(Bearer {
            issuer: CLUSTER.into(),
            subject: claims.sub.into(),
            scopes: SCOPES,
            namespaces: Namespaces::Only([account.namespace.as_str().into()].into()),
            account: Some(Arc::new(account)),
            credential: Credential { ends, key: key.id },
        })
    }

    fn judge(&self, claims: &Claims, issuer: &Issuer) -> Result<ServiceAccount, TokenError> {
        if claims.iss != issuer.name && !self.issuers.contains(&claims.iss) {
            return Err(TokenError::Issuer);
        }
        if !claims.aud.is_one_of(&self.audiences) {
            return Err(TokenError::AccountAudience);
        }
        let (namespace, name) = ServiceAccount::parse(&claims.sub).ok_or(TokenError::Account)?;
        let same = namespace.as_str() == claims.kubernetes.namespace && name == claims.kubernetes.serviceaccount.name;
        if !same || !sound(&claims.sub) {
            return Err(TokenError::Account);
        }
        Ok(ServiceAccount { namespace, name: name.to_owned(), uid: claims.kubernetes.serviceaccount.uid.clone() })
    }
}

fn refusal(error: &jsonwebtoken::errors::Error, token: &str) -> TokenError {
    match why(error.kind(), token) {
        TokenError::Signature => TokenError::KeySignature,
        TokenError::Algorithm => TokenError::AnyAlgorithm,
        TokenError::Claims => TokenError::Account,
        other => other,
    }
}
