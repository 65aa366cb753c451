//! What is compared, and that no change is missed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};
use uuid::Uuid;

use super::*;
use crate::model::samples::Anywhere;
use crate::operator::ingest::ObservedObject;
use crate::operator::read::raw::RawObject;

const NAMESPACES: [&str; 2] = ["shop", "bank"];
const NAMES: [&str; 3] = ["api", "web", "db"];

fn key(namespace: &str, name: &str) -> ServiceKey {
    ServiceKey::new(&namespace.parse().expect("a name"), &name.parse().expect("a name"))
}

/// An object; kept for the core Service with the uid `owner`, if there is one.
fn observed(key: &ServiceKey, owner: Option<&str>, port: &Value, (uid, revision): (u128, u64)) -> Arc<ObservedObject> {
    let mut object = json!({
        "apiVersion": "portolan.dev/v1alpha1", "kind": "Service",
        "metadata": {
            "name": key.name(), "namespace": key.namespace(), "uid": Uuid::from_u128(uid), "generation": 1,
            "resourceVersion": revision.to_string(), "creationTimestamp": "2026-01-02T03:04:05Z",
        },
        "spec": { "from": { "service": key.name(), "port": port } },
    });
    if let Some(owner) = owner {
        object["metadata"]["labels"] = json!({ "portolan.dev/adopted": "true" });
        object["metadata"]["ownerReferences"] =
            json!([{ "apiVersion": "v1", "kind": "Service", "name": key.name(), "uid": owner }]);
    }
    let raw: RawObject = serde_json::from_str(&object.to_string()).expect("an object");
    Arc::new(ObservedObject::new(raw, &Anywhere).expect("a name, a uid and a revision"))
}

fn core(key: &ServiceKey, uid: &str, ports: &[u16], label: Option<&str>, selects: bool) -> CoreService {
    CoreService {
        namespace: key.namespace().to_owned(),
        name: key.name().to_owned(),
        uid: uid.to_owned(),
        ports: ports.iter().map(|port| (*port, format!("p{port}"))).collect(),
        label: label.map(str::to_owned),
        selects,
        ..CoreService::default()
    }
}

/// Which objects differ, and which core Services' names are taken.
#[derive(Debug, Default, PartialEq)]
struct Found {
    changes: BTreeMap<ServiceKey, String>,
    taken: BTreeSet<ServiceKey>,
}

impl Found {
    /// Compares everything: all core Services and all objects.
    fn in_full(labels: &Labels, objects: &Objects) -> Self {
        let mut found = Self::default();
        for key in labels.keys().chain(objects.keys().cloned()) {
            match labels.compare(&key, objects.get(&key).map(|known| &**known)) {
                Finding::Fits => {}
                Finding::Taken => drop(found.taken.insert(key)),
                Finding::Differs(change) => drop(found.changes.insert(key, format!("{change:?}"))),
            }
        }
        found
    }

    /// What is known after comparing what waits.
    fn take(&mut self, pending: &mut Pending, objects: &Objects, concerned: &BTreeSet<ServiceKey>) {
        self.changes.retain(|key, _| !concerned.contains(key));
        while let Some(next) = pending.next(objects, Instant::now()) {
            if let Next::Write(change) = next {
                self.changes.insert(change.key().clone(), format!("{change:?}"));
            }
        }
        self.taken = pending.taken.iter().cloned().collect();
    }
}

#[derive(Debug, Clone)]
enum Step {
    Core { at: (usize, usize), uid: u8, ports: Vec<u16>, label: Option<&'static str>, selects: bool },
    NoCore((usize, usize)),
    Label(usize),
    NoLabel(usize),
    Object { at: (usize, usize), owner: Option<u8>, port: u16 },
    NoObject((usize, usize)),
    RelistCores,
    RelistNamespaces,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let at = || (0..NAMESPACES.len(), 0..NAMES.len());
    let label = prop_oneof![Just(None), Just(Some("true")), Just(Some("false")), Just(Some("p81"))];
    let ports = prop_oneof![Just(vec![]), Just(vec![80]), Just(vec![81]), Just(vec![80, 81])];
    let step = prop_oneof![
        4 => (at(), 0..2_u8, ports, label, any::<bool>())
            .prop_map(|(at, uid, ports, label, selects)| Step::Core { at, uid, ports, label, selects }),
        1 => at().prop_map(Step::NoCore),
        1 => (0..NAMESPACES.len()).prop_map(Step::Label),
        1 => (0..NAMESPACES.len()).prop_map(Step::NoLabel),
        4 => (at(), proptest::option::of(0..2_u8), 80..82_u16).prop_map(|(at, owner, port)| Step::Object { at, owner, port }),
        1 => at().prop_map(Step::NoObject),
        1 => Just(Step::RelistCores),
        1 => Just(Step::RelistNamespaces),
    ];
    proptest::collection::vec(step, 1..40)
}

/// What there is, and what has heard of it.
struct World {
    pending: Pending,
    cores: BTreeMap<ServiceKey, CoreService>,
    labelled: BTreeSet<String>,
    objects: Objects,
    version: u64,
}

impl World {
    fn new(watched: Vec<Namespace>) -> Self {
        let scopes = super::super::labels::scopes(&watched);
        let mut pending = Pending::new(watched);
        for scope in scopes {
            pending.services(&News::Listed(scope, Vec::new()));
        }
        pending.namespaces(News::Listed(None, Vec::new()));
        let (cores, labelled) = (BTreeMap::new(), BTreeSet::new());
        Self { pending, cores, labelled, objects: Objects::new(), version: 0 }
    }

