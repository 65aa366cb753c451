//! A running prober, and targets that a test controls.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use portolan::catalog::{Catalog, Entry, Epoch};
use portolan::model::check::{Check, CheckTiming};
use portolan::model::name::ServiceKey;
use portolan::model::outcome::{Health, Reason};
use portolan::model::ports::{
    AlwaysLeads, Caller, Leadership, OnDemand, OnDemandError, OnDemandResult, Registrar, Registration, Removal,
    RemovalScope, ServiceRef,
};
use portolan::model::service::{Instance, InstanceSpec, Owner};
use portolan::model::time::Clock;
use portolan::model::url::EndpointUrl;
use portolan::prober::AddressPolicy;
use portolan::prober::ResolverSettings;
use portolan::prober::{DialSettings, Dialer};
use portolan::prober::{Prober, ProberHandle, ProberReport, ProberSettings};
use portolan::store::{HistoryEntry, HistoryQuery, Store, StoreSettings};
use portolan::telemetry::metrics::Metrics;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// For what must happen sooner or later.
pub(crate) const AMPLE: Duration = Duration::from_mins(2);

/// Waits until `holds`, or fails with what it waited for.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < AMPLE, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// How a rig is made.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) settings: ProberSettings,
    pub(crate) clock: Clock,
    pub(crate) leadership: Arc<dyn Leadership>,
    pub(crate) resolver: ResolverSettings,
    /// Whether the store mirrors a cluster.
    pub(crate) mirror: bool,
}

impl Default for Setup {
    fn default() -> Self {
        let leadership = Arc::new(AlwaysLeads);
        Self {
            settings: ProberSettings::default(),
            clock: Clock::system(),
            leadership,
            resolver: ResolverSettings::System,
            mirror: false,
        }
    }
}

impl Setup {
    /// At most so many probes at once.
    pub(crate) fn concurrency(concurrency: usize) -> Self {
        Self { settings: ProberSettings { concurrency, ..ProberSettings::default() }, ..Self::default() }
    }

    /// Budgets on loopback too.
    pub(crate) fn budget(per_address: u32) -> Self {
        let settings = ProberSettings { per_address, loopback_exempt: false, ..ProberSettings::default() };
        Self { settings, ..Self::default() }
    }

    pub(crate) fn clock(clock: Clock) -> Self {
        Self { clock, ..Self::default() }
    }

    pub(crate) fn start(self) -> Rig {
        let mut rig = self.prepare();
        rig.go();
        rig
    }

    /// Everything but the prober runs.
    pub(crate) fn prepare(self) -> Rig {
        Rig::new(tempfile::tempdir().expect("a folder"), self)
    }
}

/// A store and a prober, running.
pub(crate) struct Rig {
    pub(crate) store: Store,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) handle: ProberHandle,
    /// Probe rows that the store held when it was opened.
    pub(crate) restored: usize,
    metrics: Metrics,
    prober: Option<Prober>,
    stop_prober: CancellationToken,
    stop_store: CancellationToken,
    probing: JoinSet<()>,
    removing: JoinSet<()>,
    storing: JoinSet<()>,
    folder: tempfile::TempDir,
    setup: Setup,
}

impl Rig {
    pub(crate) fn start() -> Self {
        Setup::default().start()
    }

    fn new(folder: tempfile::TempDir, setup: Setup) -> Self {
        let metrics = Metrics::default();
        let store_settings = StoreSettings {
            path: folder.path().join("services.db"),
            max_services: 0,
            max_instances: 100_000,
            history_days: 30,
            history_rows: 10_000,
            default_interval: setup.settings.default_interval,
            epoch: setup.mirror.then(|| Epoch::of(&Uuid::nil())),
            durable: !setup.mirror,
        };
        let opened = Store::open(store_settings, setup.clock.clone(), metrics.clone()).expect("opens");
        let restored = opened.probes.len();
        let policy = AddressPolicy { allow_loopback: true, ..AddressPolicy::default() };
        let dialer = Dialer::new(DialSettings { policy, resolver: setup.resolver.clone(), ..DialSettings::default() });
        let (prober, handle) = Prober::new(
            setup.settings.clone(),
            dialer,
            opened.store.clone(),
            opened.probes,
            Arc::clone(&setup.leadership),
            setup.clock.clone(),
            metrics.clone(),
        );
        let stop_store = CancellationToken::new();
        let mut storing = JoinSet::new();
        let token = stop_store.clone();
        storing.spawn(async move { opened.writer.run(token).await.expect("the writer ends well") });
        Self {
            store: opened.store,
            catalog: opened.catalog,
            handle,
            restored,
            metrics,
            prober: Some(prober),
            stop_prober: CancellationToken::new(),
            stop_store,
            probing: JoinSet::new(),
            removing: JoinSet::new(),
            storing,
            folder,
            setup,
        }
    }

    /// Starts a prepared prober.
    pub(crate) fn go(&mut self) {
        self.go_through(Arc::new(self.store.clone()));
    }

