//! The harness: a whole API on a port of its own, and a plain client.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use portolan::api::access::{Access, AccessSettings, Mint, Scopes, Secrets, mint};
use portolan::api::conn::{self, ConnSettings};
use portolan::api::tls::{ServerTls, TlsRefresher, TlsSettings};
use portolan::api::{
    Api, ApiSettings, ApiState, InFlight, InFlightLimits, Part, PartState, Readiness, WatchLimiter, WatchLimits,
};
use portolan::catalog::{Catalog, Epoch};
use portolan::model::health::CheckState;
use portolan::model::name::CheckName;
use portolan::model::outcome::{Health, Outcome, Reason, Stage, Timings, Transition, Verdict};
use portolan::model::ports::{AlwaysLeads, AnyNamespace, EmptyServices, Freshness, Heartbeats, PassOn};
use portolan::model::probe::{HealthChange, ProbeRow};
use portolan::model::service::{InstanceId, Warning};
use portolan::model::time::{Clock, Now, UnixMs};
use portolan::prober::AddressPolicy;
use portolan::prober::{DialSettings, Dialer};
use portolan::prober::{Prober, ProberHandle, ProberSettings};
use portolan::store::{Opened, Store, StoreSettings, TimedEnds};
use portolan::telemetry::access_log::AccessLog;
use portolan::telemetry::audit::AuditLog;
use portolan::telemetry::metrics::Metrics;
use portolan::telemetry::server_events::EventReceiver;
use reqwest::{Method, RequestBuilder, StatusCode};
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub(crate) const SECRET: &str = "a secret of the tests, long enough to sign with";

/// What a test may ask of its server.
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub(crate) struct Options {
    pub(crate) auth: bool,
    pub(crate) read_auth: bool,
    /// Where the secrets are, instead of the tests' one.
    pub(crate) secrets: Option<std::path::PathBuf>,
    pub(crate) rate: Option<u32>,
    /// The limit of reads, where it is not the same.
    pub(crate) reads: Option<u32>,
    pub(crate) max_services: usize,
    pub(crate) max_instances: usize,
    pub(crate) service_metrics: bool,
    pub(crate) watches: WatchLimits,
    pub(crate) answers: InFlightLimits,
    /// Of request bodies.
    pub(crate) bodies: InFlightLimits,
    /// Where access lines go.
    pub(crate) log: Option<Box<dyn std::io::Write + Send>>,
    /// The audit file.
    pub(crate) audit: Option<std::path::PathBuf>,
    /// Runs a prober; without one the server behaves as if its prober had ended.
    pub(crate) prober: Option<ProberSettings>,
    /// Hears heartbeats and registrations instead of the prober.
    pub(crate) heartbeats: Option<Arc<dyn Heartbeats>>,
    /// How old what is read may be.
    pub(crate) empty_services: Option<Arc<dyn EmptyServices>>,
    pub(crate) freshness: Option<Arc<dyn Freshness>>,
    /// Forwards to another server what this one cannot answer.
    pub(crate) pass_on: Option<Arc<dyn PassOn>>,
    /// What the server tells of itself.
    pub(crate) server_events: Option<EventReceiver>,
    /// Waits a moment and no longer for what a client does not send.
    pub(crate) quick: bool,
    /// Bears with a client that takes nothing of its answer.
    pub(crate) patient: bool,
    /// Mirrors a cluster whose definition has this id.
    pub(crate) mirror: Option<Uuid>,
    /// Speaks HTTPS with these files.
    pub(crate) tls: Option<TlsSettings>,
    /// Refuses clients without a certificate.
    pub(crate) certificate_required: bool,
    /// The server's; one that stands still gives back no quota.
    pub(crate) clock: Clock,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            auth: false,
            read_auth: false,
            secrets: None,
            rate: None,
            reads: None,
            max_services: 0,
            max_instances: 25_600,
            service_metrics: true,
            watches: WatchLimits::default(),
            answers: InFlightLimits::default(),
            bodies: InFlightLimits::BODIES,
            log: None,
            audit: None,
            prober: None,
            heartbeats: None,
            empty_services: None,
            freshness: None,
            pass_on: None,
            server_events: None,
            quick: false,
            patient: false,
            mirror: None,
            tls: None,
            certificate_required: false,
            clock: Clock::system(),
        }
    }
}

