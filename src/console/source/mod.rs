//! Where the console's data comes from.
//!
//! In: requests. Out: events, the same from every source. A source implements `Source::run`.
//!
//! A source sends [`SourceEvent`]s as things happen and answers each [`Request`]. It does not end when its origin is unreachable: it sends
//! [`Link::Lost`], waits, tries again, and then sends a snapshot or only what was missed. In order: this file, [`mod@file`], [`api`].

pub mod api;
pub mod file;

use std::time::Duration;

use futures::future::BoxFuture;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::availability::Subject;
use super::data::{Availability, HistoryEntry, ProbingOfService, ServerEvent, Service};
use super::outage::OutageList;
use super::window::Window;
use crate::model::backoff::Backoff;
use crate::model::time::UnixMs;

/// Events that may wait for the console; a source that is ahead waits.
pub const EVENT_QUEUE: usize = 256;
/// Most operations under way; the console refuses more.
pub const MAX_OPERATIONS: usize = 256;
/// Requests that may wait for the source: all operations, and some for data. The console drops more of those and repeats them later.
pub const REQUEST_QUEUE: usize = MAX_OPERATIONS + 64;

/// What a source can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abilities {
    /// Whether it can check, drain and deregister.
    pub acts: bool,
    /// Whether probing is live; else it is at most 2 s old.
    pub live_probing: bool,
}

/// The state of the connection to the origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    /// No connection yet.
    Connecting,
    /// Current.
    Live,
    /// Unreachable; the screen shows older data.
    Lost {
        /// One sentence: what happened and what helps.
        why: Box<str>,
        /// When the next attempt is made, wall clock.
        retry_at: UnixMs,
    },
}

/// What a source sends.
#[derive(Debug, Clone, PartialEq)]
pub enum SourceEvent {
    /// The link changed.
    Link(Link),
    /// The origin was heard, if only by a sign of life. A source whose origin gives none never sends this.
    Heard,
    /// When the data that is shown was written, from a source that knows this while its link is not live.
    AsOf(UnixMs),
    /// All services, in place of those known before.
    Snapshot(Vec<Service>),
    /// New or changed services, and ids of removed ones.
    Changes(Vec<Service>, Vec<Uuid>),
    /// The answer to [`Request::Probing`]; none when the service was removed.
    Probing(Uuid, Option<Box<ProbingOfService>>),
    /// Why a [`Request::Probing`] has no answer.
    NoProbing(Box<str>),
    /// The answer to [`Request::History`]: newest first, and the number to continue with when there is more.
    History(Uuid, Vec<HistoryEntry>, Option<i64>),
    /// Why a [`Request::History`] of that service has no answer.
    NoHistory(Uuid, Box<str>),
    /// The answer to [`Request::Strips`], or why there is none.
    Strips(Subject, Result<Vec<(Window, Availability)>, Box<str>>),
    /// The answer to [`Request::Shares`] for these services, or why there is none.
    Shares(Vec<Uuid>, Result<Vec<Availability>, Box<str>>),
    /// The answer to [`Request::Outages`], or why there is none.
    Outages(Window, Result<OutageList, Box<str>>),
    /// Events of the server itself, newest last, in place of those known before.
    Server(Vec<ServerEvent>),
    /// The answer to [`Request::Operate`] with that number.
    OperationDone(u64, Result<Done, Refusal>),
}

/// What an operation did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// In words.
    pub how: Box<str>,
    /// What it showed.
    pub showed: Showed,
}

/// What an operation showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Showed {
    /// That all is well.
    Well,
    /// A probe that failed.
    Fault,
    /// That there is no check.
    NoCheck,
}

impl<T: Into<Box<str>>> From<T> for Done {
    fn from(how: T) -> Self {
        Self { how: how.into(), showed: Showed::Well }
    }
}

/// Why an operation was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The stable code, such as `manifest_owned`; empty when the server was not reached.
    pub code: Box<str>,
    /// One sentence that says what to do.
    pub message: Box<str>,
}

/// What the console requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// The probing of these services, now; the visible ones, at most 256.
    Probing(Vec<Uuid>),
    /// The history of a service, older than that number when it is given.
    History(Uuid, Option<i64>),
    /// How available a service or an instance was, in each window, with strips.
    Strips(Subject),
    /// How available these services were in the column's window, at most 100.
    Shares(Vec<Uuid>),
    /// The outages of all services within a window.
    Outages(Window),
    /// Perform an operation; the number comes back with the answer.
    Operate(u64, Operation),
    /// Try again at once instead of waiting for the next attempt.
    Retry,
}

/// An operation on one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// Probe every instance now, and only show what is found.
    Observe(Uuid),
    /// Probe every instance now, and let what is found decide the health at once.
    Check(Uuid),
    /// Take an instance out of selection.
    Drain {
        /// The service.
        service: Uuid,
        /// The instance.
        instance: Box<str>,
        /// Why, for people; not empty.
        reason: Box<str>,
    },
    /// Bring a drained instance back, with the weight that it has.
    Undrain {
        /// The service.
        service: Uuid,
        /// The instance.
        instance: Box<str>,
    },
    /// Say that what fails is known.
    Acknowledge {
        /// The service.
        service: Uuid,
        /// Only this instance.
        instance: Option<Box<str>>,
        /// For people; not empty.
        note: Box<str>,
        /// After how many seconds it ends by itself at the latest.
        seconds: Option<u64>,
    },
    /// Take that back.
    Unacknowledge {
        /// The service.
        service: Uuid,
        /// Only of this instance.
        instance: Option<Box<str>>,
    },
    /// Deregister an instance, if it is still of that generation.
    Deregister {
        /// The service.
        service: Uuid,
        /// The instance.
        instance: Box<str>,
        /// The generation on the screen when the user asked for it.
        generation: u64,
    },
}

/// A source. It receives `requests`, sends `events`, and returns when `stop` is cancelled or nobody listens.
pub trait Source: Send + 'static {
    /// For the header: where the data comes from (`file /var/lib/portolan/services.db`, `server http://127.0.0.1:8080`).
    fn name(&self) -> String;
    /// What it can do.
    fn abilities(&self) -> Abilities;
    /// Runs until `stop` is cancelled or nobody listens.
    fn run(
        self: Box<Self>,
        events: mpsc::Sender<SourceEvent>,
        requests: mpsc::Receiver<Request>,
        stop: CancellationToken,
    ) -> BoxFuture<'static, ()>;
}

/// Pauses between attempts to reach the origin.
const RECONNECT_BACKOFF: Backoff = Backoff::exact(Duration::from_millis(500), Duration::from_secs(5));