    /// The same; what ends by itself is removed through `registrar`.
    pub(crate) fn go_through(&mut self, registrar: Arc<dyn Registrar>) {
        let (mut prober, token) = (self.prober.take().expect("once"), self.stop_prober.clone());
        let remover = prober.remover(registrar).expect("once");
        let stop = self.stop_prober.clone();
        self.removing.spawn(async move { remover.run(stop).await.expect("the remover ends well") });
        self.probing.spawn(async move { prober.run(token).await.expect("the prober ends well") });
    }

    /// The store's file, as another program opens it.
    pub(crate) fn database(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.folder.path().join("services.db")).expect("opens")
    }

    /// Asks the prober to stop, and does not wait.
    pub(crate) fn ask_to_stop(&self) {
        self.stop_prober.cancel();
    }

    /// Stops the prober; returns how long it took.
    pub(crate) async fn stop(&mut self) -> Duration {
        let started = Instant::now();
        self.stop_prober.cancel();
        self.probing.join_next().await.expect("it runs").expect("no panic");
        while self.removing.join_next().await.is_some() {}
        started.elapsed()
    }

    /// Stops the store alone.
    pub(crate) async fn stop_store(&mut self) {
        self.stop_store.cancel();
        self.storing.join_next().await.expect("it runs").expect("no panic");
    }

    /// The same file, as another process would open it.
    pub(crate) async fn restart(mut self) -> Self {
        self.stop().await;
        self.reopen().await
    }

    /// The same once the prober has stopped, or never ran.
    pub(crate) async fn reopen(mut self) -> Self {
        self.stop_store().await;
        let Self { folder, setup, .. } = self;
        let mut rig = Self::new(folder, setup);
        rig.go();
        rig
    }

    pub(crate) async fn check_now(&self, service: &str) -> Result<Vec<OnDemandResult>, OnDemandError> {
        self.handle.check_now(self.entry(service).service().id, None).await
    }

    /// A check whose caller waits no longer than this.
    pub(crate) async fn check_soon(&self, service: &str, patience: Duration) -> Option<usize> {
        let checked = tokio::time::timeout(patience, self.check_now(service)).await.ok()?.ok()?;
        Some(checked.len())
    }

    pub(crate) fn report(&self) -> ProberReport {
        self.handle.status().read()
    }

    /// Registers `namespace/service#instance`; namespace and instance may be left out.
    pub(crate) async fn register(&self, place: &str, url: &str, check: Check) -> u64 {
        self.register_spec(place, spec(url, check)).await
    }

    /// The same with everything that a registration may have.
    pub(crate) async fn register_spec(&self, place: &str, spec: InstanceSpec) -> u64 {
        let (namespace, service, instance) = split(place);
        let registration = Registration {
            namespace: namespace.parse().expect("a namespace"),
            service: service.parse().expect("a name"),
            instance: instance.parse().expect("an instance"),
            derived: false,
            spec,
        };
        self.store.register(registration, caller()).await.expect("registers").generation
    }

    /// The same registration with another weight.
    pub(crate) async fn reweigh(&self, place: &str, weight: u16) {
        let (namespace, service, instance) = split(place);
        let spec = InstanceSpec { weight, ..InstanceSpec::clone(&self.instance(place).spec) };
        let registration = Registration {
            namespace: namespace.parse().expect("a namespace"),
            service: service.parse().expect("a name"),
            instance: instance.parse().expect("an instance"),
            derived: false,
            spec,
        };
        self.store.register(registration, caller()).await.expect("registers");
    }

    pub(crate) async fn deregister(&self, service: &str) {
        let (service, scope) = (self.at(service), RemovalScope::Service);
        let removal = Removal { service, scope, all: true, if_generation: None, why: None };
        self.store.deregister(removal, caller()).await.expect("deregisters");
    }

    /// Removes one instance.
    pub(crate) async fn remove(&self, place: &str) {
        let (service, scope) = (self.at(place), RemovalScope::Instance(self.instance(place).name));
        let removal = Removal { service, scope, all: false, if_generation: None, why: None };
        self.store.deregister(removal, caller()).await.expect("deregisters");
    }

    fn at(&self, service: &str) -> ServiceRef {
        ServiceRef::Key(self.entry(service).service().key.clone())
    }

    pub(crate) fn entry(&self, service: &str) -> Arc<Entry> {
        let (namespace, name, _) = split(service);
        let key = ServiceKey::new(&namespace.parse().expect("a namespace"), &name.parse().expect("a name"));
        self.catalog.snapshot().get(key.as_str()).unwrap_or_else(|| panic!("{key} is registered")).clone()
    }

    pub(crate) fn instance(&self, place: &str) -> Instance {
        let (_, _, name) = split(place);
        self.entry(place).service().instance(&name).expect("the instance").clone()
    }

    pub(crate) fn health(&self, place: &str) -> (Health, Reason) {
        let instance = self.instance(place);
        (instance.health, instance.reason)
    }

    pub(crate) async fn until_health(&self, place: &str, health: Health) {
        until(&format!("{place} is {health}"), || self.health(place).0 == health).await;
    }

    /// Newest first.
    pub(crate) async fn history(&self, service: &str) -> Vec<HistoryEntry> {
        let query = HistoryQuery { service: self.at(service), instance: None, before: None, limit: 100 };
        self.store.history(query).await.expect("history").entries
    }

    /// The value of a metric's line that starts with `series`, 0 where there is none.
    pub(crate) fn metric(&self, series: &str) -> f64 {
        let text = self.metrics.render().expect("renders");
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ').map(str::to_owned));
        line.map_or(0.0, |value| value.parse().expect("a number"))
    }
}

