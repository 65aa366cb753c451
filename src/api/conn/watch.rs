//! What a connection is doing, and for how long it may.
//!
//! The hot path only stores flags: no clock is read and no timer is armed for a request that does not linger. One coarse timer per
//! connection looks at the flags; only a head that is incomplete or a write that is blocked arms it precisely.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures::task::AtomicWaker;
use tokio::time::Instant;

use super::ConnSettings;

/// Where a connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Opened, nothing sent yet.
    Fresh,
    /// A request's head has begun.
    Head,
    /// A request is being answered.
    Flight,
    /// The peer takes nothing of what is written.
    Blocked,
    /// Between two requests.
    Idle,
    /// Over but for what the peer still sends.
    Closing,
}

/// Whom a connection waits for that may be closed to make room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Wait {
    /// The peer, for the rest of a request: nothing was done for it yet, or it was answered without.
    Request,
    /// The peer, for another request.
    Idle,
    /// The peer, to take an answer.
    Reader,
}

/// Seconds since the server started, counted by its accepting task: reading it costs nothing.
pub(super) type Beat = Arc<AtomicU32>;

/// Flags of one connection. All its parts live in one task, so plain loads and stores suffice.
#[derive(Debug, Default)]
pub(super) struct Watch {
    requests: AtomicU32,
    /// Bytes that the system took.
    sent: AtomicU32,
    /// How often all that was written had left.
    flushes: AtomicU32,
    beat: Beat,
    /// The beat of the last answer, or of the opening.
    used: AtomicU32,
    /// The beat of the first byte of the head that was read last.
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
    /// The answer's body is not yet wholly in hyper's hands.
    handing: AtomicBool,
    /// That body goes on, however long it is silent in between.
    streaming: AtomicBool,
    /// A piece of it has not left yet.
    unwritten: AtomicBool,
    /// Who waits for that.
    writer: AtomicWaker,
    closing: AtomicBool,
    unread: AtomicBool,
}

impl Watch {
    /// Of a connection that opens now.
    pub(super) fn new(beat: &Beat) -> Self {
        Self { beat: Arc::clone(beat), used: AtomicU32::new(beat.load(Relaxed)), ..Self::default() }
    }

    /// Whom it waits for and since which beat, where it may make room and was not told to yet.
    pub(super) fn waits(&self) -> Option<(Wait, u32)> {
        if self.is_evicted() {
            return None;
        }
        match self.phase() {
            Phase::Fresh | Phase::Closing => Some((Wait::Request, self.used.load(Relaxed))),
            Phase::Head => Some((Wait::Request, self.began.load(Relaxed))),
            Phase::Flight if self.bodiless.load(Relaxed) => Some((Wait::Request, self.began.load(Relaxed))),
            Phase::Idle => Some((Wait::Idle, self.used.load(Relaxed))),
            Phase::Blocked => Some((Wait::Reader, self.used.load(Relaxed))),
            Phase::Flight => None,
        }
    }

    /// Whether closing at once does no harm that the peer did not choose: it has not sent its request whole, or does not take the answer.
    pub(super) fn is_unfinished(&self) -> bool {
        match self.phase() {
            Phase::Fresh | Phase::Head | Phase::Blocked | Phase::Closing => true,
            Phase::Flight => self.bodiless.load(Relaxed),
            Phase::Idle => false,
        }
    }

    /// Tells the connection to end, after the request that it may have got meanwhile. From any task.
    pub(super) fn evict(&self) {
        self.evicted.store(true, Relaxed);
        self.waker.wake();
    }

    /// Whether it was told to end.
    pub(super) fn is_evicted(&self) -> bool {
        self.evicted.load(Relaxed)
    }

    /// Notes the task that [`Self::evict`] wakes.
    pub(super) fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    /// Bytes came.
    pub(super) fn read(&self) {
        self.touched.store(true, Relaxed);
        if !self.reading.load(Relaxed) {
            self.reading.store(true, Relaxed);
            self.began.store(self.beat.load(Relaxed), Relaxed);
        }
    }

    /// A head is whole and its handler starts.
    pub(super) fn request(&self) {
        self.requests.store(self.requests.load(Relaxed).wrapping_add(1), Relaxed);
        self.reading.store(false, Relaxed);
        self.flight.store(true, Relaxed);
    }

    /// Whether the handler waits for more of the body.
    pub(super) fn awaits_body(&self, waits: bool) {
        self.bodiless.store(waits, Relaxed);
    }

    /// The body is whole: what is read next belongs to another request.
    pub(super) fn body_done(&self) {
        self.reading.store(false, Relaxed);
    }

    /// A body was given up before its end.
    pub(super) fn body_left(&self) {
        self.unread.store(true, Relaxed);
    }

    /// The answer is known whole.
    pub(super) fn answered(&self) {
        self.flight.store(false, Relaxed);
        self.owed.store(true, Relaxed);
        self.handing.store(true, Relaxed);
        self.used.store(self.beat.load(Relaxed), Relaxed);
    }

