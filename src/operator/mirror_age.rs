//! How old what is read here may be.

use std::time::{Duration, Instant};

use super::contact::Contact;
use super::intake::Intake;
use crate::model::ports::Freshness;

/// Before the first list has ended, the age of the file; then, the silence of the Kubernetes API.
#[derive(Debug, Clone)]
pub struct MirrorAge {
    contact: Contact,
    intake: Intake,
    started: Instant,
    file: Duration,
}

impl MirrorAge {
    /// The mirror starts from a file that was last written `file` ago.
    pub fn new(contact: Contact, intake: Intake, file: Duration) -> Self {
        Self { contact, intake, started: Instant::now(), file }
    }
}

impl Freshness for MirrorAge {
    fn stale_for(&self) -> Option<Duration> {
        if self.intake.is_complete() { self.contact.stale_for() } else { Some(self.file + self.started.elapsed()) }
    }
}
