//! What the rest of the program asks the prober for: checks on demand, and the state of probing.
//!
//! - In: requests from [`ProberHandle`], which others hold as [`OnDemand`], [`Probing`] and [`Heartbeats`].
//! - Out: their answers, once the probes have ended and their changes are committed.
//!
//! Read the files in this order: this one (the handle and the engine's end of its queues), `tickets` (the checks that are open).

mod tickets;

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use self::tickets::Reply;
pub(crate) use self::tickets::{Tickets, Weight};
use super::leases::{Lease, Leases, NotRenewed, Report};
use super::telemetry::ProberStatus;
use crate::catalog::Catalog;
use crate::model::check::CheckKind;
use crate::model::name::InstanceName;
use crate::model::ports::{
    Beat, BeatError, BeatStatus, Heard, Heartbeats, OnDemand, OnDemandError, OnDemandResult, Probing, ProbingByService,
};
use crate::model::service::{Instance, InstanceId};
use crate::model::time::{Clock, Now};
use crate::telemetry::metrics::Metrics;

/// Checks that may wait for the engine.
const CHECKS: usize = 256;
/// Queries that may wait for the engine.
const QUERIES: usize = 64;

/// Heartbeats that change something and wait for the engine, at most 1.2 kB each.
const REPORTS: usize = 4096;

/// A request to probe a service now, or one instance of it.
#[derive(Debug)]
pub(crate) struct CheckNow {
    pub(crate) service: Uuid,
    /// None for all.
    pub(crate) instance: Option<InstanceName>,
    /// Whether the outcomes decide the health at once, or are only shown.
    pub(crate) decides: bool,
    pub(crate) reply: Reply,
}

impl CheckNow {
    /// Whether the instance is probed.
    pub(crate) fn wants(&self, instance: &Instance) -> bool {
        self.instance.as_ref().is_none_or(|wanted| *wanted == instance.name)
    }
}

/// A query about the probing of some services.
#[derive(Debug)]
pub(crate) struct ProbingQuery {
    pub(crate) services: Vec<Uuid>,
    pub(crate) reply: oneshot::Sender<Result<ProbingByService, OnDemandError>>,
}

/// What comes from a handle.
#[derive(Debug)]
pub(crate) enum Request {
    Check(CheckNow),
    Query(ProbingQuery),
    Report(Report),
}

/// The engine's end of the handles' queues.
#[derive(Debug)]
pub(crate) struct Requests {
    checks: mpsc::Receiver<CheckNow>,
    queries: mpsc::Receiver<ProbingQuery>,
    reports: mpsc::Receiver<Report>,
    metrics: Metrics,
}

impl Requests {
    /// Waits for the next request; for ever once all handles are gone.
    pub(crate) async fn next(&mut self) -> Request {
        tokio::select! {
            Some(check) = self.checks.recv() => Request::Check(check),
            Some(query) = self.queries.recv() => Request::Query(query),
            Some(report) = self.reports.recv() => Request::Report(report),
            else => std::future::pending().await,
        }
    }

    /// A report that waits.
    pub(crate) fn next_report(&mut self) -> Option<Report> {
        self.reports.try_recv().ok()
    }

    /// The error for a check beyond what may be open, counted.
    pub(crate) fn refuse(&self) -> OnDemandError {
        refuse(&self.metrics, "check_queue_full")
    }
}

/// What the rest of the program holds of the prober.
#[derive(Debug, Clone)]
pub struct ProberHandle {
    checks: mpsc::Sender<CheckNow>,
    queries: mpsc::Sender<ProbingQuery>,
    reports: mpsc::Sender<Report>,
    leases: Arc<Leases>,
    catalog: Arc<Catalog>,
    clock: Clock,
    status: Arc<ProberStatus>,
    metrics: Metrics,
}

impl ProberHandle {
    pub(crate) fn new(
        leases: Arc<Leases>,
        catalog: Arc<Catalog>,
        clock: Clock,
        status: Arc<ProberStatus>,
        metrics: Metrics,
    ) -> (Self, Requests) {
        let (checks, check_requests) = mpsc::channel(CHECKS);
        let (queries, query_requests) = mpsc::channel(QUERIES);
        let (reports, report_requests) = mpsc::channel(REPORTS);
        let requests = Requests {
            checks: check_requests,
            queries: query_requests,
            reports: report_requests,
            metrics: metrics.clone(),
        };
        (Self { checks, queries, reports, leases, catalog, clock, status, metrics }, requests)
    }

    /// The prober's figures about itself.
    pub fn status(&self) -> &Arc<ProberStatus> {
        &self.status
    }

    /// Waits for the reply to a request that was sent, or not.
    async fn reply<T, R>(
        sent: Result<(), TrySendError<R>>,
        answer: oneshot::Receiver<Result<T, OnDemandError>>,
        metrics: Metrics,
        full: &'static str,
    ) -> Result<T, OnDemandError> {
        match sent {
            // The engine drops the sender when it stops.
            Ok(()) => answer.await.unwrap_or(Err(OnDemandError::Unavailable)),
            Err(TrySendError::Full(_)) => Err(refuse(&metrics, full)),
            Err(TrySendError::Closed(_)) => Err(OnDemandError::Unavailable),
        }
    }
}

impl OnDemand for ProberHandle {
    fn check_now(
        &self,
        service: Uuid,
        instance: Option<InstanceName>,
    ) -> BoxFuture<'static, Result<Vec<OnDemandResult>, OnDemandError>> {
        self.probe_now(service, instance, true)
    }

    fn observe_now(
        &self,
        service: Uuid,
        instance: Option<InstanceName>,
    ) -> BoxFuture<'static, Result<Vec<OnDemandResult>, OnDemandError>> {
        self.probe_now(service, instance, false)
    }
}

