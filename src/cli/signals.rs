//! SIGINT and SIGTERM ask a long-running command to stop.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Runs `work` to its end; the first SIGINT or SIGTERM cancels `shutdown`, and the work is expected to follow.
pub(super) async fn until_told<T>(work: impl Future<Output = T>, shutdown: &CancellationToken) -> T {
    // Before the work says that it runs: from then on a signal must not end it the system's way.
    let told = told();
    tokio::pin!(work);
    tokio::select! {
        done = &mut work => return done,
        () = told => shutdown.cancel(),
    }
    work.await
}

/// Takes SIGINT and SIGTERM over at once; the future resolves at the first of them.
pub(super) fn told() -> impl Future<Output = ()> {
    // Where the system gives no handler, its own default ends the process.
    let (interrupt, terminate) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    async move {
        tokio::select! {
            () = first(interrupt) => {}
            () = first(terminate) => {}
        }
    }
}

async fn first(signal: std::io::Result<Signal>) {
    match signal {
        Ok(mut signal) => {
            signal.recv().await;
        }
        Err(_) => std::future::pending().await,
    }
}
