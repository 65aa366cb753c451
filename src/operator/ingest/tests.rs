//! The index's rules, and what the task announces.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::index::{Index, Scope};
use super::observed::ObservedObject;
use super::{Ingest, Message, Objects, Shared, reasons_differ};
use crate::catalog::Epoch;
use crate::model::mirror::MirrorChange;
use crate::model::name::ServiceKey;
use crate::model::ports::AlwaysLeads;
use crate::model::samples::Anywhere;
use crate::model::time::Clock;
use crate::operator::endpoints::Endpoints;
use crate::operator::kubernetes::follow;
use crate::operator::namespaces::{KnownNamespace, PolicySettings, Table, View};
use crate::operator::read::ObjectId;
use crate::operator::read::raw::RawObject;
use crate::store::{Opened, Store, StoreSettings};
use crate::telemetry::metrics::Metrics;

fn json_of(name: &str, uid: u128, revision: u64) -> Value {
    json!({
        "apiVersion": "portolan.dev/v1alpha1",
        "kind": "Service",
        "metadata": {
            "name": name,
            "namespace": "shop",
            "uid": Uuid::from_u128(uid),
            "resourceVersion": revision.to_string(),
            "creationTimestamp": "2026-01-02T03:04:05Z",
            "generation": 1,
            "managedFields": [{ "manager": "kubectl", "operation": "Apply", "apiVersion": "portolan.dev/v1alpha1",
                                "fieldsType": "FieldsV1", "fieldsV1": { "f:spec": {} } }],
            "annotations": { "kubectl.kubernetes.io/last-applied-configuration": "{}" },
        },
        "spec": { "instances": [{ "name": "a", "baseUrl": "http://10.0.0.5:8080" }] },
    })
}

fn known_of(value: &Value) -> Arc<ObservedObject> {
    let raw: RawObject = serde_json::from_str(&value.to_string()).expect("an object");
    Arc::new(ObservedObject::new(raw, &Anywhere).expect("a name, a uid and a revision"))
}

fn known(name: &str, uid: u128, revision: u64) -> Arc<ObservedObject> {
    known_of(&json_of(name, uid, revision))
}

fn object_id(name: &str, uid: u128, revision: u64) -> ObjectId {
    let object: RawObject = serde_json::from_str(&json_of(name, uid, revision).to_string()).expect("an object");
    ObjectId::of(object.metadata()).expect("a object_id")
}

fn key(name: &str) -> ServiceKey {
    ServiceKey::new(&"shop".parse().expect("a name"), &name.parse().expect("a name"))
}

fn index() -> Index {
    Index::new([None])
}

/// Name to uid and revision of all that is known.
fn held(index: &Index) -> BTreeMap<String, (u128, u64)> {
    let of = |known: &Arc<ObservedObject>| (known.key().name().to_owned(), (known.id().as_u128(), known.revision()));
    index.objects().values().map(of).collect()
}

fn list(index: &mut Index, scope: &Scope, revision: u64, objects: &[(&str, u128, u64)]) {
    index.begin(scope.clone());
    finish(index, scope, revision, objects);
}

fn finish(index: &mut Index, scope: &Scope, revision: u64, objects: &[(&str, u128, u64)]) {
    for (name, uid, at) in objects {
        let raw = known(name, *uid, *at);
        let object_id = object_id(name, *uid, *at);
        if !index.is_listed_as_known(scope, &object_id) {
            index.listed(scope, raw);
        }
    }
    index.end(scope, revision);
}

#[test]
fn what_nobody_reads_is_not_kept() {
    assert!(known("cart", 1, 10).object.is_none(), "a manifest is never written");
    let mut registered = json_of("cart", 1, 10);
    registered["spec"]["source"] = json!("Rest");
    registered["status"] = json!({ "ready": "0/1" });
    let known = known_of(&registered);
    let object = known.object.as_deref().expect("the registrar's");
    assert_eq!((&object.metadata.managed_fields, &object.metadata.annotations, &object.status), (&None, &None, &None));
    assert_eq!(known.status().map(|status| status.ready.as_str()), Some("0/1"));
}

