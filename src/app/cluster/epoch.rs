//! Finds out which cluster this is, before anything else starts. Without an answer and without a mirror file, the server only reports
//! that it is waiting, and for what.

use std::pin::pin;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::api::{WaitingRoom, conn};
use crate::app::startup::Startup;
use crate::app::{AppError, component_settings};
use crate::catalog::Epoch;
use crate::operator::kubernetes::epoch::{EpochError, Registry};
use crate::store::MirrorFile;

pub(super) struct KnownEpoch {
    pub(super) epoch: Epoch,
    /// It comes from the file; the Kubernetes API has not confirmed it yet.
    pub(super) unconfirmed: bool,
    /// Time since the file was written; zero if there is none.
    pub(super) file_age: Duration,
}

/// Asks the Kubernetes API, then the mirror's file, then waits for the API. `None` if shutdown comes first.
pub(super) async fn find(startup: &Startup, registry: &Registry) -> Result<Option<KnownEpoch>, AppError> {
    let file = MirrorFile::peek(&startup.settings.db_path);
    let file_age = file.as_ref().map_or(Duration::ZERO, |file| file.age);
    let answer = tokio::select! {
        answer = registry.epoch() => answer,
        () = startup.shutdown.cancelled() => return Ok(None),
    };
    let known = |epoch, unconfirmed| KnownEpoch { epoch, unconfirmed, file_age };
    let found = match (answer, file) {
        (Ok(epoch), _) => Some(known(epoch, false)),
        (Err(error), Some(file)) => {
            let seconds = file_age.as_secs();
            tracing::warn!("{error}; serving from the mirror's file, written {seconds} s ago");
            Some(known(file.epoch, true))
        }
        (Err(error), None) => wait(startup, registry, &error).await?.map(|epoch| known(epoch, false)),
    };
    Ok(found)
}

/// Answers requests with the reason for waiting until the Kubernetes API answers.
async fn wait(startup: &Startup, registry: &Registry, first: &EpochError) -> Result<Option<Epoch>, AppError> {
    tracing::warn!("not ready: {first}; retrying");
    let room = WaitingRoom::new(&first.to_string());
    let leave = CancellationToken::new();
    let settings = startup.conn_settings();
    let listener = same_socket(startup)?;
    let mut serving = pin!(conn::serve(listener, settings, room.clone(), startup.metrics.clone(), leave.clone()));
    let found = tokio::select! {
        epoch = registry.wait(|error| update(&room, error)) => Some(epoch),
        () = startup.shutdown.cancelled() => None,
        ended = &mut serving => return ended.map(|()| None).map_err(AppError::from),
    };
    leave.cancel();
    serving.await?;
    Ok(found)
}

fn update(room: &WaitingRoom, error: &EpochError) {
    if room.set_reason(error.to_string()) {
        tracing::warn!("not ready: {error}; retrying");
    }
}

/// A second handle of the listening socket, so that no connection is refused when the wait ends.
fn same_socket(startup: &Startup) -> Result<TcpListener, AppError> {
    use std::os::fd::AsFd;
    let handle = startup.listener.as_fd().try_clone_to_owned().map(std::net::TcpListener::from);
    handle.and_then(TcpListener::from_std).map_err(|why| component_settings::cannot_listen(&startup.settings, why))
}
