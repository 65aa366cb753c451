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
pub(in crate::store) enum Write {
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
    Remember(Past),
    /// A revision.
    Change(u64, Uuid, ServiceKey, bool),
    /// The mirror holds all.
    Complete,
    /// A row cannot be read.
    Quarantine(BadRow, UnixMs),
}

impl Write {
    /// Whether it adds a row of history.
    pub(in crate::store) fn is_history(&self) -> bool {
        matches!(self, Self::Remember(_))
    }

    /// The revision up to which `change` tells no more: it has a gap there.
    pub(in crate::store) fn forgets(&self) -> Option<u64> {
        match self {
            Self::Quarantine(bad, _) if bad.table == Table::Change => u64::try_from(bad.row).ok(),
            _ => None,
        }
    }
}

/// The columns of a spec that are JSON.
#[derive(Debug, Clone, Default)]
pub(in crate::store) struct SpecColumns {
    /// The check; none where it is the default.
    pub(in crate::store) check: Option<String>,
    /// The metadata; none where there is none.
    pub(in crate::store) metadata: Option<String>,
}

impl SpecColumns {
    pub(in crate::store) fn of(spec: &InstanceSpec) -> Self {
        let check = (spec.check != crate::model::check::Check::default()).then(|| codec::json(&spec.check));
        let metadata = (!spec.metadata.is_empty()).then(|| codec::json(&spec.metadata));
        Self { check, metadata }
    }
}

/// A change of health with its columns encoded.
pub(in crate::store) struct Verdict {
    pub(in crate::store) instance: InstanceId,
    pub(in crate::store) generation: u64,
    pub(in crate::store) health: Health,
    pub(in crate::store) reason: Reason,
    pub(in crate::store) since: UnixMs,
    pub(in crate::store) message: Option<String>,
    pub(in crate::store) transition: Option<Transition>,
    pub(in crate::store) evidence: Option<String>,
    pub(in crate::store) state: String,
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
pub(in crate::store) struct EncodedProbe {
    pub(in crate::store) instance: InstanceId,
    pub(in crate::store) generation: u64,
    pub(in crate::store) state: String,
    pub(in crate::store) next_due: UnixMs,
    pub(in crate::store) last: Option<String>,
    pub(in crate::store) last_pass: Option<String>,
    pub(in crate::store) samples: Vec<u8>,
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
pub(in crate::store) struct Past {
    pub(in crate::store) service: Uuid,
    pub(in crate::store) key: ServiceKey,
    pub(in crate::store) instance: InstanceName,
    pub(in crate::store) at: UnixMs,
    pub(in crate::store) from: Health,
    /// Health after and why; none when it was removed.
    pub(in crate::store) to: Option<(Health, Reason)>,
    pub(in crate::store) message: String,
    pub(in crate::store) evidence: Option<String>,
}