/// A running server.
pub(crate) struct TestApp {
    pub(crate) address: SocketAddr,
    pub(crate) store: Store,
    pub(crate) catalog: Arc<Catalog>,
    client: reqwest::Client,
    stop: CancellationToken,
    _tasks: JoinSet<()>,
    _folder: tempfile::TempDir,
}

impl Drop for TestApp {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

struct StoreReady;

impl Readiness for StoreReady {
    fn parts(&self) -> Vec<Part> {
        vec![
            Part { name: "store", state: PartState::Ready("takes writes".to_owned()) },
            Part { name: "prober", state: PartState::NotReady("not part of this test".to_owned()) },
        ]
    }
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) bytes: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().expect("ASCII"))
    }

    /// The answer, once it is 200.
    pub(crate) fn ok(self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text());
        let json = self.json();
        assert_eq!(json["success"], true, "{json}");
        json
    }

    /// The refusal's code, once it is an envelope of that status.
    pub(crate) fn refusal(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{}", self.text());
        let json = self.json();
        assert_eq!(json["success"], false, "{json}");
        assert!(json["error"].as_str().is_some_and(|e| !e.is_empty()), "{json}");
        assert_eq!(self.header("content-type"), "application/json; charset=utf-8");
        json["code"].as_str().expect("a code").to_owned()
    }
}

impl TestApp {
    pub(crate) async fn start() -> Self {
        Self::with(Options::default()).await
    }

