//! What the prober knows.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::Outcome;
use crate::model::health::StreakProgress;
use crate::model::ports::InstanceProbing;
use crate::model::probe;
use crate::model::time::UnixMs;

/// Outcomes of one kind in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct Streak {
    /// Whether they passed.
    pub passing: bool,
    /// How many.
    pub count: u32,
    /// How many change the health.
    pub of: u32,
}

/// One past probe, as a sparkline needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Sample {
    /// When it started.
    #[schema(value_type = String, format = DateTime)]
    pub at: UnixMs,
    /// The whole probe, in microseconds; null where it did not pass.
    #[schema(required = true)]
    pub total_us: Option<u32>,
    /// HTTP or gRPC status, where there was one.
    #[schema(required = true)]
    pub code: Option<u16>,
}

/// What the prober knows of one instance.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
pub struct ProbingOfInstance {
    /// Its name.
    #[serde(default)]
    #[schema(required = true)]
    pub instance: Box<str>,
    /// The newest conclusive outcomes of one kind.
    #[serde(default)]
    #[schema(required = true)]
    pub streak: Streak,
    /// When the next probe is due.
    #[serde(default)]
    #[schema(required = true, value_type = String, format = DateTime)]
    pub next_due: Option<UnixMs>,
    /// Why the health does not follow the outcomes now; null when it does.
    #[serde(default)]
    #[schema(required = true)]
    pub held: Option<Box<str>>,
    /// The newest outcome.
    #[serde(default)]
    #[schema(required = true)]
    pub last: Option<Outcome>,
    /// The newest passing one.
    #[serde(default)]
    #[schema(required = true)]
    pub last_pass: Option<Outcome>,
    /// The newest failing one since the server began to probe it.
    #[serde(default)]
    #[schema(required = true)]
    pub last_fail: Option<Outcome>,
    /// The newest probes, oldest first, at most 60.
    #[serde(default)]
    #[schema(required = true)]
    pub samples: Vec<Sample>,
}

/// What the prober knows of one service.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
pub struct ProbingOfService {
    /// Its id.
    #[serde(default)]
    #[schema(required = true)]
    pub id: Uuid,
    /// True: the prober itself reports it.
    // The console uses the type for what it reads from the store's file too, which is up to 2 s old.
    #[serde(default)]
    #[schema(required = true)]
    pub live: bool,
    /// Its instances that are probed.
    #[serde(default)]
    #[schema(required = true)]
    pub instances: Vec<ProbingOfInstance>,
}

impl ProbingOfService {
    /// Estimated memory, in bytes.
    pub fn memory(&self) -> usize {
        let one = |of: &ProbingOfInstance| {
            let outcomes = [&of.last, &of.last_pass, &of.last_fail].into_iter().flatten();
            let messages = outcomes.map(|outcome| outcome.message.as_ref().map_or(0, |message| message.len()));
            let texts = of.instance.len() + of.held.as_ref().map_or(0, |held| held.len());
            size_of::<ProbingOfInstance>()
                + messages.sum::<usize>()
                + texts
                + of.samples.capacity() * size_of::<Sample>()
        };
        size_of::<Self>() + self.instances.iter().map(one).sum::<usize>()
    }
}

impl From<StreakProgress> for Streak {
    fn from(StreakProgress { passing, count, of }: StreakProgress) -> Self {
        Self { passing, count, of }
    }
}

impl From<probe::Sample> for Sample {
    fn from(probe::Sample { at, total_us, code }: probe::Sample) -> Self {
        Self { at, total_us, code }
    }
}

impl From<InstanceProbing> for ProbingOfInstance {
    fn from(known: InstanceProbing) -> Self {
        Self {
            instance: known.instance.as_str().into(),
            streak: known.streak.into(),
            next_due: Some(known.next_due),
            held: known.held.map(Into::into),
            last: known.last.map(Into::into),
            last_pass: known.last_pass.map(Into::into),
            last_fail: known.last_fail.map(Into::into),
            samples: known.samples.into_iter().map(Into::into).collect(),
        }
    }
}
