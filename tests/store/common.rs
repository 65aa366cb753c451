//! A store running on its own file.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use portolan::catalog::Catalog;
use portolan::model::name::{CheckName, ServiceKey};
use portolan::model::ports::{
    AlwaysLeads, Caller, Leadership, Registered, Registrar, Registration, Removal, RemovalScope, ServiceRef, WriteError,
};
use portolan::model::probe::ProbeRow;
use portolan::model::service::{Instance, InstanceId, InstanceSpec, Owner, Service};
use portolan::model::time::{Clock, Now, UnixMs};
use portolan::model::url::EndpointUrl;
use portolan::store::{Consent, HistoryEntry, HistoryQuery, OpenError, Opened, Store, StoreError, StoreSettings};
use portolan::telemetry::metrics::Metrics;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Midnight of 2026-01-01, where every manual clock starts.
const START: i64 = 1_767_225_600_000;

/// `millis` after the start.
pub(crate) fn at(millis: i64) -> Now {
    Now { steady: UnixMs(START + millis), wall: UnixMs(START + millis) }
}

/// Settings with bounds that no test reaches by accident.
pub(crate) fn settings(path: &Path) -> StoreSettings {
    StoreSettings {
        path: path.to_owned(),
        max_services: 0,
        max_instances: 25_600,
        history_days: 30,
        history_rows: 10_000,
        default_interval: Duration::from_secs(30),
        epoch: None,
        durable: true,
    }
}

/// A running store.
pub(crate) struct Running {
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    pub(crate) metrics: Metrics,
    pub(crate) probes: HashMap<(InstanceId, CheckName), ProbeRow>,
    shutdown: CancellationToken,
    writer: JoinHandle<Result<(), StoreError>>,
}

impl Running {
    pub(crate) fn open(settings: StoreSettings) -> Result<Self, OpenError> {
        Self::open_at(settings, at(0))
    }

    pub(crate) fn open_at(settings: StoreSettings, now: Now) -> Result<Self, OpenError> {
        Self::open_as(settings, Consent::default(), now)
    }

    /// With consent to lose what was registered.
    pub(crate) fn start_empty(path: &Path) -> Result<Self, OpenError> {
        Self::open_as(settings(path), Consent { start_empty: true, ..Consent::default() }, at(0))
    }

    /// With consent to lose the last commits.
    pub(crate) fn accept_loss(path: &Path) -> Result<Self, OpenError> {
        Self::open_as(settings(path), Consent { accept_loss: true, ..Consent::default() }, at(0))
    }

    fn open_as(settings: StoreSettings, consent: Consent, now: Now) -> Result<Self, OpenError> {
        let (metrics, clock) = (Metrics::default(), Clock::manual(now));
        let Opened { store, writer, probes, .. } = Store::open_with(settings, consent, clock.clone(), metrics.clone())?;
        let shutdown = CancellationToken::new();
        let writer = tokio::spawn(writer.run(shutdown.clone()));
        Ok(Self { store, clock, metrics, probes, shutdown, writer })
    }

    /// Stops it cleanly.
    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        self.writer.await.expect("the writer ends").expect("in order");
    }

    pub(crate) fn catalog(&self) -> &Catalog {
        self.store.catalog()
    }

    pub(crate) fn revision(&self) -> u64 {
        self.catalog().read().revision()
    }

    /// The service of that name in the default namespace.
    pub(crate) fn service(&self, name: &str) -> Service {
        self.find(name).unwrap_or_else(|| panic!("{name} is not registered"))
    }

    pub(crate) fn find(&self, name: &str) -> Option<Service> {
        self.catalog().read().find("default", name).map(|entry| Service::clone(entry.service()))
    }

    pub(crate) fn instance(&self, service: &str, name: &str) -> Instance {
        self.service(service).instance(name).unwrap_or_else(|| panic!("{service} has no instance {name}")).clone()
    }

    /// Every service, in order of registration.
    pub(crate) fn all(&self) -> Vec<Service> {
        self.catalog().read().newest_first(None).map(|entry| Service::clone(entry.service())).collect()
    }

    pub(crate) async fn register(&self, registration: Registration) -> Result<Registered, WriteError> {
        self.store.register(registration, anyone()).await
    }

    pub(crate) async fn remove(&self, removal: Removal) -> Result<(), WriteError> {
        self.store.deregister(removal, anyone()).await
    }

    pub(crate) async fn history(&self, name: &str) -> Vec<HistoryEntry> {
        let query = HistoryQuery { service: ServiceRef::Key(key(name)), instance: None, before: None, limit: 500 };
        self.store.history(query).await.expect("a history").entries
    }
}

