//! The rate limit: a [`Rate`] for each client, in bounded memory.
//!
//! A client's state is one number, the time at which its allowance is full again. A spent request moves it forward, a refund back, and a
//! time that has passed needs no memory at all.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::api::clients::ClientKey;
use crate::model::rate::Rate;
use crate::model::time::UnixMs;

/// The span that a quota is for.
const WINDOW_NS: u64 = 60_000_000_000;
/// Buckets are spread over this many locks.
const SHARDS: usize = 16;
/// A full shard looks for buckets to drop at most this often.
const SWEEP_EVERY_NS: u64 = 1_000_000_000;

/// The buckets of one quota.
#[derive(Debug)]
pub(super) struct RateLimiter {
    rate: Rate,
    shard_cap: usize,
    seed: Seed,
    shards: [CacheAligned<Mutex<Shard>>; SHARDS],
    /// One bucket that all clients without room of their own share.
    overflow: Mutex<u64>,
}

/// On cache lines of its own, against false sharing.
#[derive(Debug)]
#[repr(align(128))]
struct CacheAligned<T>(T);

#[derive(Debug)]
struct Shard {
    full_at: HashMap<ClientKey, u64, Seed>,
    swept_at: u64,
}

/// A hash of one multiplication with random keys. Collisions that an attacker finds in spite of them cost little: a shard is small.
#[derive(Debug, Clone, Copy)]
struct Seed {
    add: u64,
    multiply: u64,
}

impl Seed {
    fn random() -> Self {
        let (one, two) = (RandomState::new(), RandomState::new());
        Self { add: one.hash_one(1), multiply: two.hash_one(2) | 1 }
    }
}

impl BuildHasher for Seed {
    type Hasher = Mix;

    fn build_hasher(&self) -> Mix {
        Mix { seed: *self, state: 0 }
    }
}

#[derive(Debug)]
struct Mix {
    seed: Seed,
    state: u64,
}

impl Hasher for Mix {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "both halves of the product are folded into one")]
    fn write_u64(&mut self, value: u64) {
        let product = u128::from(self.state ^ value ^ self.seed.add) * u128::from(self.seed.multiply);
        self.state = (product >> 64) as u64 ^ product as u64;
    }

    fn finish(&self) -> u64 {
        self.state
    }
}

/// The quota is spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct QuotaSpent {
    /// Time until one request is allowed again.
    pub(super) wait: Duration,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn nanos(now: UnixMs) -> u64 {
    u64::try_from(now.0).unwrap_or(0).saturating_mul(1_000_000)
}

impl RateLimiter {
    /// `per_minute` requests for each client, at least 1, and buckets for `clients` of them.
    pub(super) fn new(per_minute: u32, clients: usize) -> Self {
        let seed = Seed::random();
        Self {
            rate: Rate::new(WINDOW_NS / u64::from(per_minute.max(1)), WINDOW_NS),
            shard_cap: clients.div_ceil(SHARDS),
            seed,
            shards: std::array::from_fn(|_| {
                CacheAligned(Mutex::new(Shard { full_at: HashMap::with_hasher(seed), swept_at: 0 }))
            }),
            overflow: Mutex::new(0),
        }
    }

    fn shard(&self, client: ClientKey) -> &Mutex<Shard> {
        // The map inside uses the hash's lowest and highest bits.
        let hash = self.seed.hash_one(client) >> 32;
        &self.shards[usize::try_from(hash % SHARDS as u64).unwrap_or(0)].0
    }

    /// Takes one request of `client` at `now` (steady clock) and returns how many are left.
    pub(super) fn spend(&self, client: ClientKey, now: UnixMs) -> Result<u32, QuotaSpent> {
        let now = nanos(now);
        self.with_bucket(client, now, |full_at| self.take(full_at, now))
    }

    /// Takes `more` requests of a client, also where fewer are left: it then waits longer for its next. It owes at most a window's requests.
    pub(super) fn charge(&self, client: ClientKey, now: UnixMs, more: u32) {
        let now = nanos(now);
        self.with_bucket(client, now, |full_at| {
            let next = (*full_at).max(now).saturating_add(self.rate.interval_ns().saturating_mul(u64::from(more)));
            *full_at = next.min((now + 2 * WINDOW_NS).max(*full_at));
        });
    }

