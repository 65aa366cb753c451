//! REST in cluster mode: a registration is durable once an object of the Kubernetes API holds it.
//!
//! In: calls to register, to drain and to deregister. Out: an object that is created, replaced or deleted, and an answer for each call.
//!
//! 1. [`pending_calls`]: the calls that wait, counted and bounded. [`scheduler`]: one task for each object that has calls.
//! 2. [`object_writer`]: merges whatever waits into the latest object and writes it as one request, on condition that nobody else
//!    has changed the object since; if somebody has, it reads the object again and starts over. [`attempt`]: whether a write without an
//!    answer was done.
//! 3. [`merge`]: the calls one after the other, by the rules of `model::registration`, which the standalone store follows too.
//! 4. [`current`], [`object`]: between objects and what the rules see of them.
//! 5. [`requests`], [`error`]: the requests to the Kubernetes API and what their errors mean.
//! 6. [`acknowledgements`]: what the leader writes into the status instead.
//!
//! The API server's answer goes through [`ingest`](super::ingest) before any caller is answered, so that the caller's next read here
//! shows it; [`written`] is for the case that another client has removed the object by then. A call that repeats what the catalog shows is answered at once.

mod acknowledgements;
mod attempt;
mod current;
mod error;
mod merge;
pub mod object;
mod object_writer;
mod pending_calls;
mod requests;
mod scheduler;
mod written;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub use acknowledgements::Acknowledgements;
use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use kube::Client;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use crate::catalog::{Catalog, Snapshot};
use crate::model::name::{InstanceName, Namespace, ServiceKey};
use crate::model::namespace_policy::NamespacePolicies as _;
use crate::model::ports::{
    AcknowledgementChange, Caller, ClusterError, DrainChange, InstanceRef, Registered, Registrar, Registration,
    Removal, ServiceRef, WriteError,
};
use crate::model::service::{Service, Source};
use crate::model::time::UnixMs;
use crate::operator::ingest::Ingest;
use crate::operator::kubernetes::health::ApiHealth;
use crate::operator::namespaces::Policies;
use crate::operator::read::raw::RawObject;
use crate::telemetry::metrics::Metrics;

pub use scheduler::RestRegistrarTask;

use crate::model::registration::{self, Limits};
use merge::{Op, Request};
use pending_calls::{Answer, Answered, CallCounter, MOST_CALLS, PendingCall};
use requests::Requests;

/// Seconds after which a client may try again while the Kubernetes API does not answer.
const AWAY_RETRY: u64 = 5;

/// The bounds on registrations.
#[derive(Debug, Clone)]
pub struct RegistrarSettings {
    /// Namespaces that take registrations.
    pub namespaces: Arc<[Namespace]>,
    /// Most services registered over REST; 0 is unlimited.
    pub max_services: usize,
    /// Most instances of all services.
    pub max_instances: usize,
    /// What applies to namespaces.
    pub policies: Policies,
}

/// The handle; cloning shares it.
#[derive(Clone)]
pub struct RestRegistrar {
    queue: mpsc::Sender<PendingCall>,
    shared: Arc<Shared>,
}

/// Shared by the handle and the object writers.
struct Shared {
    settings: RegistrarSettings,
    requests: Requests,
    ingest: Ingest,
    catalog: Arc<Catalog>,
    api_health: ApiHealth,
    counter: CallCounter,
    acknowledgements: Acknowledgements,
    /// The last generation that was given here.
    last_generation: AtomicU64,
}

impl RestRegistrar {
    /// The handle, and the task that does the work.
    pub fn new(
        settings: RegistrarSettings,
        client: Client,
        ingest: Ingest,
        catalog: Arc<Catalog>,
        api_health: ApiHealth,
        acknowledgements: Acknowledgements,
        metrics: Metrics,
    ) -> (Self, RestRegistrarTask) {
        // Its capacity is the bound on counted calls, so it is never full.
        let (queue, calls) = mpsc::channel(MOST_CALLS);
        let shared = Arc::new(Shared {
            settings,
            requests: Requests::new(client),
            ingest,
            catalog,
            api_health,
            counter: CallCounter::new(metrics),
            acknowledgements,
            last_generation: AtomicU64::new(0),
        });
        let task = RestRegistrarTask::new(calls, Arc::clone(&shared));
        (Self { queue, shared }, task)
    }

    async fn ask(self, key: ServiceKey, request: Request) -> Answer {
        if let Some(away) = self.shared.away() {
            return Err(away.into());
        }
        if !self.shared.settings.policies.is_known() {
            return Err(ClusterError::PoliciesUnknown.into());
        }
        let (reply, answer) = oneshot::channel();
        let ticket = self.shared.counter.enter(&key)?;
        match self.queue.try_send(PendingCall { request, reply, ticket }) {
            Ok(()) => answer.await.map_err(|_| WriteError::Closed)?,
            Err(TrySendError::Full(_)) => Err(WriteError::Busy),
            Err(TrySendError::Closed(_)) => Err(WriteError::Closed),
        }
    }

