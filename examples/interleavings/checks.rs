//! What must hold in every order.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;
use shuttle::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use shuttle::sync::{Arc, Mutex};
use shuttle::thread::spawn;

use crate::budget::{Budget, Limits};
use crate::cache::TokenCache;
use crate::model::name::ServiceKey;
use crate::model::service::InstanceId;
use crate::model::time::UnixMs;
use crate::pending::Pending;
use crate::seats::WatchLimits;
use crate::secrets::Secrets;
use crate::slots::Slots;
use crate::token::{Bearer, Credential};
use crate::watch::{Beat, Watch};
use crate::{ConnSettings, seats, share};

/// Each check by its sentence.
pub(crate) const ALL: [(&str, fn()); 8] = [
    ("no renewal overtakes a call about its service", renewals_wait),
    ("calls that end in any order settle their service", calls_settle),
    ("a probe that turns slow as it ends leaves no slot taken", slots_come_back),
    ("an address's budget holds, and nobody waits for ever", budget_holds),
    ("connections are bounded, and each place comes back", connections_come_back),
    ("one that is told to go is counted until it has gone", leaving_is_counted),
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

fn budget_holds() {
    let budget = Budget::new(Limits { per_second: 2, loopback_exempt: false });
    let (address, under_way) = (IpAddr::from([192, 0, 2, 1]), Arc::new(AtomicUsize::new(0)));
    let probes: Vec<_> = (0..3)
        .map(|number| {
            let (budget, under_way) = (Arc::clone(&budget), under_way.clone());
            spawn(move || match budget.spend(address, None, UnixMs(0)) {
                Ok(permit) => {
                    assert!(under_way.fetch_add(1, Ordering::SeqCst) < 2, "two a second");
                    drop(permit);
                    true
                }
                Err(delay) => {
                    budget.wait(delay.key, InstanceId(number), false);
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

fn connection(seats: &Arc<share::Seats>, host: u8, watch: &Arc<Watch>, beat: u32) -> Option<share::Seated> {
    seats.take(SocketAddr::new(IpAddr::from([192, 0, 2, host]), 1), watch, beat).ok()
}

/// One that answers: it makes room for nobody.
fn answering(beat: &Beat) -> Arc<Watch> {
    let watch = Arc::new(Watch::new(beat));
    watch.read();
    watch.request();
    watch
}

fn connections_come_back() {
    let settings = ConnSettings { total: 2, per_client: 1, ..ConnSettings::default() };
    let (seats, held) = (share::Seats::new(&settings, Gauge::default()), Arc::new(Mutex::new((0, [0; 4]))));
    let clients: Vec<_> = [1, 1, 2, 3]
        .map(|host: u8| {
            let (seats, held) = (Arc::clone(&seats), held.clone());
            spawn(move || {
                let Some(seated) = connection(&seats, host, &answering(&Beat::default()), 0) else { return };
                {
                    let mut held = held.lock().expect("sound");
                    held.0 += 1;
                    held.1[usize::from(host)] += 1;
                    assert!(held.0 <= 2 && held.1[usize::from(host)] <= 1, "{held:?}");
                }
                {
                    let mut held = held.lock().expect("sound");
                    held.0 -= 1;
                    held.1[usize::from(host)] -= 1;
                }
                drop(seated);
            })
        })
        .into();
    for client in clients {
        client.join().expect("no panic");
    }
    let all = [1, 2].map(|host| connection(&seats, host, &Arc::default(), 0));
    assert!(all.iter().all(Option::is_some), "every place is free again");
}

fn leaving_is_counted() {
    let settings = ConnSettings { total: 1, per_client: 1, ..ConnSettings::default() };
    let seats = share::Seats::new(&settings, Gauge::default());
    let beat = Beat::default();
    let idle = Arc::new(Watch::new(&beat));
    let first = connection(&seats, 1, &idle, 0).expect("a place");
    // A request came and was answered: from now on it is idle.
    idle.read();
    idle.request();
    idle.answered();
    idle.handed();
    idle.flushed();
    let second = {
        let seats = Arc::clone(&seats);
        // Long after.
        spawn(move || connection(&seats, 2, &Arc::default(), 100))
    };
    let going = spawn(move || {
        let told = idle.is_evicted();
        drop(first);
        told
    });
    let second = second.join().expect("no panic");
    going.join().expect("no panic");
    assert!(second.is_some(), "there was room, or one made room");
    drop(second);
    let last = connection(&seats, 3, &answering(&beat), 0);
    assert!(
        last.is_some() && connection(&seats, 4, &answering(&beat), 0).is_none(),
        "one place, neither more nor less"
    );
}

fn watches_are_bounded() {
    let seats = seats::Seats::new(WatchLimits { total: 2, per_client: 1 });
    let held = Arc::new(AtomicUsize::new(0));
    let watchers: Vec<_> = [1, 1, 2, 3]
        .map(|host: u8| {
            let (seats, held) = (Arc::clone(&seats), held.clone());
            spawn(move || {
                let Ok(seat) = seats.take(IpAddr::from([192, 0, 2, host])) else { return };
                assert!(held.fetch_add(1, Ordering::SeqCst) < 2);
                held.fetch_sub(1, Ordering::SeqCst);
                drop(seat);
            })
        })
        .into();
    for watcher in watchers {
        watcher.join().expect("no panic");
    }
    let all = [1, 2].map(|host| seats.take(IpAddr::from([192, 0, 2, host])));
    assert!(all.iter().all(Result::is_ok), "every seat is free again");
}

/// Secrets that are read anew while tokens are verified: what was verified with the old ones counts no more for who has the new ones.
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
                    let generation = secrets.current(later).generation;
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
    assert_eq!(secrets.current(UnixMs(later.0 + 60_000)).generation, 1, "the change was read once");
}
