//! What the operator hands to the store in cluster mode: services as the Kubernetes API holds them, validated.

use std::sync::Arc;

use uuid::Uuid;

use super::acknowledgement::Acknowledgement;
use super::name::{CheckName, InstanceName, ServiceKey};
use super::outcome::{Health, Reason};
use super::service::{Drain, InstanceSpec, Owner, Source, Warning};
use super::time::UnixMs;

/// A service as its object describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirrored {
    /// Namespace and name.
    pub key: ServiceKey,
    /// The object's uid.
    pub id: Uuid,
    /// Who keeps the object.
    pub source: Source,
    /// The object's creation, wall clock.
    pub registered_at: UnixMs,
    /// The object's last write, by its `managedFields`; its creation if they have no time. The same on every replica.
    pub updated_at: UnixMs,
    /// The object's resourceVersion.
    pub revision: u64,
    /// 1 to 256, by name.
    pub instances: Vec<MirroredInstance>,
}

/// An instance as the object describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MirroredInstance {
    /// Its name.
    pub name: InstanceName,
    /// What was applied or registered.
    pub spec: Arc<InstanceSpec>,
    /// Who registered it; `anonymous` for a manifest's.
    pub owner: Owner,
    /// What `If-Match` compares on a removal: the same on every replica, and greater for what was registered later. None for a manifest's.
    pub generation: Option<u64>,
    /// Set while it is out of selection on purpose.
    pub drain: Option<Arc<Drain>>,
    /// What the object's status says of it; none if it says nothing, or refers to another URL or check.
    pub reported: Option<ReportedHealth>,
    /// Its acknowledgement in the object's status.
    pub acknowledged: Option<Arc<Acknowledgement>>,
}

/// The leader's verdict on an instance, from the object's status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportedHealth {
    /// Health.
    pub health: Health,
    /// The reason.
    pub reason: Reason,
    /// Since when, wall clock.
    pub since: UnixMs,
    /// The leader's sentence; empty if there is none.
    pub message: String,
    /// The check that decides.
    pub decided_by: CheckName,
    /// What does not pass although it is usable.
    pub warning: Option<Arc<Warning>>,
    /// The checks that do not pass besides the one that decides and the one of the warning.
    pub also_failing: Box<[CheckName]>,
    /// The version that its answers report.
    pub observed_version: Option<Arc<str>>,
}

impl ReportedHealth {
    /// A verdict of the plain check, without a sentence.
    pub fn new(health: Health, reason: Reason, since: UnixMs) -> Self {
        Self {
            health,
            reason,
            since,
            message: String::new(),
            decided_by: CheckName::default(),
            warning: None,
            also_failing: Box::default(),
            observed_version: None,
        }
    }
}

/// News from the watch, a list or the answer to a write. It is dropped if it is older than what is known of the object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MirrorChange {
    /// The object exists.
    Put(Mirrored),
    /// The object is deleted, is being deleted (`deletionTimestamp`), or is no longer a valid service.
    Remove {
        /// Namespace and name.
        key: ServiceKey,
        /// The object's uid; another object with that name stays.
        id: Uuid,
        /// The resourceVersion of the removal.
        revision: u64,
    },
}

/// Whose verdict on health counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VerdictsFrom {
    /// The status's: another replica probes.
    Status,
    /// This process's, because it probes; status counts only for instances that are new here.
    Here,
}
