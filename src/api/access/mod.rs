//! Access: whether a request is admitted, and whose request it is.
//!
//! In: a request's head and the class of its route. Out: [`Admitted`], or the refusal. [`Access::admit`] checks in this order; read the files
//! in the same order:
//!
//! 1. `class`: the classes of routes; `browser`: the server's name (`Host`) and the page that sends the request (`Origin`).
//! 2. `client_address`: the client behind proxies.
//! 3. `certificates`: the client's certificate, where the server asks for one.
//! 4. `authenticator`: the token, with `authorization`, `token`, `token_error`, `token_cache` and `secrets`; `token_validity` follows it
//!    afterwards. `accounts`: tokens of a cluster's ServiceAccounts.
//! 5. `quotas`: the rate, with `rate_limiter`.
//! 6. `principal`: the caller; `challenges`: refusals of its token; `namespace_filter`: the namespaces that a read asks for.
//!
//! `headers` writes what access adds to an answer. Namespaces and owners are checked where the service is known, by [`Principal`] and by
//! the registrar.

mod accounts;
mod authenticator;
mod authorization;
mod browser;
mod certificates;
mod challenges;
mod class;
mod client_address;
mod headers;
mod namespace_filter;
mod principal;
mod quotas;
mod rate_limiter;
mod secrets;
#[cfg(test)]
mod tests;
mod token;
mod token_cache;
mod token_error;
mod token_validity;

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::header::{HeaderMap, HeaderName, IF_NONE_MATCH};
use http::request::Parts;
use http::{Response, StatusCode};
use ipnet::IpNet;

pub use super::clients::ClientKey;
pub(super) use accounts::Place;
pub use accounts::{AccountSettings, KeysRefresher, Reviewer};
pub(super) use challenges::token_ended;
pub use class::{Limit, RouteClass};
pub use headers::Cors;
pub(super) use namespace_filter::NamespaceFilter;
pub use principal::{Namespaces, OwnersSeen, Principal, Scopes};
pub use secrets::{KeyId, MAX_SECRETS, Secrets, SecretsError, SecretsReload};
pub use token::{AUDIENCE, Mint, MintError, USUAL_LIFE, account_of, mint};
pub use token_error::TokenError;
pub use token_validity::{Credential, SecretsRefresher, TokenEnd, TokenValidity};

use super::http::body::Body;
use super::http::envelope::ApiError;
use super::tls;
use crate::model::name::Namespace;
use crate::model::owner::CERTIFICATE_ISSUER;
use crate::model::ports::Authority;
use crate::model::service::Owner;
use crate::model::time::Clock;
use crate::telemetry::metrics::Metrics;
use accounts::Accounts;
use authenticator::Authenticator;
use browser::BrowserRules;
use quotas::{AnswerSize, MAX_CLIENTS, Quotas};
use rate_limiter::RateLimiter;
use token::{Bearer, TokenRules};

/// The settings of access.
#[derive(Debug, Clone)]
pub struct AccessSettings {
    /// Whether reads need a token too (`PORTOLAN_READ_AUTH`).
    pub read_auth: bool,
    /// Furthest expiry of a token (`PORTOLAN_TOKEN_MAX_DAYS`).
    pub token_max: Duration,
    /// The namespace of a token that names none (`PORTOLAN_DEFAULT_NAMESPACE`).
    pub default_namespace: Namespace,
    /// Writes a minute and client; `None` is no limit.
    pub rate_per_minute: Option<u32>,
    /// Reads a minute and client; `None` is no limit.
    pub read_rate_per_minute: Option<u32>,
    /// Peers whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Origins besides loopback's whose pages may change things while auth is off.
    pub cors_origins: Vec<String>,
    /// Host names besides loopback's, lower case and without port.
    pub allowed_hosts: Vec<String>,
    /// Whether the server listens on a loopback address.
    pub bound_to_loopback: bool,
    /// Whether every client must show a certificate (`PORTOLAN_TLS_CLIENT_AUTH`).
    pub certificate_required: bool,
}