/// A store in a folder that lives as long as the test.
pub(crate) fn fresh() -> (TempDir, Running) {
    let (folder, path) = folder();
    let running = Running::open(settings(&path)).expect("opens");
    (folder, running)
}

/// A folder, and a path in it for a store.
pub(crate) fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("p.db");
    (folder, path)
}

/// Names in the folder, in order.
pub(crate) fn files(folder: &TempDir) -> Vec<String> {
    let entries = std::fs::read_dir(folder.path()).expect("a folder");
    let mut names: Vec<_> =
        entries.map(|e| e.expect("an entry").file_name().into_string().expect("a plain name")).collect();
    names.sort();
    names
}

/// Sets the first byte of the rows that contain `row`, and leaves the indexes as they are.
pub(crate) fn damage(path: &Path, row: &[u8], first: u8) {
    let mut bytes = std::fs::read(path).expect("reads");
    let places: Vec<_> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(row)).collect();
    assert!(!places.is_empty(), "the row is there");
    for at in places {
        bytes[at] = first;
    }
    std::fs::write(path, bytes).expect("writes");
}

/// Every table matches its indexes.
pub(crate) fn is_sound(path: &Path) {
    let db = rusqlite::Connection::open(path).expect("opens");
    let sound: String = db.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("checks");
    assert_eq!(sound, "ok");
}

/// Waits until it holds; fails if it never does.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waited = async {
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        while !holds().await {
            tick.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_mins(2), waited).await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// The refusal, which must not change the file.
pub(crate) fn refusal(path: &Path) -> OpenError {
    let before = std::fs::read(path).ok();
    let error = Running::open(settings(path)).err().expect("refused");
    assert!(std::fs::read(path).ok() == before, "nothing was changed: {error}");
    error
}

/// The message contains every word.
pub(crate) fn says(error: &OpenError, words: &[&str]) {
    let text = error.to_string();
    for word in words {
        assert!(text.contains(word), "{word:?} is not in: {text}");
    }
}

pub(crate) fn anyone() -> Caller {
    Caller { owner: Owner::Anonymous, admin: false }
}

pub(crate) fn token(subject: &str) -> Caller {
    Caller { owner: Owner::Token { issuer: "".into(), subject: subject.into() }, admin: false }
}

/// As [`token`], and allowed to add to what others own.
pub(crate) fn joining(subject: &str) -> Caller {
    Caller { admin: true, ..token(subject) }
}

/// This process probes.
pub(crate) fn leads() -> Arc<dyn Leadership> {
    Arc::new(AlwaysLeads)
}

pub(crate) fn admin() -> Caller {
    Caller { admin: true, ..token("root") }
}

/// An instance at `http://10.0.0.5:<port>`, probed at `/live`.
pub(crate) fn spec(port: u16) -> InstanceSpec {
    let base = format!("http://10.0.0.5:{port}");
    InstanceSpec {
        health_url: Some(EndpointUrl::health(&format!("{base}/live")).expect("a URL")),
        version: "1.0.0".to_owned(),
        ..InstanceSpec::at(EndpointUrl::base(&base).expect("a URL"))
    }
}

/// A registration in the default namespace.
pub(crate) fn registration(service: &str, instance: &str, spec: InstanceSpec) -> Registration {
    Registration {
        namespace: portolan::model::name::Namespace::default(),
        service: service.parse().expect("a name"),
        instance: instance.parse().expect("a name"),
        derived: false,
        spec,
    }
}

pub(crate) fn key(name: &str) -> ServiceKey {
    ServiceKey::new(&portolan::model::name::Namespace::default(), &name.parse().expect("a name"))
}

/// The removal of one instance, or of the service.
pub(crate) fn removal(name: &str, instance: Option<&str>) -> Removal {
    Removal {
        service: ServiceRef::Key(key(name)),
        scope: instance.map_or(RemovalScope::Service, |i| RemovalScope::Instance(i.parse().expect("a name"))),
        all: false,
        if_generation: None,
        why: None,
    }
}
