//! One probe as a task of its own: pin, spend the address's budget, probe.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::model::check::Target;
use crate::model::outcome::{Outcome, Stage, Verdict};
use crate::model::service::InstanceId;
use crate::model::time::Clock;
use crate::prober::dialer::Dialer;
use crate::prober::limits::address_budget::{Budget, Delay};
use crate::prober::limits::slots::Slot;

/// What every probe needs.
#[derive(Debug)]
pub(crate) struct Tools {
    /// Does the I/O.
    pub(crate) dialer: Dialer,
    /// What addresses may be asked for.
    pub(crate) budget: Arc<Budget>,
    /// The time.
    pub(crate) clock: Clock,
}

/// One probe to make.
#[derive(Debug)]
pub(crate) struct Job {
    /// Whose.
    pub(crate) instance: InstanceId,
    /// Its generation.
    pub(crate) generation: u64,
    /// What to do.
    pub(crate) target: Arc<Target>,
    /// How long it may take.
    pub(crate) timeout: Duration,
    /// The address whose queue let it out, if it waited.
    pub(crate) waited: Option<IpAddr>,
}

/// How a job ended.
#[derive(Debug)]
pub(crate) struct Done {
    /// Whose.
    pub(crate) instance: InstanceId,
    /// The generation that was probed.
    pub(crate) generation: u64,
    /// As in its job.
    pub(crate) waited: Option<IpAddr>,
    /// With what.
    pub(crate) ended: Ended,
}

/// What a job came to.
#[derive(Debug)]
pub(crate) enum Ended {
    /// The probe was made.
    Probed(Outcome),
    /// The address's budget is spent; see [`Budget::spend`].
    Delayed(Delay),
}

impl Job {
    /// Makes the probe. The slot is free again when this ends or is dropped.
    pub(crate) async fn run(self, tools: Arc<Tools>, slot: Slot) -> Done {
        let deadline = Instant::now() + self.timeout;
        let ended = self.attempt(&tools, deadline).await;
        drop(slot);
        Done { instance: self.instance, generation: self.generation, waited: self.waited, ended }
    }

    async fn attempt(&self, tools: &Tools, deadline: Instant) -> Ended {
        let pinned = match tools.dialer.pin(&self.target, deadline).await {
            Ok(pinned) => pinned,
            Err(outcome) => return Ended::Probed(outcome),
        };
        let now = tools.clock.now().steady;
        let _permit = match tools.budget.spend(pinned.key(), self.waited, now) {
            Ok(permit) => permit,
            Err(delay) => return Ended::Delayed(delay),
        };
        let further = Mutex::new((Vec::new(), None));
        let may = |key| {
            let spent = tools.budget.spend(key, self.waited, tools.clock.now().steady);
            let mut further = further.lock().unwrap_or_else(PoisonError::into_inner);
            spent.map(|permit| further.0.push(permit)).map_err(|delay| further.1 = Some(delay)).is_ok()
        };
        let outcome = tools.dialer.probe_if(&self.target, &pinned, deadline, &may).await;
        let (_permits, over) = further.into_inner().unwrap_or_else(PoisonError::into_inner);
        match over {
            // an address that was left out for its budget might have answered
            Some(delay) if outcome.verdict == Verdict::Fail && outcome.stage == Stage::Connect => Ended::Delayed(delay),
            _ => Ended::Probed(outcome),
        }
    }
}