    /// The time for which `client` owes more than a whole quota at `now`, as only [`Self::charge`] makes it; none where it does not.
    pub(super) fn overdue(&self, client: ClientKey, now: UnixMs) -> Option<Duration> {
        let shard = lock(self.shard(client));
        let own = shard.full_at.get(&client).copied();
        let shares = own.is_none() && shard.full_at.len() >= self.shard_cap;
        drop(shard);
        let full_at = if shares { *lock(&self.overflow) } else { own? };
        let debt = full_at.saturating_sub(nanos(now));
        debt.checked_sub(WINDOW_NS).filter(|more| *more > 0).map(Duration::from_nanos)
    }

    /// Changes the bucket of `client`, a new one where it has none, or the shared one where there is no room.
    fn with_bucket<T>(&self, client: ClientKey, now: u64, change: impl FnOnce(&mut u64) -> T) -> T {
        let mut shard = lock(self.shard(client));
        if let Some(full_at) = shard.full_at.get_mut(&client) {
            return change(full_at);
        }
        if shard.full_at.len() >= self.shard_cap && !shard.sweep(now) {
            drop(shard);
            return change(&mut lock(&self.overflow));
        }
        let mut full_at = now;
        let changed = change(&mut full_at);
        shard.full_at.insert(client, full_at);
        changed
    }

    /// How many requests of `client` are left at `now`.
    pub(super) fn left(&self, client: ClientKey, now: UnixMs) -> u32 {
        let now = nanos(now);
        let full_at = lock(self.shard(client)).full_at.get(&client).copied().unwrap_or(now);
        self.rate.left(full_at.saturating_sub(now))
    }

    /// Gives one request back.
    pub(super) fn refund(&self, client: ClientKey) {
        let mut shard = lock(self.shard(client));
        if let Some(full_at) = shard.full_at.get_mut(&client) {
            *full_at = full_at.saturating_sub(self.rate.interval_ns());
        } else {
            drop(shard);
            let mut overflow = lock(&self.overflow);
            *overflow = overflow.saturating_sub(self.rate.interval_ns());
        }
    }

    fn take(&self, full_at: &mut u64, now: u64) -> Result<u32, QuotaSpent> {
        let debt = self.rate.take(full_at.saturating_sub(now));
        let debt = debt.map_err(|wait_ns| QuotaSpent { wait: Duration::from_nanos(wait_ns) })?;
        *full_at = now + debt;
        Ok(self.rate.left(debt))
    }

    #[cfg(test)]
    pub(super) fn clients(&self) -> usize {
        self.shards.iter().map(|shard| lock(&shard.0).full_at.len()).sum()
    }
}

