//! What the rest of the program asks of the prober: checks on demand, and how probing stands.
//!
//! - In: requests from [`ProberHandle`], which others hold as [`OnDemand`] and [`Probing`].
//! - Out: their answers, once the probes have ended and their changes are committed.
//!
//! Read the files in this order: this one (the handle and the engine's end of its queues), `tickets` (the checks that are open).

mod tickets;

use std::sync::Arc;

use futures::future::BoxFuture;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use self::tickets::Reply;
pub(crate) use self::tickets::Tickets;
use super::telemetry::ProberStatus;
use crate::model::ports::{OnDemand, OnDemandError, OnDemandResult, Probing, ProbingByService};
use crate::telemetry::metrics::Metrics;

/// Checks that may wait for the engine.
const CHECKS: usize = 256;
/// Queries that may wait for the engine.
const QUERIES: usize = 64;

/// A request to probe a service now.
#[derive(Debug)]
pub(crate) struct CheckNow {
    pub(crate) service: Uuid,
    pub(crate) reply: Reply,
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
}

/// The engine's end of the handles' queues.
#[derive(Debug)]
pub(crate) struct Requests {
    checks: mpsc::Receiver<CheckNow>,
    queries: mpsc::Receiver<ProbingQuery>,
    metrics: Metrics,
}

impl Requests {
    /// Waits for the next request; for ever once all handles are gone.
    pub(crate) async fn next(&mut self) -> Request {
        tokio::select! {
            Some(check) = self.checks.recv() => Request::Check(check),
            Some(query) = self.queries.recv() => Request::Query(query),
            else => std::future::pending().await,
        }
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
    status: Arc<ProberStatus>,
    metrics: Metrics,
}

impl ProberHandle {
    pub(crate) fn new(status: Arc<ProberStatus>, metrics: Metrics) -> (Self, Requests) {
        let (checks, check_requests) = mpsc::channel(CHECKS);
        let (queries, query_requests) = mpsc::channel(QUERIES);
        let requests = Requests { checks: check_requests, queries: query_requests, metrics: metrics.clone() };
        (Self { checks, queries, status, metrics }, requests)
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
    fn check_now(&self, service: Uuid) -> BoxFuture<'static, Result<Vec<OnDemandResult>, OnDemandError>> {
        let (reply, answer) = oneshot::channel();
        let sent = self.checks.try_send(CheckNow { service, reply });
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

fn refuse(metrics: &Metrics, reason: &'static str) -> OnDemandError {
    metrics.reject(reason);
    OnDemandError::OverBudget { retry_after_seconds: 1 }
}
