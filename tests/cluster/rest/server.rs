//! One replica in this process as far as REST goes: watch, ingest, store, registrar and API, without a prober or a Lease.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use control_plane::Kubeconfig;
use futures::FutureExt;
use futures::future::BoxFuture;
use portolan::api::access::{Access, AccessSettings, Mint, Scopes, Secrets, mint};
use portolan::api::conn::{self, ConnSettings};
use portolan::api::{Api, ApiSettings, ApiState, InFlight, InFlightLimits, Part, Readiness, WatchLimiter, WatchLimits};
use portolan::catalog::{Catalog, Epoch};
use portolan::model::name::InstanceName;
use portolan::model::ports::{
    AnyNamespace, Beat, BeatError, Freshness, Heard, Heartbeats, Leadership, OnDemand, OnDemandError, OnDemandResult,
    Probing, ProbingByService, Role,
};
use portolan::model::time::{Clock, UnixMs};
use portolan::operator::ingest::Ingest;
use portolan::operator::kubernetes::health::ApiHealth;
use portolan::operator::namespaces::Policies;
use portolan::operator::registrar::{Acknowledgements, RegistrarSettings, RestRegistrar};
use portolan::operator::replicas::installs::Installs;
use portolan::operator::watch::Watch;
use portolan::prober::AddressPolicy;
use portolan::store::{Opened, Store, StoreSettings};
use portolan::telemetry::access_log::AccessLog;
use portolan::telemetry::audit::AuditLog;
use portolan::telemetry::metrics::Metrics;
use portolan::telemetry::server_events::EventReceiver;
use reqwest::{Method, RequestBuilder, StatusCode};
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const SECRET: &str = "a secret of the tests, long enough to sign with";
/// Time for anything that must happen.
const AMPLE: Duration = Duration::from_mins(3);

/// Waits until `holds`, or fails with what it waited for.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !holds().await {
        assert!(started.elapsed() < AMPLE, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// How to start a replica.
pub(crate) struct Setup<'a> {
    /// The account that it writes with.
    pub(crate) writes_as: &'a Kubeconfig,
    /// The account that it watches with; the same unless given.
    pub(crate) watches_as: Option<&'a Kubeconfig>,
    /// Namespaces that accept registrations; the first is the default.
    pub(crate) namespaces: Vec<String>,
    pub(crate) max_services: usize,
}

struct Nobody;

impl OnDemand for Nobody {
    fn check_now(
        &self,
        _: uuid::Uuid,
        _: Option<InstanceName>,
    ) -> BoxFuture<'static, Result<Vec<OnDemandResult>, OnDemandError>> {
        std::future::ready(Err(OnDemandError::Unavailable)).boxed()
    }

    fn observe_now(
        &self,
        _: uuid::Uuid,
        _: Option<InstanceName>,
    ) -> BoxFuture<'static, Result<Vec<OnDemandResult>, OnDemandError>> {
        std::future::ready(Err(OnDemandError::Unavailable)).boxed()
    }
}

impl Heartbeats for Nobody {
    fn beat(&self, _: uuid::Uuid, _: &InstanceName, _: Beat) -> Result<Heard, BeatError> {
        Err(BeatError::Unavailable)
    }

    fn registered(&self, _: uuid::Uuid, _: &InstanceName) -> Result<Heard, BeatError> {
        Err(BeatError::Unavailable)
    }
}

impl Probing for Nobody {
    fn probing(&self, _: Vec<uuid::Uuid>) -> BoxFuture<'static, Result<ProbingByService, OnDemandError>> {
        std::future::ready(Err(OnDemandError::Unavailable)).boxed()
    }
}

impl Readiness for Nobody {
    fn parts(&self) -> Vec<Part> {
        Vec::new()
    }
}

impl Leadership for Nobody {
    fn role(&self) -> Role {
        Role::Follows
    }
}