impl Shard {
    /// Drops the buckets that are full again; returns whether there is room now.
    fn sweep(&mut self, now: u64) -> bool {
        if now.saturating_sub(self.swept_at) < SWEEP_EVERY_NS {
            return false;
        }
        self.swept_at = now;
        let before = self.full_at.len();
        self.full_at.retain(|_, full_at| *full_at > now);
        self.full_at.len() < before
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn client(n: u32) -> ClientKey {
        ClientKey::V4(Ipv4Addr::from_bits(n))
    }

    const START: UnixMs = UnixMs(1_700_000_000_000);

    #[test]
    fn a_minutes_quota_comes_back_evenly() {
        let limiter = RateLimiter::new(60, 1000);
        for left in (0..60).rev() {
            assert_eq!(limiter.spend(client(1), START), Ok(left));
        }
        assert_eq!(limiter.spend(client(1), START), Err(QuotaSpent { wait: Duration::from_secs(1) }));
        assert_eq!(limiter.spend(client(2), START), Ok(59), "another client has its own");
        let later = START.plus(Duration::from_millis(999));
        assert!(limiter.spend(client(1), later).is_err());
        let later = START.plus(Duration::from_secs(1));
        assert_eq!(limiter.spend(client(1), later), Ok(0));
        assert_eq!(limiter.spend(client(1), START.plus(Duration::from_hours(1))), Ok(59));
    }

    #[test]
    fn a_refund_is_as_if_nothing_was_spent() {
        let limiter = RateLimiter::new(2, 1000);
        for _ in 0..10 {
            assert_eq!(limiter.spend(client(1), START), Ok(1));
            limiter.refund(client(1));
        }
        limiter.refund(client(1));
        limiter.refund(client(1));
        assert_eq!(limiter.spend(client(1), START), Ok(1), "refunds never add to the quota");
    }

    #[test]
    fn any_number_of_clients_takes_bounded_memory_and_the_rest_shares() {
        let limiter = RateLimiter::new(60, 160);
        for n in 0..10_000 {
            let _ = limiter.spend(client(n), START);
        }
        assert!(limiter.clients() <= 160, "{} buckets", limiter.clients());
        assert!(limiter.spend(client(99_999), START).is_err(), "the shared bucket is spent");
        let later = START.plus(Duration::from_secs(2));
        assert_eq!(limiter.spend(client(99_999), later), Ok(59), "buckets that are full again make room");
    }

    #[test]
    fn a_client_with_a_bucket_is_not_affected_by_many_others() {
        let limiter = RateLimiter::new(60, 160);
        assert_eq!(limiter.spend(client(1), START), Ok(59));
        for n in 2..10_000 {
            let _ = limiter.spend(client(n), START);
        }
        assert_eq!(limiter.spend(client(1), START), Ok(58));
    }

    #[test]
    fn what_is_charged_afterwards_is_waited_for() {
        let limiter = RateLimiter::new(60, 1000);
        assert_eq!(limiter.left(client(1), START), 60, "a client that never asked");
        assert_eq!(limiter.spend(client(1), START), Ok(59));
        limiter.charge(client(1), START, 20);
        assert_eq!(limiter.left(client(1), START), 39);
        limiter.charge(client(1), START, 1000);
        let refused = Err(QuotaSpent { wait: Duration::from_secs(61) });
        assert_eq!(limiter.spend(client(1), START), refused, "a minute's quota is owed at most");
        assert_eq!(limiter.spend(client(1), START.plus(Duration::from_secs(61))), Ok(0));
    }

    #[test]
    fn a_client_that_never_asked_owes_for_itself() {
        let limiter = RateLimiter::new(60, 160);
        limiter.charge(client(1), START, 60);
        assert_eq!(limiter.left(client(1), START), 0);
        assert_eq!(limiter.overdue(client(1), START), None, "a whole quota is its own to spend");
        limiter.charge(client(1), START, 20);
        assert_eq!(limiter.overdue(client(1), START), Some(Duration::from_secs(20)));
        assert_eq!(limiter.overdue(client(1), START.plus(Duration::from_secs(20))), None);
        assert_eq!(limiter.overdue(client(2), START), None);
        for n in 2..10_000 {
            let _ = limiter.spend(client(n), START);
        }
        assert!(limiter.clients() <= 160, "{} buckets", limiter.clients());
        limiter.charge(client(99_999), START, 60);
        assert!(limiter.overdue(client(99_998), START).is_some(), "without room, debts are shared");
    }

    proptest::proptest! {
        #[test]
        fn never_more_than_the_quota_in_a_burst(per_minute in 1u32..5000, tries in 1u32..6000) {
            let limiter = RateLimiter::new(per_minute, 10);
            let passed = (0..tries).filter(|_| limiter.spend(client(1), START).is_ok()).count();
            proptest::prop_assert_eq!(passed, per_minute.min(tries) as usize);
        }

        #[test]
        fn never_more_than_twice_the_quota_in_a_minute(per_minute in 1u32..200, gaps in proptest::collection::vec(0u64..2000, 1..400)) {
            let limiter = RateLimiter::new(per_minute, 10);
            let mut now = START;
            let mut passed = Vec::new();
            for gap in gaps {
                now = now.plus(Duration::from_millis(gap));
                if limiter.spend(client(1), now).is_ok() {
                    passed.push(now);
                }
            }
            let most = passed.iter().map(|from| passed.iter().filter(|at| *at >= from && at.since(*from) < Duration::from_mins(1)).count());
            proptest::prop_assert!(most.max().unwrap_or(0) <= 2 * per_minute as usize);
        }
    }
}
