//! One lease, shared between those who hear its heartbeats and the engine.
//!
//! A plain pass of a program that is well changes nothing: it stores the time, and the engine looks at that when the lease would expire.
//! Everything else is a message to the engine. Three rules keep their order:
//!
//! - While a message is on its way, further heartbeats become messages too, so that none overtakes it.
//! - Who hears stores the time first and then asks whether the lease is quiet; who lets it expire ends the quiet first and then reads the
//!   time. So a heartbeat that comes while its lease expires is either seen there, or becomes a message.
//! - Likewise a removal marks the lease first and then reads the time. So a heartbeat that comes meanwhile either prevents the removal, or is
//!   not acknowledged.

use std::time::Duration;

use uuid::Uuid;

use crate::model::service::CheckId;
use crate::model::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use crate::model::time::UnixMs;

/// Most messages of one lease that are on their way.
pub(crate) const MAX_PENDING: u32 = 16;
/// Set while a plain pass changes nothing.
const QUIET: u32 = 1 << 31;
/// Set while its instance is being removed.
const LEAVING: u32 = 1 << 30;

/// When a program was heard last, and whether its next plain pass would change anything.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(crate) service: Uuid,
    /// Whose it is.
    pub(crate) check: CheckId,
    /// The time within which the next heartbeat is due.
    pub(crate) ttl: Duration,
    /// On the leases' clock.
    heard: AtomicI64,
    /// [`QUIET`], [`LEAVING`], and the number of messages on their way.
    state: AtomicU32,
}

impl Lease {
    /// A lease that was renewed at `heard`.
    pub(crate) fn new(service: Uuid, check: CheckId, ttl: Duration, heard: UnixMs) -> Self {
        Self { service, check, ttl, heard: AtomicI64::new(heard.0), state: AtomicU32::new(0) }
    }

    /// Renews it at `at`, leases' clock. Returns whether that may be acknowledged: not while its instance is being removed.
    #[must_use]
    pub(crate) fn hear(&self, at: UnixMs) -> bool {
        self.heard.store(at.0, Ordering::SeqCst);
        self.state.load(Ordering::SeqCst) & LEAVING == 0
    }

    /// Ends acknowledgements because its instance is to be removed, unless it was renewed after `heard`. Returns whether it was not.
    pub(crate) fn leave(&self, heard: UnixMs) -> bool {
        self.state.fetch_or(LEAVING, Ordering::SeqCst);
        let is_silent = self.heard() == heard;
        if !is_silent {
            self.stay();
        }
        is_silent
    }

    /// Its instance was not removed after all.
    pub(crate) fn stay(&self) {
        self.state.fetch_and(!LEAVING, Ordering::SeqCst);
    }

    /// When it was renewed last, leases' clock.
    pub(crate) fn heard(&self) -> UnixMs {
        UnixMs(self.heard.load(Ordering::SeqCst))
    }

    /// When it expires unless it is renewed, leases' clock.
    pub(crate) fn expires(&self) -> UnixMs {
        self.heard().plus(self.ttl)
    }

    /// Whether a plain pass changes nothing, and no message is on its way. Asked after [`Lease::hear`].
    pub(crate) fn is_quiet(&self) -> bool {
        self.state.load(Ordering::SeqCst) == QUIET
    }

    /// Counts a message that goes to the engine; refuses it if too many are on their way.
    pub(crate) fn begin_message(&self) -> bool {
        let before = self.state.fetch_add(1, Ordering::SeqCst) & !(QUIET | LEAVING);
        if before >= MAX_PENDING {
            self.end_message();
            return false;
        }
        true
    }

    /// A message was handled, or not sent after all.
    pub(crate) fn end_message(&self) {
        self.state.fetch_sub(1, Ordering::SeqCst);
    }

    /// Says whether a plain pass changes nothing from now on. Only the engine does.
    pub(crate) fn set_quiet(&self, quiet: bool) {
        if quiet {
            self.state.fetch_or(QUIET, Ordering::SeqCst);
        } else {
            self.state.fetch_and(!QUIET, Ordering::SeqCst);
        }
    }

    /// Ends the quiet if it has expired at `now`, leases' clock. Returns whether it has.
    pub(crate) fn lapse(&self, now: UnixMs) -> bool {
        if self.expires() > now {
            return false;
        }
        let was_quiet = self.state.fetch_and(!QUIET, Ordering::SeqCst) & QUIET != 0;
        let lapsed = self.expires() <= now;
        if !lapsed && was_quiet {
            self.set_quiet(true);
        }
        lapsed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease() -> Lease {
        Lease::new(Uuid::nil(), CheckId::plain(1), Duration::from_secs(10), UnixMs(0))
    }

    #[test]
    fn it_expires_when_it_was_not_renewed() {
        let lease = lease();
        lease.set_quiet(true);
        assert!(!lease.lapse(UnixMs(9_999)) && lease.is_quiet());
        assert!(lease.hear(UnixMs(5_000)));
        assert!(!lease.lapse(UnixMs(14_999)));
        assert!(lease.lapse(UnixMs(15_000)) && !lease.is_quiet());
    }

    #[test]
    fn while_messages_are_on_their_way_nothing_is_quiet() {
        let lease = lease();
        lease.set_quiet(true);
        assert!(lease.begin_message() && !lease.is_quiet());
        lease.set_quiet(true);
        assert!(!lease.is_quiet());
        lease.end_message();
        assert!(lease.is_quiet());
        assert_eq!((0..100).filter(|_| lease.begin_message()).count(), MAX_PENDING as usize);
    }

    #[test]
    fn what_leaves_is_not_renewed_and_what_was_renewed_does_not_leave() {
        let lease = lease();
        lease.set_quiet(true);
        assert!(lease.leave(UnixMs(0)) && !lease.is_quiet());
        assert!(lease.begin_message(), "what is on its way is counted all the same");
        lease.end_message();
        assert!(!lease.hear(UnixMs(5_000)), "it may not be acknowledged");
        lease.stay();
        assert!(lease.is_quiet() && lease.hear(UnixMs(6_000)));
        assert!(!lease.leave(UnixMs(0)), "it was renewed");
        assert!(lease.hear(UnixMs(7_000)), "so it stays");
    }
}
