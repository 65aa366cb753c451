//! What the Kubernetes API says about callers: its public keys, TokenReviews and SubjectAccessReviews.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use http::Request;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::api::PostParams;
use kube::{Api, Client};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::kubernetes::health::ApiHealth;
use super::kubernetes::list_watch::{ApiError, answer};
use crate::model::name::Namespace;
use crate::model::ports::{
    AccessVerb, Authority, AuthorityError, IssuerKey, KeyForm, ReviewedToken, ServiceAccount, TokenIssuer,
};
use crate::model::text;
use crate::telemetry::metrics::Metrics;

/// Time for one answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);
/// Most keys that are read; an API server has one or two.
const MAX_KEYS: usize = 32;
/// Longest text of the API server that is repeated, in characters.
const MAX_MESSAGE: usize = 400;

/// [OpenID Connect Discovery §4](https://openid.net/specs/openid-connect-discovery-1_0.html#ProviderConfig), as the API server serves it.
const DISCOVERY: &str = "/.well-known/openid-configuration";
/// Where the API server serves its keys, whatever address `jwks_uri` gives to others.
const KEYS: &str = "/openid/v1/jwks";

/// Asks the Kubernetes API. Cloning shares the client.
#[derive(Clone)]
pub struct KubernetesAuthority {
    client: Client,
    api_health: ApiHealth,
    metrics: Metrics,
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<WebKey>,
}

/// A JSON Web Key ([RFC 7517 §4](https://www.rfc-editor.org/rfc/rfc7517#section-4)) with the parameters of both kinds.
#[derive(Deserialize)]
struct WebKey {
    kty: String,
    #[serde(default)]
    kid: String,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl WebKey {
    /// None for a key that signs no token that Portolan accepts.
    fn read(self) -> Option<IssuerKey> {
        let is = |given: &Option<String>, wanted: &str| given.as_deref().is_none_or(|given| given == wanted);
        if !is(&self.purpose, "sig") || self.kid.is_empty() {
            return None;
        }
        let form = match self.kty.as_str() {
            "RSA" if is(&self.alg, "RS256") => KeyForm::Rsa { modulus: self.n?, exponent: self.e? },
            "EC" if is(&self.alg, "ES256") && self.crv.as_deref() == Some("P-256") => {
                KeyForm::P256 { x: self.x?, y: self.y? }
            }
            _ => return None,
        };
        Some(IssuerKey { id: self.kid, form })
    }
}

impl KubernetesAuthority {
    /// Asks with `client`, and not while `api_health` says that the API is away.
    pub fn new(client: Client, api_health: ApiHealth, metrics: Metrics) -> Self {
        Self { client, api_health, metrics }
    }

    async fn get<T: serde::de::DeserializeOwned>(&self, path: &'static str) -> Result<T, AuthorityError> {
        let request =
            Request::get(path).body(Vec::new()).map_err(|error| AuthorityError::Refused(error.to_string()))?;
        let text = answer(ANSWER_TIMEOUT, self.client.request_text(request)).await.map_err(|error| failed(&error))?;
        serde_json::from_str(&text).map_err(|error| AuthorityError::Refused(format!("{path}: {error}")))
    }

    async fn issuer_now(self) -> Result<TokenIssuer, AuthorityError> {
        let Discovery { issuer } = self.get(DISCOVERY).await?;
        let KeySet { keys } = self.get(KEYS).await?;
        let keys = keys.into_iter().take(MAX_KEYS).filter_map(WebKey::read).collect();
        Ok(TokenIssuer { name: issuer, keys })
    }

    async fn review_now(
        self,
        token: SecretString,
        audiences: Arc<[String]>,
    ) -> Result<Option<ReviewedToken>, AuthorityError> {
        self.require_api()?;
        let spec =
            TokenReviewSpec { audiences: Some(audiences.to_vec()), token: Some(token.expose_secret().to_owned()) };
        let review = TokenReview { spec, ..TokenReview::default() };
        let reviews: Api<TokenReview> = Api::all(self.client.clone());
        let parameters = PostParams::default();
        let answered = answer(ANSWER_TIMEOUT, reviews.create(&parameters, &review)).await;
        let status = answered.map(|review| review.status.unwrap_or_default());
        let word = status.as_ref().map_or("unanswered", |status| result(status.authenticated == Some(true)));
        self.metrics.cluster.reviewed("token", word);
        let status = status.map_err(|error| failed(&error))?;
        if status.authenticated != Some(true) {
            let why = text::escape(status.error.as_deref().unwrap_or("no reason given"), MAX_MESSAGE);
            tracing::debug!("the Kubernetes API does not accept a token: {why}");
            return Ok(None);
        }
        let user = status.user.and_then(|user| user.username).unwrap_or_default();
        Ok(Some(ReviewedToken { user, audiences: status.audiences.unwrap_or_default() }))
    }

