//! Who may ask: one decision before the hot route and before every router.
//!
//! In order: the server's name (`Host`), the page that asks (`Origin`), the token, the rate, the token's scope. Namespaces and owners
//! are judged where the service is known, by [`Principal`] and by the registrar.

mod browser;
mod cache;
mod class;
mod client;
mod headers;
mod limit;
mod principal;
mod secrets;
#[cfg(test)]
mod tests;
mod token;

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use http::header::{AUTHORIZATION, HeaderMap, HeaderValue, ORIGIN, WWW_AUTHENTICATE};
use http::{Request, Response, StatusCode, Uri, Version};
use ipnet::IpNet;

pub use class::{RouteClass, classify};
pub use principal::{ClientKey, Namespaces, Principal, Scopes};
pub use secrets::{MAX_SECRETS, MIN_SECRET_BYTES, Secrets, SecretsError};
pub use token::{AUDIENCE, Mint, MintError, TokenError, mint};

use super::Body;
use super::envelope::{ApiError, Code};
use crate::model::name::Namespace;
use crate::model::service::Owner;
use crate::model::time::Clock;
use crate::telemetry::metrics::Metrics;
use browser::BrowserRules;
use cache::TokenCache;
use headers::RateHeaders;
use limit::{Limiter, Refused};
use token::{Bearer, TokenRules};

/// Clients that have a bucket of their own at once; further ones share one. About 5 MB for each limit.
const MAX_CLIENTS: usize = 65_536;
/// What is not counted is bounded by this many times the quota.
const UNCOUNTED: u32 = 20;

/// What access follows.
#[derive(Debug, Clone)]
pub struct AccessSettings {
    /// Whether reads need a token too (`PORTOLAN_READ_AUTH`).
    pub read_auth: bool,
    /// Furthest expiry of a token (`PORTOLAN_TOKEN_MAX_DAYS`).
    pub token_max: Duration,
    /// The namespace of a token that names none (`PORTOLAN_DEFAULT_NAMESPACE`).
    pub default_namespace: Namespace,
    /// Requests a minute and client; `None` is no limit.
    pub rate_per_minute: Option<u32>,
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
    /// Requests left right now.
    pub remaining: u32,
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
    /// Whether the answer carries CORS headers: an `Origin` came.
    pub cors: bool,
}

/// The one judge of requests. Shared by reference.
#[derive(Debug)]
pub struct Access {
    secrets: Option<Secrets>,
    read_auth: bool,
    tokens: TokenRules,
    known: TokenCache,
    browsers: BrowserRules,
    trusted_proxies: Vec<IpNet>,
    rates: Option<Rates>,
    subjects: RandomState,
    metrics: Metrics,
    clock: Clock,
}

#[derive(Debug)]
struct Rates {
    counted: Limiter,
    uncounted: Limiter,
    failed: Limiter,
    headers: RateHeaders,
}

impl Rates {
    fn new(quota: u32) -> Self {
        Self {
            counted: Limiter::new(quota, MAX_CLIENTS),
            uncounted: Limiter::new(quota.saturating_mul(UNCOUNTED), MAX_CLIENTS),
            failed: Limiter::new(quota, MAX_CLIENTS),
            headers: RateHeaders::new(quota),
        }
    }
}

/// A request's head, as far as access looks at it.
struct Head<'a> {
    version: Version,
    uri: &'a Uri,
    headers: &'a HeaderMap,
}

impl Access {
    /// Access by `settings`; with `secrets` auth is on.
    pub fn new(settings: AccessSettings, secrets: Option<Secrets>, metrics: Metrics, clock: Clock) -> Self {
        Self {
            read_auth: settings.read_auth && secrets.is_some(),
            secrets,
            tokens: TokenRules { longest: settings.token_max, default_namespace: settings.default_namespace },
            known: TokenCache::default(),
            browsers: BrowserRules {
                bound_to_loopback: settings.bound_to_loopback,
                allowed_hosts: settings.allowed_hosts,
                cors_origins: settings.cors_origins,
            },
            trusted_proxies: settings.trusted_proxies,
            rates: settings.rate_per_minute.map(Rates::new),
            subjects: RandomState::new(),
            metrics,
            clock,
        }
    }

