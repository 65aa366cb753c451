//! Checks on request: the handle that others hold, and the tickets of those who wait.

use std::collections::HashMap;
use std::sync::Arc;

use futures::future::BoxFuture;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use crate::model::name::InstanceName;
use crate::model::ports::{OnDemand, OnDemandError, OnDemandResult, Probing, ProbingByService};
use crate::prober::report::status::ProberStatus;
use crate::telemetry::metrics::Metrics;

/// Requests that may wait for the prober to take them.
const QUEUE: usize = 256;
/// Questions that may wait for the prober's word.
const QUESTIONS: usize = 64;
/// Requests whose probes may be under way.
pub(crate) const OPEN: usize = 1024;

pub(crate) type Reply = oneshot::Sender<Result<Vec<OnDemandResult>, OnDemandError>>;

/// A request to probe a service now.
#[derive(Debug)]
pub(crate) struct CheckNow {
    pub(crate) service: Uuid,
    pub(crate) reply: Reply,
}

/// What is known of the probing of some services.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) services: Vec<Uuid>,
    pub(crate) reply: oneshot::Sender<Result<ProbingByService, OnDemandError>>,
}

/// What the rest of the program holds of the prober.
#[derive(Debug, Clone)]
pub struct ProberHandle {
    commands: mpsc::Sender<CheckNow>,
    questions: mpsc::Sender<Question>,
    status: Arc<ProberStatus>,
    metrics: Metrics,
}

impl ProberHandle {
    pub(crate) fn new(
        status: Arc<ProberStatus>,
        metrics: Metrics,
    ) -> (Self, mpsc::Receiver<CheckNow>, mpsc::Receiver<Question>) {
        let (commands, asked) = mpsc::channel(QUEUE);
        let (questions, wondered) = mpsc::channel(QUESTIONS);
        (Self { commands, questions, status, metrics }, asked, wondered)
    }

    /// What the prober tells about itself.
    pub fn status(&self) -> &Arc<ProberStatus> {
        &self.status
    }
}

impl OnDemand for ProberHandle {
    fn check_now(&self, service: Uuid) -> BoxFuture<'static, Result<Vec<OnDemandResult>, OnDemandError>> {
        let (reply, answer) = oneshot::channel();
        let sent = self.commands.try_send(CheckNow { service, reply });
        let metrics = self.metrics.clone();
        Box::pin(async move {
            match sent {
                // The prober drops the reply when it stops.
                Ok(()) => answer.await.unwrap_or(Err(OnDemandError::Unavailable)),
                Err(TrySendError::Full(_)) => Err(refuse(&metrics)),
                Err(TrySendError::Closed(_)) => Err(OnDemandError::Unavailable),
            }
        })
    }
}

impl Probing for ProberHandle {
    fn probing(&self, services: Vec<Uuid>) -> BoxFuture<'static, Result<ProbingByService, OnDemandError>> {
        let (reply, answer) = oneshot::channel();
        let sent = self.questions.try_send(Question { services, reply });
        let metrics = self.metrics.clone();
        Box::pin(async move {
            match sent {
                Ok(()) => answer.await.unwrap_or(Err(OnDemandError::Unavailable)),
                Err(TrySendError::Full(_)) => {
                    metrics.reject("probing_queue_full");
                    Err(OnDemandError::OverBudget { retry_after_seconds: 1 })
                }
                Err(TrySendError::Closed(_)) => Err(OnDemandError::Unavailable),
            }
        })
    }
}

/// Too many requests at once.
pub(crate) fn refuse(metrics: &Metrics) -> OnDemandError {
    metrics.reject("check_queue_full");
    OnDemandError::OverBudget { retry_after_seconds: 1 }
}

#[derive(Debug)]
struct Ticket {
    reply: Reply,
    parts: Vec<Option<OnDemandResult>>,
    open: usize,
    /// The newest change that its probes brought about.
    change: u64,
}

/// Requests whose probes are under way, or whose changes are on their way to the store.
#[derive(Debug, Default)]
pub(crate) struct Tickets {
    next: u64,
    open: HashMap<u64, Ticket>,
    complete: Vec<u64>,
}

impl Tickets {
    /// How many are open.
    pub(crate) fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether one more may be opened.
    pub(crate) fn room(&self) -> bool {
        self.open.len() < OPEN
    }

    /// Opens a ticket with this many parts.
    pub(crate) fn open(&mut self, reply: Reply, parts: usize) -> u64 {
        self.next += 1;
        let ticket = Ticket { reply, parts: vec![None; parts], open: parts, change: 0 };
        self.open.insert(self.next, ticket);
        self.next
    }

    /// Fills one part, which `change` has to be committed for; none where its instance is gone.
    pub(crate) fn fill(&mut self, (id, place): (u64, usize), part: Option<OnDemandResult>, change: u64) {
        let Some(ticket) = self.open.get_mut(&id) else { return };
        if let Some(slot) = ticket.parts.get_mut(place) {
            *slot = part;
        }
        ticket.change = ticket.change.max(change);
        ticket.open = ticket.open.saturating_sub(1);
        if ticket.open == 0 {
            self.complete.push(id);
        }
    }

    /// Ends a ticket with an error.
    pub(crate) fn fail(&mut self, id: u64, error: OnDemandError) {
        if let Some(ticket) = self.open.remove(&id) {
            // Whoever asked may have gone.
            let _ = ticket.reply.send(Err(error));
        }
    }

    /// Ends all with an error.
    pub(crate) fn fail_all(&mut self, error: &OnDemandError) {
        self.complete.clear();
        for (_, ticket) in self.open.drain() {
            // Whoever asked may have gone.
            let _ = ticket.reply.send(Err(error.clone()));
        }
    }

    /// Answers those that are complete and whose changes are committed.
    pub(crate) fn answer(&mut self, committed: u64) {
        let open = &mut self.open;
        self.complete.retain(|id| {
            let ready = open.get(id).is_none_or(|ticket| ticket.change <= committed);
            if let Some(ticket) = ready.then(|| open.remove(id)).flatten() {
                let parts: Vec<_> = ticket.parts.into_iter().flatten().collect();
                let answer = if parts.is_empty() { Err(OnDemandError::NotFound) } else { Ok(parts) };
                let _ = ticket.reply.send(answer);
            }
            !ready
        });
    }

    /// Ends those that are complete but whose changes the store refused.
    pub(crate) fn give_up(&mut self, committed: u64) {
        self.answer(committed);
        for id in std::mem::take(&mut self.complete) {
            self.fail(id, OnDemandError::Unavailable);
        }
    }
}

/// What a part of a ticket says of an instance that has no check.
pub(crate) fn unchecked(instance: &InstanceName) -> OnDemandResult {
    OnDemandResult { instance: instance.clone(), outcome: None, held: false }
}
