//! What the writer is asked, and how it answers.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::pending::Ticket;
use crate::model::mirror::{MirrorChange, Mirrored, VerdictsFrom};
use crate::model::ports::{Caller, Leadership, Registered, Registration, Removal, WriteError};
use crate::store::schema::quarantine::BadRow;
use crate::store::schema::write::{EncodedProbe, SpecColumns, Verdict};

/// Where a waiter hears the end of its change.
pub(in crate::store) type Reply<T> = oneshot::Sender<Result<T, WriteError>>;

/// One entry of the writer's queue.
pub(in crate::store) enum Job {
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
    Rest,
    /// The server stops: no more jobs after those that are queued.
    Stop,
}

/// A register call with its columns encoded by the caller's task, off the writer.
pub(in crate::store) struct Register {
    pub(in crate::store) registration: Registration,
    pub(in crate::store) caller: Caller,
    pub(in crate::store) columns: SpecColumns,
}

/// A deregister call.
pub(in crate::store) struct Remove {
    pub(in crate::store) removal: Removal,
    pub(in crate::store) caller: Caller,
}

/// A finished list.
pub(in crate::store) struct List {
    pub(in crate::store) all: Vec<Mirrored>,
    pub(in crate::store) revision: u64,
    pub(in crate::store) verdicts: VerdictsFrom,
}
