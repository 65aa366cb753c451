//! How old the mirror may be.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::model::ports::{Freshness, Leadership};
use crate::operator::ingest::Ingest;
use crate::operator::kubernetes::health::ApiHealth;

/// Before the first list has ended, the age of the file; after that, the silence of the Kubernetes API.
#[derive(Clone)]
pub struct MirrorAge {
    api_health: ApiHealth,
    ingest: Ingest,
    leadership: Arc<dyn Leadership>,
    started: Instant,
    file: Duration,
}

impl MirrorAge {
    /// The mirror starts from a file that was last written `file` ago.
    pub fn new(api_health: ApiHealth, ingest: Ingest, leadership: Arc<dyn Leadership>, file: Duration) -> Self {
        Self { api_health, ingest, leadership, started: Instant::now(), file }
    }
}

impl Freshness for MirrorAge {
    fn stale_for(&self) -> Option<Duration> {
        if self.ingest.is_complete() { self.api_health.stale_for() } else { Some(self.file + self.started.elapsed()) }
    }

    fn probes_here(&self) -> bool {
        self.leadership.probes()
    }
}
