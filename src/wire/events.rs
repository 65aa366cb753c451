//! The events of a watch.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Service;
use crate::model::time::UnixMs;

/// `snapshot`: a part of all services; the parts from `first` to `last` replace what was known. `S` is what a reader makes of a service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot<S = Service> {
    /// The services of this part.
    pub services: Vec<S>,
    /// Whether it is the first part.
    pub first: bool,
    /// Whether it is the last part.
    pub last: bool,
}

/// `change`: services that are new or changed, and those that are gone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change<S = Service> {
    /// New or changed, whole.
    pub upserts: Vec<S>,
    /// Removed.
    pub removed: Vec<Removed>,
}

/// A service that was removed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Removed {
    /// Its id.
    pub id: Uuid,
    /// Its namespace.
    pub namespace: Box<str>,
    /// Its name.
    pub name: Box<str>,
}

/// `server`, one of a list: something that the server reports of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerEvent {
    /// When.
    pub at: UnixMs,
    /// Which component: `store`, `prober`, `guard`, `leader`, `mirror`, `installs`, …
    pub part: Box<str>,
    /// Whether the component works as it should since then.
    #[serde(default)]
    pub good: bool,
    /// One sentence.
    pub message: Box<str>,
}

/// `end`: the last event of a watch that the server ends.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct End {
    /// The code of the refusal that the same request would get now.
    pub code: Box<str>,
    /// One sentence.
    pub error: Box<str>,
}
