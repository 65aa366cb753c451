//! What is to be written, its columns encoded by the caller's task so that the writer's thread need not.

use std::sync::Arc;

use uuid::Uuid;

use super::codec;
use super::quarantine::{BadRow, Table};
use crate::model::name::{InstanceName, ServiceKey};
use crate::model::outcome::{Health, Outcome, Reason, Transition};
use crate::model::probe::{HealthChange, ProbeRow};
use crate::model::service::{InstanceId, InstanceSpec, Service};
use crate::model::time::UnixMs;

/// One thing to write to the file.
pub(crate) enum Write {
    /// A new service.
    AddService(i64, Arc<Service>),
    /// A service's revision and time moved.
    Touch(i64, Arc<Service>),
    /// A new instance, the one of that id.
    AddInstance(i64, Arc<Service>, InstanceId, SpecColumns),
    /// An instance's content changed.
    PutInstance(Arc<Service>, InstanceId, SpecColumns),
    /// An instance's health changed, with its check's state.
    PutHealth(Arc<Service>, InstanceId, String),
    /// The check's state alone.
    PutState(InstanceId, u64, String),
    /// What probing left behind.
    PutProbe(EncodedProbe),
    /// An instance is gone.
    DropInstance(InstanceId),
    /// A service is gone, with its instances.
    DropService(i64),
    /// History.
    Remember(HistoryRow),
    /// A revision.
    Change(u64, Uuid, ServiceKey, bool),
    /// The mirror holds all.
    Complete,
    /// A row cannot be read.
    Quarantine(BadRow, UnixMs),
}

impl Write {
    /// Whether it adds a row of history.
    pub(crate) fn is_history(&self) -> bool {
        matches!(self, Self::Remember(_))
    }

    /// The revision up to which `change` tells no more: it has a gap there.
    pub(crate) fn forgets(&self) -> Option<u64> {
        match self {
            Self::Quarantine(bad, _) if bad.table == Table::Change => u64::try_from(bad.row).ok(),
            _ => None,
        }
    }
}

/// The columns of a spec that are JSON.
#[derive(Debug, Clone, Default)]
pub(crate) struct SpecColumns {
    /// The check; none where it is the default.
    pub(crate) check: Option<String>,
    /// The metadata; none where there is none.
    pub(crate) metadata: Option<String>,
}

impl SpecColumns {
    pub(crate) fn of(spec: &InstanceSpec) -> Self {
        let check = (spec.check != crate::model::check::Check::default()).then(|| codec::json(&spec.check));
        let metadata = (!spec.metadata.is_empty()).then(|| codec::json(&spec.metadata));
        Self { check, metadata }
    }
}

/// A change of health with its columns encoded.
pub(crate) struct Verdict {
    pub(crate) instance: InstanceId,
    pub(crate) generation: u64,
    pub(crate) health: Health,
    pub(crate) reason: Reason,
    pub(crate) since: UnixMs,
    pub(crate) message: Option<String>,
    pub(crate) transition: Option<Transition>,
    pub(crate) evidence: Option<String>,
    pub(crate) state: String,
}

impl From<HealthChange> for Verdict {
    fn from(change: HealthChange) -> Self {
        let evidence = change.transition.as_ref().and_then(|t| t.evidence.as_ref()).map(codec::json);
        let state = codec::json(&change.state);
        let HealthChange { instance, generation, health, reason, since, message, transition, .. } = change;
        Self { instance, generation, health, reason, since, message, transition, evidence, state }
    }
}

/// A probe row with its columns encoded.
pub(crate) struct EncodedProbe {
    pub(crate) instance: InstanceId,
    pub(crate) generation: u64,
    pub(crate) state: String,
    pub(crate) next_due: UnixMs,
    pub(crate) last: Option<String>,
    pub(crate) last_pass: Option<String>,
    pub(crate) samples: Vec<u8>,
}

impl From<&ProbeRow> for EncodedProbe {
    fn from(row: &ProbeRow) -> Self {
        let outcome = |outcome: &Option<Outcome>| outcome.as_ref().map(codec::json);
        Self {
            instance: row.instance,
            generation: row.generation,
            state: codec::json(&row.state),
            next_due: row.next_due,
            last: outcome(&row.last),
            last_pass: outcome(&row.last_pass),
            samples: codec::pack(&row.samples),
        }
    }
}

/// A row of history before it has a number.
pub(crate) struct HistoryRow {
    pub(crate) service: Uuid,
    pub(crate) key: ServiceKey,
    pub(crate) instance: InstanceName,
    pub(crate) at: UnixMs,
    pub(crate) from: Health,
    /// Health after and why; none when it was removed.
    pub(crate) to: Option<(Health, Reason)>,
    pub(crate) message: String,
    pub(crate) evidence: Option<String>,
}
