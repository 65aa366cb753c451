//! What callers ask the writer to do, and how it answers.

use std::collections::HashSet;
use std::sync::Arc;

use tokio::sync::oneshot;
use uuid::Uuid;

use super::pending::Ticket;
use crate::model::mirror::{MirrorChange, Mirrored, VerdictsFrom};
use crate::model::name::{InstanceName, ServiceKey};
use crate::model::ports::{
    AcknowledgementChange, Caller, DrainChange, InstanceRef, Leadership, Registered, Registration, Removal, ServiceRef,
    WriteError,
};
use crate::model::service::{Drain, Service};
use crate::model::time::UnixMs;
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
    /// A drain, or the end of one.
    Drain(Box<DrainCall>, Option<Ticket>, Reply<Arc<Service>>),
    /// An acknowledgement, or the end of one.
    Acknowledge(Box<AcknowledgeCall>, Option<Ticket>, Reply<Arc<Service>>),
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
    pub(crate) origin: Origin,
}

/// What an imported instance was elsewhere; without it, a new one begins now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// The id of its service, if that is new, too.
    pub id: Option<Uuid>,
    /// When it was first registered.
    pub registered_at: Option<UnixMs>,
    /// Why it is out of selection.
    pub drain: Option<Arc<Drain>>,
}

/// A deregister call.
pub(crate) struct Remove {
    pub(crate) removal: Removal,
    pub(crate) caller: Caller,
}

/// A call that drains an instance, or ends that.
pub(crate) struct DrainCall {
    pub(crate) instance: InstanceRef,
    pub(crate) change: DrainChange,
    pub(crate) caller: Caller,
}

/// A call that acknowledges what fails of a service or an instance, or ends that.
pub(crate) struct AcknowledgeCall {
    pub(crate) service: ServiceRef,
    pub(crate) instance: Option<InstanceName>,
    pub(crate) change: AcknowledgementChange,
    pub(crate) caller: Caller,
}

/// A finished list.
pub(crate) struct List {
    pub(crate) all: Vec<Mirrored>,
    /// Objects that exist and of which nothing is known yet: what the catalog has of them stays.
    pub(crate) kept: HashSet<ServiceKey>,
    pub(crate) revision: u64,
    pub(crate) verdicts: VerdictsFrom,
}
