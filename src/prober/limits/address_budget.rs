//! How often one address may be probed, so that nobody turns the prober into a flood: probes per second and probes at once.
//!
//! An excess probe waits in its address's queue, without a slot, and never counts as a fail. While anything at an address answers, half of
//! its places are kept from checks whose last probe hung, so that these hold up no check that answers. Loopback is exempt.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use super::fair_queue::FairQueue;
use crate::model::service::CheckId;
use crate::model::sync::{Arc, Mutex, MutexGuard, PoisonError};
use crate::model::time::UnixMs;
use crate::prober::targets::Priority;

/// Most probes of one address at once.
pub(crate) const MAX_CONCURRENT: usize = 8;
/// Most of them that may hang, while anything at the address answers.
const MAX_HANGING: usize = MAX_CONCURRENT / 2;
/// How long after a check that answers the other half stays reserved for such checks.
const RESERVED_FOR: Duration = Duration::from_mins(10);
const WINDOW: Duration = Duration::from_secs(1);

/// The limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Most starts within any second, ≥ 1.
    pub(crate) per_second: u32,
    /// Whether loopback has no budget. `false` is for tests, which have no other addresses.
    pub(crate) loopback_exempt: bool,
}

/// The answer to a probe that may not start yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Delay {
    pub(crate) key: IpAddr,
    /// When to try to release the next one, steady clock.
    pub(crate) until: UnixMs,
}

/// A check that waits for an address.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DelayedCheck {
    pub(crate) check: CheckId,
    pub(crate) priority: Priority,
    /// As namespaces take turns by it.
    pub(crate) namespace: u64,
    /// The time between two probes that it asks for.
    pub(crate) gap: Duration,
}

#[derive(Debug, Default)]
struct Address {
    /// Starts within the last second, oldest first.
    starts: VecDeque<UnixMs>,
    under_way: usize,
    /// Those under way that may hang.
    hanging: usize,
    /// When a check that answers wanted a place last.
    answered: Option<UnixMs>,
    /// None while nothing waits: few addresses need a queue.
    waiting: Option<Box<FairQueue>>,
}

impl Address {
    fn forget(&mut self, now: UnixMs) {
        while self.starts.front().is_some_and(|at| now.since(*at) >= WINDOW) {
            self.starts.pop_front();
        }
    }

    fn idle(&self, now: UnixMs) -> bool {
        self.starts.is_empty() && self.under_way == 0 && self.waiting.is_none() && !self.reserves(now)
    }

    /// Whether half of its places are kept from those that may hang.
    fn reserves(&self, now: UnixMs) -> bool {
        self.answered.is_some_and(|at| now.since(at) < RESERVED_FOR)
    }

    /// Whether it has a place for one that may hang.
    fn takes_hanging(&self, now: UnixMs) -> bool {
        self.under_way < MAX_CONCURRENT && (!self.reserves(now) || self.hanging < MAX_HANGING)
    }

    /// How many of those that wait come before one that comes now. One that answers passes those that may hang while these have no place.
    fn ahead(&self, may_hang: bool, now: UnixMs) -> usize {
        let slow = may_hang || self.takes_hanging(now);
        self.waiting.as_ref().map_or(0, |queue| queue.waiting(slow))
    }
}

/// The budgets of all addresses that were probed within the last second.
#[derive(Debug)]
pub(crate) struct Budget {
    limits: Limits,
    addresses: Mutex<HashMap<IpAddr, Address>>,
}

