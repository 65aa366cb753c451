//! Where the console's data comes from: one stream of news and one way to ask, whichever source it is.
//!
//! A source is one part with [`Source::run`]: it pushes [`SourceEvent`] as it happens and answers each [`Request`]. It never ends because its
//! origin is away: it says so ([`Link::Lost`]), waits, tries again, and then sends a snapshot or just what was missed.

pub mod api;
pub mod file;

use std::time::Duration;

use futures::future::BoxFuture;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::data::{HistoryEntry, ProbingOfService, ServerEvent, Service};
use crate::model::time::UnixMs;

/// SourceEvent that may wait for the console to take them; a source that is ahead waits.
pub const EVENTS_QUEUE: usize = 256;
/// Questions that may wait for the source; the console drops what it cannot place and asks again.
pub const REQUESTS_QUEUE: usize = 64;

/// What a source can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abilities {
    /// Whether it can check, drain and deregister.
    pub acts: bool,
    /// Whether probing is live; else it is at most 2 s old.
    pub live_probing: bool,
}

/// How it stands with the origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    /// Not there yet.
    Connecting,
    /// Current.
    Live,
    /// Away; what is shown is from before.
    Lost {
        /// One sentence: what happened and what helps.
        why: Box<str>,
        /// When the next attempt is made, wall clock.
        retry_at: UnixMs,
    },
}

/// What a source tells.
#[derive(Debug, Clone, PartialEq)]
pub enum SourceEvent {
    /// The link changed.
    Link(Link),
    /// Everything, in place of what was known.
    Snapshot(Vec<Service>),
    /// What changed: new or changed services, and ids of those that are gone.
    Changes(Vec<Service>, Vec<Uuid>),
    /// The answer to [`Request::Probing`]; none when the service is gone.
    Probing(Uuid, Option<Box<ProbingOfService>>),
    /// The answer to [`Request::History`]: newest first; the number to ask on with, when there is more.
    History(Uuid, Vec<HistoryEntry>, Option<i64>),
    /// What the server says of itself, newest last, in place of what was known.
    Server(Vec<ServerEvent>),
    /// The answer to [`Request::Operation`] with that number.
    Done(u64, Result<Box<str>, Refusal>),
}

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The stable code, such as `manifest_owned`; empty when the server was not reached.
    pub code: Box<str>,
    /// One sentence that says what to do.
    pub message: Box<str>,
}

/// What the console asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// The probing of these services, now; the visible ones, at most 256.
    Probing(Vec<Uuid>),
    /// The history of a service, older than that number when it is given.
    History(Uuid, Option<i64>),
    /// Do something; the number comes back with the answer.
    Operation(u64, Operation),
    /// Look again at once instead of waiting for the next attempt.
    Retry,
}

/// An action on one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// Probe every instance now.
    Check(Uuid),
    /// Set the weight of an instance: 0 drains it.
    Weight {
        /// The service.
        service: Uuid,
        /// The instance.
        instance: Box<str>,
        /// 0 to 1000.
        weight: u16,
    },
    /// Deregister an instance, if it is still of that generation.
    Deregister {
        /// The service.
        service: Uuid,
        /// The instance.
        instance: Box<str>,
        /// As it was shown when it was asked for.
        generation: u64,
    },
}

/// A source. It is asked over `asks`, tells over `news`, and returns when `stop` is cancelled or nobody listens.
pub trait Source: Send + 'static {
    /// For the header: where the data comes from (`file /var/lib/portolan/services.db`, `server http://127.0.0.1:8080`).
    fn name(&self) -> String;
    /// What it can do.
    fn abilities(&self) -> Abilities;
    /// Works.
    fn run(
        self: Box<Self>,
        news: mpsc::Sender<SourceEvent>,
        asks: mpsc::Receiver<Request>,
        stop: CancellationToken,
    ) -> BoxFuture<'static, ()>;
}

/// Waits between attempts: 0.5 s, doubled up to 5 s.
#[derive(Debug, Clone, Copy, Default)]
pub struct Backoff(u32);

impl Backoff {
    /// The next one.
    pub fn wait(&mut self) -> Duration {
        let wait = Duration::from_millis(500 << self.0.min(4)).min(Duration::from_secs(5));
        self.0 += 1;
        wait
    }

    /// It worked.
    pub fn reset(&mut self) {
        self.0 = 0;
    }
}
