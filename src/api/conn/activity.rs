//! What a connection is doing, as flags that its parts set.
//!
//! A request only stores flags: it reads no clock and arms no timer. The [watchdog](super::watchdog) reads them.

use std::io;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use futures::task::AtomicWaker;

use crate::model::sync::Arc;
use crate::model::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Opened, nothing sent yet.
    Fresh,
    /// A request's head has begun.
    Head,
    /// A request is being answered.
    InFlight,
    /// The peer takes nothing of what is written.
    Blocked,
    /// Between two requests.
    Idle,
    /// Finished; only what the peer still sends is read.
    Closing,
}

/// What a connection that may be closed to make room waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum WaitingFor {
    /// The rest of a request: nothing was done for it yet, or it was answered without its body.
    Request,
    /// Another request.
    Idle,
    /// The peer to read an answer.
    Reader,
}

/// Seconds since the server started, counted by the accepting task: reading it is nearly free.
pub(super) type SecondsClock = Arc<AtomicU32>;

/// Flags of one connection. All its parts live in one task, so plain loads and stores suffice.
#[derive(Debug, Default)]
pub(super) struct Activity {
    requests: AtomicU32,
    /// Bytes that the system accepted.
    sent: AtomicU32,
    /// How often everything written so far was sent.
    flushes: AtomicU32,
    clock: SecondsClock,
    /// The second of the last answer, or of the opening.
    used: AtomicU32,
    /// The second of the first byte of the newest head.
    began: AtomicU32,
    evicted: AtomicBool,
    waker: AtomicWaker,
    touched: AtomicBool,
    reading: AtomicBool,
    flight: AtomicBool,
    /// The handler waits for the rest of the body.
    bodiless: AtomicBool,
    blocked: AtomicBool,
    owed: AtomicBool,
    /// hyper does not have the whole body of the answer yet.
    handing: AtomicBool,
    /// That body is a stream, which may be silent for long.
    streaming: AtomicBool,
    /// A piece of it is not sent yet.
    unwritten: AtomicBool,
    /// Woken once it is.
    writer: AtomicWaker,
    closing: AtomicBool,
    unread: AtomicBool,
}

impl Activity {
    /// The activity of a connection that opens now.
    pub(super) fn new(clock: &SecondsClock) -> Self {
        Self { clock: Arc::clone(clock), used: AtomicU32::new(clock.load(Relaxed)), ..Self::default() }
    }

    /// What it waits for and since which second, where it may make room and is not evicted yet.
    pub(super) fn waiting_for(&self) -> Option<(WaitingFor, u32)> {
        if self.is_evicted() {
            return None;
        }
        match self.phase() {
            Phase::Fresh | Phase::Closing => Some((WaitingFor::Request, self.used.load(Relaxed))),
            Phase::Head => Some((WaitingFor::Request, self.began.load(Relaxed))),
            Phase::InFlight if self.bodiless.load(Relaxed) => Some((WaitingFor::Request, self.began.load(Relaxed))),
            Phase::Idle => Some((WaitingFor::Idle, self.used.load(Relaxed))),
            Phase::Blocked => Some((WaitingFor::Reader, self.used.load(Relaxed))),
            Phase::InFlight => None,
        }
    }

    /// Whether it may be closed at once: the peer has not sent a whole request, or does not read the answer.
    pub(super) fn is_unfinished(&self) -> bool {
        match self.phase() {
            Phase::Fresh | Phase::Head | Phase::Blocked | Phase::Closing => true,
            Phase::InFlight => self.bodiless.load(Relaxed),
            Phase::Idle => false,
        }
    }

    /// Has the connection end, after the request that it may have received meanwhile. From any task.
    pub(super) fn evict(&self) {
        self.evicted.store(true, Relaxed);
        self.waker.wake();
    }

    /// Whether it has to end.
    pub(super) fn is_evicted(&self) -> bool {
        self.evicted.load(Relaxed)
    }

    /// Sets the task that [`Self::evict`] wakes.
    pub(super) fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    /// Bytes were read.
    pub(super) fn read(&self) {
        self.touched.store(true, Relaxed);
        if !self.reading.load(Relaxed) {
            self.reading.store(true, Relaxed);
            self.began.store(self.clock.load(Relaxed), Relaxed);
        }
    }

    /// A head is complete and its handler starts.
    pub(super) fn request(&self) {
        self.requests.store(self.requests.load(Relaxed).wrapping_add(1), Relaxed);
        self.reading.store(false, Relaxed);
        self.flight.store(true, Relaxed);
    }

