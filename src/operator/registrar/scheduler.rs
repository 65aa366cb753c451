//! One task for each object with calls, a few at a time.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::object_writer::ObjectWriter;
use super::pending_calls::PendingCall;
use crate::model::name::ServiceKey;

/// The most objects written at once: the API server's priority and fairness lets a client run few requests at a time.
const MAX_WRITERS: usize = 16;

/// What does the work of [`RestRegistrar`](super::RestRegistrar).
pub struct RestRegistrarTask {
    queue: mpsc::Receiver<PendingCall>,
    shared: Arc<Shared>,
    /// Calls that came while their object is worked on or waits for a slot.
    busy: HashMap<ServiceKey, Vec<PendingCall>>,
    /// Objects that wait for a slot, in order.
    next: VecDeque<ServiceKey>,
    writers: JoinSet<()>,
    running: HashMap<Id, ServiceKey>,
}

impl RestRegistrarTask {
    pub(super) fn new(queue: mpsc::Receiver<PendingCall>, shared: Arc<Shared>) -> Self {
        let (busy, running) = (HashMap::new(), HashMap::new());
        Self { queue, shared, busy, next: VecDeque::new(), writers: JoinSet::new(), running }
    }

    /// Works until `stop`, or until every handle is gone; writes in progress are finished.
    ///
    /// # Errors
    /// Never fails; each caller gets its error.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), Infallible> {
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                call = self.queue.recv() => match call {
                    Some(call) => self.accept(call),
                    // Serving stops before this task, and drops its handle.
                    None => break,
                },
                Some(ended) = self.writers.join_next_with_id() => self.ended(ended),
            }
            self.start(&stop);
        }
        // Dropping their replies tells the waiting calls that the server stops.
        self.queue.close();
        self.busy.clear();
        while let Some(ended) = self.writers.join_next_with_id().await {
            self.ended(ended);
        }
        Ok(())
    }

    fn accept(&mut self, call: PendingCall) {
        let key = call.ticket.key().clone();
        let next = &mut self.next;
        let calls = self.busy.entry(key.clone()).or_insert_with(|| {
            next.push_back(key);
            Vec::new()
        });
        calls.push(call);
    }

    fn start(&mut self, stop: &CancellationToken) {
        while self.writers.len() < MAX_WRITERS
            && let Some(key) = self.next.pop_front()
        {
            let calls = self.busy.get_mut(&key).map(std::mem::take).unwrap_or_default();
            let round = ObjectWriter::new(Arc::clone(&self.shared), calls, key.clone(), stop.clone());
            let handle = self.writers.spawn(round.run());
            self.running.insert(handle.id(), key);
        }
    }

    fn ended(&mut self, ended: Result<(Id, ()), JoinError>) {
        let id = ended.as_ref().map_or_else(JoinError::id, |(id, ())| *id);
        let Some(key) = self.running.remove(&id) else { return };
        if let Err(error) = ended {
            tracing::error!(service = %key, "a registration panicked, which is a bug in Portolan: {error}");
        }
        match self.busy.get(&key) {
            Some(calls) if !calls.is_empty() => self.next.push_back(key),
            _ => drop(self.busy.remove(&key)),
        }
    }
}