/// A running replica.
pub(crate) struct Server {
    url: String,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) api_health: ApiHealth,
    client: reqwest::Client,
    stop: CancellationToken,
    parts: JoinSet<()>,
    _folder: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Setup<'_> {
    pub(crate) async fn start(self) -> Server {
        let folder = tempfile::tempdir().expect("a folder");
        let (clock, metrics, api_health) = (Clock::system(), Metrics::default(), ApiHealth::default());
        let Opened { store, writer, catalog, .. } =
            Store::open(store_settings(&folder), clock.clone(), metrics.clone()).expect("a store");
        let names: Vec<_> = self.namespaces.iter().map(|name| name.parse().expect("a label")).collect();
        let writes = self.writes_as.client().await.expect("a client");
        let watches = self.watches_as.unwrap_or(self.writes_as).client().await.expect("a client");
        let leadership: Arc<dyn Leadership> = Arc::new(Nobody);
        let (ingest, taking_in) =
            Ingest::new(&names, store.clone(), Arc::clone(&leadership), Arc::new(policy()), metrics.clone());
        let watch = Watch::new(&watches, &names, &ingest, &api_health, &metrics);
        let settings = RegistrarSettings {
            namespaces: names.clone().into(),
            max_services: self.max_services,
            max_instances: 25_600,
            policies: Policies::off(),
        };
        let installs = Installs::new(&names[0]);
        let acknowledgements = Acknowledgements::new(store.clone(), ingest.clone(), installs, leadership);
        let (registrar, registering) = RestRegistrar::new(
            settings,
            writes.clone(),
            ingest.clone(),
            Arc::clone(&catalog),
            api_health.clone(),
            acknowledgements,
            metrics.clone(),
        );
        let api = Api::new(ApiState {
            catalog: Arc::clone(&catalog),
            registrar: Arc::new(registrar),
            on_demand: Arc::new(Nobody),
            heartbeats: Arc::new(Nobody),
            probing: Arc::new(Nobody),
            addresses: Arc::new(policy()),
            policies: Arc::new(AnyNamespace),
            history: store,
            access: access(names[0].as_str(), clock, &metrics),
            access_log: AccessLog::off(),
            audit: AuditLog::without_file(),
            metrics: metrics.clone(),
            readiness: Arc::new(Nobody),
            empty_services: Some(Arc::new(ingest.clone())),
            freshness: Some(Arc::new(api_health.clone())),
            pass_on: None,
            server_events: EventReceiver::closed(),
            watches: WatchLimiter::new(WatchLimits::default()),
            in_flight: InFlight::new(InFlightLimits::default(), metrics.clone()),
            bodies: InFlight::new(InFlightLimits::BODIES, metrics.clone()),
            settings: ApiSettings { default_namespace: names[0].clone(), service_metrics: false },
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let (stop, mut parts) = (CancellationToken::new(), JoinSet::new());
        let [writing, taking, watching, writes_stop, serving, listening] = std::array::from_fn(|_| stop.clone());
        parts.spawn(async move { writer.run(writing).await.expect("the writer") });
        parts.spawn(async move { taking_in.run(taking).await.expect("the ingest") });
        parts.spawn(async move { watch.run(watching).await.expect("the watch") });
        parts.spawn(async move { registering.run(writes_stop).await.expect("the registrar") });
        parts.spawn(async move {
            let settings = ConnSettings { per_client: 800, ..ConnSettings::default() };
            conn::serve(listener, settings, api, metrics, serving).await.expect("serving ends well");
        });
        let heard = api_health.clone();
        parts.spawn(async move { listen(&writes, &heard, &listening).await });
        let client = portolan::crypto::http_client().no_proxy().build().expect("a client");
        until("the first list is finished", async || ingest.is_complete()).await;
        Server { url, catalog, api_health, client, stop, parts, _folder: folder }
    }
}

/// Notes each answer of the Kubernetes API, as the elector's polls do.
async fn listen(client: &kube::Client, api_health: &ApiHealth, stop: &CancellationToken) {
    loop {
        let answer = tokio::time::timeout(Duration::from_secs(10), client.apiserver_version());
        tokio::select! {
            () = stop.cancelled() => return,
            answer = answer => if matches!(answer, Ok(Ok(_))) { api_health.touch() },
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(Duration::from_millis(300)) => {}
        }
    }
}

fn store_settings(folder: &tempfile::TempDir) -> StoreSettings {
    StoreSettings {
        path: folder.path().join("services.db"),
        max_services: 0,
        max_instances: 25_600,
        history_days: 30,
        history_rows: 10_000,
        default_interval: Duration::from_secs(30),
        epoch: Some(Epoch::of(&uuid::Uuid::from_u128(7))),
        durable: false,
    }
}

fn policy() -> AddressPolicy {
    AddressPolicy { allow_loopback: true, ..AddressPolicy::default() }
}

fn access(default_namespace: &str, clock: Clock, metrics: &Metrics) -> Access {
    let settings = AccessSettings {
        read_auth: false,
        token_max: Duration::from_hours(24 * 30),
        default_namespace: default_namespace.parse().expect("a label"),
        rate_per_minute: None,
        read_rate_per_minute: None,
        trusted_proxies: Vec::new(),
        cors_origins: Vec::new(),
        allowed_hosts: Vec::new(),
        bound_to_loopback: true,
        certificate_required: false,
    };
    let secrets = Secrets::inline(&SecretString::from(SECRET)).expect("long enough");
    Access::new(settings, Some(secrets), metrics.clone(), clock)
}

/// A token for every namespace; `root` is an admin.
fn token(subject: &str) -> String {
    let scopes = Scopes { read: true, register: true, admin: subject == "root" };
    let what = Mint {
        subject: subject.to_owned(),
        issuer: None,
        namespaces: Some(vec!["*".to_owned()]),
        scopes: Some(scopes),
        lasts: Duration::from_hours(1),
    };
    mint(&SecretString::from(SECRET), &what, UnixMs::wall()).expect("a token")
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    headers: reqwest::header::HeaderMap,
    text: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("ASCII"))
    }

    /// The body of a 200.
    pub(crate) fn ok(self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text);
        serde_json::from_str(&self.text).expect("JSON")
    }

    /// The service in it.
    pub(crate) fn data(self) -> Value {
        self.ok()["data"].take()
    }

    /// Status and code of a refusal, and its sentence.
    pub(crate) fn refusal(&self) -> (u16, String, String) {
        let json: Value = serde_json::from_str(&self.text).expect("JSON");
        assert_eq!(json["success"], false, "{json}");
        let text = |field: &str| json[field].as_str().expect("a text").to_owned();
        (self.status.as_u16(), text("code"), text("error"))
    }

    /// The code of a refusal with that status.
    pub(crate) fn refused(&self, status: u16) -> String {
        let (found, code, error) = self.refusal();
        assert_eq!(found, status, "{code}: {error}");
        code
    }
}

