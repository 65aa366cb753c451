//! The same calls, one by one to a standalone store and merged in batches into objects, get the same answers.

use std::collections::HashMap;

use proptest::prelude::*;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::model::health::CheckState;
use crate::model::name::Namespace;
use crate::model::outcome::{Health, Reason};
use crate::model::ports::{AlwaysLeads, DrainOrder, Registered, Registrar, RemovalScope, ServiceRef};
use crate::model::probe::HealthChange;
use crate::model::time::Clock;
use crate::model::url::EndpointUrl;
use crate::store::{Opened, Store, StoreSettings};
use crate::telemetry::metrics::Metrics;

const MOST_SERVICES: usize = 2;
const MOST_INSTANCES: usize = 5;

/// Which generation `If-Match` names: as it was when the batch began.
#[derive(Debug, Clone, Copy)]
enum Match {
    Any,
    Known,
    Older,
}

#[derive(Debug, Clone)]
enum Call {
    Register { instance: u8, port: u16, weight: u16, caller: u8 },
    Remove { instance: Option<u8>, all: bool, caller: u8, by_id: bool, only: Match },
    Drain { instance: u8, change: DrainChange, caller: u8, by_id: bool },
    External { id: u8, port: u16, caller: u8 },
    RemoveExternal { id: u8, all: bool, caller: u8 },
}

/// External ids of which the last two make one slug.
const EXTERNAL_IDS: [&str; 3] = ["i1", "a b", "a:b"];

/// Calls about one service that are waiting together, or a change of health in between.
#[derive(Debug, Clone)]
enum Step {
    Batch(u8, Vec<Call>),
    Healthy(u8, u8),
}

fn call() -> impl Strategy<Value = Call> {
    let (instance, caller) = (0..3_u8, 0..4_u8);
    let only = prop_oneof![3 => Just(Match::Any), 2 => Just(Match::Known), 1 => Just(Match::Older)];
    let order =
        |(reason, until): (String, Option<i64>)| DrainOrder { reason, by: "ops".to_owned(), until: until.map(UnixMs) };
    let change = prop_oneof![
        3 => ("[ab]", proptest::option::of(1..3_i64)).prop_map(move |given| DrainChange::Start(order(given))),
        1 => Just(DrainChange::End),
        1 => (1..3_i64).prop_map(|until| DrainChange::Expire(UnixMs(until))),
    ];
    prop_oneof![
        2 => (0..3_u8, 1..3_u16, caller.clone()).prop_map(|(id, port, caller)| Call::External { id, port, caller }),
        1 => (0..3_u8, any::<bool>(), caller.clone())
            .prop_map(|(id, all, caller)| Call::RemoveExternal { id, all, caller }),
        2 => (instance.clone(), change, caller.clone(), any::<bool>())
            .prop_map(|(instance, change, caller, by_id)| Call::Drain { instance, change, caller, by_id }),
        3 => (instance.clone(), 1..3_u16, 0..2_u16, caller.clone())
            .prop_map(|(instance, port, weight, caller)| Call::Register { instance, port, weight, caller }),
        2 => (proptest::option::of(instance), any::<bool>(), caller, any::<bool>(), only)
            .prop_map(|(instance, all, caller, by_id, only)| Call::Remove { instance, all, caller, by_id, only }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..3_u8, proptest::collection::vec(call(), 1..8)).prop_map(|(service, calls)| Step::Batch(service, calls)),
        1 => (0..3_u8, 0..3_u8).prop_map(|(service, instance)| Step::Healthy(service, instance)),
    ]
}

fn caller(n: u8) -> Caller {
    let token = |subject: &str| Owner::Token { issuer: "".into(), subject: subject.into() };
    match n {
        0 => Caller { owner: Owner::Anonymous, admin: false },
        1 => Caller { owner: token("alice"), admin: false },
        2 => Caller { owner: token("bob"), admin: false },
        _ => Caller { owner: token("root"), admin: true },
    }
}

fn name(service: u8) -> ServiceKey {
    ServiceKey::new(&Namespace::default(), &format!("s{service}").parse().expect("a name"))
}

