//! The mass-failure guard at work.

use futures::future::join_all;
use portolan::model::outcome::{Health, Reason};
use portolan::model::ports::{Beat, BeatStatus, Heartbeats as _};

use crate::harness::{Mode, Rig, Target, every_second, until};
use crate::leases::well;

async fn fleet(rig: &Rig, count: usize) -> Vec<Target> {
    let addresses: Vec<_> = (0..count).map(|n| format!("127.0.1.{}", n + 1)).collect();
    let fleet = join_all(addresses.iter().map(|ip| Target::at(ip, Mode::Ok))).await;
    for (n, target) in fleet.iter().enumerate() {
        rig.register(&format!("s{n}"), &target.url(), every_second()).await;
    }
    for n in 0..count {
        rig.until_health(&format!("s{n}"), Health::Healthy).await;
    }
    join_all(fleet.iter().map(|target| target.until_hit(3))).await;
    fleet
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_our_own_makes_nothing_unhealthy() {
    let rig = Rig::start();
    let fleet = fleet(&rig, 12).await;
    for target in &fleet {
        target.turn(Mode::Hung);
    }
    until("the guard holds", || rig.report().guard_holding).await;
    assert!(rig.report().guard.contains("holds"), "{}", rig.report().guard);
    until("the metric says so", || rig.metric("portolan_guard_holding") > 0.5).await;
    for target in &fleet {
        target.turn(Mode::Ok);
    }
    until("the guard lets go", || !rig.report().guard_holding && *rig.report().guard == "clear").await;
    for target in &fleet {
        target.until_hit(target.hits() + 2).await;
    }
    for n in 0..fleet.len() {
        assert_eq!(rig.health(&format!("s{n}")).0, Health::Healthy);
        assert_eq!(rig.history(&format!("s{n}")).await.len(), 1, "s{n} was never called unhealthy");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_hung_target_among_many_is_reported_in_time() {
    let rig = Rig::start();
    let fleet = fleet(&rig, 12).await;
    fleet[5].turn(Mode::Hung);
    rig.until_health("s5", Health::Unhealthy).await;
    assert!(!rig.report().guard_holding);
    assert_eq!(rig.catalog.read().total().healthy, 11);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_lease_expires_while_the_guard_holds() {
    let rig = Rig::start();
    let fleet = fleet(&rig, 12).await;
    well(&rig, "leased", 6).await;
    let beating = rig.entry("leased").service().id;
    let name = rig.instance("leased").name;
    let beat = || rig.handle.beat(beating, &name, Beat { status: BeatStatus::Pass, note: None });
    for target in &fleet {
        target.turn(Mode::Hung);
    }
    until("the guard holds", || {
        beat().expect("heard");
        rig.report().guard_holding
    })
    .await;
    let silent = std::time::Instant::now();
    until("its TTL is over", || silent.elapsed() > std::time::Duration::from_secs(9)).await;
    assert!(rig.report().guard_holding, "for a minute");
    assert_eq!(rig.health("leased").0, Health::Healthy, "nobody could be heard");
    for target in &fleet {
        target.turn(Mode::Ok);
    }
    until("the guard lets go", || !rig.report().guard_holding).await;
    until("it is silent on its own account", || rig.health("leased").1 == Reason::LeaseExpired).await;
}
