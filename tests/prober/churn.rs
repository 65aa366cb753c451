//! Everything at once: whatever happened before, every instance is still probed, and nothing leaks.

use std::time::{Duration, Instant};

use futures::future::join_all;
use portolan::model::outcome::Health;
use portolan::model::time::UnixMs;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::harness::{Mode, Setup, Target, every_second, seldom, until};

const SERVICES: usize = 40;
const SPELL: Duration = Duration::from_secs(6);

#[tokio::test(flavor = "multi_thread")]
async fn after_any_churn_every_instance_is_still_probed() {
    let mut setup = Setup::budget(30);
    setup.settings.concurrency = 12;
    let rig = setup.start();
    let addresses: Vec<_> = (0..6).map(|n| format!("127.0.2.{}", n + 1)).collect();
    let targets = join_all(addresses.iter().map(|ip| Target::at(ip, Mode::Ok))).await;
    let mut random = StdRng::seed_from_u64(7);
    let mut there = [false; SERVICES];
    let began = Instant::now();
    while began.elapsed() < SPELL {
        let n = random.random_range(0..SERVICES);
        let place = format!("ns{}/s{n}", n % 3);
        match random.random_range(0..10) {
            0 if there[n] => {
                rig.deregister(&place).await;
                there[n] = false;
            }
            1 | 2 if there[n] => drop(rig.check_soon(&place, Duration::from_millis(50)).await),
            3 => {
                let mode = [Mode::Ok, Mode::Broken, Mode::Hung, Mode::Slow][random.random_range(0..4)];
                targets[random.random_range(0..targets.len())].turn(mode);
            }
            _ => {
                let url = targets[random.random_range(0..targets.len())].url();
                let check = if random.random_bool(0.2) { seldom() } else { every_second() };
                rig.register(&place, &url, check).await;
                there[n] = true;
            }
        }
        tokio::task::yield_now().await;
    }
    for target in &targets {
        target.turn(Mode::Ok);
    }
    let places: Vec<_> = (0..SERVICES).map(|n| format!("ns{}/s{n}", n % 3)).collect();
    for (n, place) in places.iter().enumerate() {
        let url = targets[n % targets.len()].url();
        let mut check = every_second();
        check.timing.unhealthy_threshold = Some(1);
        rig.register(place, &url, check).await;
    }
    until("all are tracked", || rig.report().tracked == SERVICES).await;
    let now = UnixMs::wall();
    for place in &places {
        until(&format!("{place} is probed on"), || rig.entry(place).last_check().get() > Some(now)).await;
        // One that flaps is held for a minute.
        let proved = || rig.health(place).0 == Health::Healthy;
        until(&format!("{place} is proved"), proved).await;
    }
    let hits: Vec<_> = targets.iter().map(Target::hits).collect();
    for (target, hits) in targets.iter().zip(hits) {
        target.until_hit(hits + 20).await;
    }
    for place in &places {
        rig.deregister(place).await;
    }
    until("nothing is left over", || {
        let report = rig.report();
        (report.tracked, report.in_flight, report.queued, report.delayed, report.uncommitted) == (0, 0, 0, 0, 0)
    })
    .await;
}