/// A client's quota after this request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateSnapshot {
    /// The limit that counts the request.
    pub limit: Limit,
    /// Requests left now.
    pub remaining: u32,
    /// The time until the next request. Set where the quota is spent, or a writer owes reads, and the request may go on only to renew, or to
    /// be answered 304.
    pub spent: Option<Duration>,
}

/// An admitted request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    /// The caller.
    pub principal: Principal,
    /// The class of its route.
    pub class: RouteClass,
    /// The client's quota; `None` where nothing is limited.
    pub rate: Option<RateSnapshot>,
    /// Which pages may read the answer.
    pub cors: Cors,
}

/// A request that is not admitted.
#[derive(Debug)]
pub struct Refused {
    /// The answer.
    pub error: ApiError,
    /// The caller, once its token was accepted.
    pub principal: Option<Box<Principal>>,
}

impl From<ApiError> for Refused {
    fn from(error: ApiError) -> Self {
        Self { error, principal: None }
    }
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        refused.error
    }
}

/// In an answer's extensions: it changed nothing or sends nothing new, so the request counts in the larger quota.
#[derive(Debug, Clone, Copy)]
pub(super) struct NotCounted;

/// In an answer's extensions: bytes that it sends at once, where its length does not say.
#[derive(Debug, Clone, Copy)]
pub(super) struct SentAtOnce(pub(super) usize);

/// Admits or refuses requests. Shared by reference.
#[derive(Debug)]
pub struct Access {
    authenticator: Option<Authenticator>,
    read_auth: bool,
    certificate_required: bool,
    /// The namespace for a certificate that names none.
    default_namespace: Namespace,
    browsers: BrowserRules,
    trusted_proxies: Vec<IpNet>,
    quotas: Option<Quotas>,
    /// Lines of the audit log about refusals.
    refusal_lines: RateLimiter,
    subjects: RandomState,
    clock: Clock,
}

/// Lines of the audit log a minute about refusals of one client that proves nothing about itself.
const REFUSAL_LINES: u32 = 60;
/// Where a watch continues.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Whether the request names the state that its sender knows already.
fn names_state(head: &Parts, class: RouteClass) -> bool {
    if class == RouteClass::Watch {
        let by_query =
            || head.uri.query().is_some_and(|query| query.split('&').any(|part| part.starts_with("cursor=")));
        return head.headers.contains_key(LAST_EVENT_ID) || by_query();
    }
    head.headers.contains_key(IF_NONE_MATCH)
}

impl Access {
    /// Access by `settings`; with `secrets` auth is on.
    pub fn new(settings: AccessSettings, secrets: Option<Secrets>, metrics: Metrics, clock: Clock) -> Self {
        Self::with(settings, secrets.map(|secrets| (Some(secrets), None)), metrics, clock)
    }

    /// Access in a cluster with auth on: by tokens of its ServiceAccounts, and with `secrets` by Portolan's own, too. Run its [`Self::keys_refresher`] and its [`Self::reviewer`]: until the keys have been read, such tokens are
    /// answered with 503, and questions about their holders wait.
    pub fn in_cluster(
        settings: AccessSettings,
        secrets: Option<Secrets>,
        (authority, accounts): (Arc<dyn Authority>, AccountSettings),
        metrics: Metrics,
        clock: Clock,
    ) -> Self {
        let accounts = Accounts::new(authority, accounts, settings.token_max, metrics.clone(), clock.clone());
        Self::with(settings, Some((secrets, Some(accounts))), metrics, clock)
    }

    fn with(
        settings: AccessSettings,
        tokens: Option<(Option<Secrets>, Option<Accounts>)>,
        metrics: Metrics,
        clock: Clock,
    ) -> Self {
        let default_namespace = settings.default_namespace;
        let rules = TokenRules { longest: settings.token_max, default_namespace: default_namespace.clone() };
        Self {
            read_auth: settings.read_auth && tokens.is_some(),
            certificate_required: settings.certificate_required,
            default_namespace,
            browsers: BrowserRules {
                bound_to_loopback: settings.bound_to_loopback,
                guarded: tokens.is_some(),
                allowed_hosts: settings.allowed_hosts,
                cors_origins: settings.cors_origins,
            },
            authenticator: tokens.map(|(secrets, accounts)| Authenticator::new(secrets, accounts, rules)),
            trusted_proxies: settings.trusted_proxies,
            quotas: Quotas::new(settings.rate_per_minute, settings.read_rate_per_minute, metrics, clock.clone()),
            refusal_lines: RateLimiter::new(REFUSAL_LINES, MAX_CLIENTS),
            subjects: RandomState::new(),
            clock,
        }
    }