    /// The answer goes on until its stream ends.
    pub(super) fn streams(&self) {
        self.streaming.store(true, Relaxed);
    }

    /// hyper has the last of the answer, or wants no more of it.
    pub(super) fn handed(&self) {
        self.streaming.store(false, Relaxed);
        self.handing.store(false, Relaxed);
    }

    /// Everything written so far has left. Between two pieces of a long body that means little.
    pub(super) fn flushed(&self) {
        match (self.streaming.load(Relaxed), self.handing.load(Relaxed)) {
            // All that the stream had to say so far.
            (true, _) => {
                self.unwritten.store(false, Relaxed);
                self.writer.wake();
            }
            (false, true) => return,
            (false, false) => self.owed.store(false, Relaxed),
        }
        self.flushes.store(self.flushes.load(Relaxed).wrapping_add(1), Relaxed);
    }

    /// A stream's next piece, once the one before has left: a connection keeps the room of what it ever held at once.
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

    /// Whether what is written now belongs to an answer of ours. Else it is hyper's own refusal of a head.
    pub(super) fn expects_write(&self) -> bool {
        self.flight.load(Relaxed) || self.owed.load(Relaxed)
    }

    /// A write was taken or was not.
    pub(super) fn wrote(&self, taken: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(bytes)) = taken {
            let bytes = u32::try_from(*bytes).unwrap_or(u32::MAX);
            self.sent.store(self.sent.load(Relaxed).wrapping_add(bytes), Relaxed);
        }
        self.blocked.store(taken.is_pending(), Relaxed);
    }

    /// Only the peer's last bytes are awaited.
    pub(super) fn close(&self) {
        self.closing.store(true, Relaxed);
    }

    /// Whether closing at once would make the peer lose the answer: it is still sending, so the system would answer with a reset.
    pub(super) fn leaves_unread(&self) -> bool {
        self.unread.load(Relaxed)
    }

    /// Whether no request would be cut off by closing now.
    pub(super) fn quiet(&self) -> bool {
        matches!(self.phase(), Phase::Fresh | Phase::Idle)
    }

    pub(super) fn phase(&self) -> Phase {
        if self.closing.load(Relaxed) {
            Phase::Closing
        } else if self.blocked.load(Relaxed) {
            Phase::Blocked
        } else if self.flight.load(Relaxed) || self.streaming.load(Relaxed) {
            Phase::Flight
        } else if self.reading.load(Relaxed) {
            Phase::Head
        } else if self.touched.load(Relaxed) {
            Phase::Idle
        } else {
            Phase::Fresh
        }
    }

    fn seen(&self, phase: Phase) -> Seen {
        let (turn, sent) = match phase {
            Phase::Blocked => (self.flushes.load(Relaxed), self.sent.load(Relaxed)),
            _ => (self.requests.load(Relaxed), 0),
        };
        Seen { phase, turn, sent }
    }
}

/// What the timer saw last.
#[derive(Debug, Clone, Copy)]
struct Seen {
    phase: Phase,
    /// Differs when the phase ended in between and began anew.
    turn: u32,
    /// Bytes that the system took, while the peer is slow to.
    sent: u32,
}

/// What the timer found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finding {
    /// Nothing yet; look again then.
    Look(Instant),
    /// The phase took too long.
    Over(Phase),
}

/// Judges a [`Watch`] whenever its timer fires.
#[derive(Debug)]
pub(super) struct Watchdog {
    limits: Limits,
    seen: Seen,
    since: Instant,
}

#[derive(Debug, Clone, Copy)]
struct Limits {
    head: Duration,
    idle: Duration,
    write: Duration,
    /// Bytes that a slow peer must take in that time.
    least: u32,
}

/// The longest that an answer's last bytes are awaited.
const CLOSING: Duration = Duration::from_secs(2);

impl Watchdog {
    /// For a connection that opens now.
    pub(super) fn new(settings: &ConnSettings, now: Instant) -> Self {
        let least = u128::from(settings.write_rate) * settings.write.as_millis() / 1000;
        let least = u32::try_from(least).unwrap_or(u32::MAX).max(1);
        let limits = Limits { head: settings.head, idle: settings.idle, write: settings.write, least };
        Self { limits, seen: Seen { phase: Phase::Fresh, turn: 0, sent: 0 }, since: now }
    }

    /// Whether nothing worth the name happened since the last time.
    fn stands(&self, seen: Seen) -> bool {
        let took = seen.sent.wrapping_sub(self.seen.sent);
        seen.phase == self.seen.phase && seen.turn == self.seen.turn && took < self.limits.least
    }

    /// The first look.
    pub(super) fn first(&self) -> Instant {
        self.since + self.limits.head
    }

    /// Notes a phase that is timed exactly from here on; `None` where the coarse timer does.
    pub(super) fn urgent(&mut self, watch: &Watch, now: impl FnOnce() -> Instant) -> Option<Instant> {
        let phase = watch.phase();
        let limit = match phase {
            Phase::Fresh | Phase::Idle | Phase::Flight => return None,
            Phase::Head => self.limits.head,
            Phase::Blocked => self.limits.write,
            Phase::Closing => CLOSING.min(self.limits.write),
        };
        let seen = watch.seen(phase);
        if self.stands(seen) {
            return None;
        }
        self.seen = seen;
        self.since = now();
        Some(self.since + limit)
    }

