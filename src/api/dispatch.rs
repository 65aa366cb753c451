//! The API as the connections see it: admit, the hot route, else the router, and what every answer gets at its end.

use std::net::{IpAddr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use http::header::USER_AGENT;
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram;

use super::access::{Access, Admitted, Reread, RouteClass, SecretsKeeper, classify};
use super::call::Call;
use super::conn::{Handler, RequestBody};
use super::envelope::{ApiError, Code};
use super::flight::{self, Flight, FlightLimits};
use super::operations::Readiness;
use super::router::{Route, Verb, unknown_route};
use super::watch::{Seats, WatchLimits};
use super::{
    Body, check, deregister, discover, freshness, history, hot, list, openapi, operations, probes, register, root,
    service, stats, watch,
};
use crate::catalog::Catalog;
use crate::model::name::Namespace;
use crate::model::ports::{AddressGate, Freshness, OnDemand, PassOn, Probing, Registrar};
use crate::model::service::Owner;
use crate::store::Store;
use crate::telemetry::access_log::{AccessLog, Record};
use crate::telemetry::log::ACCESS_TARGET;
use crate::telemetry::metrics::staleness::Staleness;
use crate::telemetry::metrics::{Metrics, RequestLabels, RouteLabel, method_label};
use crate::telemetry::server_events::EventReceiver;

/// When to ask a replica again that does not know every service yet.
const INCOMPLETE_RETRY_SECONDS: u64 = 2;

/// What the API follows.
#[derive(Debug, Clone)]
pub struct ApiSettings {
    /// The namespace of a request that names none.
    pub default_namespace: Namespace,
    /// Time between probes where a check names none.
    pub default_interval: Duration,
    /// Whether `/metrics` carries series per service.
    pub service_metrics: bool,
    /// How many watches there may be.
    pub watches: WatchLimits,
    /// How much memory answers may take while they are sent.
    pub answers: FlightLimits,
}

/// Everything that the API stands on.
pub struct ApiParts {
    /// What is read.
    pub catalog: Arc<Catalog>,
    /// What makes registrations durable.
    pub registrar: Arc<dyn Registrar>,
    /// What probes on request.
    pub on_demand: Arc<dyn OnDemand>,
    /// What tells how it stands with probing.
    pub probing: Arc<dyn Probing>,
    /// What may be registered.
    pub addresses: Arc<dyn AddressGate>,
    /// What keeps history.
    pub history: Store,
    /// Who may ask.
    pub access: Access,
    /// Where each request leaves a line.
    pub access_log: AccessLog,
    /// What is counted.
    pub metrics: Metrics,
    /// Whether everything runs.
    pub readiness: Arc<dyn Readiness>,
    /// How old what is read may be; none where nothing is mirrored.
    pub freshness: Option<Arc<dyn Freshness>>,
    /// The way to the replica that leads, where there are others.
    pub pass_on: Option<Arc<dyn PassOn>>,
    /// What the server tells of itself to who watches.
    pub told: EventReceiver,
    /// The rest.
    pub settings: ApiSettings,
}

/// The API. Cloning shares it.
#[derive(Clone)]
pub struct Api(Arc<Shared>);

pub(super) struct Shared {
    pub(super) catalog: Arc<Catalog>,
    pub(super) registrar: Arc<dyn Registrar>,
    pub(super) on_demand: Arc<dyn OnDemand>,
    pub(super) probing: Arc<dyn Probing>,
    pub(super) addresses: Arc<dyn AddressGate>,
    pub(super) history: Store,
    pub(super) metrics: Metrics,
    pub(super) readiness: Arc<dyn Readiness>,
    pub(super) freshness: freshness::Source,
    pub(super) pass_on: Option<Arc<dyn PassOn>>,
    pub(super) told: EventReceiver,
    pub(super) settings: ApiSettings,
    pub(super) watchers: Arc<Seats>,
    pub(super) flight: Arc<Flight>,
    pub(super) access: Access,
    access_log: AccessLog,
    hot: HotMetrics,
}

/// In an answer's extensions: the rate limit does not count this request.
#[derive(Debug, Clone, Copy)]
pub(super) struct NotCounted;

/// In an answer's extensions: bytes that it sends at once, where its length does not say.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sends(pub(super) usize);

/// The hot route's series, looked up once: finding one takes a lock.
struct HotMetrics {
    found: Counter,
    unchanged: Counter,
    seconds: Histogram,
}

impl HotMetrics {
    fn new(metrics: &Metrics) -> Self {
        let route = Route::Discover.pattern();
        let count =
            |status: u16| metrics.requests.get_or_create(&RequestLabels { route, method: "GET", status }).clone();
        let seconds = metrics.request_seconds.get_or_create(&RouteLabel { route }).clone();
        Self { found: count(200), unchanged: count(304), seconds }
    }
}

impl Api {
    /// The API over `parts`.
    pub fn new(parts: ApiParts) -> Self {
        if let Some(freshness) = &parts.freshness {
            parts.metrics.collect_with(Box::new(Staleness::new(Arc::clone(freshness))));
        }
        Self(Arc::new(Shared {
            hot: HotMetrics::new(&parts.metrics),
            flight: Flight::new(parts.settings.answers, parts.metrics.clone()),
            catalog: parts.catalog,
            registrar: parts.registrar,
            on_demand: parts.on_demand,
            probing: parts.probing,
            addresses: parts.addresses,
            history: parts.history,
            metrics: parts.metrics,
            readiness: parts.readiness,
            freshness: parts.freshness,
            pass_on: parts.pass_on,
            told: parts.told,
            watchers: Seats::new(parts.settings.watches),
            settings: parts.settings,
            access: parts.access,
            access_log: parts.access_log,
        }))
    }

    /// The part that notices changed secrets when no request does; none where they cannot change.
    pub fn secrets_keeper(&self) -> Option<SecretsKeeper> {
        self.0.access.secrets_keeper()
    }

    /// Reads the secrets again at once; none where auth is off.
    pub fn read_secrets_again(&self) -> Option<Reread> {
        self.0.access.read_secrets_again()
    }
}

impl Handler for Api {
    async fn call(&self, request: Request<RequestBody>, peer: SocketAddr) -> Response<Body> {
        let started = Instant::now();
        let class = classify(request.method(), request.uri().path());
        let admitted = self.0.access.admit(&request, peer, class);
        let (head, body) = request.into_parts();
        let route = Route::of(head.uri.path());
        let mut hot = false;
        let response = match admitted {
            Err(refusal) => {
                note_refusal(&refusal, self.0.access.client_address(&head.headers, peer), &Owner::Anonymous);
                refusal.into_reply()
            }
            Ok(mut admitted) => {
                let answer = (route == Some(Route::Discover)).then(|| self.0.hot(&head, &admitted)).flatten();
                hot = answer.is_some();
                let mut response = match answer {
                    Some(response) => response,
                    // Boxed, so that the hot route does not carry the size of the others.
                    None => Box::pin(self.0.cold(route, &head, body, &admitted, peer)).await,
                };
                freshness::mark(&self.0.freshness, class, &mut response);
                self.0.admitted(&head, &mut admitted, &mut response);
                // One that the spent quota took back belongs to no series of the hot route.
                hot &= response.status() != StatusCode::TOO_MANY_REQUESTS;
                response
            }
        };
        self.0.note(&head, peer, route, hot, &response, started);
        response
    }
}

impl Shared {
    fn hot(&self, head: &Parts, admitted: &Admitted) -> Option<Response<Body>> {
        hot::answer(&self.catalog, self.settings.default_namespace.as_str(), head, &admitted.principal)
    }

    /// Every other route; a panic in one is a 500 and a line in the log, not a closed connection.
    async fn cold(
        &self,
        route: Option<Route<'_>>,
        head: &Parts,
        body: RequestBody,
        admitted: &Admitted,
        peer: SocketAddr,
    ) -> Response<Body> {
        if admitted.class == RouteClass::Preflight {
            return self.access.preflight();
        }
        let renewals_only = admitted.rate.is_some_and(|rate| rate.spent.is_some());
        let client = self.access.client_address(&head.headers, peer);
        let call = Call { api: self, head, who: &admitted.principal, client, renewals_only };
        // Held until it is answered: what was read may wait in a queue.
        let _received = match body.weight().map(|bytes| self.flight.take(admitted.principal.client, bytes)) {
            Some(Err(full)) => return self.refuse_full(full),
            Some(Ok(permit)) => Some(permit),
            None => None,
        };
        let answer = AssertUnwindSafe(answer(&call, route, body)).catch_unwind().await;
        let answer = answer.unwrap_or_else(|_| {
            tracing::error!(route = route.map_or("unmatched", Route::pattern), "a request's handler panicked");
            Err(ApiError::new(Code::Internal, "a fault of Portolan's own; the server's log says more"))
        });
        answer.unwrap_or_else(|refusal| {
            note_refusal(&refusal, client, &call.who.owner);
            refusal.into_reply()
        })
    }

    /// What the rate limit and CORS add, and what is taken for the answer's size.
    fn admitted(&self, head: &Parts, admitted: &mut Admitted, response: &mut Response<Body>) {
        let uncounted =
            response.status() == StatusCode::NOT_MODIFIED || response.extensions().get::<NotCounted>().is_some();
        if uncounted {
            self.access.not_counted(admitted);
        } else if let Some(refusal) = self.access.over_quota(admitted) {
            *response = refusal.into_reply();
        }
        // Only the head of an answer to HEAD is sent.
        if head.method != Method::HEAD {
            if let Some(weight) = response.body().weight() {
                self.send_large(admitted, weight, response);
            }
            let sends = response.extensions().get::<Sends>().map_or(response.body().len(), |sends| sends.0);
            self.access.charge(admitted, sends, uncounted);
        }
        self.access.finish(admitted, response.headers_mut());
    }

    /// An answer of more than one piece is sent where there is memory for it.
    fn send_large(&self, admitted: &Admitted, weight: usize, response: &mut Response<Body>) {
        match self.flight.take(admitted.principal.client, weight) {
            Ok(permit) => *response.body_mut() = std::mem::take(response.body_mut()).permitted(permit),
            Err(full) => *response = self.refuse_full(full),
        }
    }

    fn refuse_full(&self, full: flight::Full) -> Response<Body> {
        self.metrics.reject(full.reason());
        ApiError::from(full).into_reply()
    }

    /// Metrics and the access log.
    fn note(
        &self,
        head: &Parts,
        peer: SocketAddr,
        route: Option<Route<'_>>,
        hot: bool,
        response: &Response<Body>,
        started: Instant,
    ) {
        let took = started.elapsed();
        let status = response.status().as_u16();
        let method = method_label(&head.method);
        if hot {
            if status == 200 { &self.hot.found } else { &self.hot.unchanged }.inc();
            self.hot.seconds.observe(took.as_secs_f64());
        } else {
            let route = route.map_or("unmatched", Route::pattern);
            self.metrics.requests.get_or_create(&RequestLabels { route, method, status }).inc();
            self.metrics.request_seconds.get_or_create(&RouteLabel { route }).observe(took.as_secs_f64());
        }
        self.access_log.record(&Record {
            started,
            peer: self.access.client_address(&head.headers, peer),
            method,
            target: head.uri.path_and_query().map_or("", |target| target.as_str()),
            status,
            took,
            bytes: response.body().len() as u64,
            user_agent: head.headers.get(USER_AGENT).map(http::HeaderValue::as_bytes),
        });
    }
}

/// Says why somebody was turned away, which the line of the request does not.
fn note_refusal(refusal: &ApiError, client: IpAddr, who: &Owner) {
    if !matches!(refusal.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        return;
    }
    let (why, code) = (&refusal.message, refusal.code.as_str());
    let more = refusal.hinted().map(|hint| format!(": {hint}")).unwrap_or_default();
    let subject = if let Owner::Token { subject, .. } = who { Some(&**subject) } else { None };
    tracing::info!(target: ACCESS_TARGET, %client, subject, code, "refused: {why}{more}");
}

/// A replica that has not heard of every service yet cannot tell that there is none of a name, nor how many there are.
async fn answer(call: &Call<'_>, route: Option<Route<'_>>, body: RequestBody) -> Result<Response<Body>, ApiError> {
    let route = route.ok_or_else(|| unknown_route(call.head.uri.path()))?;
    let verb = route.verb(&call.head.method)?;
    if matches!(route, Route::List | Route::Stats) && !call.api.history.is_complete() {
        return Err(incomplete());
    }
    let answer = routed(call, route, verb, body).await;
    answer.map_err(|error| {
        let missing = error.code() == Code::ServiceNotFound && !call.api.history.is_complete();
        if missing { incomplete() } else { error }
    })
}

fn incomplete() -> ApiError {
    let message = "this replica has not heard of every service yet; ask again, or ask another one";
    ApiError::new(Code::Unavailable, message).retry_after(INCOMPLETE_RETRY_SECONDS)
}

async fn routed(call: &Call<'_>, route: Route<'_>, verb: Verb, body: RequestBody) -> Result<Response<Body>, ApiError> {
    match route {
        Route::Root => Ok(root::root()),
        Route::Health => Ok(root::health()),
        Route::Register => register::register(call, body).await,
        Route::List => list::list(call),
        Route::Stats => stats::stats(call),
        Route::Discover => discover::discover(call),
        Route::Deregister => deregister::by_name(call).await,
        Route::Service { id } if verb == Verb::Delete => service::delete(call, id).await,
        Route::Service { id } => service::get(call, id),
        Route::HealthCheck { id } => check::check(call, id, body).await,
        Route::HistoryByName => history::by_name(call).await,
        Route::History { id } => history::history(call, id).await,
        Route::Instance { id, name } => deregister::instance(call, id, name).await,
        Route::Healthz => Ok(operations::healthz()),
        Route::Readyz => Ok(operations::readyz(call)),
        Route::Metrics => operations::metrics(call).await,
        Route::OpenApi => Ok(openapi::document()),
        Route::Watch => watch::watch(call).await,
        Route::Probes => probes::probes(call).await,
    }
}