    /// Decides by a request's head alone. The answer to an admitted request goes through [`Self::finish`].
    ///
    /// # Errors
    /// 400 `bad_request`, 421 `misdirected_request`, 403 `certificate_required` or `cross_origin`, 401 `token_required`, `token_invalid` or `token_expired`, 403
    /// `insufficient_scope`, 429 `rate_limited`; complete with their headers.
    pub fn admit(&self, head: &Parts, peer: SocketAddr, class: RouteClass) -> Result<Admitted, Refused> {
        let cors = self.browsers.cors(&head.headers);
        match self.check(head, peer, class) {
            Ok((principal, rate)) => Ok(Admitted { principal, class, rate, cors }),
            Err(mut refused) => {
                cors.write(refused.error.headers_mut());
                Err(refused)
            }
        }
    }

    fn check(
        &self,
        head: &Parts,
        peer: SocketAddr,
        class: RouteClass,
    ) -> Result<(Principal, Option<RateSnapshot>), Refused> {
        self.browsers.host(&head.uri, &head.headers)?;
        if class.is_change() && self.authenticator.is_none() {
            self.browsers.origin(&head.headers)?;
        }
        let address = client_address::client_address(&head.headers, peer, &self.trusted_proxies);
        let certificate = certificates::subject(head, class, self.certificate_required, || self.clock.now().wall)?;
        let principal = self.authenticate(&head.headers, certificate, address, class)?;
        match self.may_go_on(head, &principal, class) {
            Ok(rate) => Ok((principal, rate)),
            Err(error) => Err(Refused { error, principal: Some(Box::new(principal)) }),
        }
    }

    /// Quota and scope of a known caller.
    fn may_go_on(
        &self,
        head: &Parts,
        principal: &Principal,
        class: RouteClass,
    ) -> Result<Option<RateSnapshot>, ApiError> {
        // A browser shows a certificate to whatever page asks for it, unlike a token.
        if class.is_change() && principal.owner.kind() == CERTIFICATE_ISSUER {
            self.browsers.origin(&head.headers)?;
        }
        let rate = match (&self.quotas, class.limit()) {
            (Some(quotas), Some(limit)) => {
                quotas.spend(principal.client, limit, class.counting(names_state(head, class)))?
            }
            _ => None,
        };
        challenges::require_scope(principal, class, self.read_auth)?;
        Ok(rate)
    }

    /// A token wins over a certificate: a program may use its machine's certificate and a person's token.
    fn authenticate(
        &self,
        headers: &HeaderMap,
        certificate: Option<Arc<str>>,
        address: IpAddr,
        class: RouteClass,
    ) -> Result<Principal, ApiError> {
        let Some(authenticator) = &self.authenticator else { return Ok(self.anonymous(address)) };
        let needed = class.needs_token(self.read_auth);
        if !needed && !matches!(class, RouteClass::OpenRead | RouteClass::Watch) {
            return Ok(self.anonymous(address));
        }
        match authenticator.bearer(headers, self.clock.now()) {
            Ok(bearer) => Ok(self.holder(bearer)),
            Err(refusal) if (refusal.is_none() || !needed) && certificate.is_some() => {
                Ok(certificate.map_or_else(|| self.anonymous(address), |subject| self.certified(subject)))
            }
            // As in the legacy gateway, an open read needs no valid token: a client whose token expired still finds its services.
            Err(_) if !needed => Ok(self.anonymous(address)),
            Err(refusal) => Err(self.unauthorized(refusal, address, class)),
        }
    }

