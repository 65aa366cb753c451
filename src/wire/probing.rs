//! What the prober knows.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::Outcome;
use super::words::{health, known_or_default, reason};
use crate::model::health::StreakProgress;
use crate::model::outcome::Health;
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

/// What the prober knows of one check of an instance.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
pub struct ProbingOfInstance {
    /// The instance's name. Its checks follow each other, the plain one first.
    #[serde(default)]
    #[schema(required = true)]
    pub instance: Box<str>,
    /// The check; absent when it is `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<Box<str>>,
    /// Whether its failure only sets a warning; absent when not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    pub advisory: bool,
    /// What its outcomes add up to.
    #[serde(default, rename = "status", deserialize_with = "known_or_default")]
    #[schema(required = true, schema_with = health)]
    pub health: Health,
    /// Why.
    #[serde(default)]
    #[schema(required = true, schema_with = reason)]
    pub reason: Box<str>,
    /// Since when.
    #[serde(default)]
    #[schema(required = true, value_type = String, format = DateTime)]
    pub since: Option<UnixMs>,
    /// The newest conclusive outcomes of one kind.
    #[serde(default)]
    #[schema(required = true)]
    pub streak: Streak,
    /// When the next probe is due; of a heartbeat, when its lease expires.
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
    /// The checks of its instances.
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
            let names = of.instance.len() + of.reason.len() + of.check.as_ref().map_or(0, |check| check.len());
            let texts = names + of.held.as_ref().map_or(0, |held| held.len());
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
            check: (!known.check.is_default()).then(|| known.check.as_str().into()),
            advisory: known.advisory,
            health: known.health,
            reason: known.reason.as_str().into(),
            since: Some(known.since),
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