    #[expect(clippy::unused_async, reason = "it needs a runtime, as its callers do")]
    pub(crate) async fn with(mut options: Options) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (clock, metrics) = (options.clock.clone(), Metrics::default());
        let settings = store_settings(&folder, &options);
        let Opened { store, writer, catalog, probes } =
            Store::open(settings, clock.clone(), metrics.clone()).expect("a new file opens");
        let (prober, on_demand) = prober(&options, &store, probes, &clock, &metrics);
        let (access_log, lines) = match options.log.take() {
            Some(out) => {
                let (log, lines) = AccessLog::new(false, out, &metrics);
                (log, Some(lines))
            }
            None => (AccessLog::off(), None),
        };
        let api = Api::new(ApiState {
            catalog: Arc::clone(&catalog),
            registrar: Arc::new(store.clone()),
            on_demand: Arc::new(on_demand.clone()),
            heartbeats: options.heartbeats.take().unwrap_or_else(|| Arc::new(on_demand.clone())),
            probing: Arc::new(on_demand),
            addresses: Arc::new(policy()),
            policies: Arc::new(AnyNamespace),
            history: store.clone(),
            access: access(&options, clock, &metrics),
            access_log,
            audit: options.audit.take().map_or_else(AuditLog::without_file, |path| {
                AuditLog::with_file(path, metrics.audit_dropped.clone()).expect("a file")
            }),
            metrics: metrics.clone(),
            readiness: Arc::new(StoreReady),
            empty_services: options.empty_services.take(),
            freshness: options.freshness.take(),
            pass_on: options.pass_on.take(),
            server_events: options.server_events.take().unwrap_or_else(EventReceiver::closed),
            watches: WatchLimiter::new(options.watches),
            in_flight: InFlight::new(options.answers, metrics.clone()),
            bodies: InFlight::new(options.bodies, metrics.clone()),
            settings: ApiSettings {
                default_namespace: "default".parse().expect("a label"),
                service_metrics: options.service_metrics,
            },
        });
        let tls = options.tls.take().map(|files| ServerTls::load(files, metrics.clone()).expect("files that fit"));
        let timed_ends = TimedEnds::new(store.clone(), Clock::system());
        let listener = conn::listen("127.0.0.1:0".parse().expect("an address")).expect("a port");
        let address = listener.local_addr().expect("an address");
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let (for_writer, for_serving) = (stop.clone(), stop.clone());
        if let Some(lines) = lines {
            let for_log = stop.clone();
            tasks.spawn(async move { lines.run(for_log).await.expect("the log ends well") });
        }
        if options.prober.is_some() {
            let for_prober = stop.clone();
            tasks.spawn(async move { prober.run(for_prober).await.expect("the prober ends well") });
        }
        if let Some(refresher) = api.secrets_refresher() {
            let for_secrets = stop.clone();
            tasks.spawn(async move { refresher.run(for_secrets).await.expect("it never fails") });
        }
        if let Some(tls) = tls.clone() {
            let for_files = stop.clone();
            tasks.spawn(async move { TlsRefresher(tls).run(for_files).await.expect("it never fails") });
        }
        tasks.spawn(async move { writer.run(for_writer).await.expect("the writer ends well") });
        let for_ends = stop.clone();
        tasks.spawn(async move { timed_ends.run(for_ends).await.expect("it never fails") });
        tasks.spawn(async move {
            let settings = ConnSettings { per_client: 400, tls, ..times(options.quick, options.patient) };
            conn::serve(listener, settings, api, metrics, for_serving).await.expect("serving ends well");
        });
        let client = portolan::crypto::http_client().no_proxy().build().expect("a client");
        Self { address, store, catalog, client, stop, _tasks: tasks, _folder: folder }
    }

    pub(crate) fn request(&self, method: Method, target: &str) -> RequestBuilder {
        self.client.request(method, format!("http://{}{target}", self.address))
    }

    pub(crate) async fn send(&self, request: RequestBuilder) -> Answer {
        let response = request.send().await.expect("an answer");
        let (status, headers) = (response.status(), response.headers().clone());
        Answer { status, headers, bytes: response.bytes().await.expect("a whole body").to_vec() }
    }

    /// Tells the server to stop.
    pub(crate) fn shut_down(&self) {
        self.stop.cancel();
    }

    pub(crate) async fn get(&self, target: &str) -> Answer {
        self.send(self.request(Method::GET, target)).await
    }

    pub(crate) async fn delete(&self, target: &str) -> Answer {
        self.send(self.request(Method::DELETE, target)).await
    }

    pub(crate) async fn post(&self, target: &str, body: &Value) -> Answer {
        self.send(self.request(Method::POST, target).json(body)).await
    }

    pub(crate) async fn register(&self, body: &Value) -> Answer {
        self.post("/api/v1/services/register", body).await
    }

    /// Registers a service of one instance and returns its data.
    pub(crate) async fn add(&self, name: &str) -> Value {
        self.register(&json!({"name": name, "base_url": "http://127.0.0.1:9"})).await.ok()["data"].take()
    }

    /// Commits a change of health, as the prober does.
    pub(crate) async fn set_health(&self, key: &str, instance: &str, health: Health) {
        self.set_health_of_all(&[key], instance, health).await;
    }

    /// The same of many services, in one commit.
    pub(crate) async fn set_health_of_all(&self, keys: &[&str], instance: &str, health: Health) {
        let changes: Vec<HealthChange> = keys.iter().map(|key| self.change(key, instance, health)).collect();
        let applied = self.store.commit_health(changes, Arc::new(AlwaysLeads)).await.expect("committed");
        assert_eq!(applied, vec![true; keys.len()]);
    }

    /// Gives a healthy instance a warning, as the prober does.
    pub(crate) async fn set_warning(&self, key: &str, instance: &str) {
        let change = self.change(key, instance, Health::Healthy);
        let message = "as the test says".to_owned();
        let warning = Warning { check: change.check.clone(), reason: Reason::ReportedWarning, message };
        let change = HealthChange { warning: Some(warning), ..change };
        let applied = self.store.commit_health(vec![change], Arc::new(AlwaysLeads)).await.expect("committed");
        assert_eq!(applied, [true]);
    }

    fn change(&self, key: &str, instance: &str, health: Health) -> HealthChange {
        let snapshot = self.catalog.read();
        let service = snapshot.get(key).expect("registered").service();
        let instance = service.instance(instance).expect("an instance");
        let now = UnixMs::wall();
        let (verdict, reason) = match health {
            Health::Healthy => (Verdict::Pass, Reason::Passed),
            _ => (Verdict::Fail, Reason::ConnectRefused),
        };
        let evidence = Outcome {
            verdict,
            reason,
            stage: Stage::Status,
            at: now,
            address: Some("127.0.0.1:9".parse().expect("an address")),
            code: None,
            certificate_expires_at: None,
            message: "as the test says".to_owned(),
            timings: Timings { connect_us: Some(120), ..Timings::default() },
        };
        let message = "as the test says".to_owned();
        let transition = Transition {
            at: now,
            from: instance.health,
            to: health,
            reason,
            message,
            check: CheckName::default(),
            evidence: Some(evidence),
        };
        HealthChange {
            instance: instance.id,
            generation: instance.generation,
            health,
            reason,
            since: now,
            message: Some(transition.message.clone()),
            check: CheckName::default(),
            warning: None,
            also_failing: Box::default(),
            observed_version: None,
            transition: Some(transition),
            state: CheckState::new(Now { steady: now, wall: now }),
        }
    }
}

