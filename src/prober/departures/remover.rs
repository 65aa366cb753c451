//! Removes the instances whose time has come, at a bounded rate, after a last look at each.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Departure;
use crate::catalog::Catalog;
use crate::model::lease::Ends;
use crate::model::name::InstanceName;
use crate::model::outcome::Health;
use crate::model::ports::{Caller, Leadership, Registrar, Removal, RemovalScope, ServiceRef, WriteError};
use crate::model::service::{InstanceId, Owner, Source};
use crate::telemetry::metrics::Metrics;

/// Least time between two removals: at most a hundred a second.
const PACE: Duration = Duration::from_millis(10);

/// Removes instances: a task to [`run`](Self::run).
pub struct Remover {
    departures: mpsc::Receiver<Departure>,
    registrar: Arc<dyn Registrar>,
    leadership: Arc<dyn Leadership>,
    catalog: Arc<Catalog>,
    metrics: Metrics,
}

impl Remover {
    pub(crate) fn new(
        departures: mpsc::Receiver<Departure>,
        registrar: Arc<dyn Registrar>,
        leadership: Arc<dyn Leadership>,
        catalog: Arc<Catalog>,
        metrics: Metrics,
    ) -> Self {
        Self { departures, registrar, leadership, catalog, metrics }
    }

    /// Removes what the prober decides, until `shutdown`. A removal that was handed over may still happen then.
    ///
    /// # Errors
    /// None: what fails is tried again.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), Infallible> {
        loop {
            let departure = tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                Some(departure) = self.departures.recv() => departure,
                // The prober has ended.
                else => {
                    shutdown.cancelled().await;
                    return Ok(());
                }
            };
            let next = Instant::now() + PACE;
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                () = self.remove(departure) => {}
            }
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                () = tokio::time::sleep_until(next) => {}
            }
        }
    }

    async fn remove(&self, departure: Departure) {
        let Some(removal) = self.removal(&departure) else { return };
        let Departure { key, service, id, instance, why, lease, .. } = departure;
        let caller = Caller { owner: Owner::Anonymous, admin: true };
        let removed = self.registrar.deregister(removal, caller).await;
        let stays = removed.is_err() || self.lists(&service, &instance, id);
        if stays && let Some((lease, _)) = &lease {
            lease.stay();
        }
        match removed {
            Ok(()) => {
                self.metrics.removals.inc();
                tracing::info!(service = %key, %instance, "removed: {why}");
            }
            // It is gone, was registered again, or became the last one of its service.
            Err(
                WriteError::ServiceNotFound
                | WriteError::InstanceNotFound
                | WriteError::StaleGeneration { .. }
                | WriteError::LastInstance,
            ) => {}
            Err(error) => {
                tracing::warn!(service = %key, %instance, "could not be removed, and is tried again ({why}): {error}");
            }
        }
    }

    /// Whether the instance is still there: in a cluster, a removal and a registration that are written together leave it as it was.
    fn lists(&self, service: &Uuid, name: &InstanceName, id: InstanceId) -> bool {
        let snapshot = self.catalog.read();
        let instance = snapshot.by_id(service).and_then(|entry| entry.service().instance(name.as_str()));
        instance.is_some_and(|instance| instance.id == id)
    }

    /// The removal, if the decision still stands. From then on a lease that was not renewed counts as leaving, until a removal fails: nothing
    /// that is heard while the removal waits for its commit may be acknowledged.
    fn removal(&self, departure: &Departure) -> Option<Removal> {
        if !self.leadership.leads() {
            return None;
        }
        let snapshot = self.catalog.read();
        let service = snapshot.by_id(&departure.service)?.service();
        let instance = service.instance(departure.instance.as_str())?;
        let same = service.source == Source::Rest
            && (instance.id, instance.generation) == (departure.id, departure.generation);
        let last = service.instances.len() == 1;
        if !same || last && !departure.asked {
            return None;
        }
        let still = match departure.ends {
            Ends::Failure => instance.health == Health::Unhealthy,
            Ends::Silence => departure.lease.as_ref().is_some_and(|(lease, heard)| lease.leave(*heard)),
        };
        if !still {
            return None;
        }
        Some(Removal {
            service: ServiceRef::Id(departure.service),
            scope: RemovalScope::Instance(departure.instance.clone()),
            all: false,
            if_generation: Some(instance.shown_generation()),
            why: Some(departure.why),
        })
    }
}
