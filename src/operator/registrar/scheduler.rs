//! Who works on what: one task for each busy object, a few at a time, none detached.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::object_writer::ObjectWriter;
use super::waiting::Waiting;
use crate::model::name::ServiceKey;

/// Objects that are written at once: the API server's priority and fairness gives a replica few seats.
const AT_ONCE: usize = 16;

/// What does the work of [`RestRegistrar`](super::RestRegistrar).
pub struct RestRegistrarTask {
    queue: mpsc::Receiver<Waiting>,
    shared: Arc<Shared>,
    /// Calls that came while their object is worked on, or before its turn.
    busy: HashMap<ServiceKey, Vec<Waiting>>,
    /// Objects whose turn comes, in order.
    next: VecDeque<ServiceKey>,
    rounds: JoinSet<()>,
    running: HashMap<Id, ServiceKey>,
}

impl RestRegistrarTask {
    pub(super) fn new(queue: mpsc::Receiver<Waiting>, shared: Arc<Shared>) -> Self {
        let (busy, running) = (HashMap::new(), HashMap::new());
        Self { queue, shared, busy, next: VecDeque::new(), rounds: JoinSet::new(), running }
    }

    /// Works until `stop`, or until every handle is gone; what is being written then is finished.
    ///
    /// # Errors
    /// None.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), Infallible> {
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                waiting = self.queue.recv() => match waiting {
                    Some(waiting) => self.accept(waiting),
                    // Serving stops before this does, and takes its handle along.
                    None => break,
                },
                Some(ended) = self.rounds.join_next_with_id() => self.ended(ended),
            }
            self.start(&stop);
        }
        // Those that wait for a turn hear of the end as their reply is dropped.
        self.queue.close();
        self.busy.clear();
        while let Some(ended) = self.rounds.join_next_with_id().await {
            self.ended(ended);
        }
        Ok(())
    }

    fn accept(&mut self, waiting: Waiting) {
        let key = waiting.ticket.key().clone();
        let next = &mut self.next;
        let calls = self.busy.entry(key.clone()).or_insert_with(|| {
            next.push_back(key);
            Vec::new()
        });
        calls.push(waiting);
    }

    fn start(&mut self, stop: &CancellationToken) {
        while self.rounds.len() < AT_ONCE
            && let Some(key) = self.next.pop_front()
        {
            let calls = self.busy.get_mut(&key).map(std::mem::take).unwrap_or_default();
            let round = ObjectWriter::new(Arc::clone(&self.shared), calls, key.clone(), stop.clone());
            let handle = self.rounds.spawn(round.run());
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
