//! Cursors of another replica that has heard more than this one.

use std::time::Duration;

use tokio::time::timeout;

use super::cursor::WatchCursor;
use crate::catalog::Catalog;

/// Longest wait. Replicas hear of a change within milliseconds of one another; one that is cut off does not.
const PATIENCE: Duration = Duration::from_secs(2);

/// Waits until all that the cursor's writer had heard of is known here too: what is older would take the client back. Gives up after
/// two seconds, since what is known is better than nothing.
pub(super) async fn caught_up(catalog: &Catalog, cursor: &WatchCursor) {
    let (snapshot, mut feed) = catalog.subscribe();
    if cursor.epoch != *snapshot.epoch() || cursor.revision <= snapshot.revision() {
        return;
    }
    drop(snapshot);
    let reached = async {
        // Whatever else comes than a batch from before the cursor, the catalog is looked at again.
        while feed.next().await.is_ok_and(|batch| batch.revision < cursor.revision) {}
    };
    drop(timeout(PATIENCE, reached).await);
}