impl Budget {
    pub(crate) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self { limits, addresses: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, Address>> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Time between two probes of an address at its full rate; a queue releases at most one a millisecond, since times are whole ones.
    fn step(&self) -> Duration {
        (WINDOW / self.limits.per_second.max(1)).max(Duration::from_millis(1))
    }

    fn per_second(&self) -> usize {
        usize::try_from(self.limits.per_second.max(1)).unwrap_or(usize::MAX)
    }

    /// Spends one probe of `key`. `may_hang` says whether the last probe of its check did not end in good time, or there was none.
    /// `released_by` is the address whose queue released the probe: all others queue with the waiting ones.
    ///
    /// # Errors
    /// [`Delay`] when it may not start yet; [`Budget::wait`] then.
    pub(crate) fn spend(
        self: &Arc<Self>,
        key: IpAddr,
        may_hang: bool,
        released_by: Option<IpAddr>,
        now: UnixMs,
    ) -> Result<Option<Permit>, Delay> {
        if self.is_exempt(key) {
            return Ok(None);
        }
        let mut addresses = self.lock();
        let address = addresses.entry(key).or_default();
        address.forget(now);
        if !may_hang {
            address.answered = Some(now);
        }
        if let Some(until) = self.full_until(address, may_hang, now) {
            return Err(Delay { key, until });
        }
        if released_by != Some(key) && address.ahead(may_hang, now) > 0 {
            return Err(Delay { key, until: now.plus(self.step()) });
        }
        address.starts.push_back(now);
        address.under_way += 1;
        address.hanging += usize::from(may_hang);
        Ok(Some(Permit { budget: Arc::clone(self), key, may_hang }))
    }

    fn is_exempt(&self, key: IpAddr) -> bool {
        key.is_loopback() && self.limits.loopback_exempt
    }

    /// Queues a check for `key`: in its turn, or in front if it has waited before.
    pub(crate) fn wait(&self, key: IpAddr, delayed: &DelayedCheck, in_front: bool) {
        let DelayedCheck { check, priority, namespace, gap } = *delayed;
        let mut addresses = self.lock();
        let queue = addresses.entry(key).or_default().waiting.get_or_insert_default();
        if in_front {
            queue.put_back(priority, namespace, check);
        } else {
            queue.push(priority, namespace, gap, check);
        }
    }

    /// When an address could take another probe; none if it can now.
    fn full_until(&self, address: &Address, may_hang: bool, now: UnixMs) -> Option<UnixMs> {
        if address.starts.len() >= self.per_second() {
            return address.starts.front().map(|at| at.plus(WINDOW));
        }
        let full = address.under_way >= MAX_CONCURRENT || (may_hang && !address.takes_hanging(now));
        full.then(|| now.plus(self.step()))
    }

    /// When a probe that is queued now could start; not later than `now` if at once. `may_hang` as in [`Budget::spend`].
    pub(crate) fn room_at(&self, key: IpAddr, may_hang: bool, now: UnixMs) -> UnixMs {
        if self.is_exempt(key) {
            return now;
        }
        let mut addresses = self.lock();
        let Some(address) = addresses.get_mut(&key) else { return now };
        address.forget(now);
        let ahead = u32::try_from(address.ahead(may_hang, now)).unwrap_or(u32::MAX);
        self.full_until(address, may_hang, now).unwrap_or(now).plus(self.step().saturating_mul(ahead))
    }

    /// Releases the next check that waits for `key`, if the address can take it, and says when to call again; none if none waits.
    pub(crate) fn release(&self, key: IpAddr, now: UnixMs) -> (Option<CheckId>, Option<UnixMs>) {
        let mut addresses = self.lock();
        let Some(address) = addresses.get_mut(&key) else { return (None, None) };
        address.forget(now);
        let (full_until, slow) = (self.full_until(address, false, now), address.takes_hanging(now));
        let Some(queue) = &mut address.waiting else { return (None, None) };
        if full_until.is_some() {
            return (None, full_until);
        }
        let next = queue.pop(slow);
        if queue.waiting(true) == 0 {
            address.waiting = None;
        }
        // The released one gets a moment to spend its probe, even if it is the last: it may come back.
        (next, Some(now.plus(self.step())))
    }

    /// Forgets addresses that were not probed within a second and reserve nothing.
    pub(crate) fn sweep(&self, now: UnixMs) {
        let mut addresses = self.lock();
        addresses.retain(|_, address| {
            address.forget(now);
            address.starts.shrink_to_fit();
            !address.idle(now)
        });
        if addresses.capacity() > 4 * addresses.len() + 1024 {
            addresses.shrink_to_fit();
        }
    }
}

/// A running probe of an address.
#[derive(Debug)]
pub(crate) struct Permit {
    budget: Arc<Budget>,
    key: IpAddr,
    may_hang: bool,
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(address) = self.budget.lock().get_mut(&self.key) {
            address.under_way = address.under_way.saturating_sub(1);
            address.hanging = address.hanging.saturating_sub(usize::from(self.may_hang));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prober::targets::Lane;

    const IP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn budget(per_second: u32) -> Arc<Budget> {
        Budget::new(Limits { per_second, loopback_exempt: true })
    }

    fn delayed(id: i64, lane: Lane, namespace: u64) -> DelayedCheck {
        let priority = Priority { urgent: false, lane };
        DelayedCheck { check: CheckId::plain(id), priority, namespace, gap: WINDOW }
    }

    /// Runs `count` instances that are always due, for `seconds`; returns who started when.
    fn run(budget: &Arc<Budget>, count: i64, seconds: i64, (lasts_ms, lane): (i64, Lane)) -> Vec<(i64, i64)> {
        let (mut started, mut under_way) = (Vec::new(), Vec::<(i64, i64, Permit)>::new());
        let mut idle: Vec<i64> = (0..count).collect();
        let mut wake: Option<UnixMs> = None;
        for ms in 0..seconds * 1000 {
            let now = UnixMs(ms);
            let (over, still): (Vec<_>, Vec<_>) = under_way.drain(..).partition(|(end, ..)| *end <= ms);
            idle.extend(over.iter().map(|(_, id, _)| *id));
            drop(over);
            under_way = still;
            let mut tries: Vec<_> = idle.drain(..).map(|id| (id, None)).collect();
            if wake.is_some_and(|at| at <= now) {
                let (out, again) = budget.release(IP, now);
                tries.extend(out.map(|id| (id.instance.0, Some(IP))));
                wake = again;
            }
            for (id, waited) in tries {
                match budget.spend(IP, lane.may_hang(), waited, now) {
                    Ok(permit) => {
                        started.push((ms, id));
                        under_way.push((ms + lasts_ms, id, permit.expect("not loopback")));
                    }
                    Err(delay) => {
                        budget.wait(IP, &delayed(id, lane, 1), waited.is_some());
                        wake = wake.or(Some(delay.until));
                    }
                }
            }
            assert!(under_way.len() <= MAX_CONCURRENT);
        }
        started
    }

    #[test]
    fn no_second_sees_more_starts_and_everybody_has_a_turn() {
        let started = run(&budget(20), 100, 12, (10, Lane::Quick));
        for (at, _) in &started {
            assert!(started.iter().filter(|(ms, _)| (*at..at + 1000).contains(ms)).count() <= 20);
        }
        assert!(started.len() >= 200, "the rate is used: {}", started.len());
        let mut turns = [0; 100];
        for (_, id) in &started {
            turns[usize::try_from(*id).expect("small")] += 1;
        }
        assert!(turns.iter().all(|n| (1..=4).contains(n)), "{turns:?}");
    }

    #[test]
    fn hung_probes_are_at_most_eight_and_still_take_turns() {
        let started = run(&budget(20), 32, 60, (5_000, Lane::Slow));
        assert!((80..=100).contains(&started.len()), "{}", started.len());
        let distinct: std::collections::HashSet<_> = started.iter().map(|(_, id)| id).collect();
        assert_eq!(distinct.len(), 32);
    }

    #[test]
    fn while_one_answers_half_of_the_places_are_kept_from_those_that_may_hang() {
        let (budget, mut now) = (budget(1000), UnixMs(5));
        let spend = |may_hang, now| budget.spend(IP, may_hang, None, now).map(|permit| permit.expect("not loopback"));
        drop(spend(false, now).expect("room"));
        let _hung: Vec<_> = (0..MAX_HANGING).map(|_| spend(true, now).expect("room")).collect();
        let delay = spend(true, now).expect_err("no place for another");
        assert!(delay.until > now);
        budget.wait(IP, &delayed(1, Lane::Slow, 1), false);
        assert_eq!(budget.room_at(IP, false, now), now, "one that answers passes it");
        assert!(budget.room_at(IP, true, now) > now);
        let quick: Vec<_> = (MAX_HANGING..MAX_CONCURRENT).map(|_| spend(false, now).expect("room")).collect();
        spend(false, now).expect_err("eight are under way");
        drop(quick);
        let (released, again) = budget.release(IP, now);
        assert!(released.is_none() && again.is_some_and(|at| at > now), "{again:?}");
        now = now.plus(RESERVED_FOR);
        assert_eq!(budget.release(IP, now).0, Some(CheckId::plain(1)), "nothing has answered for long");
        assert!(budget.spend(IP, true, Some(IP), now).is_ok());
    }

    #[test]
    fn of_those_that_wait_quick_ones_go_first_and_namespaces_take_turns() {
        let (budget, mut now) = (budget(1000), UnixMs(5));
        let waiting = [(1, Lane::Slow, 1), (2, Lane::Slow, 1), (3, Lane::Slow, 1), (4, Lane::Slow, 2)];
        for (id, lane, namespace) in waiting.into_iter().chain([(5, Lane::Quick, 2)]) {
            budget.wait(IP, &delayed(id, lane, namespace), false);
        }
        let mut release = || {
            let (released, again) = budget.release(IP, now);
            now = again.unwrap_or(now);
            released.map(|check| check.instance.0)
        };
        assert_eq!([release(), release()], [Some(5), Some(1)]);
        budget.wait(IP, &delayed(1, Lane::Slow, 1), true);
        let rest: Vec<_> = std::iter::from_fn(&mut release).collect();
        assert_eq!(rest, [1, 4, 2, 3], "one that comes back is the next");
    }

    #[test]
    fn a_full_address_is_looked_at_again_later_whatever_the_rate() {
        for per_second in [999, 1000, 1001, 100_000] {
            let (budget, now) = (budget(per_second), UnixMs(5));
            let spend = || budget.spend(IP, false, None, now).map(|permit| permit.expect("not loopback"));
            let _under_way: Vec<_> = (0..MAX_CONCURRENT).map(|_| spend().expect("room")).collect();
            let delay = spend().expect_err("eight are under way");
            budget.wait(IP, &delayed(1, Lane::Quick, 1), false);
            let (released, again) = budget.release(IP, now);
            assert!(
                released.is_none() && delay.until > now && again.is_some_and(|at| at > now),
                "{per_second}: {again:?}"
            );
        }
    }

    #[test]
    fn a_request_learns_when_there_is_room() {
        let budget = budget(2);
        assert_eq!(budget.room_at(IP, false, UnixMs(0)), UnixMs(0));
        let _permits = [budget.spend(IP, false, None, UnixMs(0)), budget.spend(IP, false, None, UnixMs(50))];
        assert_eq!(budget.room_at(IP, false, UnixMs(100)), UnixMs(1000));
        budget.wait(IP, &delayed(1, Lane::Quick, 1), false);
        assert_eq!(budget.room_at(IP, false, UnixMs(100)), UnixMs(1500), "others wait already");
    }

    #[test]
    fn idle_addresses_are_forgotten_and_loopback_is_free() {
        let budget = budget(1);
        let local = IpAddr::from([127, 0, 0, 1]);
        for _ in 0..100 {
            assert!(budget.spend(local, false, None, UnixMs(0)).expect("free").is_none());
        }
        drop(budget.spend(IP, false, None, UnixMs(0)).expect("first"));
        budget.sweep(UnixMs(500));
        assert_eq!(budget.lock().len(), 1);
        budget.sweep(UnixMs(1000));
        assert_eq!(budget.lock().len(), 1, "it reserves places for checks that answer");
        budget.sweep(UnixMs(0).plus(RESERVED_FOR));
        assert!(budget.lock().is_empty());
    }
}
