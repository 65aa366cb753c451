//! REST in cluster mode: a registration is durable once it stands in an object of the Kubernetes API.
//!
//! Calls about one object queue up; whatever is queued is merged into the latest object by the standalone store's rules ([`merge`]) and
//! written as one request that names the resourceVersion it stands on. Where another replica was faster, the object is read
//! again and the calls are merged anew. What the API server answers goes through the ingest, so that the next read here shows it, before
//! anybody is told. A call that repeats what the catalog shows is answered at once.

mod current;
mod error;
mod merge;
pub mod object;
mod object_writer;
mod requests;
mod scheduler;
mod waiting;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use kube::Client;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use crate::catalog::{Catalog, Snapshot};
use crate::model::name::{Namespace, ServiceKey};
use crate::model::ports::{Caller, ClusterError, Registered, Registrar, Registration, Removal, ServiceRef, WriteError};
use crate::model::service::{Service, Source};
use crate::model::time::UnixMs;
use crate::operator::ingest::Ingest;
use crate::operator::kubernetes::health::ApiHealth;
use crate::telemetry::metrics::Metrics;

pub use scheduler::RestRegistrarTask;

use merge::{Asked, Room, Wish};
use requests::Requests;
use waiting::{Answer, Counted, MOST_CALLS, Waiting};

/// Seconds after which a client may ask again while the Kubernetes API is away.
const AWAY_RETRY: u64 = 5;

/// What registrations are bound by.
#[derive(Debug, Clone)]
pub struct RegistrarSettings {
    /// Namespaces that take registrations.
    pub namespaces: Arc<[Namespace]>,
    /// Most services registered over REST; 0 is unlimited.
    pub max_services: usize,
    /// Most instances of all services.
    pub max_instances: usize,
}

/// The handle; cloning shares it.
#[derive(Clone)]
pub struct RestRegistrar {
    queue: mpsc::Sender<Waiting>,
    shared: Arc<Shared>,
}

/// What the handle and the rounds share.
struct Shared {
    settings: RegistrarSettings,
    requests: Requests,
    ingest: Ingest,
    catalog: Arc<Catalog>,
    api_health: ApiHealth,
    counted: Counted,
    /// The last generation that was given here.
    stamp: AtomicU64,
}

impl RestRegistrar {
    /// The handle, and the task that does the work.
    pub fn new(
        settings: RegistrarSettings,
        client: Client,
        ingest: Ingest,
        catalog: Arc<Catalog>,
        api_health: ApiHealth,
        metrics: Metrics,
    ) -> (Self, RestRegistrarTask) {
        // As many as are counted, so that it is never full.
        let (queue, calls) = mpsc::channel(MOST_CALLS);
        let shared = Arc::new(Shared {
            settings,
            requests: Requests::new(client),
            ingest,
            catalog,
            api_health,
            counted: Counted::new(metrics),
            stamp: AtomicU64::new(0),
        });
        let task = RestRegistrarTask::new(calls, Arc::clone(&shared));
        (Self { queue, shared }, task)
    }

    async fn ask(self, key: ServiceKey, asked: Asked) -> Answer {
        if let Some(away) = self.shared.away() {
            return Err(away.into());
        }
        let (reply, answer) = oneshot::channel();
        let ticket = self.shared.counted.enter(&key)?;
        match self.queue.try_send(Waiting { asked, reply, ticket }) {
            Ok(()) => answer.await.map_err(|_| WriteError::Closed)?,
            Err(TrySendError::Full(_)) => Err(WriteError::Busy),
            Err(TrySendError::Closed(_)) => Err(WriteError::Closed),
        }
    }

    /// Where the service is that a removal means, once it may be removed from there.
    fn place(&self, service: ServiceRef) -> Result<ServiceKey, WriteError> {
        let snapshot = self.shared.catalog.read();
        let entry = match &service {
            ServiceRef::Id(id) => Some(snapshot.by_id(id).ok_or(WriteError::ServiceNotFound)?),
            ServiceRef::Key(key) => snapshot.get(key.as_str()),
        };
        let key = match (service, entry) {
            (_, Some(entry)) if entry.service().source == Source::Manifest => {
                return Err(WriteError::ManifestOwned(entry.service().key.clone()));
            }
            (ServiceRef::Key(key), _) => key,
            (ServiceRef::Id(_), entry) => entry.ok_or(WriteError::ServiceNotFound)?.service().key.clone(),
        };
        self.shared.open(key.namespace())?;
        Ok(key)
    }
}

