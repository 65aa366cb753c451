//! What callers ask of the writer, and how it answers.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::pending::Ticket;
use crate::model::mirror::{MirrorChange, Mirrored, VerdictsFrom};
use crate::model::ports::{Caller, Leadership, Registered, Registration, Removal, WriteError};
use crate::store::schema::quarantine::BadRow;
use crate::store::schema::write::{EncodedProbe, SpecColumns, Verdict};

/// Where the caller gets the result.
pub(crate) type Reply<T> = oneshot::Sender<Result<T, WriteError>>;

/// One entry of the writer's queue.
pub(crate) enum Job {
    /// A register call.
    Register(Box<Register>, Ticket, Reply<Registered>),
    /// A deregister call.
    Remove(Box<Remove>, Option<Ticket>, Reply<()>),
    /// Changes of health, as one unit; applied only while this process probes.
    Health(Vec<Verdict>, Arc<dyn Leadership>, Reply<Vec<bool>>),
    /// Objects that changed.
    Mirror(Vec<MirrorChange>, VerdictsFrom, Reply<()>),
    /// A finished list of all objects.
    MirrorAll(Box<List>, Reply<()>),
    /// Probe rows.
    Probes(Vec<EncodedProbe>, Reply<()>),
    /// Rows that the history reader could not read.
    Quarantine(Vec<BadRow>),
    /// Checks for history that is too old, and for the file itself.
    Trim,
    /// Does what waits for an idle moment.
    Idle,
    /// Closes the queue: the server stops after the jobs that are queued.
    Stop,
}

/// A register call, its columns encoded by the caller's task.
pub(crate) struct Register {
    pub(crate) registration: Registration,
    pub(crate) caller: Caller,
    pub(crate) columns: SpecColumns,
}

/// A deregister call.
pub(crate) struct Remove {
    pub(crate) removal: Removal,
    pub(crate) caller: Caller,
}

/// A finished list.
pub(crate) struct List {
    pub(crate) all: Vec<Mirrored>,
    pub(crate) revision: u64,
    pub(crate) verdicts: VerdictsFrom,
}
