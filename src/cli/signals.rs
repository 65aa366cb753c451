//! SIGINT and SIGTERM ask a long-running command to stop, SIGHUP to read again what may have changed.

use futures::StreamExt;
use futures::stream::{BoxStream, pending, unfold};
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

/// Takes SIGHUP over at once and for good, so that it never ends the process; each one is an item.
pub(super) fn hangups() -> BoxStream<'static, ()> {
    match signal(SignalKind::hangup()) {
        Ok(hangup) => unfold(hangup, |mut hangup| async move {
            hangup.recv().await?;
            Some(((), hangup))
        })
        .boxed(),
        Err(_) => pending().boxed(),
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
