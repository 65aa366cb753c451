//! Cursors of another replica that has heard more than this one.

use std::time::Duration;

use tokio::time::timeout;

use super::cursor::WatchCursor;
use crate::catalog::Catalog;

/// Longest wait. Replicas hear of a change within milliseconds of one another; one that is cut off does not.
const PATIENCE: Duration = Duration::from_secs(2);

/// Waits until all that the cursor's writer had heard of is known here too: what is older would take the client back. Gives up after
/// two seconds, since what is known is better than nothing.
///
/// How far this replica is counts by what the Kubernetes API told it: the answers to its own writes may be ahead of that.
pub(super) async fn caught_up(catalog: &Catalog, cursor: &WatchCursor) {
    let (mine, mut heard) = (catalog.read().mark(), catalog.watch_revision());
    let is_mine = cursor.mark.zip(mine).is_some_and(|(theirs, mine)| theirs.replica == mine.replica);
    if mine.is_none() || is_mine || cursor.epoch != *catalog.read().epoch() {
        return;
    }
    drop(timeout(PATIENCE, heard.wait_for(|heard| *heard >= cursor.revision)).await);
}
