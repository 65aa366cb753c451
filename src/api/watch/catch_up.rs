//! Cursors of another replica that knows of more changes than this one.

use std::time::Duration;

use tokio::time::timeout;

use super::cursor::WatchCursor;
use crate::catalog::Catalog;

/// Longest wait. Replicas learn of a change within milliseconds of one another, unless one is cut off.
const MAX_WAIT: Duration = Duration::from_secs(2);

/// Waits until this replica knows all that the cursor's replica knew, since anything older would take the client back in time. Gives up
/// after two seconds: an older state is better than none.
///
/// Only what the Kubernetes API's watch has delivered counts, because answers to this replica's own writes may be ahead of it.
pub(in crate::api) async fn catch_up(catalog: &Catalog, cursor: &WatchCursor) {
    let (mine, mut revision) = (catalog.read().mark(), catalog.watch_revision());
    let is_mine = cursor.mark.zip(mine).is_some_and(|(theirs, mine)| theirs.replica == mine.replica);
    if mine.is_none() || is_mine || cursor.epoch != *catalog.read().epoch() {
        return;
    }
    drop(timeout(MAX_WAIT, revision.wait_for(|revision| *revision >= cursor.revision)).await);
}
