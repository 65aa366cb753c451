//! One run of the server: store, catalog and prober, as `app` puts them together, on simulated time, network and disk.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use portolan::model::ports::AlwaysLeads;
use portolan::prober::{DialSettings, Dialer};
use portolan::prober::{Prober, ProberHandle, ProberSettings};
use portolan::store::{Opened, Store, StoreSettings};
use portolan::telemetry::metrics::Metrics;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::network::FakeNetwork;
use crate::observer::{Observer, Readers};
use crate::truth::World;

/// A disk that may be slow, or refuse.
#[derive(Debug, Clone)]
pub(crate) struct Disk {
    path: PathBuf,
    pause_ms: Arc<AtomicU64>,
}

impl Disk {
    pub(crate) fn new(folder: &Path) -> Self {
        Self { path: folder.join("services.db"), pause_ms: Arc::default() }
    }

    /// How long each transaction takes to begin.
    pub(crate) fn slow(&self, pause: Duration) {
        self.pause_ms.store(u64::try_from(pause.as_millis()).expect("short"), Ordering::Relaxed);
    }

    /// Refuses every transaction, or takes them again.
    pub(crate) fn refuse(&self, refuse: bool) {
        let db = rusqlite::Connection::open(&self.path).expect("opens");
        let change = if refuse {
            "CREATE TRIGGER refused BEFORE UPDATE ON meta BEGIN SELECT RAISE(ABORT, 'the disk refuses'); END"
        } else {
            "DROP TRIGGER IF EXISTS refused"
        };
        db.execute_batch(change).expect("changes");
    }
}

/// What runs.
pub(crate) struct Server {
    pub(crate) store: Store,
    pub(crate) handle: ProberHandle,
    readers: Readers,
    stop: CancellationToken,
    stop_store: CancellationToken,
    stop_observer: CancellationToken,
    writer: JoinHandle<()>,
    prober: JoinHandle<()>,
    remover: JoinHandle<()>,
    observer: JoinHandle<Observer>,
}

impl Server {
    pub(crate) fn start(
        world: &World,
        disk: &Disk,
        network: &Arc<FakeNetwork>,
        settings: &ProberSettings,
        observer: Observer,
    ) -> Self {
        let clock = world.clock();
        network.restarted();
        let metrics = Metrics::default();
        let store_settings = StoreSettings {
            path: disk.path.clone(),
            max_services: 0,
            max_instances: 10_000,
            history_days: 30,
            history_rows: 1_000_000,
            default_interval: settings.default_interval,
            epoch: None,
            durable: true,
        };
        let opened = Store::open(store_settings, clock.clone(), metrics.clone()).expect("the store opens");
        let Opened { store, writer, catalog, probes } = opened;
        for row in probes.values() {
            world.whisper(|| format!("{:?} of generation {}: {:?}", row.instance, row.generation, row.state));
        }
        let dialer = Dialer::simulated(DialSettings::default(), Arc::clone(network) as _);
        let leads = Arc::new(AlwaysLeads);
        let (mut prober, handle) = Prober::new(settings.clone(), dialer, store.clone(), probes, leads, clock, metrics);
        {
            let mut truth = world.truth();
            truth.run += 1;
            truth.run_began = truth.now();
        }
        let readers = Readers { catalog, store: store.clone(), status: Arc::clone(handle.status()) };
        let (stop, stop_store, stop_observer) =
            (CancellationToken::new(), CancellationToken::new(), CancellationToken::new());
        let pause_ms = Arc::clone(&disk.pause_ms);
        let pause = move || Duration::from_millis(pause_ms.load(Ordering::Relaxed));
        let writer = tokio::spawn(writer.run_inline(stop_store.clone(), pause));
        let observer = tokio::spawn(observer.look_on(readers.clone(), stop_observer.clone()));
        let remover = prober.remover(Arc::new(store.clone())).expect("made once");
        let removing = stop.clone();
        let remover = tokio::spawn(async move { remover.run(removing).await.expect("never fails") });
        let probing = stop.clone();
        let prober = tokio::spawn(async move { prober.run(probing).await.expect("the prober ends well") });
        Self { store, handle, readers, stop, stop_store, stop_observer, writer, prober, remover, observer }
    }

    /// Stops it as `app` does: the prober first, then the store.
    pub(crate) async fn stop(self) -> Observer {
        self.stop.cancel();
        self.prober.await.expect("the prober does not panic");
        self.remover.await.expect("the remover does not panic");
        self.stop_store.cancel();
        self.writer.await.expect("the writer does not panic");
        self.stop_observer.cancel();
        self.observer.await.expect("the observer does not panic")
    }

    /// Ends it in the middle of whatever it does.
    pub(crate) async fn crash(self) -> Observer {
        let tasks = [self.prober, self.remover, self.writer];
        tasks.iter().for_each(JoinHandle::abort);
        for task in tasks {
            let ended = task.await;
            assert!(ended.is_ok() || ended.is_err_and(|error| error.is_cancelled()), "nothing panicked before");
        }
        self.stop_observer.cancel();
        self.observer.await.expect("the observer does not panic")
    }

    /// Stops in good order, after a last look at history.
    pub(crate) async fn end(self) {
        self.stop_observer.cancel();
        let mut observer = self.observer.await.expect("the observer does not panic");
        observer.compare_with_history(&self.readers).await;
        self.stop.cancel();
        self.prober.await.expect("the prober does not panic");
        self.remover.await.expect("the remover does not panic");
        self.stop_store.cancel();
        self.writer.await.expect("the writer does not panic");
    }
}