    async fn allows_now(
        self,
        account: Arc<ServiceAccount>,
        verb: AccessVerb,
        namespace: Option<Namespace>,
    ) -> Result<bool, AuthorityError> {
        self.require_api()?;
        let resource = ResourceAttributes {
            group: Some("portolan.dev".to_owned()),
            resource: Some("services".to_owned()),
            verb: Some(verb.as_str().to_owned()),
            namespace: namespace.map(|namespace| namespace.to_string()),
            ..ResourceAttributes::default()
        };
        let spec = SubjectAccessReviewSpec {
            user: Some(account.user()),
            uid: Some(account.uid.clone()),
            groups: Some(account.groups().into()),
            resource_attributes: Some(resource),
            ..SubjectAccessReviewSpec::default()
        };
        let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
        let reviews: Api<SubjectAccessReview> = Api::all(self.client.clone());
        let parameters = PostParams::default();
        let answered = answer(ANSWER_TIMEOUT, reviews.create(&parameters, &review)).await;
        let allowed = answered.map(|review| review.status.is_some_and(|status| status.allowed));
        let word = allowed.as_ref().map_or("unanswered", |allowed| result(*allowed));
        self.metrics.cluster.reviewed("access", word);
        allowed.map_err(|error| failed(&error))
    }

    /// Nobody waits for an API server that is known to be away.
    fn require_api(&self) -> Result<(), AuthorityError> {
        if self.api_health.silent_for().is_some() { Err(AuthorityError::NoAnswer) } else { Ok(()) }
    }
}

fn result(yes: bool) -> &'static str {
    if yes { "allowed" } else { "denied" }
}

/// A request that was answered by an error of the server's own counts as unanswered.
fn failed(error: &ApiError) -> AuthorityError {
    match error {
        ApiError::Failed(kube::Error::Api(status)) if status.code < 500 && status.code != 429 => {
            AuthorityError::Refused(text::escape(&status.message, MAX_MESSAGE))
        }
        error => {
            tracing::debug!("the Kubernetes API says nothing about a caller: {error}");
            AuthorityError::NoAnswer
        }
    }
}

impl Authority for KubernetesAuthority {
    fn issuer(&self) -> BoxFuture<'static, Result<TokenIssuer, AuthorityError>> {
        self.clone().issuer_now().boxed()
    }

    fn review(
        &self,
        token: SecretString,
        audiences: Arc<[String]>,
    ) -> BoxFuture<'static, Result<Option<ReviewedToken>, AuthorityError>> {
        self.clone().review_now(token, audiences).boxed()
    }

    fn allows(
        &self,
        account: Arc<ServiceAccount>,
        verb: AccessVerb,
        namespace: Option<Namespace>,
    ) -> BoxFuture<'static, Result<bool, AuthorityError>> {
        self.clone().allows_now(account, verb, namespace).boxed()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(key: serde_json::Value) -> Option<IssuerKey> {
        serde_json::from_value::<WebKey>(key).expect("a key").read()
    }

    #[test]
    fn only_keys_of_the_two_algorithms_count() {
        let rsa = json!({"kty": "RSA", "kid": "a", "use": "sig", "alg": "RS256", "n": "AQ", "e": "AQAB"});
        let ec = json!({"kty": "EC", "kid": "b", "crv": "P-256", "x": "AQ", "y": "AQ"});
        let form = KeyForm::Rsa { modulus: "AQ".into(), exponent: "AQAB".into() };
        assert_eq!(read(rsa.clone()), Some(IssuerKey { id: "a".into(), form }));
        let form = KeyForm::P256 { x: "AQ".into(), y: "AQ".into() };
        assert_eq!(read(ec.clone()), Some(IssuerKey { id: "b".into(), form }));
        for (key, field, value) in [
            (&rsa, "alg", json!("PS256")),
            (&rsa, "alg", json!("HS256")),
            (&rsa, "use", json!("enc")),
            (&rsa, "kid", json!("")),
            (&rsa, "n", json!(null)),
            (&rsa, "kty", json!("oct")),
            (&ec, "crv", json!("P-384")),
            (&ec, "alg", json!("ES384")),
            (&ec, "y", json!(null)),
        ] {
            let mut key = key.clone();
            key[field] = value;
            assert_eq!(read(key.clone()), None, "{key}");
        }
    }
}