/// An instance that is probed where it is reached.
pub(crate) fn spec(url: &str, check: Check) -> InstanceSpec {
    InstanceSpec {
        health_url: Some(EndpointUrl::health(url).expect("a health url")),
        check,
        ..InstanceSpec::at(EndpointUrl::base(url).expect("a base url"))
    }
}

fn caller() -> Caller {
    Caller { owner: Owner::Anonymous, admin: false }
}

fn split(place: &str) -> (String, String, String) {
    let (path, instance) = place.split_once('#').unwrap_or((place, "default"));
    let (namespace, service) = path.split_once('/').unwrap_or(("default", path));
    (namespace.to_owned(), service.to_owned(), instance.to_owned())
}

/// Probed every `interval`, with a timeout, both in seconds.
pub(crate) fn timed(interval: u32, timeout: u32) -> Check {
    let timing =
        CheckTiming { interval_seconds: Some(interval), timeout_seconds: Some(timeout), ..CheckTiming::default() };
    Check { timing, ..Check::default() }
}

/// Probed every second, with a timeout of a second.
pub(crate) fn every_second() -> Check {
    timed(1, 1)
}

/// Less than the time that a probe of [`seldom`] has, so that whoever waits for one is found out.
pub(crate) const UNHURRIED: Duration = Duration::from_secs(30);

/// Probed so seldom that a test sees only what it asks for.
pub(crate) fn seldom() -> Check {
    timed(86_400, 60)
}

/// What a target does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Mode {
    Ok,
    Broken,
    Hung,
    /// Answers when it is turned to something else, as that says.
    Held,
    /// Answers well, after 50 ms.
    Slow,
}

/// An HTTP server on loopback whose answers the test sets.
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

struct Shared {
    mode: AtomicU8,
    hits: AtomicUsize,
    open: AtomicUsize,
    most_open: AtomicUsize,
    times: Mutex<Vec<Instant>>,
}

impl Target {
    pub(crate) async fn start(mode: Mode) -> Self {
        Self::at("127.0.0.1", mode).await
    }

    pub(crate) async fn at(ip: &str, mode: Mode) -> Self {
        Self::on(TcpListener::bind((ip, 0)).await.expect("a port"), mode)
    }

    pub(crate) fn on(listener: TcpListener, mode: Mode) -> Self {
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            mode: AtomicU8::new(mode as u8),
            hits: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            most_open: AtomicUsize::new(0),
            times: Mutex::default(),
        });
        let mut tasks = JoinSet::new();
        let serving = Arc::clone(&shared);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                while connections.try_join_next().is_some() {}
                connections.spawn(serve(stream, Arc::clone(&serving)));
            }
        });
        Self { address, shared, _tasks: tasks }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/health", self.address)
    }

    pub(crate) fn turn(&self, mode: Mode) {
        self.shared.mode.store(mode as u8, Ordering::SeqCst);
    }

    /// Connections so far.
    pub(crate) fn hits(&self) -> usize {
        self.shared.hits.load(Ordering::SeqCst)
    }

    /// Connections open now.
    pub(crate) fn open(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }

    /// Most connections open at once.
    pub(crate) fn most_open(&self) -> usize {
        self.shared.most_open.load(Ordering::SeqCst)
    }

    /// When each connection came.
    pub(crate) fn times(&self) -> Vec<Instant> {
        self.shared.times.lock().expect("not poisoned").clone()
    }

    pub(crate) async fn until_hit(&self, hits: usize) {
        until(&format!("{} is probed {hits} times", self.address), || self.hits() >= hits).await;
    }
}

async fn serve(mut stream: TcpStream, shared: Arc<Shared>) {
    shared.times.lock().expect("not poisoned").push(Instant::now());
    let open = shared.open.fetch_add(1, Ordering::SeqCst) + 1;
    shared.most_open.fetch_max(open, Ordering::SeqCst);
    shared.hits.fetch_add(1, Ordering::SeqCst);
    let mode = |mode: Mode| shared.mode.load(Ordering::SeqCst) == mode as u8;
    let mut head = [0; 1024];
    drop(stream.read(&mut head).await);
    while mode(Mode::Held) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    if mode(Mode::Slow) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let answer: &[u8] = if mode(Mode::Hung) {
        b""
    } else if mode(Mode::Broken) {
        b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n"
    } else {
        b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
    };
    drop(stream.write_all(answer).await);
    // Until the prober goes.
    while matches!(stream.read(&mut head).await, Ok(n) if n > 0) {}
    shared.open.fetch_sub(1, Ordering::SeqCst);
}
