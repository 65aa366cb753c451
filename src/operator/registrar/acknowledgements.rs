//! Acknowledgements in cluster mode: one is durable once the status of the object shows it.
//!
//! It stands in the status, beside the failure that it is about. The spec and annotations belong to whoever applies the object, whose next
//! apply might drop it, and to write them Portolan would need a right to change every object. A status has one writer, the leader, which also
//! knows first what fails; so the leader alone takes these calls, its own verdict ends one, and the other replicas read both from the same
//! version of the object. An acknowledgement needs no right that status does not need.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::catalog::Catalog;
use crate::model::name::{InstanceName, ServiceKey};
use crate::model::ports::{AcknowledgementChange, Caller, ClusterError, Leadership, Registrar, ServiceRef, WriteError};
use crate::model::service::{Instance, Service};
use crate::operator::crd::{AcknowledgementStatus, ServiceStatus};
use crate::operator::ingest::Ingest;
use crate::operator::replicas::installs::Installs;
use crate::store::Store;

/// Time for the status to be written.
const WRITTEN: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(10);

/// Gives acknowledgements, and ends them.
#[derive(Clone)]
pub struct Acknowledgements {
    store: Store,
    ingest: Ingest,
    installs: Installs,
    leadership: Arc<dyn Leadership>,
}

impl Acknowledgements {
    /// Handles the acknowledgements of the services in `store` while this replica leads.
    pub fn new(store: Store, ingest: Ingest, installs: Installs, leadership: Arc<dyn Leadership>) -> Self {
        Self { store, ingest, installs, leadership }
    }

    /// Makes the change, and waits until the object's status shows it.
    pub(super) async fn change(
        &self,
        key: ServiceKey,
        instance: Option<InstanceName>,
        change: AcknowledgementChange,
        caller: Caller,
    ) -> Result<Arc<Service>, WriteError> {
        self.require_lead()?;
        let observed = self.ingest.known(&key);
        if observed.is_some_and(|observed| !self.installs.may_write(observed.status())) {
            return Err(ClusterError::OtherInstall(key).into());
        }
        self.store.acknowledge(ServiceRef::Key(key.clone()), instance, change, caller).await?;
        let written = timeout(WRITTEN, self.written(&key)).await;
        written.unwrap_or(Err(ClusterError::Unanswered.into()))
    }

    fn require_lead(&self) -> Result<(), WriteError> {
        if self.leadership.leads() { Ok(()) } else { Err(ClusterError::NotLeading.into()) }
    }

    /// The service, once the status of its object shows what the catalog does.
    async fn written(&self, key: &ServiceKey) -> Result<Arc<Service>, WriteError> {
        let catalog: &Catalog = self.store.catalog();
        loop {
            let entry = catalog.read().get(key.as_str()).cloned().ok_or(WriteError::ServiceNotFound)?;
            let observed = self.ingest.known(key);
            if observed.is_some_and(|observed| shows(observed.status(), entry.service())) {
                return Ok(Arc::clone(entry.service()));
            }
            self.require_lead()?;
            sleep(POLL).await;
        }
    }
}

/// Whether the status has the service's acknowledgements.
fn shows(status: Option<&ServiceStatus>, service: &Service) -> bool {
    let written = |name: &str| status?.instances.iter().find(|one| one.name == name)?.acknowledgement.clone();
    let given = |one: &Instance| one.acknowledged.as_deref().map(AcknowledgementStatus::from);
    service.instances.iter().all(|one| written(one.name.as_str()) == given(one))
}