    /// The key of the service that a call refers to, if its namespace takes calls. `of_manifest` is the refusal if it comes from a manifest.
    fn key_of(
        &self,
        service: ServiceRef,
        of_manifest: impl FnOnce(ServiceKey) -> WriteError,
    ) -> Result<ServiceKey, WriteError> {
        let snapshot = self.shared.catalog.read();
        let entry = match &service {
            ServiceRef::Id(id) => Some(snapshot.by_id(id).ok_or(WriteError::ServiceNotFound)?),
            ServiceRef::Key(key) => snapshot.get(key.as_str()),
        };
        let key = match (service, entry) {
            (_, Some(entry)) if entry.service().source == Source::Manifest => {
                return Err(of_manifest(entry.service().key.clone()));
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
        let policies = &self.settings.policies;
        if !open.iter().any(|one| one.as_str() == namespace) {
            let namespace = namespace.parse().unwrap_or_default();
            return Err(WriteError::NamespaceClosed { namespace, open: Arc::clone(open) });
        }
        if !policies.is_known() {
            // Renewals change nothing; `ask` refuses the rest.
            return Ok(());
        }
        if !policies.of(namespace).is_known() {
            return Err(ClusterError::NamespaceUnknown(namespace.parse().unwrap_or_default()).into());
        }
        if !policies.watches(namespace) {
            return Err(WriteError::NamespaceNotWatched(namespace.parse().unwrap_or_default()));
        }
        Ok(())
    }

    fn away(&self) -> Option<ClusterError> {
        self.api_health.silent_for().map(|_| ClusterError::Away { retry_after: AWAY_RETRY })
    }

    fn limits(&self, key: &ServiceKey, snapshot: &Snapshot) -> Limits {
        let max_services = self.settings.max_services;
        let is_rest = |service: &Service| service.source == Source::Rest;
        let rest = || snapshot.newest_first(None).filter(|entry| is_rest(entry.service())).count();
        let services = if max_services == 0 { 0 } else { rest() };
        let (max_instances, instances) = (self.settings.max_instances, snapshot.total().instances);
        let ruling = self.settings.policies.of(key.namespace());
        let per_service = ruling.policy().and_then(|policy| policy.max_instances()).map(|limit| limit.value as usize);
        Limits { max_services, services, max_instances, instances, per_service }
    }

    /// The next generation is greater than this.
    fn generation_floor(&self, now: UnixMs) -> u64 {
        self.last_generation.load(Ordering::Relaxed).max(u64::try_from(now.0).unwrap_or(0))
    }

    fn note_generation(&self, last: u64) {
        self.last_generation.fetch_max(last, Ordering::Relaxed);
    }

    /// The key of a service that the catalog has.
    fn known_key(&self, service: ServiceRef) -> Result<ServiceKey, WriteError> {
        match service {
            ServiceRef::Key(key) => Ok(key),
            ServiceRef::Id(id) => {
                let snapshot = self.catalog.read();
                let entry = snapshot.by_id(&id).ok_or(WriteError::ServiceNotFound)?;
                Ok(entry.service().key.clone())
            }
        }
    }

    /// The service as readers see it, just after it was written; as it was `written` if another client has removed it since.
    fn shown(&self, key: &ServiceKey, written: Option<&RawObject>) -> Result<Arc<Service>, WriteError> {
        if let Some(entry) = self.catalog.read().get(key.as_str()) {
            return Ok(Arc::clone(entry.service()));
        }
        if let Some(service) = written.and_then(|written| self.ingest.parse(written.clone())).and_then(written::service)
        {
            return Ok(Arc::new(service));
        }
        let observed = self.ingest.known(key);
        if observed.as_ref().is_none_or(|observed| observed.parsed.deleting) {
            return Err(WriteError::Terminating(key.clone()));
        }
        tracing::error!(service = %key, "its object was written but cannot be used; `kubectl describe` says why");
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
        let answer = self.clone().ask(key, Request { op: Op::Register(Box::new(registration)), caller });
        Box::pin(async move {
            match answer.await? {
                Answered::Registered(registered) => Ok(registered),
                Answered::Drained(_) | Answered::Removed => Err(WriteError::Closed),
            }
        })
    }

    fn renewed(&self, call: &Registration, caller: &Caller) -> Option<Registered> {
        let key = call.key();
        self.shared.open(key.namespace()).ok()?;
        if !self.shared.counter.is_settled(&key) {
            return None;
        }
        let snapshot = self.shared.catalog.read();
        registration::renewal(snapshot.get(key.as_str())?.service(), call, caller)
    }

    fn deregister(&self, removal: Removal, caller: Caller) -> BoxFuture<'static, Result<(), WriteError>> {
        let registrar = self.clone();
        Box::pin(async move {
            let key = registrar.key_of(removal.service.clone(), WriteError::ManifestOwned)?;
            registrar.ask(key, Request { op: Op::Remove(removal), caller }).await.map(drop)
        })
    }

    fn drain(
        &self,
        instance: InstanceRef,
        change: DrainChange,
        caller: Caller,
    ) -> BoxFuture<'static, Result<Arc<Service>, WriteError>> {
        let registrar = self.clone();
        Box::pin(async move {
            let name = instance.instance.clone();
            let of_manifest = |service| WriteError::ManifestDrain { service, instance: name };
            let key = registrar.key_of(instance.service.clone(), of_manifest)?;
            match registrar.ask(key, Request { op: Op::Drain(instance, change), caller }).await? {
                Answered::Drained(service) => Ok(service),
                Answered::Registered(_) | Answered::Removed => Err(WriteError::Closed),
            }
        })
    }

    fn acknowledge(
        &self,
        service: ServiceRef,
        instance: Option<InstanceName>,
        change: AcknowledgementChange,
        caller: Caller,
    ) -> BoxFuture<'static, Result<Arc<Service>, WriteError>> {
        let registrar = self.clone();
        Box::pin(async move {
            let shared = registrar.shared;
            let key = shared.known_key(service)?;
            if let Some(away) = shared.away() {
                return Err(away.into());
            }
            let _ticket = shared.counter.enter(&key)?;
            shared.acknowledgements.change(key, instance, change, caller).await
        })
    }
}
