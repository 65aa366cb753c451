//! How old what is read here may be.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::contact::Contact;
use super::intake::Intake;
use crate::model::ports::{Freshness, Leadership};

/// Before the first list has ended, the age of the file; then, the silence of the Kubernetes API.
#[derive(Clone)]
pub struct MirrorAge {
    contact: Contact,
    intake: Intake,
    leadership: Arc<dyn Leadership>,
    started: Instant,
    file: Duration,
}

impl MirrorAge {
    /// The mirror starts from a file that was last written `file` ago.
    pub fn new(contact: Contact, intake: Intake, leadership: Arc<dyn Leadership>, file: Duration) -> Self {
        Self { contact, intake, leadership, started: Instant::now(), file }
    }
}

impl Freshness for MirrorAge {
    fn stale_for(&self) -> Option<Duration> {
        if self.intake.is_complete() { self.contact.stale_for() } else { Some(self.file + self.started.elapsed()) }
    }

    fn probes_here(&self) -> bool {
        self.leadership.probes()
    }
}