    /// Sets whether the handler waits for more of the body.
    pub(super) fn awaits_body(&self, waits: bool) {
        self.bodiless.store(waits, Relaxed);
    }

    /// The body is complete: what is read next belongs to another request.
    pub(super) fn body_done(&self) {
        self.reading.store(false, Relaxed);
    }

    /// A body was abandoned before its end.
    pub(super) fn body_left(&self) {
        self.unread.store(true, Relaxed);
    }

    /// The handler has answered.
    pub(super) fn answered(&self) {
        self.flight.store(false, Relaxed);
        self.owed.store(true, Relaxed);
        self.handing.store(true, Relaxed);
        self.used.store(self.clock.load(Relaxed), Relaxed);
    }

    /// The answer's body is a stream.
    pub(super) fn streams(&self) {
        self.streaming.store(true, Relaxed);
    }

    /// hyper has the whole answer, or needs no more of it.
    pub(super) fn handed(&self) {
        self.streaming.store(false, Relaxed);
        self.handing.store(false, Relaxed);
    }

    /// Everything written so far was sent. Between two pieces of a long body that means little.
    pub(super) fn flushed(&self) {
        match (self.streaming.load(Relaxed), self.handing.load(Relaxed)) {
            // Everything that the stream produced so far.
            (true, _) => {
                self.unwritten.store(false, Relaxed);
                self.writer.wake();
            }
            (false, true) => return,
            (false, false) => self.owed.store(false, Relaxed),
        }
        self.flushes.store(self.flushes.load(Relaxed).wrapping_add(1), Relaxed);
    }

    /// A stream's next piece, once the previous one is sent: a connection's buffer never shrinks.
    pub(super) fn one_at_a_time(
        &self,
        cx: &mut Context<'_>,
        next: impl FnOnce(&mut Context<'_>) -> Poll<Option<Bytes>>,
    ) -> Poll<Option<Bytes>> {
        if self.unwritten.load(Relaxed) {
            self.writer.register(cx.waker());
            return Poll::Pending;
        }
        let piece = next(cx);
        self.unwritten.store(matches!(piece, Poll::Ready(Some(_))), Relaxed);
        piece
    }

    /// Whether what is written now belongs to an answer of ours; else it is hyper's own refusal of a head.
    pub(super) fn expects_write(&self) -> bool {
        self.flight.load(Relaxed) || self.owed.load(Relaxed)
    }

    /// The system accepted a write, or did not.
    pub(super) fn wrote(&self, taken: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(bytes)) = taken {
            let bytes = u32::try_from(*bytes).unwrap_or(u32::MAX);
            self.sent.store(self.sent.load(Relaxed).wrapping_add(bytes), Relaxed);
        }
        self.blocked.store(taken.is_pending(), Relaxed);
    }

    /// TLS still holds bytes that the system did not accept, or does not.
    pub(super) fn held_back(&self, pending: bool) {
        self.blocked.store(pending, Relaxed);
    }

    /// Only the peer's last bytes are still read.
    pub(super) fn close(&self) {
        self.closing.store(true, Relaxed);
    }

    /// Whether closing at once would lose the answer: the peer is still sending, so the system would send a reset.
    pub(super) fn leaves_unread(&self) -> bool {
        self.unread.load(Relaxed)
    }

    /// Whether closing now would interrupt no request.
    pub(super) fn quiet(&self) -> bool {
        matches!(self.phase(), Phase::Fresh | Phase::Idle)
    }

    pub(super) fn phase(&self) -> Phase {
        if self.closing.load(Relaxed) {
            Phase::Closing
        } else if self.blocked.load(Relaxed) {
            Phase::Blocked
        } else if self.flight.load(Relaxed) || self.streaming.load(Relaxed) {
            Phase::InFlight
        } else if self.reading.load(Relaxed) {
            Phase::Head
        } else if self.touched.load(Relaxed) {
            Phase::Idle
        } else {
            Phase::Fresh
        }
    }

    pub(super) fn observe(&self, phase: Phase) -> Observation {
        let (episode, sent) = match phase {
            Phase::Blocked => (self.flushes.load(Relaxed), self.sent.load(Relaxed)),
            _ => (self.requests.load(Relaxed), 0),
        };
        Observation { phase, episode, sent }
    }
}

/// A connection's phase at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Observation {
    pub(super) phase: Phase,
    /// Differs when the phase ended and began again in between.
    pub(super) episode: u32,
    /// Bytes that the system accepted, in [`Phase::Blocked`].
    pub(super) sent: u32,
}
