//! The API as connections call it: admit a request, answer it by the fast path or by its route, and finish the answer.

use std::net::{IpAddr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use futures::FutureExt;
use http::header::USER_AGENT;
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram;

use super::access::{
    Admitted, KeysRefresher, NotCounted, Refused, Reviewer, RouteClass, SecretsRefresher, SecretsReload, SentAtOnce,
};
use super::conn::{Handler, RequestBody};
use super::http::body::Body;
use super::http::envelope::{ApiError, Code};
use super::http::in_flight::BodiesFull;
use super::http::rendering::Renderings;
use super::routes::audit::Audited;
use super::routes::place::place;
use super::routes::request::RequestContext;
use super::routes::subject::Subject;
use super::routes::{self, Answer, Match, RouteId};
use super::state::ApiState;
use super::watch::detached;
use super::{fast_path, freshness};
use crate::model::service::Owner;
use crate::telemetry::access_log::Record;
use crate::telemetry::log::ACCESS_TARGET;
use crate::telemetry::metrics::staleness::Staleness;
use crate::telemetry::metrics::{Metrics, RequestLabels, RouteLabel, method_label};

/// The API. Cloning shares it.
#[derive(Clone)]
pub struct Api(Arc<Inner>);

struct Inner {
    state: ApiState,
    renderings: Renderings,
    fast_path: FastPathMetrics,
}

/// The fast path's series, looked up once: finding one takes a lock.
struct FastPathMetrics {
    found: Counter,
    unchanged: Counter,
    seconds: Histogram,
}

impl FastPathMetrics {
    fn new(metrics: &Metrics) -> Self {
        let route = RouteId::Discover.route().path;
        let count =
            |status: u16| metrics.requests.get_or_create(&RequestLabels { route, method: "GET", status }).clone();
        let seconds = metrics.request_seconds.get_or_create(&RouteLabel { route }).clone();
        Self { found: count(200), unchanged: count(304), seconds }
    }
}

impl Api {
    /// The API over `state`.
    pub fn new(state: ApiState) -> Self {
        if let Some(freshness) = &state.freshness {
            state.metrics.collect_with(Box::new(Staleness::new(Arc::clone(freshness))));
        }
        let fast_path = FastPathMetrics::new(&state.metrics);
        let renderings = Renderings::new(state.metrics.clone());
        Self(Arc::new(Inner { state, renderings, fast_path }))
    }

    /// The task that notices changed secrets; none where they cannot change.
    pub fn secrets_refresher(&self) -> Option<SecretsRefresher> {
        self.0.state.access.secrets_refresher()
    }

    /// The task that keeps the keys of the cluster's tokens current; none outside a cluster.
    pub fn keys_refresher(&self) -> Option<KeysRefresher> {
        self.0.state.access.keys_refresher()
    }

    /// The task that asks the cluster about callers; none outside a cluster.
    pub fn reviewer(&self) -> Option<Reviewer> {
        self.0.state.access.reviewer()
    }

    /// Reads the secrets again at once; none where there are none.
    pub async fn reload_secrets(&self) -> Option<SecretsReload> {
        self.0.state.access.reload_secrets().await
    }
}

impl Api {
    /// The answer to `/metrics` on its own port, whoever asks. Where that is `on_loopback`, only for the names of loopback.
    pub(super) async fn metrics_for_all(
        &self,
        request: Request<RequestBody>,
        peer: SocketAddr,
        on_loopback: bool,
    ) -> Response<Body> {
        let started = Instant::now();
        let (head, body) = request.into_parts();
        let matched = routes::find(&head.method, head.uri.path());
        let response = match self.0.state.access.scraper(&head, peer, on_loopback) {
            Err(refusal) => refusal.into_reply(),
            Ok(mut admitted) => {
                let nothing = Subject::default();
                let mut response = Box::pin(self.0.routed(&matched, &head, body, &mut admitted, peer, &nothing)).await;
                self.0.finish(&head, &mut admitted, &mut response);
                response
            }
        };
        self.0.record(&head, peer, matched.pattern, false, &response, started);
        response
    }
}

impl Handler for Api {
    async fn call(&self, request: Request<RequestBody>, peer: SocketAddr) -> Response<Body> {
        let started = Instant::now();
        let Inner { state, .. } = &*self.0;
        let (head, body) = request.into_parts();
        let head = detached(head);
        let matched = routes::find(&head.method, head.uri.path());
        let mut fast = false;
        let response = match state.access.admit(&head, peer, matched.class) {
            Err(Refused { error, principal }) => {
                let owner = principal.as_deref().map_or(&Owner::Anonymous, |principal| &principal.owner);
                log_refusal(&error, state.access.client_address(&head.headers, peer), owner);
                let mut response = error.into_reply();
                if let Some(audited) = Audited::begin(state, (&matched, &head), peer, principal.as_deref()) {
                    audited.record(&mut response);
                }
                response
            }
            Ok(mut admitted) => {
                let answer = matched.is(RouteId::Discover).then(|| self.0.fast_path(&head, &admitted)).flatten();
                fast = answer.is_some();
                let audited = Audited::begin(state, (&matched, &head), peer, Some(&admitted.principal));
                let nobody = Subject::default();
                let subject = audited.as_ref().map_or(&nobody, |audited| &audited.subject);
                let mut response = match answer {
                    Some(response) => response,
                    // Boxed, so that the fast path does not carry the size of the others.
                    None => Box::pin(self.0.routed(&matched, &head, body, &mut admitted, peer, subject)).await,
                };
                freshness::mark(state.freshness.as_deref(), matched.class, &mut response);
                self.0.finish(&head, &mut admitted, &mut response);
                if let Some(audited) = audited {
                    audited.record(&mut response);
                }
                // A request that the spent quota refuses after all is counted in no series of the fast path.
                fast &= response.status() != StatusCode::TOO_MANY_REQUESTS;
                response
            }
        };
        self.0.record(&head, peer, matched.pattern, fast, &response, started);
        response
    }

    fn drain(&self) {
        self.0.state.watches.close();
    }
}

impl Inner {
    fn fast_path(&self, head: &Parts, admitted: &Admitted) -> Option<Response<Body>> {
        let default_namespace = self.state.settings.default_namespace.as_str();
        fast_path::answer(&self.state.catalog, default_namespace, head, &admitted.principal)
    }

    /// Answers by the route. A panic in a handler is a 500 and a line in the log, not a closed connection.
    async fn routed(
        &self,
        matched: &Match<'_>,
        head: &Parts,
        body: RequestBody,
        admitted: &mut Admitted,
        peer: SocketAddr,
        audit: &Subject,
    ) -> Response<Body> {
        if admitted.class == RouteClass::Preflight {
            return self.state.access.preflight();
        }
        if let Err(refusal) = self.authorize(matched, head, admitted).await {
            log_refusal(&refusal, self.state.access.client_address(&head.headers, peer), &admitted.principal.owner);
            return refusal.into_reply();
        }
        let max_body = matched.route.map_or(0, |route| route.id.max_body());
        let request = RequestContext {
            state: &self.state,
            renderings: &self.renderings,
            head,
            params: matched.params,
            max_body,
            principal: &admitted.principal,
            client: self.state.access.client_address(&head.headers, peer),
            audit,
            renewals_only: admitted.rate.is_some_and(|rate| rate.spent.is_some()),
        };
        // Held until the answer: the body's bytes may wait in a queue.
        let weight = body.weight(max_body);
        let _received = match weight.map(|bytes| self.state.bodies.take(admitted.principal.client, bytes)) {
            Some(Err(full)) => {
                let full = BodiesFull::from(full);
                return self.refuse_full(full.reason(), full.into());
            }
            Some(Ok(permit)) => Some(permit),
            None => None,
        };
        let answer = AssertUnwindSafe(answer(&request, matched, body)).catch_unwind().await;
        let answer = answer.unwrap_or_else(|_| {
            tracing::error!(route = matched.pattern.unwrap_or("unmatched"), "a request's handler panicked");
            Err(ApiError::new(
                Code::Internal,
                "an internal error kept Portolan from answering this request; the server's log says why",
            ))
        });
        answer.unwrap_or_else(|refusal| {
            log_refusal(&refusal, request.client, &request.principal.owner);
            refusal.into_reply()
        })
    }

    /// What only the cluster can say about the caller, where that is one of its ServiceAccounts.
    async fn authorize(&self, matched: &Match<'_>, head: &Parts, admitted: &mut Admitted) -> Result<(), ApiError> {
        if admitted.principal.account.is_none() {
            return Ok(());
        }
        let wanted = place(&self.state, matched, head);
        self.state.access.authorize(head, admitted.class, wanted, &mut admitted.principal).await
    }

    /// Adds what the rate limit and CORS say, and takes a permit for a large answer.
    fn finish(&self, head: &Parts, admitted: &mut Admitted, response: &mut Response<Body>) {
        let access = &self.state.access;
        let uncounted =
            response.status() == StatusCode::NOT_MODIFIED || response.extensions().get::<NotCounted>().is_some();
        let refusal = if uncounted {
            access.not_counted(admitted);
            access.too_much_renewed(admitted, response.body().len())
        } else {
            access.over_quota(admitted)
        };
        if let Some(refusal) = refusal {
            *response = refusal.into_reply();
        }
        // Only the head of an answer to HEAD is sent, so it needs no memory; but making it takes as much work.
        if head.method != Method::HEAD
            && let Some(weight) = response.body().weight()
        {
            self.permit_large(admitted, weight, response);
        }
        let bytes = response.extensions().get::<SentAtOnce>().map_or(response.body().len(), |sent| sent.0);
        access.charge(admitted, bytes, uncounted);
        access.finish(admitted, response.headers_mut());
    }

    /// An answer of more than one piece needs a permit for its memory.
    fn permit_large(&self, admitted: &Admitted, weight: usize, response: &mut Response<Body>) {
        match self.state.in_flight.take(admitted.principal.client, weight) {
            Ok(permit) => *response.body_mut() = std::mem::take(response.body_mut()).permitted(permit),
            Err(full) => *response = self.refuse_full(full.reason(), full.into()),
        }
    }

    fn refuse_full(&self, reason: &'static str, refusal: ApiError) -> Response<Body> {
        self.state.metrics.reject(reason);
        refusal.into_reply()
    }

    /// Metrics and the access log.
    fn record(
        &self,
        head: &Parts,
        peer: SocketAddr,
        pattern: Option<&'static str>,
        fast: bool,
        response: &Response<Body>,
        started: Instant,
    ) {
        let took = started.elapsed();
        let status = response.status().as_u16();
        let method = method_label(&head.method);
        if fast {
            if status == 200 { &self.fast_path.found } else { &self.fast_path.unchanged }.inc();
            self.fast_path.seconds.observe(took.as_secs_f64());
        } else {
            let (metrics, route) = (&self.state.metrics, pattern.unwrap_or("unmatched"));
            metrics.requests.get_or_create(&RequestLabels { route, method, status }).inc();
            metrics.request_seconds.get_or_create(&RouteLabel { route }).observe(took.as_secs_f64());
        }
        self.state.access_log.record(&Record {
            started,
            peer: self.state.access.client_address(&head.headers, peer),
            method,
            target: head.uri.path_and_query().map_or("", |target| target.as_str()),
            status,
            took,
            bytes: response.body().len() as u64,
            user_agent: head.headers.get(USER_AGENT).map(http::HeaderValue::as_bytes),
        });
    }
}

/// The handler's answer. On a replica that does not know every service yet, "not found" is not certain and becomes a 503.
async fn answer(request: &RequestContext<'_>, matched: &Match<'_>, body: RequestBody) -> Answer {
    let route = matched.route.ok_or_else(|| matched.refusal(request.head.uri.path()))?;
    let answer = routes::answer(request, route.id, body).await;
    answer.map_err(|error| match request.require_complete() {
        Err(incomplete) if error.code() == Code::ServiceNotFound => incomplete,
        _ => error,
    })
}

/// Logs why a caller was refused, which the access log's line does not say.
fn log_refusal(refusal: &ApiError, client: IpAddr, owner: &Owner) {
    if !matches!(refusal.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        return;
    }
    let (why, code) = (&refusal.message, refusal.code.as_str());
    let more = refusal.hinted().map(|hint| format!(": {hint}")).unwrap_or_default();
    let subject = if let Owner::Token { subject, .. } = owner { Some(&**subject) } else { None };
    tracing::info!(target: ACCESS_TARGET, %client, subject, code, "refused: {why}{more}");
}
