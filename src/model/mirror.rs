//! What the operator hands to the store in cluster mode: services as the Kubernetes API holds them, validated.

use std::sync::Arc;

use uuid::Uuid;

use super::name::{InstanceName, ServiceKey};
use super::outcome::{Health, Reason};
use super::service::{InstanceSpec, Owner, Source};
use super::time::UnixMs;

/// A service as its object says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirrored {
    /// Namespace and name.
    pub key: ServiceKey,
    /// The object's uid.
    pub id: Uuid,
    /// Who made the object.
    pub source: Source,
    /// The object's creation.
    pub registered_at: UnixMs,
    /// The object's last write, by its `managedFields`; its creation where these tell no time. The same on every replica.
    pub updated_at: UnixMs,
    /// The object's resourceVersion.
    pub revision: u64,
    /// 1 to 256, by name.
    pub instances: Vec<MirroredInstance>,
}

/// An instance as the object says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MirroredInstance {
    /// Its name.
    pub name: InstanceName,
    /// What was applied or registered.
    pub spec: Arc<InstanceSpec>,
    /// Who registered it; `anonymous` for a manifest's.
    pub owner: Owner,
    /// What `If-Match` compares on its removal, the same on every replica and greater for what was registered later; none for a manifest's.
    pub generation: Option<u64>,
    /// What the object's status says of it; none where it says nothing, or spoke of another URL or check.
    pub reported: Option<ReportedHealth>,
}

/// The leader's verdict on an instance, as status carries it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportedHealth {
    /// Health.
    pub health: Health,
    /// Why.
    pub reason: Reason,
    /// Since when, wall clock.
    pub since: UnixMs,
    /// The leader's sentence on it; empty when there is none.
    pub message: String,
}

/// One thing that the watch, a list or a write's answer says. Older than what is known of the same object, it is dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MirrorChange {
    /// The object is there.
    Put(Mirrored),
    /// The object is gone, or about to be (`deletionTimestamp`), or no longer a valid service.
    Remove {
        /// Namespace and name.
        key: ServiceKey,
        /// The object's uid; another object of the name stays.
        id: Uuid,
        /// The resourceVersion of the removal.
        revision: u64,
    },
}

/// Whose verdict on health counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VerdictsFrom {
    /// Status: another replica probes.
    Status,
    /// This process probes; status is read only for instances that it does not know yet.
    Here,
}