impl ProberHandle {
    fn probe_now(
        &self,
        service: Uuid,
        instance: Option<InstanceName>,
        decides: bool,
    ) -> BoxFuture<'static, Result<Vec<OnDemandResult>, OnDemandError>> {
        let (reply, answer) = oneshot::channel();
        let sent = self.checks.try_send(CheckNow { service, instance, decides, reply });
        Box::pin(Self::reply(sent, answer, self.metrics.clone(), "check_queue_full"))
    }
}

impl Probing for ProberHandle {
    fn probing(&self, services: Vec<Uuid>) -> BoxFuture<'static, Result<ProbingByService, OnDemandError>> {
        let (reply, answer) = oneshot::channel();
        let sent = self.queries.try_send(ProbingQuery { services, reply });
        Box::pin(Self::reply(sent, answer, self.metrics.clone(), "probing_queue_full"))
    }
}

impl Heartbeats for ProberHandle {
    fn beat(&self, service: Uuid, instance: &InstanceName, beat: Beat) -> Result<Heard, BeatError> {
        if !self.leases.is_open() {
            return Err(BeatError::Unavailable);
        }
        self.metrics.heartbeats.inc();
        let now = self.clock.now();
        let Some(lease) = self.renew(&service, instance, now)? else {
            // Perhaps the engine has not seen it yet.
            let ttl = self.registered_ttl(&service, instance)?;
            self.send(Report::new(service, instance, Some(beat), now.wall, None))?;
            return Ok(Heard { ttl });
        };
        let heard = Heard { ttl: lease.ttl };
        let plain = beat.status == BeatStatus::Pass && beat.note.as_deref().is_none_or(|note| note.trim().is_empty());
        if !plain || !lease.is_quiet() {
            self.send_counted(lease, |lease| Report::new(service, instance, Some(beat), now.wall, Some(lease)))?;
        }
        Ok(heard)
    }

    fn registered(&self, service: Uuid, instance: &InstanceName) -> Result<Heard, BeatError> {
        if !self.leases.is_open() {
            return Err(BeatError::Unavailable);
        }
        let now = self.clock.now();
        let report = |lease| Report::new(service, instance, None, now.wall, lease);
        // A full queue is not a reason to refuse a registration; the lease is renewed in any case.
        let Some(lease) = self.renew(&service, instance, now)? else {
            let ttl = self.registered_ttl(&service, instance)?;
            drop(self.send(report(None)));
            return Ok(Heard { ttl });
        };
        let heard = Heard { ttl: lease.ttl };
        if !lease.is_quiet() {
            drop(self.send_counted(lease, |lease| report(Some(lease))));
        }
        Ok(heard)
    }
}

impl ProberHandle {
    /// Renews an instance's lease; none if it has none here that counts.
    ///
    /// # Errors
    /// [`BeatError::Leaving`] while the instance is being removed.
    fn renew(&self, service: &Uuid, instance: &InstanceName, now: Now) -> Result<Option<Arc<Lease>>, BeatError> {
        match self.leases.renew(service, instance.as_str(), now) {
            Ok(lease) => Ok(Some(lease)),
            Err(NotRenewed::Leaving(leaving)) if self.listed(service, instance) == Some(leaving) => {
                Err(BeatError::Leaving)
            }
            // Of one that has left, and whose name another may have by now.
            Err(NotRenewed::Leaving(_) | NotRenewed::NoLease) => Ok(None),
        }
    }

    fn listed(&self, service: &Uuid, instance: &InstanceName) -> Option<InstanceId> {
        let snapshot = self.catalog.read();
        Some(snapshot.by_id(service)?.service().instance(instance.as_str())?.id)
    }

    /// The TTL of an instance's heartbeat check, as the catalog has it.
    fn registered_ttl(&self, service: &Uuid, instance: &InstanceName) -> Result<Duration, BeatError> {
        let snapshot = self.catalog.read();
        let service = snapshot.by_id(service).ok_or(BeatError::NotFound)?.service();
        let instance = service.instance(instance.as_str()).ok_or(BeatError::NotFound)?;
        let ttl = instance.spec.all_checks().find_map(|check| match check.check.kind {
            Some(CheckKind::Heartbeat(heartbeat)) => Some(heartbeat.ttl()),
            _ => None,
        });
        ttl.ok_or(BeatError::NoHeartbeatCheck)
    }

    /// Sends a report about a lease, unless too many of them are on their way.
    fn send_counted(&self, lease: Arc<Lease>, report: impl FnOnce(Arc<Lease>) -> Report) -> Result<(), BeatError> {
        if lease.begin_message() { self.send(report(lease)) } else { Err(self.busy()) }
    }

    fn send(&self, report: Report) -> Result<(), BeatError> {
        self.reports.try_send(report).map_err(|error| match error {
            TrySendError::Full(_) => self.busy(),
            TrySendError::Closed(_) => BeatError::Unavailable,
        })
    }

    fn busy(&self) -> BeatError {
        self.metrics.reject("heartbeat_queue_full");
        BeatError::Busy { retry_after_seconds: 1 }
    }
}

fn refuse(metrics: &Metrics, reason: &'static str) -> OnDemandError {
    metrics.reject(reason);
    OnDemandError::OverBudget { retry_after_seconds: 1 }
}
