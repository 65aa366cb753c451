//! The running probes, each a task of its own, so that every core serves them.

use std::sync::Arc;

use tokio::task::{AbortHandle, JoinError, JoinSet};

use super::probe_task::{Done, Job, Tools};
use crate::prober::limits::Slot;

/// Probes that run.
#[derive(Debug)]
pub(super) struct Probes {
    tools: Arc<Tools>,
    running: JoinSet<Done>,
    /// One ended since the last tick; the others that end are taken in at the next tick.
    gathering: bool,
}

impl Probes {
    pub(super) fn new(tools: Tools) -> Self {
        Self { tools: Arc::new(tools), running: JoinSet::new(), gathering: false }
    }

    pub(super) fn start(&mut self, job: Job, slot: Slot) -> AbortHandle {
        self.running.spawn(job.run(Arc::clone(&self.tools), slot))
    }

    /// Waits for a probe to end; none while none runs.
    pub(super) async fn join_next(&mut self) -> Option<Result<Done, JoinError>> {
        self.running.join_next().await
    }

    /// A probe that has ended meanwhile.
    pub(super) fn try_join_next(&mut self) -> Option<Result<Done, JoinError>> {
        self.running.try_join_next()
    }

    /// Whether probes that end wait for the next tick.
    pub(super) fn is_gathering(&self) -> bool {
        self.gathering
    }

    pub(super) fn gather(&mut self, gathering: bool) {
        self.gathering = gathering;
    }

    /// Cancels all, uncounted, without waiting for them.
    pub(super) fn cancel(&mut self) {
        self.running = JoinSet::new();
    }

    /// Cancels all, uncounted, and waits for their tasks to end.
    pub(super) async fn shutdown(&mut self) {
        self.running.shutdown().await;
    }

    #[cfg(test)]
    pub(super) fn start_broken(&mut self) -> AbortHandle {
        self.running.spawn(async { panic!("a bug") })
    }
}
