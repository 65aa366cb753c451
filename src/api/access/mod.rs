//! Who may ask: one decision before the hot route and before every router.
//!
//! In order: the server's name (`Host`), the page that asks (`Origin`), the token, the rate, the token's scope. Namespaces and owners
//! are judged where the service is known, by [`Principal`] and by the registrar.

mod browser;
mod cache;
mod class;
mod client;
mod guard;
mod headers;
mod limit;
mod principal;
mod rates;
mod refusal;
mod secrets;
mod standing;
#[cfg(test)]
mod tests;
mod token;

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::header::{HeaderMap, HeaderName, IF_NONE_MATCH};
use http::{Request, Response, StatusCode, Uri};
use ipnet::IpNet;

pub use class::{Limit, RouteClass, classify};
pub use headers::Cors;
pub use principal::{ClientKey, Namespaces, Principal, Scopes};
pub use secrets::{KeyId, MAX_SECRETS, Reread, Secrets, SecretsError};
pub use standing::{Credential, Ended, SecretsKeeper, Standing};
pub use token::{AUDIENCE, Mint, MintError, TokenError, USUAL_LIFE, mint};

use super::Body;
use super::envelope::ApiError;
use crate::model::name::Namespace;
use crate::model::service::Owner;
use crate::model::time::Clock;
use crate::telemetry::metrics::Metrics;
use browser::BrowserRules;
use guard::Guard;
use rates::Rates;
use token::{Bearer, TokenRules};

/// What access follows.
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
}

/// Where a client stands with the rate limit after this request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateSnapshot {
    /// Which limit counts the request.
    pub limit: Limit,
    /// Requests left right now.
    pub remaining: u32,
    /// The quota is spent, and the request may go on only to renew or to be answered 304: the time until it may do more.
    pub spent: Option<Duration>,
}

/// A request that may go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    /// Who asks.
    pub principal: Principal,
    /// What for.
    pub class: RouteClass,
    /// Where the client stands; `None` where nothing is limited.
    pub rate: Option<RateSnapshot>,
    /// Which pages may read the answer.
    pub cors: Cors,
}

/// The one judge of requests. Shared by reference.
#[derive(Debug)]
pub struct Access {
    guard: Option<Guard>,
    read_auth: bool,
    browsers: BrowserRules,
    trusted_proxies: Vec<IpNet>,
    rates: Option<Rates>,
    subjects: RandomState,
    clock: Clock,
}

/// Where a watch goes on.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// A request's head, as far as access looks at it.
struct Head<'a> {
    uri: &'a Uri,
    headers: &'a HeaderMap,
}

