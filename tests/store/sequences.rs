//! After any sequence of changes, a reopened store holds what the catalog held.

use std::sync::Arc;

use portolan::model::name::CheckName;
use portolan::model::outcome::{Health, Reason};
use portolan::model::ports::{
    Caller, DrainChange, DrainOrder, InstanceRef, Registrar, Registration, Removal, ServiceRef,
};
use portolan::model::probe::{HealthChange, ProbeRow};
use portolan::model::registration::derived_name;
use portolan::model::service::{InstanceSpec, Warning};
use portolan::store::StoreSettings;
use proptest::prelude::*;

use crate::common::{Running, admin, anyone, at, folder, key, leads, registration, removal, settings, spec, token};
use crate::health::{healthy, row};

#[derive(Debug, Clone)]
enum Step {
    Register { service: u8, instance: u8, port: u16, weight: u16, caller: u8 },
    Remove { service: u8, instance: Option<u8>, all: bool, caller: u8 },
    External { service: u8, id: u8, port: u16, caller: u8 },
    Drain { service: u8, instance: u8, until: Option<bool>, caller: u8 },
    Judge { service: u8, instance: u8, health: Health, stale: bool, check: u8, warns: bool },
    Probe { service: u8, instance: u8, check: u8 },
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let (service, instance, caller) = (0..4_u8, 0..3_u8, 0..4_u8);
    let health = prop_oneof![Just(Health::Healthy), Just(Health::Unhealthy), Just(Health::Unknown)];
    prop_oneof![
        8 => (service.clone(), instance.clone(), 1..3_u16, 0..2_u16, caller.clone())
            .prop_map(|(service, instance, port, weight, caller)| Step::Register { service, instance, port, weight, caller }),
        4 => (service.clone(), proptest::option::of(instance.clone()), any::<bool>(), caller.clone())
            .prop_map(|(service, instance, all, caller)| Step::Remove { service, instance, all, caller }),
        3 => (service.clone(), 0..3_u8, 1..3_u16, caller.clone())
            .prop_map(|(service, id, port, caller)| Step::External { service, id, port, caller }),
        3 => (service.clone(), instance.clone(), proptest::option::of(any::<bool>()), caller)
            .prop_map(|(service, instance, until, caller)| Step::Drain { service, instance, until, caller }),
        4 => (service.clone(), instance.clone(), health, any::<bool>(), 0..3_u8, any::<bool>()).prop_map(
            |(service, instance, health, stale, check, warns)| Step::Judge { service, instance, health, stale, check, warns }
        ),
        2 => (service, instance, 0..3_u8).prop_map(|(service, instance, check)| Step::Probe { service, instance, check }),
        1 => Just(Step::Restart),
    ]
}

fn caller(n: u8) -> Caller {
    match n {
        0 => anyone(),
        1 => token("alice"),
        2 => token("bob"),
        _ => admin(),
    }
}

/// Every lookup finds the same service, and the counts match.
fn check_snapshot(s: &Running) {
    let snapshot = s.catalog().snapshot();
    let entries: Vec<_> = snapshot.newest_first(None).collect();
    for entry in &entries {
        let service = entry.service();
        assert!(Arc::ptr_eq(entry, snapshot.by_id(&service.id).expect("by id")));
        assert!(Arc::ptr_eq(entry, snapshot.find("default", service.key.name()).expect("by name")));
        let after: Vec<_> = snapshot.newest_first(Some((service.registered_at, service.id))).collect();
        assert!(after.iter().all(|later| later.service().id < service.id), "a page goes on behind its cursor");
    }
    let instances = entries.iter().map(|e| e.service().instances.len()).sum();
    let healthy = entries.iter().filter(|e| e.health() == Health::Healthy).count();
    let total = snapshot.total();
    assert_eq!((total.total(), total.instances, total.healthy), (entries.len(), instances, healthy));
    let namespaces: Vec<_> = snapshot.namespaces().collect();
    assert_eq!(namespaces, if entries.is_empty() { vec![] } else { vec![("default", total)] });
}

fn check_name(n: u8) -> CheckName {
    ["default", "admin", "disk"][usize::from(n)].parse().expect("a name")
}

