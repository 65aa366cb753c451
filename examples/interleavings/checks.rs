//! The properties that must hold in every order.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;
use shuttle::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use shuttle::sync::{Arc, Mutex};
use shuttle::thread::spawn;

use crate::ConnSettings;
use crate::activity::{Activity, SecondsClock};
use crate::budget::{Budget, DelayedCheck, Limits};
use crate::lane::{Lane, Priority};
use crate::lease::Lease;
use crate::limiter::{Acquired, ConnectionLimiter};
use crate::model::name::ServiceKey;
use crate::model::service::CheckId;
use crate::model::time::UnixMs;
use crate::pending::Pending;
use crate::secrets::Secrets;
use crate::slots::Slots;
use crate::token::{Bearer, Credential};
use crate::token_cache::TokenCache;
use crate::watch_limiter::{WatchLimiter, WatchLimits};

/// Each check by its sentence.
pub(crate) const ALL: [(&str, fn()); 10] = [
    ("no renewal overtakes a call about its service", renewals_wait),
    ("calls that end in any order settle their service", calls_settle),
    ("a probe that turns slow as it ends leaves no slot taken", slots_come_back),
    ("a heartbeat that comes as its lease expires is not lost", no_heartbeat_is_lost),
    ("no instance is removed after a renewal was acknowledged", nobody_leaves_renewed),
    ("an address's budget holds, and nobody waits for ever", budget_holds),
    ("connections are bounded, and each place comes back", connections_come_back),
    ("one that is asked to go is counted until it has gone", leaving_is_counted),
    ("watches are bounded in all and for each client", watches_are_bounded),
    ("a token counts with the secrets that verified it alone", tokens_follow_secrets),
];

fn key() -> ServiceKey {
    ServiceKey::new(&"default".parse().expect("a label"), &"a".parse().expect("a label"))
}