    /// Looks.
    pub(super) fn look(&mut self, watch: &Watch, now: Instant) -> Finding {
        let phase = watch.phase();
        let seen = watch.seen(phase);
        if !self.stands(seen) {
            self.seen = seen;
            self.since = now;
        }
        let limit = match phase {
            Phase::Fresh | Phase::Head => self.limits.head,
            Phase::Blocked => self.limits.write,
            Phase::Closing => CLOSING.min(self.limits.write),
            Phase::Idle => self.limits.idle,
            Phase::Flight => return Finding::Look(now + self.limits.idle / 4),
        };
        let end = self.since + limit;
        if now >= end {
            return Finding::Over(phase);
        }
        // An idle connection that is used meanwhile is not noticed: look often enough to be a quarter late at most.
        Finding::Look(if phase == Phase::Idle { end.min(now + limit / 4) } else { end })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dog() -> (Watchdog, Watch, Instant) {
        let now = Instant::now();
        (Watchdog::new(&ConnSettings::default(), now), Watch::default(), now)
    }

    fn after(now: Instant, seconds: u64) -> Instant {
        now + Duration::from_secs(seconds)
    }

    #[test]
    fn a_connection_that_sends_nothing_ends_after_the_heads_time() {
        let (mut dog, watch, now) = dog();
        assert_eq!(dog.first(), after(now, 5));
        assert_eq!(dog.look(&watch, after(now, 4)), Finding::Look(after(now, 5)));
        assert_eq!(dog.look(&watch, after(now, 5)), Finding::Over(Phase::Fresh));
    }

    #[test]
    fn a_dripping_head_has_one_limit_from_its_first_byte() {
        let (mut dog, watch, now) = dog();
        watch.read();
        assert_eq!(dog.urgent(&watch, || after(now, 1)), Some(after(now, 6)));
        watch.read();
        assert_eq!(dog.urgent(&watch, || after(now, 4)), None, "another drop buys no time");
        assert_eq!(dog.look(&watch, after(now, 6)), Finding::Over(Phase::Head));
    }

    #[test]
    fn a_keep_alive_connection_lives_while_it_asks() {
        let (mut dog, watch, now) = dog();
        let ask = || {
            watch.read();
            watch.request();
            watch.answered();
            watch.handed();
            watch.flushed();
        };
        ask();
        assert_eq!(watch.phase(), Phase::Idle);
        assert_eq!(dog.urgent(&watch, || now), None, "a served request arms nothing");
        let Finding::Look(mut at) = dog.look(&watch, after(now, 5)) else { panic!("over") };
        for _ in 0..20 {
            ask();
            let Finding::Look(next) = dog.look(&watch, at) else { panic!("over") };
            at = next;
        }
        let start = at;
        let end = loop {
            match dog.look(&watch, at) {
                Finding::Look(next) => at = next,
                Finding::Over(phase) => break (at - start, phase),
            }
        };
        assert_eq!(end.1, Phase::Idle);
        assert!(end.0 <= Duration::from_secs(75) && end.0 >= Duration::from_secs(75 / 2), "{end:?}");
    }

    #[test]
    fn a_handler_may_take_its_time_and_a_blocked_write_may_not() {
        let (mut dog, watch, now) = dog();
        watch.read();
        watch.request();
        assert!(matches!(dog.look(&watch, after(now, 1000)), Finding::Look(_)));
        watch.answered();
        watch.wrote(&Poll::Pending);
        assert_eq!(dog.urgent(&watch, || after(now, 1000)), Some(after(now, 1010)));
        take(&watch, 40 * 1024);
        assert_eq!(dog.urgent(&watch, || after(now, 1009)), Some(after(now, 1019)), "progress buys time");
        take(&watch, 40 * 1024 - 1);
        assert_eq!(dog.urgent(&watch, || after(now, 1018)), None, "too little of it buys none");
        assert_eq!(dog.look(&watch, after(now, 1019)), Finding::Over(Phase::Blocked));
    }

    fn take(watch: &Watch, bytes: usize) {
        watch.wrote(&Poll::Ready(Ok(bytes)));
        watch.wrote(&Poll::Pending);
    }

    #[test]
    fn an_answer_that_left_whole_is_no_part_of_the_next_ones_time() {
        let (mut dog, watch, now) = dog();
        watch.wrote(&Poll::Pending);
        assert_eq!(dog.urgent(&watch, || now), Some(after(now, 10)));
        watch.wrote(&Poll::Ready(Ok(10)));
        watch.flushed();
        watch.wrote(&Poll::Pending);
        assert_eq!(dog.urgent(&watch, || after(now, 9)), Some(after(now, 19)));
        assert_eq!(dog.look(&watch, after(now, 10)), Finding::Look(after(now, 19)));
    }
}