fn spec(port: u16, weight: u16) -> InstanceSpec {
    InstanceSpec {
        health_url: Some(EndpointUrl::health("http://10.0.0.5/live").expect("a URL")),
        weight,
        ..InstanceSpec::at(EndpointUrl::base(&format!("http://10.0.0.5:{port}")).expect("a URL"))
    }
}

fn register(service: u8, instance: u8, spec: InstanceSpec, caller: Caller) -> Request {
    let registration = Registration {
        namespace: Namespace::default(),
        service: format!("s{service}").parse().expect("a name"),
        instance: format!("i{instance}").parse().expect("a name"),
        derived: false,
        spec,
    };
    Request { op: Op::Register(Box::new(registration)), caller }
}

/// A generation as the store gave it, and as the merge did.
#[derive(Debug, Clone, Copy)]
struct Pair {
    store: u64,
    merge: u64,
}

/// Both sides.
struct World {
    store: Store,
    objects: HashMap<u8, CurrentObject>,
    pairs: HashMap<(u8, InstanceName), Pair>,
    generations: Generations,
}

impl World {
    /// The call for each side; they differ in ids and generations alone.
    fn calls(&self, service: u8, call: &Call) -> (Request, Request) {
        match call {
            Call::Register { instance, port, weight, caller: by } => {
                let request = register(service, *instance, spec(*port, *weight), caller(*by));
                (request.clone(), request)
            }
            Call::External { id, port, caller: by } => {
                let id = EXTERNAL_IDS[usize::from(*id)];
                let registration = Registration {
                    namespace: Namespace::default(),
                    service: format!("s{service}").parse().expect("a name"),
                    instance: registration::derived_name(id),
                    derived: true,
                    spec: InstanceSpec { external_id: Some(id.to_owned()), ..spec(*port, 1) },
                };
                let request = Request { op: Op::Register(Box::new(registration)), caller: caller(*by) };
                (request.clone(), request)
            }
            Call::RemoveExternal { id, all, caller: by } => {
                let scope = RemovalScope::ExternalId(EXTERNAL_IDS[usize::from(*id)].to_owned());
                let service = ServiceRef::Key(name(service));
                let removal = Removal { service, scope, all: *all, if_generation: None, why: None };
                let request = Request { op: Op::Remove(removal), caller: caller(*by) };
                (request.clone(), request)
            }
            Call::Remove { instance, all, caller: by, by_id, only } => {
                let instance: Option<InstanceName> = instance.map(|i| format!("i{i}").parse().expect("a name"));
                let known = instance.as_ref().and_then(|i| self.pairs.get(&(service, i.clone()))).copied();
                let known = known.unwrap_or(Pair { store: u64::MAX, merge: u64::MAX });
                let fence = |generation: u64| match only {
                    Match::Any => None,
                    // More instances than one have no generation in common.
                    _ if instance.is_none() => None,
                    Match::Known => Some(generation),
                    Match::Older => Some(0),
                };
                let removal = |id: Option<Uuid>, generation: u64| Request {
                    op: Op::Remove(Removal {
                        service: id.filter(|_| *by_id).map_or(ServiceRef::Key(name(service)), ServiceRef::Id),
                        scope: instance.clone().map_or(RemovalScope::Service, RemovalScope::Instance),
                        all: *all,
                        if_generation: fence(generation),
                        why: None,
                    }),
                    caller: caller(*by),
                };
                let (of_store, of_merge) = self.ids(service);
                (removal(of_store, known.store), removal(of_merge, known.merge))
            }
            Call::Drain { instance, change, caller: by, by_id } => {
                let drain = |id: Option<Uuid>| {
                    let service = id.filter(|_| *by_id).map_or(ServiceRef::Key(name(service)), ServiceRef::Id);
                    let instance = format!("i{instance}").parse().expect("a name");
                    Request { op: Op::Drain(InstanceRef { service, instance }, change.clone()), caller: caller(*by) }
                };
                let (of_store, of_merge) = self.ids(service);
                (drain(of_store), drain(of_merge))
            }
        }
    }

    /// The service's id there and here.
    fn ids(&self, service: u8) -> (Option<Uuid>, Option<Uuid>) {
        let of_store = self.store.catalog().read().get(name(service).as_str()).map(|e| e.service().id);
        (of_store, self.objects.get(&service).map(|object| object.id))
    }