    fn anonymous(&self, address: IpAddr) -> Principal {
        Principal {
            owner: Owner::Anonymous,
            scopes: Scopes { read: !self.read_auth, register: self.authenticator.is_none(), admin: false },
            namespaces: Namespaces::All,
            client: address.into(),
            authenticated: false,
            credential: None,
            account: None,
            granted: Vec::new(),
            open_reads: !self.read_auth,
            guarded: self.authenticator.is_some(),
        }
    }

    /// Admits whoever reaches the port that serves `/metrics` alone. Where that is `on_loopback`, a page may reach it by a name that was rebound.
    ///
    /// # Errors
    /// 421 `misdirected_request`.
    pub(super) fn scraper(&self, head: &Parts, peer: SocketAddr, on_loopback: bool) -> Result<Admitted, ApiError> {
        if on_loopback {
            self.browsers.host_on_loopback(&head.uri, &head.headers)?;
        }
        let principal = self.anonymous(peer.ip());
        Ok(Admitted { principal, class: RouteClass::Metrics, rate: None, cors: Cors::Absent })
    }

    fn holder(&self, bearer: Bearer) -> Principal {
        let client = ClientKey::Subject(self.subjects.hash_one((&bearer.issuer, &bearer.subject)));
        Principal {
            owner: Owner::Token { issuer: bearer.issuer, subject: bearer.subject },
            scopes: bearer.scopes,
            namespaces: bearer.namespaces,
            client,
            authenticated: true,
            credential: Some(bearer.credential),
            account: bearer.account,
            granted: Vec::new(),
            open_reads: !self.read_auth,
            guarded: true,
        }
    }

    /// The holder of a certificate: never an admin, and in one namespace.
    fn certified(&self, subject: Arc<str>) -> Principal {
        let namespace = tls::namespace(&subject);
        let namespace = namespace.as_ref().unwrap_or(&self.default_namespace).as_str();
        Principal {
            client: ClientKey::Subject(self.subjects.hash_one((CERTIFICATE_ISSUER, &subject))),
            owner: Owner::certificate(subject),
            scopes: Scopes { read: true, register: true, admin: false },
            namespaces: Namespaces::Only([namespace.into()].into()),
            authenticated: true,
            account: None,
            granted: Vec::new(),
            credential: None,
            open_reads: !self.read_auth,
            guarded: true,
        }
    }

    /// Counts a failed attempt against its address alone, so that guessing is bounded and no valid token is affected.
    fn unauthorized(&self, refusal: Option<TokenError>, address: IpAddr, class: RouteClass) -> ApiError {
        let counts = refusal != Some(TokenError::KeysUnknown);
        let quotas = self.quotas.as_ref().filter(|_| counts);
        let counted = quotas.map_or(Ok(()), |quotas| quotas.fail(address.into()));
        counted.err().unwrap_or_else(|| challenges::unauthorized(refusal, class))
    }

    /// Takes one of the lines about refusals that the audit log has for `client` in a minute; false where none is left.
    pub(super) fn takes_refusal_line(&self, client: IpAddr) -> bool {
        self.refusal_lines.spend(client.into(), self.clock.steady()).is_ok()
    }

    /// The client's address, past trusted proxies.
    pub fn client_address(&self, headers: &HeaderMap, peer: SocketAddr) -> IpAddr {
        client_address::client_address(headers, peer, &self.trusted_proxies)
    }

    /// Moves the request to the larger quota of its client: it only renewed, or was answered 304. Once that is spent, it counts after all.
    pub fn not_counted(&self, admitted: &mut Admitted) {
        if let (Some(quotas), Some(rate)) = (&self.quotas, &mut admitted.rate) {
            quotas.give_back(admitted.principal.client, rate);
        }
    }

    /// The refusal of a request over its quota that turned out to be neither a renewal nor answered 304.
    pub fn over_quota(&self, admitted: &Admitted) -> Option<ApiError> {
        let rate = admitted.rate?;
        let wait = rate.spent?;
        self.quotas.as_ref().map(|quotas| quotas.refuse(admitted.principal.client, rate.limit, wait))
    }

