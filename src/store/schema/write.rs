//! What the writer writes. The caller's task encodes the columns, so that the writer's thread need not.

use std::sync::Arc;

use uuid::Uuid;

use super::codec;
use super::quarantine::{BadRow, Table};
use super::spans::SpanChange;
use crate::model::check::Check;
use crate::model::history::HistoryEvent;
use crate::model::name::{CheckName, InstanceName, ServiceKey};
use crate::model::outcome::{Health, Outcome, Reason, Transition};
use crate::model::probe::{HealthChange, ProbeRow};
use crate::model::service::{Instance, InstanceId, InstanceSpec, Service, Warning};
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
    /// An instance's health.
    PutHealth(Arc<Service>, InstanceId),
    /// The state of a check.
    PutState(StoredState),
    /// Whether an instance is drained.
    PutDrain(Arc<Service>, InstanceId),
    /// Whether its failure is acknowledged.
    PutAcknowledged(Arc<Service>, InstanceId),
    /// A probe row.
    PutProbe(EncodedProbe),
    /// Deletes the probe rows of an instance's further checks.
    DropNamedProbes(InstanceId),
    /// Deletes an instance.
    DropInstance(InstanceId),
    /// Deletes a service with its instances.
    DropService(i64),
    /// A row of history.
    History(HistoryRow),
    /// A service or an instance stands differently.
    Span(SpanChange),
    /// Ends the spans of a service that was removed.
    EndSpans(Uuid, UnixMs),
    /// Ends the span with that number.
    EndSpan(i64, UnixMs),
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

    /// Whether it may add spans.
    pub(crate) fn is_span(&self) -> bool {
        matches!(self, Self::Span(_))
    }

    /// Whether it changes spans.
    pub(crate) fn changes_spans(&self) -> bool {
        matches!(self, Self::Span(_) | Self::EndSpans(..) | Self::EndSpan(..))
    }

    /// If it changes spans at a moment before `earliest`: the same at that moment.
    pub(crate) fn span_not_before(&self, earliest: UnixMs) -> Option<Self> {
        match self {
            Self::Span(change) if change.at < earliest => {
                Some(Self::Span(SpanChange { at: earliest, ..change.clone() }))
            }
            Self::EndSpans(service, at) if *at < earliest => Some(Self::EndSpans(*service, earliest)),
            Self::EndSpan(id, at) if *at < earliest => Some(Self::EndSpan(*id, earliest)),
            _ => None,
        }
    }

    /// If this write loses a row of `change`: the revision up to which that table is then incomplete.
    pub(crate) fn forgets(&self) -> Option<u64> {
        match self {
            Self::Quarantine(bad, _) if bad.table == Table::Change => u64::try_from(bad.row).ok(),
            _ => None,
        }
    }
}

/// The JSON columns of a spec; none where there is nothing.
#[derive(Debug, Clone, Default)]
pub(crate) struct SpecColumns {
    pub(crate) check: Option<String>,
    pub(crate) metadata: Option<String>,
    pub(crate) tags: Option<String>,
    pub(crate) checks: Option<String>,
}

impl SpecColumns {
    pub(crate) fn of(spec: &InstanceSpec) -> Self {
        Self {
            check: (spec.check != Check::default()).then(|| codec::json(&spec.check)),
            metadata: (!spec.metadata.is_empty()).then(|| codec::json(&spec.metadata)),
            tags: (!spec.tags.is_empty()).then(|| codec::json(&spec.tags)),
            checks: (!spec.checks.is_empty()).then(|| codec::json(&spec.checks)),
        }
    }
}

/// The state of a check, encoded.
pub(crate) struct StoredState {
    pub(crate) instance: InstanceId,
    pub(crate) check: CheckName,
    pub(crate) generation: u64,
    pub(crate) json: String,
}

/// A change of health, encoded.
pub(crate) struct Verdict {
    pub(crate) health: Health,
    pub(crate) reason: Reason,
    pub(crate) since: UnixMs,
    pub(crate) warning: Option<Arc<Warning>>,
    pub(crate) also_failing: Box<[CheckName]>,
    pub(crate) observed_version: Option<Arc<str>>,
    pub(crate) message: Option<String>,
    pub(crate) transition: Option<Transition>,
    pub(crate) evidence: Option<String>,
    /// The state of the check that decides.
    pub(crate) state: StoredState,
}

impl From<HealthChange> for Verdict {
    fn from(change: HealthChange) -> Self {
        let evidence = change.transition.as_ref().and_then(|t| t.evidence.as_ref()).map(codec::json);
        let json = codec::json(&change.state);
        let HealthChange { instance, check, generation, .. } = change;
        Self {
            health: change.health,
            reason: change.reason,
            since: change.since,
            warning: change.warning.map(Arc::new),
            also_failing: change.also_failing,
            observed_version: change.observed_version.map(Into::into),
            message: change.message,
            transition: change.transition,
            evidence,
            state: StoredState { instance, check, generation, json },
        }
    }
}

/// A probe row, encoded.
pub(crate) struct EncodedProbe {
    pub(crate) instance: InstanceId,
    pub(crate) check: CheckName,
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
            check: row.check.clone(),
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
    pub(crate) event: HistoryEvent,
    pub(crate) from: Health,
    /// The new health and its reason; none if the instance was removed.
    pub(crate) to: Option<(Health, Reason)>,
    /// The check that decided it, or the default one.
    pub(crate) check: CheckName,
    pub(crate) message: String,
    pub(crate) evidence: Option<String>,
}

impl HistoryRow {
    /// A change of health that no probe decided.
    pub(crate) fn health(service: &Service, before: &Instance, after: &Instance, at: UnixMs, message: String) -> Self {
        let to = Some((after.health, after.reason));
        let check = after.decided_by.clone();
        Self { at, to, check, message, ..Self::of(HistoryEvent::Health, service, before) }
    }

    /// A removal.
    pub(crate) fn removal(service: &Service, instance: &Instance, at: UnixMs, message: String) -> Self {
        Self { at, message, ..Self::of(HistoryEvent::Removed, service, instance) }
    }

    /// The beginning, change or end of a drain.
    pub(crate) fn drain(service: &Service, instance: &Instance, at: UnixMs, message: String) -> Self {
        let event = if instance.drain.is_some() { HistoryEvent::Drained } else { HistoryEvent::Undrained };
        Self::unchanged(event, service, instance, at, message)
    }

    /// Something that leaves the health as it is.
    pub(crate) fn unchanged(
        event: HistoryEvent,
        service: &Service,
        instance: &Instance,
        at: UnixMs,
        message: String,
    ) -> Self {
        let to = Some((instance.health, instance.reason));
        Self { at, to, message, ..Self::of(event, service, instance) }
    }

    fn of(event: HistoryEvent, service: &Service, instance: &Instance) -> Self {
        Self {
            service: service.id,
            key: service.key.clone(),
            instance: instance.name.clone(),
            at: UnixMs(0),
            event,
            from: instance.health,
            to: None,
            check: CheckName::default(),
            message: String::new(),
            evidence: None,
        }
    }
}
