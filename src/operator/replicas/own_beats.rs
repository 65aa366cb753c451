//! Heartbeats that reach the replica which probes.

use std::sync::Arc;
use std::time::Instant;

use uuid::Uuid;

use super::pass_on::LeaderLine;
use crate::model::name::InstanceName;
use crate::model::ports::{Beat, BeatError, Heard, Heartbeats};

/// This process's prober; what it hears overrules what was kept of the same instance before.
pub struct OwnBeats {
    prober: Arc<dyn Heartbeats>,
    line: LeaderLine,
}

impl OwnBeats {
    /// The heartbeats of `prober`, ahead of those that `line` keeps.
    pub fn new(prober: Arc<dyn Heartbeats>, line: LeaderLine) -> Self {
        Self { prober, line }
    }
}

impl Heartbeats for OwnBeats {
    fn beat(&self, service: Uuid, instance: &InstanceName, beat: Beat) -> Result<Heard, BeatError> {
        let began = Instant::now();
        let heard = self.prober.beat(service, instance, beat);
        // One that is busy has not taken the status.
        if !matches!(heard, Err(BeatError::Unavailable | BeatError::Busy { .. })) {
            self.line.kept().heard(&(service, instance.clone()), began);
        }
        heard
    }

    fn registered(&self, service: Uuid, instance: &InstanceName) -> Result<Heard, BeatError> {
        self.prober.registered(service, instance)
    }
}