#[test]
fn the_newest_revision_wins_and_a_uid_that_is_gone_never_returns() {
    let mut index = index();
    assert!(matches!(index.put(known("cart", 1, 10)), Some(MirrorChange::Put(_))));
    assert_eq!(index.put(known("cart", 1, 10)), None, "no news");
    assert_eq!(index.put(known("cart", 1, 9)), None, "older");
    assert!(index.put(known("cart", 2, 20)).is_some(), "another object of the name");
    assert_eq!(index.remove(&key("cart"), Uuid::from_u128(1), 19), None, "the earlier object's removal, late");
    assert!(matches!(
        index.remove(&key("cart"), Uuid::from_u128(2), 21),
        Some(MirrorChange::Remove { revision: 21, .. })
    ));
    assert_eq!(index.put(known("cart", 2, 22)), None);
    assert_eq!((held(&index).len(), index.highest()), (0, 21));
}

#[test]
fn what_is_invalid_or_going_stays_known_and_leaves_the_catalog() {
    let mut index = index();
    let mut going = json_of("cart", 1, 10);
    going["metadata"]["deletionTimestamp"] = json!("2026-01-02T03:04:06Z");
    let mut odd = json_of("odd", 2, 11);
    odd["spec"]["instances"][0]["baseUrl"] = json!(7);
    odd["status"] = json!({ "observedGeneration": 1 });
    for object in [&going, &odd] {
        let known = known_of(object);
        let (name, revision) = (known.key().clone(), known.revision());
        let expected = MirrorChange::Remove { key: name, id: known.id(), revision };
        assert_eq!(index.put(known), Some(expected));
    }
    assert_eq!(held(&index).len(), 2);
    let odd = &index.objects()[&key("odd")];
    assert_eq!(odd.status().expect("its status is read").observed_generation, Some(1));
    assert!(index.mirrored().is_empty());
}

#[test]
fn a_list_replaces_what_it_covers_but_not_what_came_later() {
    let shop: Scope = Some("shop".parse().expect("a name"));
    let bank: Scope = Some("bank".parse().expect("a name"));
    let mut index = Index::new([shop.clone(), bank.clone()]);
    for (name, uid, at) in [("stays", 1, 10), ("changed", 2, 11), ("missed", 3, 12), ("removed", 5, 5)] {
        index.put(known(name, uid, at));
    }
    index.begin(shop.clone());
    index.put(known("later", 4, 31));
    index.remove(&key("removed"), Uuid::from_u128(5), 32);
    finish(&mut index, &shop, 30, &[("stays", 1, 10), ("changed", 2, 20), ("new", 6, 25), ("removed", 5, 5)]);
    let expected = [("changed", (2, 20)), ("later", (4, 31)), ("new", (6, 25)), ("stays", (1, 10))];
    assert_eq!(held(&index), expected.map(|(name, at)| (name.to_owned(), at)).into());
    assert!(!index.is_complete(), "bank was not listed");
    list(&mut index, &bank, 40, &[]);
    assert_eq!((index.is_complete(), index.highest(), held(&index).len()), (true, 40, 4));
}

#[test]
fn a_list_of_an_earlier_history_replaces_everything() {
    let mut index = index();
    list(&mut index, &None, 1000, &[("a", 1, 900), ("b", 2, 1000)]);
    index.remove(&key("c"), Uuid::from_u128(3), 1001);
    list(&mut index, &None, 50, &[("b", 2, 40), ("c", 3, 30)]);
    assert_eq!(held(&index), [("b".to_owned(), (2, 40)), ("c".to_owned(), (3, 30))].into());
    assert_eq!(index.highest(), 50);
}