    async fn batch(&mut self, service: u8, calls: &[Call]) {
        let pairs: Vec<_> = calls.iter().map(|call| self.calls(service, call)).collect();
        let before = self.limits();
        let mut expected = Vec::new();
        for (of_store, _) in &pairs {
            expected.push(self.ask_store(of_store.clone()).await);
        }
        let of_merge: Vec<Request> = pairs.into_iter().map(|(_, of_merge)| of_merge).collect();
        let found = self.merge_all(service, &of_merge, before);
        for ((expected, found), call) in expected.iter().zip(&found).zip(&of_merge) {
            self.compare(service, expected, found, call);
        }
        self.same_instances(service);
    }

    async fn ask_store(&self, call: Request) -> Result<Done, WriteError> {
        match call.op {
            Op::Register(registration) => {
                let done = self.store.register(*registration, call.caller).await?;
                let Registered { service: _, instance, generation, renewed, replaced } = done;
                Ok(Done::Registered { instance, generation, renewed, replaced })
            }
            Op::Remove(removal) => self.store.deregister(removal, call.caller).await.map(|()| Done::Removed),
            Op::Drain(instance, change) => self.store.drain(instance, change, call.caller).await.map(|_| Done::Drained),
        }
    }

    fn limits(&self) -> Limits {
        let instances = self.objects.values().map(|object| object.instances.len()).sum();
        let (max_services, max_instances) = (MOST_SERVICES, MOST_INSTANCES);
        Limits { max_services, services: self.objects.len(), max_instances, instances, per_service: None }
    }

    /// Round after round, as the registrar does; each writes what the one before left.
    fn merge_all(&mut self, service: u8, mut calls: &[Request], mut limits: Limits) -> Vec<Result<Done, WriteError>> {
        let mut answers = Vec::new();
        while !calls.is_empty() {
            let object = self.objects.get(&service);
            let merged = merge(&name(service), object, calls, limits, &mut self.generations, UnixMs::wall());
            assert!(!merged.answers.is_empty(), "no progress");
            calls = &calls[merged.answers.len()..];
            answers.extend(merged.answers);
            let renewed = |instances: Vec<ObjectInstance>| {
                instances.into_iter().map(|s| ObjectInstance { changed: false, redrained: false, ..s }).collect()
            };
            match merged.change {
                ObjectChange::Nothing => {}
                ObjectChange::Create(instances) => {
                    let (id, source) = (Uuid::now_v7(), Source::Rest);
                    assert!(instances.iter().all(|instance| instance.changed));
                    let object = CurrentObject { id, source, deleting: false, instances: renewed(instances) };
                    assert!(self.objects.insert(service, object).is_none());
                }
                ObjectChange::Replace(instances) => {
                    let object = self.objects.get_mut(&service).expect("something to replace");
                    object.instances = renewed(instances);
                }
                ObjectChange::Delete => drop(self.objects.remove(&service).expect("something to delete")),
            }
            limits = self.limits();
        }
        answers
    }

    fn compare(
        &mut self,
        service: u8,
        expected: &Result<Done, WriteError>,
        found: &Result<Done, WriteError>,
        call: &Request,
    ) {
        match (expected, found) {
            (
                Ok(Done::Registered { instance, generation: store, renewed: a, replaced: b }),
                Ok(Done::Registered { instance: same, generation: merge, renewed: c, replaced: d }),
            ) => {
                assert_eq!((instance, a, b), (same, c, d), "{call:?}");
                let key = (service, instance.clone());
                let new = Pair { store: *store, merge: *merge };
                match self.pairs.insert(key, new) {
                    Some(old) if old.store == *store => assert_eq!(old.merge, *merge, "kept there, kept here"),
                    old => assert!(old.is_none_or(|old| old.merge < *merge), "new there, new here: {call:?}"),
                }
            }
            (Err(WriteError::StaleGeneration { .. }), Err(WriteError::StaleGeneration { .. })) => {}
            _ => assert_eq!(expected, found, "{call:?}"),
        }
    }