impl Server {
    /// The program, as `who` at a command line.
    pub(crate) async fn cli(&self, who: &str, args: &[&str]) -> std::process::Output {
        let mut program = tokio::process::Command::new(env!("CARGO_BIN_EXE_portolan"));
        program.args(args).env_clear().env("PORTOLAN_SERVER", &self.url).env("PORTOLAN_TOKEN", token(who));
        program.output().await.expect("it runs")
    }

    /// A request of `who`.
    pub(crate) fn request(&self, who: &str, method: Method, target: &str) -> RequestBuilder {
        self.client.request(method, format!("{}/api/v1/services{target}", self.url)).bearer_auth(token(who))
    }

    pub(crate) async fn send(&self, request: RequestBuilder) -> Answer {
        let response = request.send().await.expect("an answer");
        let (status, headers) = (response.status(), response.headers().clone());
        Answer { status, headers, text: response.text().await.expect("a whole body") }
    }

    pub(crate) async fn get(&self, target: &str) -> Answer {
        self.send(self.request("root", Method::GET, target)).await
    }

    pub(crate) async fn delete(&self, who: &str, target: &str) -> Answer {
        self.send(self.request(who, Method::DELETE, target)).await
    }

    /// Registers `service/instance` at a port of 10.0.0.5.
    pub(crate) async fn register(&self, who: &str, service: &str, instance: &str, port: u16) -> Answer {
        let body = json!({ "name": service, "instance": instance, "base_url": format!("http://10.0.0.5:{port}") });
        self.register_as_is(who, &body).await
    }

    pub(crate) async fn register_as_is(&self, who: &str, body: &Value) -> Answer {
        self.send(self.request(who, Method::POST, "/register").json(body)).await
    }

    /// The names of the service's instances with their generations; empty when it is not there.
    pub(crate) fn instances(&self, namespace: &str, service: &str) -> BTreeMap<String, u64> {
        let snapshot = self.catalog.snapshot();
        let found = snapshot.find(namespace, service).map(|entry| entry.service().instances.clone());
        found.into_iter().flatten().map(|one| (one.name.to_string(), one.shown_generation())).collect()
    }

    /// Stops it cleanly.
    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        while let Some(ended) = self.parts.join_next().await {
            ended.expect("no part panicked");
        }
    }

    /// Time since the mirror was known to be current.
    pub(crate) fn stale_for(&self) -> Option<Duration> {
        self.api_health.stale_for()
    }
}
