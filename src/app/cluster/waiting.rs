//! The start: until it is known which cluster this is, a server without a mirror only says that it waits, and what for.

use std::pin::pin;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::api::{WaitingRoom, conn};
use crate::app::base::Base;
use crate::app::{AppError, parts};
use crate::catalog::Epoch;
use crate::operator::kubernetes::epoch::{EpochError, Registry};
use crate::store::MirrorFile;

/// Which cluster it is.
pub(super) struct Known {
    pub(super) epoch: Epoch,
    /// It is what the file says: the Kubernetes API was not heard.
    pub(super) unconfirmed: bool,
    /// Time since the file was written; none at all where there is none.
    pub(super) age: Duration,
}

/// Asks the Kubernetes API; where that does not tell, the file does; where there is none either, waits. None when it is told to stop first.
pub(super) async fn until_known(base: &Base, registry: &Registry) -> Result<Option<Known>, AppError> {
    let file = MirrorFile::peek(&base.settings.db_path);
    let age = file.as_ref().map_or(Duration::ZERO, |file| file.age);
    let asked = tokio::select! {
        asked = registry.epoch() => asked,
        () = base.shutdown.cancelled() => return Ok(None),
    };
    let found = match (asked, file) {
        (Ok(epoch), _) => Some(Known { epoch, unconfirmed: false, age }),
        (Err(error), Some(file)) => {
            let seconds = age.as_secs();
            tracing::warn!("{error}; what is served comes from the mirror's file, written {seconds} s ago");
            Some(Known { epoch: file.epoch, unconfirmed: true, age })
        }
        (Err(error), None) => wait(base, registry, &error).await?.map(|epoch| Known { epoch, unconfirmed: false, age }),
    };
    Ok(found)
}

async fn wait(base: &Base, registry: &Registry, first: &EpochError) -> Result<Option<Epoch>, AppError> {
    tracing::warn!("not ready: {first}; this is tried again");
    let room = WaitingRoom::new(&first.to_string());
    let leave = CancellationToken::new();
    let doors = parts::conn_settings(&base.settings, base.descriptors);
    let listener = second(base)?;
    let mut serving = pin!(conn::serve(listener, doors, room.clone(), base.metrics.clone(), leave.clone()));
    let found = tokio::select! {
        epoch = registry.wait(|error| hear(&room, error)) => Some(epoch),
        () = base.shutdown.cancelled() => None,
        ended = &mut serving => return ended.map(|()| None).map_err(AppError::from),
    };
    leave.cancel();
    serving.await?;
    Ok(found)
}

fn hear(room: &WaitingRoom, error: &EpochError) {
    if room.because(error.to_string()) {
        tracing::warn!("not ready: {error}; this is tried again");
    }
}

/// The same socket once more, so that no connection is refused when the room is left.
fn second(base: &Base) -> Result<TcpListener, AppError> {
    use std::os::fd::AsFd;
    let twice = base.listener.as_fd().try_clone_to_owned().map(std::net::TcpListener::from);
    twice.and_then(TcpListener::from_std).map_err(|why| parts::cannot_listen(&base.settings, why))
}
