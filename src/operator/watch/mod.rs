//! Follows the objects of our kind: a list in pages, then a watch from its revision, for as long as the process runs.
//!
//! A watch that ends is taken up where it ended. Only when the Kubernetes API no longer knows that place is everything listed anew; what the
//! list lacks is then gone.

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
    /// Watches `namespaces`, or all when there are none. The `client` must not have a read timeout: a quiet watch is silent for a minute.
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

    /// Watches until `stop`, whatever the Kubernetes API does.
    ///
    /// # Errors
    /// [`IngestError::Closed`] when the ingest ends first.
    pub async fn run(self, stop: CancellationToken) -> Result<(), IngestError> {
        future::try_join_all(self.followers.into_iter().map(|follower| follower.run(stop.clone()))).await.map(drop)
    }
}
