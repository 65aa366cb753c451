//! What the writer writes. The caller's task encodes the columns, so that the writer's thread need not.

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
    /// A service's revision and time.
    Touch(i64, Arc<Service>),
    /// A new instance, the one with that id.
    AddInstance(i64, Arc<Service>, InstanceId, SpecColumns),
    /// An instance's content changed.
    PutInstance(Arc<Service>, InstanceId, SpecColumns),
    /// An instance's health, with its check's state.
    PutHealth(Arc<Service>, InstanceId, String),
    /// Only the check's state.
    PutState(InstanceId, u64, String),
    /// A probe row.
    PutProbe(EncodedProbe),
    /// Deletes an instance.
    DropInstance(InstanceId),
    /// Deletes a service with its instances.
    DropService(i64),
    /// A row of history.
    History(HistoryRow),
    /// A revision, with the service that it changed and whether it deleted it.
    Change(u64, Uuid, ServiceKey, bool),
    /// Marks the mirror as complete.
    Complete,
    /// Moves a row into quarantine.
    Quarantine(BadRow, UnixMs),
}

impl Write {
    /// Whether it adds a row of history.
    pub(crate) fn is_history(&self) -> bool {
        matches!(self, Self::History(_))
    }

    /// If this write loses a row of `change`: the revision up to which that table is then incomplete.
    pub(crate) fn forgets(&self) -> Option<u64> {
        match self {
            Self::Quarantine(bad, _) if bad.table == Table::Change => u64::try_from(bad.row).ok(),
            _ => None,
        }
    }
}

/// The JSON columns of a spec.
#[derive(Debug, Clone, Default)]
pub(crate) struct SpecColumns {
    /// The check; none if it is the default.
    pub(crate) check: Option<String>,
    /// The metadata; none if it is empty.
    pub(crate) metadata: Option<String>,
}

impl SpecColumns {
    pub(crate) fn of(spec: &InstanceSpec) -> Self {
        let check = (spec.check != crate::model::check::Check::default()).then(|| codec::json(&spec.check));
        let metadata = (!spec.metadata.is_empty()).then(|| codec::json(&spec.metadata));
        Self { check, metadata }
    }
}

/// A change of health, encoded.
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

/// A probe row, encoded.
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

/// A row of history without its number.
pub(crate) struct HistoryRow {
    pub(crate) service: Uuid,
    pub(crate) key: ServiceKey,
    pub(crate) instance: InstanceName,
    pub(crate) at: UnixMs,
    pub(crate) from: Health,
    /// The new health and its reason; none if the instance was removed.
    pub(crate) to: Option<(Health, Reason)>,
    pub(crate) message: String,
    pub(crate) evidence: Option<String>,
}