fn times(quick: bool, patient: bool) -> ConnSettings {
    let mut usual = ConnSettings::default();
    if patient {
        usual.write = Duration::from_mins(10);
        usual.write_rate = 0;
    }
    let moment = Duration::from_millis(200);
    if quick { ConnSettings { head: moment, body: moment, idle: moment, ..usual } } else { usual }
}

fn policy() -> AddressPolicy {
    AddressPolicy { allow_loopback: true, ..AddressPolicy::default() }
}

fn prober(
    options: &Options,
    store: &Store,
    probes: HashMap<(InstanceId, CheckName), ProbeRow>,
    clock: &Clock,
    metrics: &Metrics,
) -> (Prober, ProberHandle) {
    let settings = options.prober.clone().unwrap_or_default();
    let dialer = Dialer::new(DialSettings { policy: policy(), ..DialSettings::default() });
    Prober::new(settings, dialer, store.clone(), probes, Arc::new(AlwaysLeads), clock.clone(), metrics.clone())
}

fn store_settings(folder: &tempfile::TempDir, options: &Options) -> StoreSettings {
    StoreSettings {
        path: folder.path().join("services.db"),
        max_services: options.max_services,
        max_instances: options.max_instances,
        history_days: 30,
        history_rows: 100_000,
        default_interval: Duration::from_secs(30),
        epoch: options.mirror.as_ref().map(Epoch::of),
        durable: options.mirror.is_none(),
    }
}

fn access(options: &Options, clock: Clock, metrics: &Metrics) -> Access {
    let settings = AccessSettings {
        read_auth: options.read_auth,
        token_max: Duration::from_hours(24 * 30),
        default_namespace: "default".parse().expect("a label"),
        rate_per_minute: options.rate,
        read_rate_per_minute: options.reads.or(options.rate),
        trusted_proxies: Vec::new(),
        cors_origins: Vec::new(),
        allowed_hosts: Vec::new(),
        bound_to_loopback: true,
        certificate_required: options.certificate_required,
    };
    let secrets = options.auth.then(|| match &options.secrets {
        Some(file) => Secrets::file(file).expect("readable"),
        None => Secrets::inline(&SecretString::from(SECRET)).expect("long enough"),
    });
    Access::new(settings, secrets, metrics.clone(), clock)
}

/// A token of the server's own secret.
pub(crate) fn token(subject: &str, namespaces: Option<&[&str]>, scopes: Option<Scopes>) -> String {
    token_of(SECRET, subject, namespaces, scopes)
}

/// A token of that secret.
pub(crate) fn token_of(secret: &str, subject: &str, namespaces: Option<&[&str]>, scopes: Option<Scopes>) -> String {
    let what = Mint {
        subject: subject.to_owned(),
        issuer: None,
        namespaces: namespaces.map(|all| all.iter().map(ToString::to_string).collect()),
        scopes,
        lasts: Duration::from_hours(1),
    };
    mint(&SecretString::from(secret), &what, UnixMs::wall()).expect("a token")
}

/// A token that expires `lasts` from now, the leeway included.
pub(crate) fn token_for(lasts: Duration, subject: &str) -> String {
    let what = Mint { subject: subject.to_owned(), issuer: None, namespaces: None, scopes: None, lasts };
    // Made half a minute ago: that long is added for clocks that differ.
    let made = UnixMs(UnixMs::wall().0 - 30_000);
    mint(&SecretString::from(SECRET), &what, made).expect("a token")
}