/// An instance that uses everything.
fn rich(port: u16) -> InstanceSpec {
    let named = [r#"{"name":"admin","advisory":true,"tcp":{}}"#, r#"{"name":"disk","http":{"path":"/disk"}}"#];
    InstanceSpec {
        checks: named.map(|json| serde_json::from_str(json).expect("a check")).to_vec(),
        tags: vec!["a=b".to_owned()],
        deregister_after_seconds: Some(60),
        ..spec(port)
    }
}

/// An external id is at an address only once.
fn check_external_ids(s: &Running) {
    for service in s.all() {
        let ids = service.instances.iter().filter(|i| i.spec.external_id.is_some());
        let mut ids: Vec<_> = ids.map(|i| (i.spec.external_id.clone(), i.spec.base_url.port())).collect();
        let before = ids.len();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), before, "{service:?}");
    }
}

/// Does one step. It may be refused, but then it must change nothing.
async fn take(s: &Running, step: Step, millis: i64) {
    let found = |service: u8, instance: u8| {
        let service = s.find(&format!("s{service}"))?;
        service.instance(&format!("i{instance}")).cloned()
    };
    let before = (s.revision(), s.all());
    let refused = match step {
        Step::Register { service, instance, port, weight, caller: by } => {
            let mut spec = rich(port);
            spec.weight = weight;
            let call = registration(&format!("s{service}"), &format!("i{instance}"), spec);
            s.store.register(call, caller(by)).await.is_err()
        }
        Step::Remove { service, instance, all, caller: by } => {
            let instance = instance.map(|i| format!("i{i}"));
            let removal = Removal { all, ..removal(&format!("s{service}"), instance.as_deref()) };
            s.store.deregister(removal, caller(by)).await.is_err()
        }
        Step::External { service, id, port, caller: by } => {
            // The second and the third make one slug.
            let id = ["one", "t wo", "t:wo"][usize::from(id)];
            let spec = InstanceSpec { external_id: Some(id.to_owned()), ..rich(port) };
            let call = registration(&format!("s{service}"), derived_name(id).as_str(), spec);
            let done = s.store.register(Registration { derived: true, ..call }, caller(by)).await;
            check_external_ids(s);
            done.is_err()
        }
        Step::Drain { service, instance, until, caller: by } => {
            let of = InstanceRef {
                service: ServiceRef::Key(key(&format!("s{service}"))),
                instance: format!("i{instance}").parse().expect("a name"),
            };
            let start = |until| DrainOrder { reason: "why".to_owned(), by: "who".to_owned(), until };
            let change = match until {
                None => DrainChange::End,
                Some(true) => DrainChange::Start(start(Some(at(1000).wall))),
                Some(false) => DrainChange::Start(start(None)),
            };
            s.store.drain(of, change, caller(by)).await.is_err()
        }
        Step::Judge { service, instance, health, stale, check, warns } => {
            let Some(found) = found(service, instance) else { return };
            let generation = found.generation - u64::from(stale);
            let reason = if health == Health::Unhealthy { Reason::Timeout } else { Reason::Passed };
            let check = check_name(check);
            let warning = warns.then(|| Warning { check: check.clone(), reason, message: "why".to_owned() });
            let observed_version = warns.then(|| millis.to_string());
            let change = HealthChange {
                generation,
                health,
                reason,
                check,
                warning,
                observed_version,
                ..healthy(&found, millis)
            };
            s.store.commit_health(vec![change], leads()).await.expect("writes") == [false]
        }
        Step::Probe { service, instance, check } => {
            let Some(found) = found(service, instance) else { return };
            let row = ProbeRow { check: check_name(check), ..row(&found, millis) };
            s.store.record_probes(vec![row]).await.expect("writes");
            true
        }
        Step::Restart => true,
    };
    if refused {
        assert_eq!((s.revision(), s.all()), before);
    }
}

async fn run(steps: Vec<Step>) {
    let (_folder, path) = folder();
    let bounds = StoreSettings { max_services: 3, max_instances: 5, ..settings(&path) };
    let mut s = Running::open(bounds.clone()).expect("opens");
    let steps = steps.into_iter().chain([Step::Restart]);
    for (millis, step) in (1_i64..).zip(steps) {
        s.clock.set(at(millis));
        if matches!(step, Step::Restart) {
            let before = (s.all(), s.revision(), s.catalog().read().epoch().clone(), s.catalog().read().total());
            s.stop().await;
            s = Running::open(bounds.clone()).expect("opens");
            let after = (s.all(), s.revision(), s.catalog().read().epoch().clone(), s.catalog().read().total());
            assert_eq!(after, before);
        } else {
            take(&s, step, millis).await;
            check_snapshot(&s);
        }
    }
    s.stop().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn a_reopened_store_holds_what_the_catalog_held(steps in proptest::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(run(steps));
    }
}