    /// Judges a request by its head alone. The answer to an admitted one goes through [`Self::finish`].
    ///
    /// # Errors
    /// 421 `misdirected_request`, 403 `cross_origin`, 401 `token_required`, `token_invalid` or `token_expired`, 403
    /// `insufficient_scope`, 429 `rate_limited`; complete with their headers.
    pub fn admit<B>(&self, request: &Request<B>, peer: SocketAddr, class: RouteClass) -> Result<Admitted, ApiError> {
        let head = Head { version: request.version(), uri: request.uri(), headers: request.headers() };
        let cors = head.headers.contains_key(ORIGIN);
        self.judge(&head, peer, class, cors).map_err(|mut error| {
            if cors {
                headers::allow_any_origin(error.headers_mut());
            }
            error
        })
    }

    fn judge(&self, head: &Head<'_>, peer: SocketAddr, class: RouteClass, cors: bool) -> Result<Admitted, ApiError> {
        self.browsers.host(head.version, head.uri, head.headers)?;
        if class.is_change() && self.secrets.is_none() {
            self.browsers.origin(head.headers)?;
        }
        let address = client::address(head.headers, peer, &self.trusted_proxies);
        let principal = self.authenticate(head.headers, address, class)?;
        let rate = if class.is_limited() { self.spend(principal.client)? } else { None };
        require_scope(&principal, class, self.read_auth)?;
        Ok(Admitted { principal, class, rate, cors })
    }

    fn authenticate(&self, headers: &HeaderMap, address: IpAddr, class: RouteClass) -> Result<Principal, ApiError> {
        let Some(secrets) = &self.secrets else { return Ok(self.anonymous(address)) };
        let needed = class.needs_token(self.read_auth);
        if !needed && class != RouteClass::OpenRead {
            return Ok(self.anonymous(address));
        }
        match self.bearer(headers, secrets) {
            Ok(bearer) => Ok(self.holder(bearer)),
            // As in the seed, an open read does not ask who asks: a client whose token ran out still finds its services.
            Err(_) if !needed => Ok(self.anonymous(address)),
            Err(refusal) => Err(self.unauthorized(refusal, address)),
        }
    }

