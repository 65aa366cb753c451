//! SIGINT and SIGTERM ask a long-running command to stop; SIGHUP asks it to reload its files.

use futures::StreamExt;
use futures::stream::{BoxStream, pending, unfold};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Runs `work` to its end; the first SIGINT or SIGTERM cancels `shutdown`, which has to end the work.
pub(super) async fn until_stopped<T>(work: impl Future<Output = T>, shutdown: &CancellationToken) -> T {
    // Before the work reports that it runs: from then on a signal must not kill it.
    let stop_signal = stop_signal();
    tokio::pin!(work);
    tokio::select! {
        done = &mut work => return done,
        () = stop_signal => shutdown.cancel(),
    }
    work.await
}

/// Handles SIGINT and SIGTERM from now on; the future resolves at the first of them.
pub(super) fn stop_signal() -> impl Future<Output = ()> {
    // Where no handler can be installed, the signal ends the process.
    let (interrupt, terminate) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    async move {
        tokio::select! {
            () = first(interrupt) => {}
            () = first(terminate) => {}
        }
    }
}

/// Handles SIGHUP from now on, so that it never ends the process; each one is an item.
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