/// As the store does it: entered, queued, committed and published, then the ticket is dropped, then the caller hears of it. A renewal that is
/// answered past the queue reads what is published after it asked.
fn renewals_wait() {
    let (pending, published, acknowledged) = (Pending::new(), Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let entered = Arc::new(AtomicU64::new(0));
    let caller = {
        let (pending, published, acknowledged, entered) =
            (pending.clone(), published.clone(), acknowledged.clone(), entered.clone());
        spawn(move || {
            let ticket = pending.enter(&key());
            entered.store(1, Ordering::SeqCst);
            published.store(1, Ordering::SeqCst);
            drop(ticket);
            acknowledged.store(1, Ordering::SeqCst);
        })
    };
    let renewal = spawn(move || {
        let after_call = entered.load(Ordering::SeqCst);
        let heard = acknowledged.load(Ordering::SeqCst);
        let settled = pending.is_settled(&key());
        let seen = published.load(Ordering::SeqCst);
        assert!(!settled || seen >= after_call, "a renewal overtook a call that was made before it");
        assert!(heard == 0 || settled, "who was answered is past the queue again");
    });
    caller.join().expect("no panic");
    renewal.join().expect("no panic");
}

fn calls_settle() {
    let pending = Pending::new();
    let callers: Vec<_> = (0..3)
        .map(|_| {
            let pending = pending.clone();
            spawn(move || {
                let ticket = pending.enter(&key());
                assert!(!pending.is_settled(&key()), "while a call is on its way");
                drop(ticket);
            })
        })
        .collect();
    for caller in callers {
        caller.join().expect("no panic");
    }
    assert!(pending.is_settled(&key()));
}

fn slots_come_back() {
    let slots = Slots::new(2);
    let slot = slots.take(false);
    let hold = slot.hold();
    let probe = spawn(move || drop(slot));
    // The engine, which finds at the same moment that the probe hangs.
    hold.turn_slow();
    assert!(slots.taken() <= 1);
    probe.join().expect("no panic");
    assert_eq!(slots.taken(), 0);
    let rest: Vec<_> = std::iter::from_fn(|| slots.free_for_slow(0).then(|| slots.take(true))).take(3).collect();
    assert_eq!(rest.len(), 2, "slow ones may take every slot again");
}

/// A heartbeat that comes while its lease expires is seen there, or becomes a message: none is lost.
fn no_heartbeat_is_lost() {
    let lease = Arc::new(Lease::new(uuid::Uuid::nil(), CheckId::plain(1), Duration::from_secs(10), UnixMs(0)));
    lease.set_quiet(true);
    let heard = Arc::clone(&lease);
    let program = spawn(move || {
        assert!(heard.hear(UnixMs(45_000)));
        !heard.is_quiet() && heard.begin_message()
    });
    let lapsed = lease.lapse(UnixMs(50_000));
    let delivered = program.join().expect("no panic");
    assert!(delivered || !lapsed, "it arrived before it expired");
    if delivered {
        lease.end_message();
    }
    assert!(lapsed != lease.is_quiet(), "only who does not expire stays quiet");
}

/// A renewal that comes as its instance is being removed prevents that, or is not acknowledged. Once the removal has failed, renewals count
/// again.
fn nobody_leaves_renewed() {
    let lease = Arc::new(Lease::new(uuid::Uuid::nil(), CheckId::plain(1), Duration::from_secs(10), UnixMs(0)));
    let heard = Arc::clone(&lease);
    let program = spawn(move || heard.hear(UnixMs(45_000)));
    let left = lease.leave(UnixMs(0));
    let acknowledged = program.join().expect("no panic");
    assert!(!(left && acknowledged), "it was removed after it was renewed");
    if left {
        lease.stay();
    }
    assert!(lease.hear(UnixMs(46_000)), "who stays can be renewed");
}

fn budget_holds() {
    let budget = Budget::new(Limits { per_second: 2, loopback_exempt: false });
    let (address, under_way) = (IpAddr::from([192, 0, 2, 1]), Arc::new(AtomicUsize::new(0)));
    let probes: Vec<_> = (0..3)
        .map(|number| {
            let (budget, under_way) = (Arc::clone(&budget), under_way.clone());
            spawn(move || match budget.spend(address, false, None, UnixMs(0)) {
                Ok(permit) => {
                    assert!(under_way.fetch_add(1, Ordering::SeqCst) < 2, "two a second");
                    drop(permit);
                    true
                }
                Err(delay) => {
                    let priority = Priority { urgent: false, lane: Lane::Quick };
                    let (check, gap) = (CheckId::plain(number), Duration::from_secs(1));
                    budget.wait(delay.key, &DelayedCheck { check, priority, namespace: 1, gap }, false);
                    false
                }
            })
        })
        .collect();
    let went = probes.into_iter().map(|probe| probe.join().expect("no panic")).filter(|went| *went).count();
    assert_eq!(went, 2);
    let (out, _) = budget.release(address, UnixMs(1000));
    assert!(out.is_some(), "the third has its turn a second later");
}

fn connect(limiter: &Arc<ConnectionLimiter>, host: u8, activity: &Arc<Activity>, now: u32) -> Option<Acquired> {
    limiter.acquire(SocketAddr::new(IpAddr::from([192, 0, 2, host]), 1), activity, now).ok()
}

/// A connection that answers a request: it makes room for nobody.
fn answering(clock: &SecondsClock) -> Arc<Activity> {
    let activity = Arc::new(Activity::new(clock));
    activity.read();
    activity.request();
    activity
}

fn connections_come_back() {
    let settings = ConnSettings { total: 2, per_client: 1, ..ConnSettings::default() };
    let limiter = ConnectionLimiter::new(&settings, Gauge::default());
    let open = Arc::new(Mutex::new((0, [0; 4])));
    let clients: Vec<_> = [1, 1, 2, 3]
        .map(|host: u8| {
            let (limiter, open) = (Arc::clone(&limiter), open.clone());
            spawn(move || {
                let Some(acquired) = connect(&limiter, host, &answering(&SecondsClock::default()), 0) else { return };
                {
                    let mut open = open.lock().expect("sound");
                    open.0 += 1;
                    open.1[usize::from(host)] += 1;
                    assert!(open.0 <= 2 && open.1[usize::from(host)] <= 1, "{open:?}");
                }
                {
                    let mut open = open.lock().expect("sound");
                    open.0 -= 1;
                    open.1[usize::from(host)] -= 1;
                }
                drop(acquired);
            })
        })
        .into();
    for client in clients {
        client.join().expect("no panic");
    }
    let all = [1, 2].map(|host| connect(&limiter, host, &Arc::default(), 0));
    assert!(all.iter().all(Option::is_some), "every place is free again");
}

fn leaving_is_counted() {
    let settings = ConnSettings { total: 1, per_client: 1, ..ConnSettings::default() };
    let limiter = ConnectionLimiter::new(&settings, Gauge::default());
    let clock = SecondsClock::default();
    let idle = Arc::new(Activity::new(&clock));
    let first = connect(&limiter, 1, &idle, 0).expect("a place");
    // A request was answered: from now on the connection is idle.
    idle.read();
    idle.request();
    idle.answered();
    idle.handed();
    idle.flushed();
    let second = {
        let limiter = Arc::clone(&limiter);
        // Long after.
        spawn(move || connect(&limiter, 2, &Arc::default(), 100))
    };
    let leaving = spawn(move || {
        let evicted = idle.is_evicted();
        drop(first);
        evicted
    });
    let second = second.join().expect("no panic");
    leaving.join().expect("no panic");
    assert!(second.is_some(), "there was room, or the first made room");
    drop(second);
    let last = connect(&limiter, 3, &answering(&clock), 0);
    assert!(
        last.is_some() && connect(&limiter, 4, &answering(&clock), 0).is_none(),
        "one place, neither more nor less"
    );
}

fn watches_are_bounded() {
    let limiter = WatchLimiter::new(WatchLimits { total: 2, per_client: 1 });
    let open = Arc::new(AtomicUsize::new(0));
    let watchers: Vec<_> = [1, 1, 2, 3]
        .map(|host: u8| {
            let (limiter, open) = (Arc::clone(&limiter), open.clone());
            spawn(move || {
                let Ok(permit) = limiter.acquire(IpAddr::from([192, 0, 2, host])) else { return };
                assert!(open.fetch_add(1, Ordering::SeqCst) < 2);
                open.fetch_sub(1, Ordering::SeqCst);
                drop(permit);
            })
        })
        .into();
    for watcher in watchers {
        watcher.join().expect("no panic");
    }
    let all = [1, 2].map(|host| limiter.acquire(IpAddr::from([192, 0, 2, host])));
    assert!(all.iter().all(Result::is_ok), "every permit is free again");
}

/// Secrets that are read again while tokens are verified: a token verified with the old ones is not valid for a request with the new ones.
fn tokens_follow_secrets() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("secrets");
    let write = |secret: &str| std::fs::write(&path, secret).expect("written");
    write("the first secret, which is long enough to sign\n");
    let secrets = Arc::new(Secrets::file(&path).expect("secrets"));
    let cache = Arc::new(TokenCache::default());
    let later = UnixMs(i64::try_from(Duration::from_mins(1).as_millis()).expect("short"));
    write("the second secret, which is long enough to sign too\n");
    let newest = Arc::new(AtomicU64::new(0));
    let callers: Vec<_> = (0..2)
        .map(|_| {
            let (secrets, cache, newest) = (Arc::clone(&secrets), Arc::clone(&cache), newest.clone());
            spawn(move || {
                for _ in 0..2 {
                    let before = newest.load(Ordering::SeqCst);
                    secrets.refresh(later);
                    let generation = secrets.current().generation;
                    assert!(generation >= before, "nobody goes back to secrets that others have seen replaced");
                    newest.fetch_max(generation, Ordering::SeqCst);
                    let found = cache.get("token", generation, UnixMs(0));
                    assert!(
                        found.is_none_or(|bearer| bearer.credential.of == generation),
                        "verified with other secrets"
                    );
                    let bearer = Bearer { credential: Credential { ends: UnixMs(1000), of: generation } };
                    cache.put("token", &bearer, generation, UnixMs(0));
                }
            })
        })
        .collect();
    for caller in callers {
        caller.join().expect("no panic");
    }
    secrets.refresh(UnixMs(later.0 + 60_000));
    assert_eq!(secrets.current().generation, 1, "the change was read once");
}