    /// The refusal that takes the place of a renewal's answer of `bytes` once its client owes more reads than even the larger quota gives. The
    /// lease is renewed nevertheless.
    pub fn too_much_renewed(&self, admitted: &Admitted, bytes: usize) -> Option<ApiError> {
        let quotas = self.quotas.as_ref().filter(|_| admitted.class.is_change())?;
        quotas.too_much_renewed(admitted.principal.client, bytes)
    }

    /// Counts the size of an answer, also of one to a write: each 32 KiB is one more read, owed where none are left. An `uncounted` request
    /// spends them from the larger quota.
    pub fn charge(&self, admitted: &mut Admitted, bytes: usize, uncounted: bool) {
        if let Some(quotas) = self.quotas.as_ref().filter(|_| admitted.class.limit().is_some()) {
            let answer = AnswerSize { bytes, to_a_write: admitted.class.is_change(), uncounted };
            quotas.charge(admitted.principal.client, answer, admitted.rate.as_mut());
        }
    }

    /// Adds the rate limit's headers to the answer, and CORS where the request has an `Origin`.
    pub fn finish(&self, admitted: &Admitted, headers: &mut HeaderMap) {
        if let (Some(quotas), Some(rate)) = (&self.quotas, admitted.rate) {
            quotas.write(headers, rate);
        }
        admitted.cors.write(headers);
    }

    /// The answer to [`RouteClass::Preflight`]: 204 without a body, as in the legacy gateway. [`Self::finish`] adds what the page may do.
    pub fn preflight(&self) -> Response<Body> {
        let mut response = Response::new(Body::default());
        *response.status_mut() = StatusCode::NO_CONTENT;
        if self.browsers.any_page_reads() {
            Cors::Any.write(response.headers_mut());
        }
        response
    }

    /// Follows the validity of the caller's token and of the right that the cluster gave it, for an answer that must end with them; none for a
    /// caller without a token.
    pub fn token_validity(&self, principal: &Principal) -> Option<TokenValidity> {
        let (authenticator, credential) = (self.authenticator.as_ref()?, principal.credential?);
        let keyring = authenticator.keyring(principal.account.is_some())?;
        let (accounts, account) = (authenticator.accounts.as_ref(), principal.account.clone());
        let right = accounts.zip(account).filter(|_| !principal.granted.is_empty());
        let right = right.map(|(accounts, account)| accounts.granted(account, &principal.granted));
        Some(TokenValidity::new(credential, keyring, right, self.clock.clone()))
    }

    /// The task that notices changed secrets; none where they cannot change.
    pub fn secrets_refresher(&self) -> Option<SecretsRefresher> {
        let authenticator = self.authenticator.as_ref()?;
        let secrets = authenticator.secrets.as_ref().filter(|secrets| secrets.may_change())?;
        let (files, clock) = (authenticator.secret_files.clone(), self.clock.clone());
        Some(SecretsRefresher { secrets: Arc::clone(secrets), files, clock })
    }

    /// The task that keeps the cluster's keys current; none outside a cluster.
    pub fn keys_refresher(&self) -> Option<KeysRefresher> {
        let accounts = self.authenticator.as_ref()?.accounts.as_ref()?;
        Some(KeysRefresher(Arc::clone(&accounts.keys)))
    }

    /// The task that asks the cluster about callers; none outside a cluster.
    pub fn reviewer(&self) -> Option<Reviewer> {
        Some(self.authenticator.as_ref()?.accounts.as_ref()?.reviewer())
    }

    /// Reads the secrets again at once; none where there are none.
    pub async fn reload_secrets(&self) -> Option<SecretsReload> {
        let authenticator = self.authenticator.as_ref()?;
        let secrets = Arc::clone(authenticator.secrets.as_ref()?);
        Some(authenticator.secret_files.run(move || secrets.reload()).await)
    }

    /// The refusal of another owner's service, to a token that may only register.
    pub fn only_own() -> ApiError {
        challenges::insufficient_scope(RouteClass::ServiceRead, "read")
    }
}
