//! A list that follows changes one by one equals a list built from scratch.

use std::collections::BTreeMap;
use std::time::Duration;

use portolan::console::columns::Column;
use portolan::console::data::{ProbingOfInstance, ProbingOfService, Sample, Service};
use portolan::console::filter::{Filter, Latency};
use portolan::console::index::{Index, Query};
use portolan::console::latency::Took;
use portolan::model::outcome::Health;
use proptest::prelude::*;
use uuid::Uuid;

use crate::scene::{NOON, ago, instance, service};

#[derive(Debug, Clone)]
enum Step {
    Change(Vec<Service>, Vec<Uuid>),
    Latency(Uuid, Option<Latency>),
    Request(Query),
    Frame,
}

/// Few names, ages and versions, so that many services are equal in what they are sorted by.
fn some_service() -> impl Strategy<Value = Service> {
    let health = prop_oneof![Just(Health::Healthy), Just(Health::Unhealthy), Just(Health::Unknown)];
    let member = (health, 0..3_i64).prop_map(|(health, age)| instance("a", health, "Passed", age));
    let members = proptest::collection::vec(member, 1..3);
    (1..24_u128, 0..2_usize, 0..2_u8, members).prop_map(|(id, namespace, version, mut members)| {
        for (n, member) in members.iter_mut().enumerate() {
            member.name = format!("i{n}").into();
        }
        let name = format!("svc-{}", id % 8);
        let mut service = service(Uuid::from_u128(id), ["pay", "shop"][namespace], &name, members);
        service.version = format!("1.{version}").into();
        service
    })
}

fn query() -> impl Strategy<Value = Query> {
    const FILTERS: &[&str] = &["", "status=down", "svc-3", "age<2s", "lat>1ms", "p99>2ms", "status!=down"];
    let sort = proptest::sample::select(Column::sortable().collect::<Vec<_>>());
    let namespace = proptest::option::of(Just("pay".into()));
    (namespace, proptest::sample::select(FILTERS), any::<bool>(), sort, any::<bool>()).prop_map(
        |(namespace, filter, faults_only, sort, inverted)| {
            let filter = Filter::parse(filter).expect("a filter");
            Query { namespace, filter, faults_only, sort, inverted }
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    let id = (1..24_u128).prop_map(Uuid::from_u128);
    let latency = (0..3_u64, 0..3_u64)
        .prop_map(|(p50, more)| Latency { p50: Duration::from_millis(p50), p99: Duration::from_millis(p50 + more) });
    let changes = (proptest::collection::vec(some_service(), 0..4), proptest::collection::vec(id.clone(), 0..2));
    prop_oneof![
        6 => changes.prop_map(|(upserts, removed)| Step::Change(upserts, removed)),
        1 => (id, proptest::option::of(latency)).prop_map(|(id, known)| Step::Latency(id, known)),
        1 => query().prop_map(Step::Request),
        3 => Just(Step::Frame),
    ]
}

/// Two instances: the first takes as long as the median, the second as long as the slowest. A row is ordered by the one that it shows.
fn took(known: Option<Latency>) -> Took {
    let Some(Latency { p50, p99 }) = known else { return Took::default() };
    let one = |name: &str, time: Duration| {
        let total_us = u32::try_from(time.as_micros()).ok();
        ProbingOfInstance {
            instance: name.into(),
            samples: vec![Sample { at: NOON, total_us, code: None }],
            ..ProbingOfInstance::default()
        }
    };
    Took::of(&ProbingOfService { instances: vec![one("i0", p50), one("i1", p99)], ..ProbingOfService::default() })
}

/// The list, built from scratch.
fn rebuilt(index: &Index, latencies: &BTreeMap<Uuid, Latency>) -> Vec<Uuid> {
    let mut fresh = Index::default();
    let all = index.some(0, usize::MAX);
    fresh.replace(all.iter().filter_map(|id| index.get(id)).map(|service| (**service).clone()).collect(), NOON);
    for id in all {
        fresh.note_probing(id, took(latencies.get(&id).copied()), None);
    }
    fresh.set_query(index.query().clone());
    fresh.refresh(NOON);
    fresh.shown().to_vec()
}

proptest! {
    #[test]
    fn changes_leave_the_list_as_if_it_were_rebuilt(steps in proptest::collection::vec(step(), 1..60)) {
        let mut index = Index::default();
        let mut latencies = BTreeMap::new();
        for step in steps {
            match step {
                Step::Change(upserts, removed) => {
                    latencies.retain(|id, _| !removed.contains(id));
                    index.apply(upserts, &removed, NOON);
                }
                Step::Latency(id, known) if index.get(&id).is_some() => {
                    index.note_probing(id, took(known), None);
                    latencies.remove(&id);
                    latencies.extend(known.map(|known| (id, known)));
                }
                Step::Latency(..) => {}
                Step::Request(query) => index.set_query(query),
                Step::Frame => {
                    index.refresh(NOON);
                    prop_assert_eq!(index.shown(), rebuilt(&index, &latencies));
                }
            }
        }
    }
}

#[test]
fn a_change_moves_its_service_at_once() {
    let mut index = Index::default();
    let well = |id| {
        service(Uuid::from_u128(id), "shop", &format!("svc-{id}"), vec![instance("a", Health::Healthy, "Passed", 60)])
    };
    index.replace((1..=3).map(well).collect(), NOON);
    index.refresh(NOON);
    let mut third = well(3);
    third.health = Health::Unhealthy;
    third.instances[0].health = Health::Unhealthy;
    third.instances[0].since = Some(ago(1));
    index.apply(vec![third], &[], NOON);
    assert_eq!(
        index.shown(),
        [3, 1, 2].map(Uuid::from_u128),
        "the one that is down comes first, before the next frame"
    );
}
