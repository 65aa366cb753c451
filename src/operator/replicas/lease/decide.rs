//! What a candidate does next, by what the Lease says: no clock and no network in here.
//!
//! Nobody compares wall clocks. A holder's own claim ends [`RENEW`] after it *sent* its newest renewal that was answered well; the others
//! take the Lease [`LEASE`] after they *saw* its newest change. A change is seen after it was sent, so the claim is over first, whatever the
//! clocks say and however long messages or processes are held up, as long as no clock runs half as fast again as another.

use std::net::SocketAddr;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

/// Time without a renewal after which others take over.
pub const LEASE: Duration = Duration::from_secs(15);
/// Time after a renewal was sent for which its holder counts on it.
pub const RENEW: Duration = Duration::from_secs(10);
/// The annotation with the holder's address.
pub const ADDRESS: &str = "portolan.dev/address";

/// What is to be done with the Lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    /// Make it: there is none.
    Create,
    /// Write it as ours: it is ours, nobody's, or its holder is silent.
    Claim,
    /// Leave it for this long: it is another's.
    Wait(Duration),
}

/// Who holds it, and since when the Lease says just that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) holder: String,
    renewed: Option<MicroTime>,
    duration: Duration,
    /// Our steady clock.
    at: Duration,
}

impl Seen {
    fn new(lease: &Lease, before: Option<&Self>, now: Duration) -> Self {
        let spec = lease.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.unwrap_or_default();
        let seconds = spec.lease_duration_seconds.and_then(|n| u64::try_from(n).ok()).unwrap_or(LEASE.as_secs());
        let same = before.filter(|before| before.holder == holder && before.renewed == spec.renew_time);
        let at = same.map_or(now, |before| before.at);
        Self { holder, renewed: spec.renew_time, duration: Duration::from_secs(seconds), at }
    }
}

/// By what was seen of the Lease, what `me` does with it at `now`.
pub(super) fn decide(seen: Option<&Seen>, me: &str, now: Duration) -> Decision {
    let Some(seen) = seen else { return Decision::Create };
    let left = (seen.at + seen.duration).saturating_sub(now);
    if seen.holder.is_empty() || seen.holder == me || left.is_zero() { Decision::Claim } else { Decision::Wait(left) }
}

/// One that wants to lead: what it knows of the Lease, and what it would write.
#[derive(Debug)]
pub(super) struct Candidate {
    me: String,
    address: Option<SocketAddr>,
    lease: Option<Lease>,
    seen: Option<Seen>,
    /// Whether `lease` is what the API server has, as far as we know.
    known: bool,
}

impl Candidate {
    pub(super) fn new(me: String, address: Option<SocketAddr>) -> Self {
        Self { me, address, lease: None, seen: None, known: false }
    }

    /// Whether the Lease has to be read before anything is decided.
    pub(super) fn must_look(&self) -> bool {
        !self.known
    }

    /// It may have changed, or a write may have gone through though nobody said so.
    pub(super) fn unsure(&mut self) {
        self.known = false;
    }

    /// The Lease as it was read, or as a write of ours was answered.
    pub(super) fn saw(&mut self, lease: Option<Lease>, now: Duration) {
        self.seen = lease.as_ref().map(|lease| Seen::new(lease, self.seen.as_ref(), now));
        self.lease = lease;
        self.known = true;
    }

    pub(super) fn decide(&self, now: Duration) -> Decision {
        decide(self.seen.as_ref(), &self.me, now)
    }

    /// Another's name and address, when the Lease has one.
    pub(super) fn other(&self) -> Option<(String, Option<SocketAddr>)> {
        let holder = &self.seen.as_ref()?.holder;
        let address = self.lease.as_ref()?.metadata.annotations.as_ref().and_then(|all| all.get(ADDRESS));
        let other = !holder.is_empty() && *holder != self.me;
        other.then(|| (holder.clone(), address.and_then(|text| text.parse().ok())))
    }

    /// The Lease as ours: what is known of it, so that its resourceVersion lets the write pass only if it is the newest.
    pub(super) fn claim(&self, wall: Timestamp) -> Lease {
        let mut lease = self.lease.clone().unwrap_or_default();
        let address = self.address.map(|address| (ADDRESS.to_owned(), address.to_string()));
        let annotations = lease.metadata.annotations.get_or_insert_default();
        annotations.remove(ADDRESS);
        annotations.extend(address);
        let spec = lease.spec.get_or_insert_default();
        if spec.holder_identity.as_ref() != Some(&self.me) {
            spec.acquire_time = Some(MicroTime(wall));
            spec.lease_transitions = Some(spec.lease_transitions.map_or(0, |n| n.saturating_add(1)));
            spec.holder_identity = Some(self.me.clone());
        }
        spec.lease_duration_seconds = i32::try_from(LEASE.as_secs()).ok();
        spec.renew_time = Some(MicroTime(wall));
        lease
    }

    /// The Lease as nobody's, if it is ours.
    pub(super) fn release(&self, wall: Timestamp) -> Option<Lease> {
        let mut lease = self.lease.clone().filter(|_| self.seen.as_ref().is_some_and(|seen| seen.holder == self.me))?;
        if let Some(annotations) = &mut lease.metadata.annotations {
            annotations.remove(ADDRESS);
        }
        let transitions = lease.spec.take().and_then(|spec| spec.lease_transitions);
        lease.spec = Some(LeaseSpec {
            holder_identity: Some(String::new()),
            lease_duration_seconds: Some(1),
            renew_time: Some(MicroTime(wall)),
            lease_transitions: transitions,
            ..LeaseSpec::default()
        });
        Some(lease)
    }
}
