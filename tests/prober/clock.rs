//! Clocks that jump, and time that passes in silence.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use futures::stream;
use portolan::model::outcome::{Health, Reason};
use portolan::model::time::{Clock, Now, UnixMs};
use tokio::task::JoinSet;

use crate::harness::{Mode, Setup, Target, every_second, seldom, until};

/// A clock that runs as the machine's does, but whose two readings can be moved.
struct Driven {
    clock: Clock,
    steady: Arc<AtomicI64>,
    wall: Arc<AtomicI64>,
    _tasks: JoinSet<()>,
}

impl Driven {
    fn start() -> Self {
        let start = UnixMs::wall();
        let clock = Clock::manual(Now { steady: start, wall: start });
        let (steady, wall) = (Arc::new(AtomicI64::new(0)), Arc::new(AtomicI64::new(0)));
        let (driven, steady_by, wall_by, began) = (clock.clone(), steady.clone(), wall.clone(), Instant::now());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            loop {
                let run = start.plus(began.elapsed());
                let moved = |by: &AtomicI64| UnixMs(run.0 + by.load(Ordering::SeqCst));
                driven.set(Now { steady: moved(&steady_by), wall: moved(&wall_by) });
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        Self { clock, steady, wall, _tasks: tasks }
    }
}

const DAY: i64 = 86_400_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_wall_clock_that_jumps_changes_nothing() {
    let driven = Driven::start();
    let rig = Setup::clock(driven.clock.clone()).start();
    let target = Target::start(Mode::Ok).await;
    rig.register("user", &target.url(), every_second()).await;
    target.until_hit(3).await;
    for jump in [DAY, -DAY, 0] {
        driven.wall.store(jump, Ordering::SeqCst);
        target.until_hit(target.hits() + 2).await;
    }
    let times = target.times();
    let gaps: Vec<_> = times.windows(2).skip(1).map(|pair| pair[1] - pair[0]).collect();
    let steady = Duration::from_millis(100)..Duration::from_secs(20);
    assert!(gaps.iter().all(|gap| steady.contains(gap)), "{gaps:?}");
    assert_eq!(rig.health("user").0, Health::Healthy);
    assert_eq!(rig.history("user").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_without_proof_for_long_is_unknown_until_it_is_proved_again() {
    let driven = Driven::start();
    let rig = Setup::clock(driven.clock.clone()).start();
    let target = Target::start(Mode::Ok).await;
    let mut check = every_second();
    check.timing.timeout_seconds = Some(20);
    rig.register("user", &target.url(), check).await;
    rig.until_health("user", Health::Healthy).await;
    target.turn(Mode::Held);
    target.until_hit(target.hits() + 1).await;
    driven.steady.store(59_000, Ordering::SeqCst);
    until("the prober saw the time", || rig.report().in_flight == 1).await;
    assert_eq!(rig.health("user").0, Health::Healthy, "a minute is not over yet");
    driven.steady.store(70_000, Ordering::SeqCst);
    until("it is unproven", || rig.health("user") == (Health::Unknown, Reason::Unproven)).await;
    target.turn(Mode::Ok);
    rig.until_health("user", Health::Healthy).await;
}

/// More checks are overdue than one tick queues.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_was_stopped_takes_nothing_for_unproven() {
    const ALL: usize = 1500;
    let driven = Driven::start();
    let rig = Setup { clock: driven.clock.clone(), ..Setup::concurrency(64) }.start();
    let target = Target::start(Mode::Ok).await;
    let (rig, url) = (&rig, &target.url());
    let register = |n| async move {
        rig.register(&format!("s{n}"), url, seldom()).await;
    };
    stream::iter(0..ALL).for_each_concurrent(64, register).await;
    until("all are healthy", || rig.catalog.read().total().healthy == ALL).await;
    let transitions = || {
        let count = "SELECT count(*) FROM transition";
        let count: i64 = rig.database().query_row(count, [], |row| row.get(0)).expect("a number");
        usize::try_from(count).expect("not negative")
    };
    until("all is stored", || rig.report().uncommitted == 0 && transitions() == ALL).await;
    let hits = target.hits();
    driven.steady.store(4 * DAY, Ordering::SeqCst);
    target.until_hit(hits + ALL).await;
    until("all is stored", || rig.report().uncommitted == 0).await;
    assert_eq!((transitions(), rig.catalog.read().total().healthy), (ALL, ALL));
}

/// The time in which this server did not run is no wait for a probe.
#[tokio::test(flavor = "multi_thread")]
async fn a_restart_after_a_long_time_delays_no_verdict_on_silence() {
    const HOUR: i64 = DAY / 24;
    let driven = Driven::start();
    let mut rig = Setup::clock(driven.clock.clone()).start();
    let target = Target::start(Mode::Ok).await;
    let mut check = every_second();
    check.timing.timeout_seconds = Some(20);
    rig.register("user", &target.url(), check).await;
    rig.until_health("user", Health::Healthy).await;
    rig.stop().await;
    target.turn(Mode::Held);
    driven.steady.store(HOUR, Ordering::SeqCst);
    let hits = target.hits();
    let rig = Box::pin(rig.reopen()).await;
    target.until_hit(hits + 1).await;
    assert_eq!(rig.health("user").0, Health::Healthy);
    driven.steady.store(HOUR + 70_000, Ordering::SeqCst);
    until("it is unproven", || rig.health("user") == (Health::Unknown, Reason::Unproven)).await;
}