    /// `Authorization: Bearer <token>`, or the token alone as the seed took it.
    fn bearer(&self, headers: &HeaderMap, secrets: &Secrets) -> Result<Bearer, Option<TokenError>> {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let value = values.next().filter(|value| !value.is_empty()).ok_or(None)?;
        if values.next().is_some() {
            return Err(Some(TokenError::Malformed));
        }
        let text = value.to_str().map_err(|_| Some(TokenError::Malformed))?;
        let token = match text.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
            _ => text,
        };
        let now = self.clock.now();
        let keys = secrets.current(now.steady);
        if let Some(bearer) = self.known.get(token, keys.generation, now.wall) {
            return Ok(bearer);
        }
        let bearer = self.tokens.verify(token, &keys, now.wall)?;
        self.known.put(token, &bearer, keys.generation, now.wall);
        Ok(bearer)
    }

    fn anonymous(&self, address: IpAddr) -> Principal {
        Principal {
            owner: Owner::Anonymous,
            scopes: Scopes { read: !self.read_auth, register: self.secrets.is_none(), admin: false },
            namespaces: Namespaces::All,
            client: address.into(),
            authenticated: false,
            open_reads: !self.read_auth,
            guarded: self.secrets.is_some(),
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
            open_reads: !self.read_auth,
            guarded: true,
        }
    }

    /// Counts a failed attempt against its address alone, so that guessing is bounded and no good token pays for it.
    fn unauthorized(&self, refusal: Option<TokenError>, address: IpAddr) -> ApiError {
        if let Some(rates) = &self.rates
            && let Err(refused) = rates.failed.spend(address.into(), self.clock.steady())
        {
            self.metrics.reject("failed_auth_limit");
            return too_often(refused, rates);
        }
        let (code, message) = match refusal {
            None => (Code::TokenRequired, "Authorization header required"),
            Some(TokenError::Expired) => (Code::TokenExpired, "Invalid token"),
            Some(_) => (Code::TokenInvalid, "Invalid token"),
        };
        ApiError::new(code, message).header(WWW_AUTHENTICATE, challenge(refusal))
    }

    fn spend(&self, client: ClientKey) -> Result<Option<RateSnapshot>, ApiError> {
        let Some(rates) = &self.rates else { return Ok(None) };
        match rates.counted.spend(client, self.clock.steady()) {
            Ok(remaining) => Ok(Some(RateSnapshot { remaining })),
            Err(refused) => {
                self.metrics.reject("rate_limit");
                Err(too_often(refused, rates))
            }
        }
    }

    /// The client's address for the log, past trusted proxies.
    pub fn client_address(&self, headers: &HeaderMap, peer: SocketAddr) -> IpAddr {
        client::address(headers, peer, &self.trusted_proxies)
    }

    /// Gives the request back to its client's quota: it only renewed what was known, or was answered 304. Such requests have a
    /// larger quota of their own; over it they count after all.
    pub fn not_counted(&self, admitted: &mut Admitted) {
        let (Some(rates), Some(rate)) = (&self.rates, &mut admitted.rate) else { return };
        if rates.uncounted.spend(admitted.principal.client, self.clock.steady()).is_ok() {
            rates.counted.refund(admitted.principal.client);
            rate.remaining += 1;
        }
    }

    /// Adds what an admitted request's answer carries: the rate limit's headers, and CORS when `Origin` came.
    pub fn finish(&self, admitted: &Admitted, headers: &mut HeaderMap) {
        if let (Some(rates), Some(rate)) = (&self.rates, admitted.rate) {
            rates.headers.write(headers, rate.remaining);
        }
        if admitted.cors {
            headers::allow_any_origin(headers);
        }
    }

    /// The answer to [`RouteClass::Preflight`]: the seed's, 204 without a body.
    pub fn preflight() -> Response<Body> {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        headers::allow_any_origin(response.headers_mut());
        response
    }
}

fn require_scope(principal: &Principal, class: RouteClass, read_auth: bool) -> Result<(), ApiError> {
    if !principal.authenticated {
        return Ok(());
    }
    let (granted, scope) = match class {
        RouteClass::Register | RouteClass::Deregister | RouteClass::Check => (principal.scopes.register, "register"),
        RouteClass::TokenRead => (principal.scopes.read, "read"),
        RouteClass::OpenRead if read_auth => (principal.scopes.read, "read"),
        RouteClass::Metrics => (principal.reads_all(), "read"),
        _ => (true, ""),
    };
    if granted {
        return Ok(());
    }
    let message = if class == RouteClass::Metrics {
        "metrics name every service: ask with a token whose scope has read and whose namespaces are [\"*\"]".to_owned()
    } else {
        format!("this needs the scope {scope}; ask for a token whose scope has it")
    };
    let challenge = format!("Bearer realm=\"portolan\", error=\"insufficient_scope\", scope=\"{scope}\"");
    let challenge = HeaderValue::from_str(&challenge).unwrap_or(HeaderValue::from_static("Bearer"));
    Err(ApiError::new(Code::InsufficientScope, message).header(WWW_AUTHENTICATE, challenge))
}

/// [RFC 6750 §3](https://www.rfc-editor.org/rfc/rfc6750#section-3): no error word where no token came.
fn challenge(refusal: Option<TokenError>) -> HeaderValue {
    let text = match refusal {
        None => "Bearer realm=\"portolan\"".to_owned(),
        Some(why) => format!("Bearer realm=\"portolan\", error=\"invalid_token\", error_description=\"{why}\""),
    };
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("Bearer"))
}

fn too_often(refused: Refused, rates: &Rates) -> ApiError {
    let seconds = u64::try_from(refused.wait.as_millis().div_ceil(1000)).unwrap_or(60).max(1);
    let mut error = ApiError::new(Code::RateLimited, "Rate limit exceeded").retry_after(seconds);
    rates.headers.write(error.headers_mut(), 0);
    error
}
