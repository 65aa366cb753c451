//! What only cluster mode is told.

use std::net::IpAddr;

use crate::model::name::Namespace;

/// The word that was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum ModeWord {
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
    Cluster(ClusterSettings),
}

/// What cluster mode is told of its place. What is not given is taken from the pod or the kubeconfig file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClusterSettings {
    /// Namespaces whose services are taken in; empty for all.
    pub watch_namespaces: Vec<Namespace>,
    /// Namespaces that registrations may write to; empty for the server's own. [`Self::rest_namespaces`] reads it.
    pub rest_namespaces: Vec<Namespace>,
    /// The kubeconfig's context.
    pub context: Option<String>,
    /// What this replica calls itself.
    pub pod_name: Option<String>,
    /// The server's own namespace.
    pub pod_namespace: Option<Namespace>,
    /// Where the other replicas reach this one.
    pub pod_ip: Option<IpAddr>,
}

/// Registrations would be written where nobody here would see them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "registrations would go to the namespace {0}, which is not watched; add it to PORTOLAN_WATCH_NAMESPACES, or name a watched one in PORTOLAN_REST_NAMESPACES"
)]
pub struct NotWatched(pub Namespace);

impl ClusterSettings {
    /// The namespaces that registrations may write to, at least one; the first is the default one.
    ///
    /// # Errors
    /// [`NotWatched`] when one of them is not among the watched ones.
    pub fn rest_namespaces(&self, own: &Namespace) -> Result<Vec<Namespace>, NotWatched> {
        let names = if self.rest_namespaces.is_empty() { vec![own.clone()] } else { self.rest_namespaces.clone() };
        match names.iter().find(|name| !self.watches(name)) {
            Some(name) => Err(NotWatched(name.clone())),
            None => Ok(names),
        }
    }

    /// Whether services of this namespace are taken in.
    pub fn watches(&self, namespace: &Namespace) -> bool {
        self.watch_namespaces.is_empty() || self.watch_namespaces.contains(namespace)
    }
}
