//! What a candidate does next, given the Lease. Without clock or network.
//!
//! Wall clocks are never compared. A holder's own claim ends [`RENEW`] after it *sent* its newest successful renewal; the others take the
//! Lease [`LEASE`] after they *observed* its newest change. A change is observed after it was sent, so the claim always ends first, whatever
//! the clocks say and however long messages or processes are delayed, as long as no clock runs half as fast again as another.

use std::net::SocketAddr;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

/// Time without a renewal after which others take over.
pub const LEASE: Duration = Duration::from_secs(15);
/// How long a holder relies on a renewal, from when it sent it.
pub const RENEW: Duration = Duration::from_secs(10);
/// The annotation with the holder's address.
pub const ADDRESS: &str = "portolan.dev/address";

/// What to do with the Lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    /// Create it: there is none.
    Create,
    /// Write it as ours: it is ours, nobody's, or its holder is silent.
    Claim,
    /// Wait: it is another's for this long.
    Wait(Duration),
}

/// The Lease's holder, and since when the Lease has not changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LeaseView {
    pub(super) holder: String,
    renewed: Option<MicroTime>,
    duration: Duration,
    /// By our steady clock.
    at: Duration,
}

impl LeaseView {
    fn new(lease: &Lease, before: Option<&Self>, now: Duration) -> Self {
        let spec = lease.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.unwrap_or_default();
        let seconds = spec.lease_duration_seconds.and_then(|n| u64::try_from(n).ok()).unwrap_or(LEASE.as_secs());
        let same = before.filter(|before| before.holder == holder && before.renewed == spec.renew_time);
        let at = same.map_or(now, |before| before.at);
        Self { holder, renewed: spec.renew_time, duration: Duration::from_secs(seconds), at }
    }
}

/// What `me` does at `now` with the Lease as last seen.
pub(super) fn decide(view: Option<&LeaseView>, me: &str, now: Duration) -> Decision {
    let Some(view) = view else { return Decision::Create };
    let left = (view.at + view.duration).saturating_sub(now);
    if view.holder.is_empty() || view.holder == me || left.is_zero() { Decision::Claim } else { Decision::Wait(left) }
}

/// A replica that wants to lead: what it knows of the Lease, and what it would write.
#[derive(Debug)]
pub(super) struct Candidate {
    me: String,
    address: Option<SocketAddr>,
    lease: Option<Lease>,
    view: Option<LeaseView>,
    /// Whether `lease` is what the API server has, as far as we know.
    current: bool,
}

impl Candidate {
    pub(super) fn new(me: String, address: Option<SocketAddr>) -> Self {
        Self { me, address, lease: None, view: None, current: false }
    }

    /// Whether the Lease has to be read before anything is decided.
    pub(super) fn must_read(&self) -> bool {
        !self.current
    }

    /// The Lease may have changed, or a write may have succeeded without an answer.
    pub(super) fn invalidate(&mut self) {
        self.current = false;
    }

    /// Takes the Lease as it was read, or as the answer to our write.
    pub(super) fn observe(&mut self, lease: Option<Lease>, now: Duration) {
        self.view = lease.as_ref().map(|lease| LeaseView::new(lease, self.view.as_ref(), now));
        self.lease = lease;
        self.current = true;
    }

    pub(super) fn decide(&self, now: Duration) -> Decision {
        decide(self.view.as_ref(), &self.me, now)
    }

    /// The other holder's name and address, if there is one.
    pub(super) fn other(&self) -> Option<(String, Option<SocketAddr>)> {
        let holder = &self.view.as_ref()?.holder;
        let address = self.lease.as_ref()?.metadata.annotations.as_ref().and_then(|all| all.get(ADDRESS));
        let other = !holder.is_empty() && *holder != self.me;
        other.then(|| (holder.clone(), address.and_then(|text| text.parse().ok())))
    }

    /// The Lease with us as its holder. It keeps the resourceVersion, so the write succeeds only if nothing is newer.
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

    /// The Lease without a holder, if it is ours.
    pub(super) fn release(&self, wall: Timestamp) -> Option<Lease> {
        let mut lease = self.lease.clone().filter(|_| self.view.as_ref().is_some_and(|view| view.holder == self.me))?;
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