/// Whether the request names the state that its sender knows already.
fn names_state(head: &Head<'_>, class: RouteClass) -> bool {
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
        let rules = TokenRules { longest: settings.token_max, default_namespace: settings.default_namespace };
        Self {
            read_auth: settings.read_auth && secrets.is_some(),
            browsers: BrowserRules {
                bound_to_loopback: settings.bound_to_loopback,
                guarded: secrets.is_some(),
                allowed_hosts: settings.allowed_hosts,
                cors_origins: settings.cors_origins,
            },
            guard: secrets.map(|secrets| Guard::new(secrets, rules)),
            trusted_proxies: settings.trusted_proxies,
            rates: Rates::new(settings.rate_per_minute, settings.read_rate_per_minute, metrics, clock.clone()),
            subjects: RandomState::new(),
            clock,
        }
    }

    /// Judges a request by its head alone. The answer to an admitted one goes through [`Self::finish`].
    ///
    /// # Errors
    /// 400 `bad_request`, 421 `misdirected_request`, 403 `cross_origin`, 401 `token_required`, `token_invalid` or `token_expired`, 403
    /// `insufficient_scope`, 429 `rate_limited`; complete with their headers.
    pub fn admit<B>(&self, request: &Request<B>, peer: SocketAddr, class: RouteClass) -> Result<Admitted, ApiError> {
        let head = Head { uri: request.uri(), headers: request.headers() };
        let cors = self.browsers.cors(head.headers);
        match self.judge(&head, peer, class) {
            Ok((principal, rate)) => Ok(Admitted { principal, class, rate, cors }),
            Err(mut error) => {
                cors.write(error.headers_mut());
                Err(error)
            }
        }
    }

    fn judge(
        &self,
        head: &Head<'_>,
        peer: SocketAddr,
        class: RouteClass,
    ) -> Result<(Principal, Option<RateSnapshot>), ApiError> {
        self.browsers.host(head.uri, head.headers)?;
        if class.is_change() && self.guard.is_none() {
            self.browsers.origin(head.headers)?;
        }
        let address = client::address(head.headers, peer, &self.trusted_proxies);
        let principal = self.authenticate(head.headers, address, class)?;
        let rate = match (&self.rates, class.limit()) {
            (Some(rates), Some(limit)) => {
                rates.spend(principal.client, limit, class.counted(names_state(head, class)))?
            }
            _ => None,
        };
        refusal::require_scope(&principal, class, self.read_auth)?;
        Ok((principal, rate))
    }

    fn authenticate(&self, headers: &HeaderMap, address: IpAddr, class: RouteClass) -> Result<Principal, ApiError> {
        let Some(guard) = &self.guard else { return Ok(self.anonymous(address)) };
        let needed = class.needs_token(self.read_auth);
        if !needed && class != RouteClass::OpenRead {
            return Ok(self.anonymous(address));
        }
        match guard.bearer(headers, self.clock.now()) {
            Ok(bearer) => Ok(self.holder(bearer)),
            // As in the seed, an open read does not ask who asks: a client whose token ran out still finds its services.
            Err(_) if !needed => Ok(self.anonymous(address)),
            Err(refusal) => Err(self.unauthorized(refusal, address, class)),
        }
    }

    fn anonymous(&self, address: IpAddr) -> Principal {
        Principal {
            owner: Owner::Anonymous,
            scopes: Scopes { read: !self.read_auth, register: self.guard.is_none(), admin: false },
            namespaces: Namespaces::All,
            client: address.into(),
            authenticated: false,
            credential: None,
            open_reads: !self.read_auth,
            guarded: self.guard.is_some(),
        }
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
            open_reads: !self.read_auth,
            guarded: true,
        }
    }

    /// Counts a failed attempt against its address alone, so that guessing is bounded and no good token pays for it.
    fn unauthorized(&self, refusal: Option<TokenError>, address: IpAddr, class: RouteClass) -> ApiError {
        let counted = self.rates.as_ref().map_or(Ok(()), |rates| rates.fail(address.into()));
        counted.err().unwrap_or_else(|| refusal::unauthorized(refusal, class))
    }

    /// The client's address for the log, past trusted proxies.
    pub fn client_address(&self, headers: &HeaderMap, peer: SocketAddr) -> IpAddr {
        client::address(headers, peer, &self.trusted_proxies)
    }

    /// Gives the request back to its client's quota: it only renewed what was known, or was answered 304. Such requests have a
    /// larger quota of their own; over it they count after all.
    pub fn not_counted(&self, admitted: &mut Admitted) {
        if let (Some(rates), Some(rate)) = (&self.rates, &mut admitted.rate) {
            rates.give_back(admitted.principal.client, rate);
        }
    }

    /// The refusal of a request that went on over its quota and turned out to be neither a renewal nor answered 304.
    pub fn over_quota(&self, admitted: &Admitted) -> Option<ApiError> {
        let rate = admitted.rate?;
        let wait = rate.spent?;
        self.rates.as_ref().map(|rates| rates.refuse(admitted.principal.client, rate.limit, wait))
    }

    /// Counts the size of an answer: each 32 KiB of it is one request more, also where they are not there, and waited for. One that is
    /// `uncounted` itself spends from the larger quota.
    pub fn charge(&self, admitted: &mut Admitted, bytes: usize, uncounted: bool) {
        if let (Some(rates), Some(rate)) = (&self.rates, &mut admitted.rate) {
            rates.charge(admitted.principal.client, rate, bytes, uncounted);
        }
    }

    /// Adds what an admitted request's answer carries: the rate limit's headers, and CORS when `Origin` came.
    pub fn finish(&self, admitted: &Admitted, headers: &mut HeaderMap) {
        if let (Some(rates), Some(rate)) = (&self.rates, admitted.rate) {
            rates.write(headers, rate);
        }
        admitted.cors.write(headers);
    }

    /// The answer to [`RouteClass::Preflight`]: the seed's, 204 without a body. [`Self::finish`] adds what the page that asks may do.
    pub fn preflight(&self) -> Response<Body> {
        let mut response = Response::new(Body::default());
        *response.status_mut() = StatusCode::NO_CONTENT;
        if self.browsers.any_page_reads() {
            Cors::Any.write(response.headers_mut());
        }
        response
    }

    /// What an answer that goes on looks at to end with its token; none for one that needs no token.
    pub fn standing(&self, principal: &Principal) -> Option<Standing> {
        let (guard, credential) = (self.guard.as_ref()?, principal.credential?);
        Some(Standing::new(credential, Arc::clone(&guard.secrets), self.clock.clone()))
    }

    /// The part that notices changed secrets when no request does; none where they cannot change.
    pub fn secrets_keeper(&self) -> Option<SecretsKeeper> {
        let secrets =
            self.guard.as_ref().map(|guard| Arc::clone(&guard.secrets)).filter(|secrets| secrets.may_change())?;
        Some(SecretsKeeper { secrets, clock: self.clock.clone() })
    }

    /// Reads the secrets again at once; none where auth is off.
    pub fn read_secrets_again(&self) -> Option<Reread> {
        self.guard.as_ref().map(|guard| guard.secrets.read_again())
    }

    /// The refusal of a service that is not the caller's own, to a token that may only register.
    pub fn only_own() -> ApiError {
        refusal::insufficient_scope(RouteClass::ServiceRead, "read")
    }
}