    fn same_instances(&self, service: u8) {
        let snapshot = self.store.catalog().read();
        let of_store = snapshot.get(name(service).as_str()).map(|entry| entry.service().instances.clone());
        // They are drained at different moments.
        let drain = |drain: Option<Arc<Drain>>| drain.map(|drain| Drain { since: UnixMs(0), ..(*drain).clone() });
        let of_store: Vec<_> =
            of_store.into_iter().flatten().map(|i| (i.name, i.owner, Some(i.spec), drain(i.drain))).collect();
        let of_merge = self.objects.get(&service).map(|object| object.instances.clone());
        let of_merge: Vec<_> =
            of_merge.into_iter().flatten().map(|s| (s.name, s.owner, s.spec, drain(s.drain))).collect();
        assert_eq!(of_store, of_merge);
    }

    async fn make_healthy(&mut self, service: u8, instance: u8) {
        let instance = format!("i{instance}");
        let snapshot = self.store.catalog().snapshot();
        let found = snapshot.get(name(service).as_str()).and_then(|entry| entry.service().instance(&instance));
        let Some(found) = found else { return };
        let now = Clock::system().now();
        let change = HealthChange {
            instance: found.id,
            generation: found.generation,
            health: Health::Healthy,
            reason: Reason::Passed,
            since: now.wall,
            message: None,
            check: crate::model::name::CheckName::default(),
            warning: None,
            also_failing: Box::default(),
            observed_version: None,
            transition: None,
            state: CheckState::new(now),
        };
        assert_eq!(self.store.commit_health(vec![change], Arc::new(AlwaysLeads)).await, Ok(vec![true]));
        let instances = &mut self.objects.get_mut(&service).expect("both sides have it").instances;
        instances.iter_mut().filter(|one| one.name.as_str() == instance).for_each(|one| one.healthy = true);
    }
}

async fn run(steps: Vec<Step>) {
    let folder = tempfile::tempdir().expect("a folder");
    let (max_services, max_instances) = (MOST_SERVICES, MOST_INSTANCES);
    let settings = StoreSettings { max_services, max_instances, ..StoreSettings::sample(folder.path()) };
    let Opened { store, writer, .. } = Store::open(settings, Clock::system(), Metrics::default()).expect("a store");
    let stop = CancellationToken::new();
    let writer = tokio::spawn(writer.run(stop.clone()));
    let mut world = World { store, objects: HashMap::new(), pairs: HashMap::new(), generations: Generations(0) };
    for step in steps {
        match step {
            Step::Batch(service, calls) => world.batch(service, &calls).await,
            Step::Healthy(service, instance) => world.make_healthy(service, instance).await,
        }
    }
    stop.cancel();
    writer.await.expect("it ends").expect("in order");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn merged_calls_are_answered_as_the_standalone_store_answers_them(steps in proptest::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(run(steps));
    }
}

#[test]
fn what_a_policy_leaves_out_is_taken_once_calls_before_it_make_room() {
    let limits = Limits { max_services: 0, services: 0, max_instances: 9, instances: 0, per_service: None };
    let (mut generations, now) = (Generations(0), UnixMs::wall());
    let all = [0, 1, 2].map(|instance| register(0, instance, spec(1, 1), caller(0)));
    let created = merge(&name(0), None, &all, limits, &mut generations, now);
    let ObjectChange::Create(mut instances) = created.change else { panic!("{created:?}") };
    instances[2].beyond_limit = true;
    let object = CurrentObject { id: Uuid::now_v7(), source: Source::Rest, deleting: false, instances };
    let limits = Limits { services: 1, instances: 3, per_service: Some(2), ..limits };
    let mut answers = |calls: &[Request]| merge(&name(0), Some(&object), calls, limits, &mut generations, now).answers;

    let [.., third] = &all;
    assert_eq!(answers(std::slice::from_ref(third)), [Err(WriteError::FullByPolicy(2))]);
    let scope = RemovalScope::Instance("i0".parse().expect("a name"));
    let removal = Removal { service: ServiceRef::Key(name(0)), scope, all: false, if_generation: None, why: None };
    let removal = Request { op: Op::Remove(removal), caller: caller(0) };
    let both = answers(&[removal, third.clone()]);
    assert!(matches!(both[..], [Ok(Done::Removed), Ok(Done::Registered { renewed: true, .. })]), "{both:?}");
}
