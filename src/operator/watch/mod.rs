//! Follows the objects of our kind: a list in pages, then a watch from its revision, as long as the process runs.
//!
//! In: the Kubernetes API's list and watch. Out: messages for [`ingest`]: lists, objects, removals, progress.
//!
//! A watch that ends is resumed where it ended. Everything is listed again only if the Kubernetes API no longer knows that revision; what
//! that list lacks was removed.
//!
//! 1. [`follow`]: one scope, by list and watch.
//! 2. [`error`]: what can go wrong, with the remedy.

mod error;
mod follow;

use futures::future;
use kube::Client;
use tokio_util::sync::CancellationToken;

use crate::model::name::Namespace;
use crate::operator::ingest::{self, Ingest, IngestError};
use crate::operator::kubernetes::health::ApiHealth;
use crate::telemetry::metrics::Metrics;
use follow::Follower;

/// The part that watches.
pub struct Watch {
    followers: Vec<Follower>,
}

impl Watch {
    /// Watches `namespaces`, or all if it is empty. The `client` must not have a read timeout: a quiet watch is silent for a minute.
    pub fn new(
        client: &Client,
        namespaces: &[Namespace],
        ingest: &Ingest,
        api_health: &ApiHealth,
        metrics: &Metrics,
    ) -> Self {
        let follower =
            |scope| Follower::new(client.clone(), scope, ingest.clone(), api_health.clone(), metrics.clone());
        Self { followers: ingest::scopes(namespaces).into_iter().map(follower).collect() }
    }

    /// Watches until `stop`, whatever happens to the Kubernetes API.
    ///
    /// # Errors
    /// [`IngestError::Closed`] when the ingest task ends first.
    pub async fn run(self, stop: CancellationToken) -> Result<(), IngestError> {
        future::try_join_all(self.followers.into_iter().map(|follower| follower.run(stop.clone()))).await.map(drop)
    }
}