impl Shared {
    fn open(&self, namespace: &str) -> Result<(), WriteError> {
        let open = &self.settings.namespaces;
        if open.iter().any(|one| one.as_str() == namespace) {
            return Ok(());
        }
        let namespace = namespace.parse().unwrap_or_default();
        Err(WriteError::NamespaceClosed { namespace, open: Arc::clone(open) })
    }

    fn away(&self) -> Option<ClusterError> {
        self.api_health.silent_for().map(|_| ClusterError::Away { retry_after: AWAY_RETRY })
    }

    fn room(&self, snapshot: &Snapshot) -> Room {
        let most_services = self.settings.max_services;
        let is_rest = |service: &Service| service.source == Source::Rest;
        let rest = || snapshot.newest_first(None).filter(|entry| is_rest(entry.service())).count();
        let services = if most_services == 0 { 0 } else { rest() };
        let (most_instances, instances) = (self.settings.max_instances, snapshot.total().instances);
        Room { most_services, services, most_instances, instances }
    }

    /// What the next generation is above.
    fn last_stamp(&self, now: UnixMs) -> u64 {
        self.stamp.load(Ordering::Relaxed).max(u64::try_from(now.0).unwrap_or(0))
    }

    fn stamped(&self, last: u64) {
        self.stamp.fetch_max(last, Ordering::Relaxed);
    }

    /// The service as readers see it, just after it was written.
    fn shown(&self, key: &ServiceKey) -> Result<Arc<Service>, WriteError> {
        if let Some(entry) = self.catalog.read().get(key.as_str()) {
            return Ok(Arc::clone(entry.service()));
        }
        let known = self.ingest.known(key);
        if known.as_ref().is_none_or(|known| known.understood.deleting) {
            return Err(WriteError::Terminating(key.clone()));
        }
        tracing::error!(service = %key, "it was written, and its object cannot be used; `kubectl describe` says why");
        Err(ClusterError::Failed.into())
    }
}

impl Registrar for RestRegistrar {
    fn register(
        &self,
        registration: Registration,
        caller: Caller,
    ) -> BoxFuture<'static, Result<Registered, WriteError>> {
        if let Err(closed) = self.shared.open(registration.namespace.as_str()) {
            return ready(Err(closed)).boxed();
        }
        if let Some(renewed) = self.renewed(&registration, &caller) {
            return ready(Ok(renewed)).boxed();
        }
        let key = registration.key();
        let answer = self.clone().ask(key, Asked { wish: Wish::Register(Box::new(registration)), caller });
        Box::pin(async move { answer.await?.ok_or(WriteError::Closed) })
    }

    fn renewed(&self, registration: &Registration, caller: &Caller) -> Option<Registered> {
        let key = registration.key();
        self.shared.open(key.namespace()).ok()?;
        if !self.shared.counted.is_settled(&key) {
            return None;
        }
        let snapshot = self.shared.catalog.read();
        let service = snapshot.get(key.as_str())?.service();
        let instance = service.instance(registration.instance.as_str())?;
        let same =
            service.source == Source::Rest && caller.may_change(&instance.owner) && *instance.spec == registration.spec;
        // An entry that was written by hand has none yet.
        let generation = Some(instance.shown_generation()).filter(|generation| same && *generation > 0)?;
        Some(Registered { service: Arc::clone(service), generation, renewed: true, replaced: Vec::new() })
    }

    fn deregister(&self, removal: Removal, caller: Caller) -> BoxFuture<'static, Result<(), WriteError>> {
        let registrar = self.clone();
        Box::pin(async move {
            let key = registrar.place(removal.service.clone())?;
            registrar.ask(key, Asked { wish: Wish::Remove(removal), caller }).await.map(drop)
        })
    }
}
