//! Which services changed in the catalog, for the tasks that write about them.

use std::sync::Arc;

use crate::catalog::{Catalog, Entry, Feed, FeedError};
use crate::model::name::ServiceKey;
use crate::model::outcome::Health;

/// The feed ended: the store is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the catalog's feed has ended")]
pub struct CatalogEnded;

/// What a task that follows the catalog must look at.
#[derive(Debug)]
pub(super) enum CatalogChange {
    /// This service changed, or was removed. Urgent if clients should leave it or one of its instances.
    Service { key: ServiceKey, urgent: bool },
    /// Any service may have changed: the task was too slow to keep up with the feed.
    Any,
}

/// The changes from the time of its making on.
#[derive(Debug)]
pub(super) struct CatalogChanges {
    catalog: Arc<Catalog>,
    feed: Feed,
}

impl CatalogChanges {
    pub(super) fn of(catalog: &Arc<Catalog>) -> Self {
        Self { feed: catalog.subscribe().1, catalog: Arc::clone(catalog) }
    }

    /// What changed next. Cancel safe.
    ///
    /// # Errors
    /// [`CatalogEnded`] when the store ends first.
    pub(super) async fn next(&mut self) -> Result<Vec<CatalogChange>, CatalogEnded> {
        match self.feed.next().await {
            Ok(batch) => {
                let upserts = batch.upserts.iter().map(|entry| (&entry.service().key, lost_one(entry)));
                let removed = batch.removed.iter().map(|(key, _)| (key, true));
                let changes = upserts.chain(removed);
                Ok(changes.map(|(key, urgent)| CatalogChange::Service { key: key.clone(), urgent }).collect())
            }
            Err(FeedError::Lagged) => {
                self.feed = self.catalog.subscribe().1;
                Ok(vec![CatalogChange::Any])
            }
            Err(FeedError::Ended) => Err(CatalogEnded),
        }
    }
}

/// Whether clients should leave one of its instances.
fn lost_one(entry: &Entry) -> bool {
    entry.service().instances.iter().any(|instance| instance.health == Health::Unhealthy || instance.is_drained())
}
