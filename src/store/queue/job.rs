//! What the writer is asked, and how it answers.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::pending::Ticket;
use crate::model::mirror::{MirrorChange, Mirrored, VerdictsFrom};
use crate::model::ports::{Caller, Leadership, Registered, Registration, Removal, WriteError};
use crate::store::schema::quarantine::BadRow;
use crate::store::schema::write::{EncodedProbe, SpecColumns, Verdict};

/// Where a waiter hears the end of its change.
pub(crate) type Reply<T> = oneshot::Sender<Result<T, WriteError>>;

/// One entry of the writer's queue.
pub(crate) enum Job {
    /// A register call.
    Register(Box<Register>, Ticket, Reply<Registered>),
    /// A deregister call.
    Remove(Box<Remove>, Option<Ticket>, Reply<()>),
    /// Changes of health, together, while this process probes.
    Health(Vec<Verdict>, Arc<dyn Leadership>, Reply<Vec<bool>>),
    /// What objects say.
    Mirror(Vec<MirrorChange>, VerdictsFrom, Reply<()>),
    /// What all objects say.
    MirrorAll(Box<List>, Reply<()>),
    /// What probing left behind.
    Probes(Vec<EncodedProbe>, Reply<()>),
    /// Rows that a reader of history could not read.
    Quarantine(Vec<BadRow>),
    /// Time to look for what grew old.
    Trim,
    /// Time for what is to be done when there is nothing else to do.
    Idle,
    /// The server stops: no more jobs after those that are queued.
    Stop,
}

/// A register call with its columns encoded by the caller's task, off the writer.
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
