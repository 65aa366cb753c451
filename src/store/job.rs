//! What the writer is asked, and how it answers.

use std::sync::Arc;

use tokio::sync::oneshot;
use uuid::Uuid;

use crate::model::mirror::{MirrorChange, VerdictsFrom};
use crate::model::name::{InstanceName, ServiceKey};
use crate::model::outcome::{Health, Outcome, Reason, Transition};
use crate::model::ports::{Caller, Leadership, Registered, Registration, Removal, WriteError};
use crate::model::probe::{HealthChange, ProbeRow};
use crate::model::service::{InstanceId, InstanceSpec};
use crate::model::time::UnixMs;

use super::codec;
use super::mirror::List;
use super::pending::Ticket;
use super::quarantine::BadRow;

/// Where a waiter hears the end of its change.
pub(super) type Reply<T> = oneshot::Sender<Result<T, WriteError>>;

/// One entry of the writer's queue.
pub(super) enum Job {
    /// A register call.
    Register(Box<Register>, Ticket, Reply<Registered>),
    /// A deregister call.
    Remove(Box<Remove>, Option<Ticket>, Reply<()>),
    /// Changes of health, together, while this process probes.
    Health(Vec<Verdict>, Arc<dyn Leadership>, Reply<Vec<bool>>),
    /// What objects say.
    Mirror(Vec<MirrorChange>, VerdictsFrom, Reply<()>),
    /// What all objects say.
    MirrorAll(Box<List>, Reply<()>),
    /// What probing left behind.
    Probes(Vec<EncodedProbe>, Reply<()>),
    /// Rows that a reader of history could not read.
    Quarantine(Vec<BadRow>),
    /// Time to look for what grew old.
    Trim,
    /// Time for what is to be done when there is nothing else to do.
    Rest,
    /// The server stops: no more jobs after those that are queued.
    Stop,
}

/// A register call with its columns encoded by the caller's task, off the writer.
pub(super) struct Register {
    pub(super) registration: Registration,
    pub(super) caller: Caller,
    pub(super) columns: SpecColumns,
}

/// A deregister call.
pub(super) struct Remove {
    pub(super) removal: Removal,
    pub(super) caller: Caller,
}

/// The columns of a spec that are JSON.
#[derive(Debug, Clone, Default)]
pub(super) struct SpecColumns {
    /// The check; none where it is the default.
    pub(super) check: Option<String>,
    /// The metadata; none where there is none.
    pub(super) metadata: Option<String>,
}

impl SpecColumns {
    pub(super) fn of(spec: &InstanceSpec) -> Self {
        let check = (spec.check != crate::model::check::Check::default()).then(|| codec::json(&spec.check));
        let metadata = (!spec.metadata.is_empty()).then(|| codec::json(&spec.metadata));
        Self { check, metadata }
    }
}

/// A change of health with its columns encoded.
pub(super) struct Verdict {
    pub(super) instance: InstanceId,
    pub(super) generation: u64,
    pub(super) health: Health,
    pub(super) reason: Reason,
    pub(super) since: UnixMs,
    pub(super) message: Option<String>,
    pub(super) transition: Option<Transition>,
    pub(super) evidence: Option<String>,
    pub(super) state: String,
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
pub(super) struct EncodedProbe {
    pub(super) instance: InstanceId,
    pub(super) generation: u64,
    pub(super) state: String,
    pub(super) next_due: UnixMs,
    pub(super) last: Option<String>,
    pub(super) last_pass: Option<String>,
    pub(super) samples: Vec<u8>,
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
pub(super) struct Past {
    pub(super) service: Uuid,
    pub(super) key: ServiceKey,
    pub(super) instance: InstanceName,
    pub(super) at: UnixMs,
    pub(super) from: Health,
    /// Health after and why; none when it was removed.
    pub(super) to: Option<(Health, Reason)>,
    pub(super) message: String,
    pub(super) evidence: Option<String>,
}
