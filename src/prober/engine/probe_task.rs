//! One probe as a task of its own: find the addresses, spend the first one's budget, probe.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::model::check::Target;
use crate::model::namespace_policy::Ruling;
use crate::model::outcome::{Outcome, Stage, Verdict};
use crate::model::service::CheckId;
use crate::model::time::Clock;
use crate::prober::dialer::Dialer;
use crate::prober::limits::{Budget, Delay, Slot};

/// What every probe needs.
#[derive(Debug)]
pub(super) struct Tools {
    /// Does the I/O.
    pub(super) dialer: Dialer,
    /// How often an address may be probed.
    pub(super) budget: Arc<Budget>,
    pub(super) clock: Clock,
}

/// One probe to make.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) check: CheckId,
    pub(super) generation: u64,
    pub(super) target: Arc<Target>,
    /// The policies of its namespace.
    pub(super) ruling: Ruling,
    pub(super) timeout: Duration,
    /// Whether it may hang, judging by its last probe.
    pub(super) may_hang: bool,
    /// The address whose queue released it, if it waited for one.
    pub(super) released_by: Option<IpAddr>,
}

/// How a job ended.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) check: CheckId,
    /// The generation that was probed.
    pub(super) generation: u64,
    /// As in its job.
    pub(super) released_by: Option<IpAddr>,
    pub(super) ended: Ended,
}

/// The result of a job.
#[derive(Debug)]
pub(super) enum Ended {
    /// The probe was made. Its answer may report a version.
    Probed(Outcome, Option<String>),
    /// The address's budget is spent; see [`Budget::spend`].
    Delayed(Delay),
}

impl Job {
    /// Makes the probe. The slot is free again when this ends or is dropped.
    pub(super) async fn run(self, tools: Arc<Tools>, slot: Slot) -> Done {
        let deadline = Instant::now() + self.timeout;
        let ended = self.attempt(&tools, deadline).await;
        drop(slot);
        Done { check: self.check, generation: self.generation, released_by: self.released_by, ended }
    }

    async fn attempt(&self, tools: &Tools, deadline: Instant) -> Ended {
        let pinned = match tools.dialer.pin_under(&self.ruling, &self.target, deadline).await {
            Ok(pinned) => pinned,
            Err(outcome) => return Ended::Probed(outcome, None),
        };
        let spend = |key| tools.budget.spend(key, self.may_hang, self.released_by, tools.clock.now().steady);
        let _permit = match spend(pinned.key()) {
            Ok(permit) => permit,
            Err(delay) => return Ended::Delayed(delay),
        };
        let further = Mutex::new((Vec::new(), None));
        let may_dial = |key| {
            let result = spend(key);
            let mut further = further.lock().unwrap_or_else(PoisonError::into_inner);
            result.map(|permit| further.0.push(permit)).map_err(|delay| further.1 = Some(delay)).is_ok()
        };
        let (outcome, version) = tools.dialer.probe_if(&self.target, &pinned, deadline, &may_dial).await;
        let (_permits, over) = further.into_inner().unwrap_or_else(PoisonError::into_inner);
        match over {
            // An address that was skipped for its budget might have answered.
            Some(delay) if outcome.verdict == Verdict::Fail && outcome.stage == Stage::Connect => Ended::Delayed(delay),
            _ => Ended::Probed(outcome, version),
        }
    }
}