    fn take(&mut self, step: Step) {
        self.version += 1;
        let of = |(namespace, name): (usize, usize)| key(NAMESPACES[namespace], NAMES[name]);
        match step {
            Step::Core { at, uid, ports, label, selects } => {
                let core = core(&of(at), &format!("u{uid}"), &ports, label, selects);
                self.cores.insert(of(at), core.clone());
                self.pending.services(&News::Put(Box::new(core)));
            }
            Step::NoCore(at) => {
                if let Some(core) = self.cores.remove(&of(at)) {
                    self.pending.services(&News::Removed(Box::new(core)));
                }
            }
            Step::Label(n) => {
                self.labelled.insert(NAMESPACES[n].to_owned());
                self.pending.namespaces(News::Put(Box::new(NAMESPACES[n].to_owned())));
            }
            Step::NoLabel(n) => {
                self.labelled.remove(NAMESPACES[n]);
                self.pending.namespaces(News::Removed(Box::new(NAMESPACES[n].to_owned())));
            }
            Step::Object { at, owner, port } => {
                let owner = owner.map(|uid| format!("u{uid}"));
                let object =
                    observed(&of(at), owner.as_deref(), &json!(port), (u128::from(self.version), self.version));
                self.objects.insert(of(at), object);
                self.pending.mark([&of(at)]);
            }
            Step::NoObject(at) => {
                self.objects.remove(&of(at));
                self.pending.mark([&of(at)]);
            }
            Step::RelistCores => {
                let all = self.cores.values().cloned().collect();
                self.pending.services(&News::Listed(None, all));
            }
            Step::RelistNamespaces => {
                self.pending.namespaces(News::Listed(None, self.labelled.iter().cloned().collect()));
            }
        }
    }

    /// Those that wait to be compared.
    fn waiting(&mut self) -> BTreeSet<ServiceKey> {
        if self.pending.everyone {
            return NAMESPACES.iter().flat_map(|namespace| NAMES.map(|name| key(namespace, name))).collect();
        }
        let mut all = BTreeSet::new();
        while let Some(key) = self.pending.queue.pop(Instant::now()) {
            all.insert(key);
        }
        self.pending.mark(&all);
        all
    }
}

proptest! {
    #[test]
    fn comparing_what_news_concerns_finds_what_comparing_everything_does(steps in steps(), some in any::<bool>()) {
        let watched = if some { vec!["shop".parse().expect("a name")] } else { Vec::new() };
        let (mut world, mut found) = (World::new(watched), Found::default());
        for step in steps {
            world.take(step);
            let waiting = world.waiting();
            found.take(&mut world.pending, &world.objects, &waiting);
            prop_assert_eq!(&found, &Found::in_full(&world.pending.labels, &world.objects));
        }
    }
}

#[test]
fn one_change_compares_one_object_among_thousands() {
    let mut world = World::new(Vec::new());
    let keys: Vec<ServiceKey> = (0..10_000).map(|n| key("shop", &format!("s{n}"))).collect();
    let cores = keys.iter().map(|key| core(key, "u", &[80], Some("true"), true)).collect();
    world.pending.services(&News::Listed(None, cores));
    for (n, key) in keys.iter().enumerate() {
        world.objects.insert(key.clone(), observed(key, Some("u"), &json!(80), (n as u128 + 1, 1)));
    }
    assert_eq!(world.pending.next(&world.objects, Instant::now()), None, "all are as the labels ask");
    world.objects.remove(&keys[7]);
    world.pending.mark([&keys[7]]);
    assert_eq!(world.waiting(), BTreeSet::from([keys[7].clone()]));
    let next = world.pending.next(&world.objects, Instant::now());
    assert!(matches!(&next, Some(Next::Write(Change::Create(key, _))) if *key == keys[7]), "{next:?}");
    world.pending.services(&News::Put(Box::new(core(&keys[8], "u", &[80], Some("false"), true))));
    assert_eq!(world.waiting(), BTreeSet::from([keys[8].clone()]));
    world.pending.services(&News::Put(Box::new(core(&keys[8], "u", &[80], Some("false"), true))));
    world.pending.queue.clear();
    world.pending.services(&News::Put(Box::new(core(&keys[9], "u", &[80], Some("true"), true))));
    assert!(world.waiting().is_empty(), "nothing that matters of it changed");
}

#[test]
fn an_install_of_some_namespaces_can_do_without_their_labels() {
    let (start, after) = (Instant::now(), std::time::Duration::from_secs);
    let shop = || -> Vec<Namespace> { vec!["shop".parse().expect("a name")] };
    for (watched, can) in [(Vec::new(), false), (shop(), true)] {
        let mut pending = Pending::new(watched.clone());
        let cores = vec![core(&key("shop", "web"), "u", &[80], Some("true"), true)];
        pending.services(&News::Listed(watched.first().cloned(), cores));
        assert_eq!(pending.namespaces_refused(start), can);
        assert_eq!(pending.next(&Objects::new(), start + after(14)), None, "an API server may just have started");
        let next = pending.next(&Objects::new(), start + after(15));
        assert_eq!(next.is_some(), can, "{next:?}");
    }
}
