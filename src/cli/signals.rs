//! SIGINT and SIGTERM ask a long-running command to stop.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Runs `work` to its end; the first SIGINT or SIGTERM cancels `shutdown`, and the work is expected to follow.
pub(super) async fn until_told<T>(work: impl Future<Output = T>, shutdown: &CancellationToken) -> T {
    tokio::pin!(work);
    tokio::select! {
        done = &mut work => return done,
        () = told() => shutdown.cancel(),
    }
    work.await
}

/// Resolves at the first SIGINT or SIGTERM.
pub(super) async fn told() {
    let wait = |kind| async move {
        match signal(kind) {
            Ok(mut signal) => {
                signal.recv().await;
            }
            // The system gives no handler: its own default ends the process.
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = wait(SignalKind::interrupt()) => {}
        () = wait(SignalKind::terminate()) => {}
    }
}
