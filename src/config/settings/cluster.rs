//! The mode, and where cluster mode may write.

use super::ClusterSettings;
use crate::model::name::Namespace;

/// A mode's name, as it is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum ModeName {
    #[default]
    Standalone,
    Cluster,
}

/// How the registry runs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Mode {
    /// The SQLite file is the registry.
    #[default]
    Standalone,
    /// The Kubernetes API is.
    Cluster(Box<ClusterSettings>),
}

/// Registrations would be written where this server does not see them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "registrations would go to the namespace {0}, which is not watched; add it to PORTOLAN_WATCH_NAMESPACES, or name a watched one in PORTOLAN_REST_NAMESPACES"
)]
pub struct NotWatched(pub Namespace);

impl ClusterSettings {
    /// The namespaces that registrations may write to, at least one; the first is the default one.
    ///
    /// # Errors
    /// [`NotWatched`] when one of them is not watched.
    pub fn rest_namespaces(&self, own: &Namespace) -> Result<Vec<Namespace>, NotWatched> {
        let names = if self.rest_namespaces.is_empty() { vec![own.clone()] } else { self.rest_namespaces.clone() };
        match names.iter().find(|name| !self.watches(name)) {
            Some(name) => Err(NotWatched(name.clone())),
            None => Ok(names),
        }
    }

    /// Whether services of this namespace are watched.
    pub fn watches(&self, namespace: &Namespace) -> bool {
        self.watch_namespaces.is_empty() || self.watch_namespaces.contains(namespace)
    }
}