/// What one news of the past says.
#[derive(Debug, Clone)]
enum News {
    Put(&'static str, u128, u64),
    Gone(&'static str, u128, u64),
}

/// Turns choices into a possible past: of each name at most one object at a time.
fn past(choices: &[(usize, bool)]) -> (Vec<News>, BTreeMap<String, (u128, u64)>) {
    let (mut now, mut news, mut uid) = (BTreeMap::new(), Vec::new(), 0);
    for (n, (name, goes)) in choices.iter().enumerate() {
        let (name, at) = (["a", "b", "c"][*name], n as u64 + 1);
        match now.get(name).copied() {
            Some((id, _)) if *goes => {
                now.remove(name);
                news.push(News::Gone(name, id, at));
            }
            known => {
                let id = known.map_or_else(
                    || {
                        uid += 1;
                        uid
                    },
                    |(id, _)| id,
                );
                now.insert(name.to_owned(), (id, at));
                news.push(News::Put(name, id, at));
            }
        }
    }
    (news, now)
}

fn apply(index: &mut Index, news: &News) {
    match news {
        News::Put(name, uid, at) => drop(index.put(known(name, *uid, *at))),
        News::Gone(name, uid, at) => drop(index.remove(&key(name), Uuid::from_u128(*uid), *at)),
    }
}

proptest! {
    /// The watch tells everything in order; answers to our own writes and reads come any time, before or after.
    #[test]
    fn whatever_comes_early_or_late_the_end_is_the_truth(
        choices in prop::collection::vec((0..3_usize, any::<bool>()), 1..24),
        extra in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..24),
    ) {
        let (news, now) = past(&choices);
        let mut index = index();
        for (n, item) in news.iter().enumerate() {
            apply(&mut index, item);
            for (_, what) in extra.iter().filter(|(when, _)| when.index(news.len()) == n) {
                apply(&mut index, what.get(&news));
            }
        }
        prop_assert_eq!(held(&index), now);
    }
}

/// What is known of a namespace `shop` with this label, where only `tier=gold` is watched.
fn labelled(tier: &str) -> View {
    let settings = PolicySettings { policies: false, selector: "tier=gold".parse().ok() };
    let mut table = Table::new(&settings);
    let labels = [("tier".to_owned(), tier.to_owned())].into();
    table.on_namespaces(follow::News::Listed(None, vec![KnownNamespace { name: "shop".to_owned(), labels }]));
    table.view()
}

#[test]
fn what_is_not_watched_is_set_aside_and_comes_back_in_order() {
    let mut index = index();
    let (gold, iron) = (labelled("gold"), labelled("iron"));
    let govern = |index: &Index, revision, view: &View| {
        let mut object = ObservedObject::clone(&known("cart", 1, revision));
        object.govern(view);
        object.order_after(index.get(&key("cart")).map(|before| &**before), None, view);
        Arc::new(object)
    };
    let put = |index: &mut Index, revision, view: &View| {
        let object = govern(index, revision, view);
        index.put(object)
    };
    let turn = |index: &mut Index, revision, view: &View| {
        let object = govern(index, revision, view);
        index.replace(object)
    };
    assert_eq!(put(&mut index, 10, &iron), None, "it was never there");
    assert!(index.objects().is_empty() && index.aside().len() == 1);
    let Some(MirrorChange::Put(shown)) = turn(&mut index, 10, &gold) else { panic!("it comes") };
    assert!(shown.revision > 10 && index.aside().is_empty());
    let Some(MirrorChange::Remove { revision, .. }) = turn(&mut index, 10, &iron) else { panic!("it goes") };
    assert!(revision > shown.revision, "a reader must notice");
    assert_eq!(put(&mut index, 9, &gold), None, "older");
    assert_eq!(put(&mut index, 20, &iron), None);
    let Some(MirrorChange::Put(again)) = turn(&mut index, 20, &gold) else { panic!("it comes back") };
    assert!(again.revision > revision.max(20));
    turn(&mut index, 20, &iron);
    assert!(matches!(index.remove(&key("cart"), Uuid::from_u128(1), 30), Some(MirrorChange::Remove { .. })));
    assert!(index.get(&key("cart")).is_none());

    let mut other = ObservedObject::clone(&known("odd", 2, 40));
    other.govern(&iron);
    assert_eq!(index.put(Arc::new(other)), None);
    assert_eq!(index.aside().len(), 1);
    list(&mut index, &None, 50, &[]);
    assert!(index.aside().is_empty(), "a list without it removes it");
}

#[test]
fn what_is_in_a_namespace_that_is_not_known_yet_is_set_aside() {
    let mut table = Table::new(&PolicySettings { policies: true, selector: None });
    table.on_policies(follow::News::Listed(None, Vec::new()));
    table.on_namespaces(follow::News::Listed(None, Vec::new()));
    let mut index = index();
    let mut early = ObservedObject::clone(&known("cart", 1, 10));
    early.govern(&table.view());
    assert_eq!(index.put(Arc::new(early)), None, "its policies might forbid it");
    let shop = KnownNamespace { name: "shop".to_owned(), labels: BTreeMap::new() };
    table.on_namespaces(follow::News::Put(Box::new(shop)));
    let mut object = ObservedObject::clone(&known("cart", 1, 10));
    object.govern(&table.view());
    assert!(matches!(index.replace(Arc::new(object)), Some(MirrorChange::Put(_))));
}

/// An object that adopts, on a server that adopts nothing.
fn empty(name: &str, revision: u64) -> Arc<ObservedObject> {
    let mut object = json_of(name, 1, revision);
    object["spec"] = json!({ "from": { "service": "web" } });
    let mut observed = ObservedObject::clone(&known_of(&object));
    observed.adopt(&Endpoints::off(), &Anywhere);
    Arc::new(observed)
}

#[test]
fn only_another_reason_for_an_empty_service_counts() {
    let objects = |all: &[Arc<ObservedObject>]| -> Objects {
        all.iter().map(|observed| (observed.key().clone(), Arc::clone(observed))).collect()
    };
    let keys = [key("web"), key("cart")];
    let (none, web) = (objects(&[]), objects(&[empty("web", 10)]));
    let served = objects(&[known("web", 1, 11)]);
    for (before, now, differ) in [
        (&none, &web, true),
        (&web, &none, true),
        (&web, &served, true),
        (&served, &web, true),
        (&none, &served, false),
        (&web, &objects(&[empty("web", 12), known("cart", 2, 13)]), false),
    ] {
        assert_eq!(reasons_differ(before, now, &keys), differ, "{before:?} {now:?}");
    }
}

#[test]
fn a_service_whose_last_endpoint_goes_or_whose_first_one_comes_is_never_unknown() {
    let key = key("web");
    let [empty, served] = [empty("web", 10), known("web", 1, 11)].map(|of| Arc::new(Objects::unit(key.clone(), of)));
    for (before, next) in [(&served, &empty), (&empty, &served)] {
        let shared = Shared::default();
        shared.objects.store(Arc::clone(before));
        shared.written_next.store(Arc::clone(next));
        assert!(shared.why_empty(&key).is_some(), "the catalog may or may not have it");
        shared.objects.store(Arc::clone(next));
        assert_eq!(shared.why_empty(&key).is_some(), Arc::ptr_eq(next, &empty));
    }
}

#[tokio::test]
async fn what_one_watch_delivers_does_not_count_for_another_that_is_broken() {
    let folder = tempfile::tempdir().expect("a folder");
    let epoch = Some(Epoch::of(&Uuid::from_u128(7)));
    let settings = StoreSettings { epoch, ..StoreSettings::sample(folder.path()) };
    let Opened { store, writer, catalog, .. } =
        Store::open(settings, Clock::system(), Metrics::default()).expect("a store");
    let namespaces = ["a", "b"].map(|name| name.parse().expect("a namespace"));
    let (ingest, task) = Ingest::new(&namespaces, store, Arc::new(AlwaysLeads), Arc::new(Anywhere), Metrics::default());
    let stop = CancellationToken::new();
    let _stops_after_a_panic = stop.clone().drop_guard();
    let tasks = (tokio::spawn(writer.run(stop.clone())), tokio::spawn(task.run(stop.clone())));

    let [a, b] = namespaces.map(Some);
    let announced = catalog.watch_revision();
    let until = async |revision: u64| {
        let mut announced = catalog.watch_revision();
        let reached = announced.wait_for(|now| *now == revision);
        drop(tokio::time::timeout(Duration::from_mins(1), reached).await.expect("in time").expect("it runs"));
    };
    for scope in [&a, &b] {
        ingest.send(Message::Begin(scope.clone())).await.expect("it runs");
        ingest.send(Message::End(scope.clone(), 10)).await.expect("it runs");
        ingest.send(Message::Opened(scope.clone())).await.expect("it runs");
    }
    ingest.send(Message::Progress(a.clone(), 15)).await.expect("it runs");
    until(15).await;
    ingest.send(Message::Broke(b.clone())).await.expect("it runs");
    ingest.send(Message::Progress(a.clone(), 20)).await.expect("it runs");
    for _ in 0..2 {
        // The second one is answered after the progress was announced.
        ingest.ask(|reply| Message::Page(a.clone(), Vec::new(), reply)).await.expect("it runs");
    }
    assert_eq!(*announced.borrow(), 10);
    ingest.send(Message::Opened(b)).await.expect("it runs");
    until(20).await;

    stop.cancel();
    tasks.0.await.expect("it ends").expect("in order");
    tasks.1.await.expect("it ends").expect("in order");
}
