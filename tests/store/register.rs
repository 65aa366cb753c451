//! Registering: permissions, changes, renewals.

use portolan::catalog::Batch;
use portolan::model::outcome::{Health, Reason};
use portolan::model::ports::{FullService, Registrar, WriteError};
use portolan::model::service::{InstanceSpec, MAX_INSTANCES_PER_SERVICE, Owner};

use crate::common::{Running, admin, at, folder, fresh, joining, registration, removal, settings, spec, token};
use crate::health::{make_healthy, make_unhealthy};

#[tokio::test]
async fn a_registration_is_visible_when_it_is_answered() {
    let (_folder, s) = fresh();
    let registered = s.register(registration("users", "a", spec(1))).await.expect("registers");
    assert!(!registered.renewed && registered.replaced.is_empty());
    let service = s.service("users");
    assert_eq!(*registered.service, service);
    let [instance] = service.instances.as_slice() else { panic!("one instance") };
    assert_eq!((instance.health, instance.reason), (Health::Unknown, Reason::Probing));
    assert_eq!((instance.created_at, instance.since), (at(0).wall, at(0).wall));
    assert_eq!((registered.generation, instance.owner.clone()), (instance.generation, Owner::Anonymous));
    assert_eq!((service.revision, s.revision()), (1, 1));
    s.stop().await;
}

#[tokio::test]
async fn a_repetition_renews_and_changes_nothing() {
    let (_folder, s) = fresh();
    let first = s.register(registration("users", "a", spec(1))).await.expect("registers");
    let before = s.service("users");
    s.clock.set(at(5_000));
    let again = s.register(registration("users", "a", spec(1))).await.expect("renews");
    assert!(again.renewed);
    assert_eq!(again.generation, first.generation);
    assert_eq!((s.service("users"), s.revision()), (before, 1));
    assert_eq!(s.metrics.commits.get(), 1);
    s.stop().await;
}

#[tokio::test]
async fn changed_labels_keep_health_and_generation() {
    let (_folder, s) = fresh();
    let first = s.register(registration("users", "a", spec(1))).await.expect("registers");
    make_healthy(&s, "users", "a").await;
    let mut relabelled = spec(1);
    relabelled.metadata.insert("team".into(), "identity".into());
    (relabelled.version, relabelled.weight) = ("2.0.0".into(), 7);
    s.clock.set(at(9_000));
    let second = s.register(registration("users", "a", relabelled.clone())).await.expect("changes");
    let instance = s.instance("users", "a");
    assert_eq!((second.generation, second.renewed, second.replaced), (first.generation, false, vec![]));
    assert_eq!((instance.health, *instance.spec == relabelled), (Health::Healthy, true));
    let service = s.service("users");
    assert_eq!((service.updated_at, service.registered_at, service.revision), (at(9_000).wall, at(0).wall, 3));
    s.stop().await;
}

#[tokio::test]
async fn another_address_or_check_starts_a_new_generation() {
    let (_folder, s) = fresh();
    let mut generations = vec![s.register(registration("users", "a", spec(1))).await.expect("registers").generation];
    make_healthy(&s, "users", "a").await;
    let moved = s.register(registration("users", "a", spec(2))).await.expect("changes");
    let replaced: Vec<_> = moved.replaced.iter().map(|url| (url.field, url.was_healthy)).collect();
    assert_eq!(replaced, [("base_url", true), ("health_url", true)]);
    assert_eq!((&moved.replaced[0].old, moved.replaced[0].new.as_ref()), (&spec(1).base_url, Some(&spec(2).base_url)));
    let instance = s.instance("users", "a");
    assert_eq!((instance.health, instance.reason), (Health::Unknown, Reason::Probing));
    generations.push(moved.generation);

    make_healthy(&s, "users", "a").await;
    let mut slower = spec(2);
    slower.check.timing.interval_seconds = Some(60);
    let checked = s.register(registration("users", "a", slower)).await.expect("changes");
    assert!(checked.replaced.is_empty(), "the address is the same");
    generations.push(checked.generation);

    let unchecked = InstanceSpec { health_url: None, ..spec(2) };
    generations.push(s.register(registration("users", "a", unchecked)).await.expect("changes").generation);
    assert_eq!(s.instance("users", "a").reason, Reason::NotChecked);

    s.remove(removal("users", None)).await.expect("removes");
    generations.push(s.register(registration("users", "a", spec(1))).await.expect("registers").generation);
    assert!(generations.is_sorted_by(|a, b| a < b), "never given twice: {generations:?}");
    s.stop().await;
}

#[tokio::test]
async fn only_the_owner_or_an_admin_changes_an_instance() {
    let (_folder, s) = fresh();
    let register = |port, caller| s.store.register(registration("users", "a", spec(port)), caller);
    register(1, token("alice")).await.expect("registers");
    assert_eq!(register(1, token("bob")).await.expect_err("a repeat by another"), WriteError::NotOwner);
    assert_eq!(register(2, token("bob")).await.expect_err("a change by another"), WriteError::NotOwner);
    assert_eq!(s.revision(), 1);
    register(2, admin()).await.expect("an admin may");
    assert_eq!(s.instance("users", "a").owner, token("alice").owner, "the owner stays");
    assert!(register(2, token("alice")).await.expect("the owner may").renewed);
    s.stop().await;
}

#[tokio::test]
async fn only_owners_add_instances() {
    let (_folder, s) = fresh();
    let register = |instance, caller| s.store.register(registration("users", instance, spec(1)), caller);
    register("a", token("alice")).await.expect("registers");
    assert_eq!(register("b", token("bob")).await.expect_err("another's name"), WriteError::NotOwner);
    register("b", token("alice")).await.expect("its owner may");
    register("c", joining("bob")).await.expect("an admin may");
    register("d", token("bob")).await.expect("who owns one instance may add another");
    s.stop().await;
}

#[tokio::test]
async fn an_issuer_is_part_of_the_owner() {
    let (_folder, s) = fresh();
    let owner = |issuer: &str| Owner::Token { issuer: issuer.into(), subject: "alice".into() };
    let caller = |issuer| portolan::model::ports::Caller { owner: owner(issuer), admin: false };
    s.store.register(registration("users", "a", spec(1)), caller("one")).await.expect("registers");
    let refused = s.store.register(registration("users", "a", spec(2)), caller("two")).await;
    assert_eq!(refused.expect_err("another issuer's alice"), WriteError::NotOwner);
    s.stop().await;
}

#[tokio::test]
async fn limits_apply_only_to_what_is_new() {
    let (_folder, path) = folder();
    let bounds = portolan::store::StoreSettings { max_services: 2, max_instances: 3, ..settings(&path) };
    let s = Running::open(bounds).expect("opens");
    for name in ["one", "two"] {
        s.register(registration(name, "a", spec(1))).await.expect("registers");
    }
    let third = s.register(registration("three", "a", spec(1))).await.expect_err("a third service");
    assert_eq!(third, WriteError::TooManyServices(2));
    s.register(registration("one", "b", spec(2))).await.expect("a third instance");
    let fourth = s.register(registration("two", "b", spec(2))).await.expect_err("a fourth instance");
    assert_eq!(fourth, WriteError::TooManyInstances(3));
    s.register(registration("two", "a", spec(9))).await.expect("a change needs no room");
    s.remove(removal("two", None)).await.expect("removes");
    s.register(registration("three", "a", spec(1))).await.expect("there is room again");
    s.stop().await;
}

#[tokio::test]
async fn a_service_has_at_most_256_instances() {
    let (_folder, s) = fresh();
    let names: Vec<_> = (0..MAX_INSTANCES_PER_SERVICE).map(|n| format!("i{n}")).collect();
    let calls = names.iter().map(|name| s.register(registration("users", name, spec(1))));
    for registered in futures::future::join_all(calls).await {
        registered.expect("registers");
    }
    let refused = s.register(registration("users", "one-more", spec(1))).await.expect_err("full");
    let full = |unhealthy, longest| {
        WriteError::ServiceFull(FullService { instances: MAX_INSTANCES_PER_SERVICE, unhealthy, longest })
    };
    assert_eq!(refused, full(0, None));
    make_unhealthy(&s, "users", "i9").await;
    s.clock.set(at(5_000));
    make_unhealthy(&s, "users", "i8").await;
    let refused = s.register(registration("users", "one-more", spec(1))).await.expect_err("full");
    assert_eq!(refused, full(2, Some(("i9".parse().expect("a name"), at(0).wall))));
    let service = s.service("users");
    assert!(service.instances.is_sorted_by(|a, b| a.name < b.name), "in order of name");
    s.stop().await;
}

#[tokio::test]
async fn the_feed_has_what_each_commit_changed() {
    let (_folder, s) = fresh();
    let (snapshot, mut feed) = s.catalog().subscribe();
    assert_eq!(snapshot.total().total(), 0);
    s.register(registration("users", "a", spec(1))).await.expect("registers");
    let Batch { revision, upserts, removed, .. } = &*feed.next().await.expect("a batch");
    assert_eq!((*revision, upserts.len(), removed.len()), (1, 1, 0));
    let id = upserts[0].service().id;
    s.remove(removal("users", None)).await.expect("removes");
    let batch = feed.next().await.expect("a batch");
    assert_eq!((batch.revision, batch.upserts.len()), (2, 0));
    assert_eq!(batch.removed, vec![(crate::common::key("users"), id)]);
    s.stop().await;
}

#[tokio::test]
async fn a_clock_set_back_makes_no_instance_older() {
    let (_folder, path) = folder();
    for (millis, name, version) in [(60_000, "a", "1.0.0"), (0, "b", "2.0.0")] {
        let s = Running::open_at(settings(&path), at(millis)).expect("opens");
        let spec = InstanceSpec { version: version.to_owned(), ..spec(1) };
        s.register(registration("users", name, spec)).await.expect("registers");
        let (mut json, snapshot) = (Vec::new(), s.catalog().snapshot());
        snapshot.find("default", "users").expect("registered").write_json(true, &mut json);
        let json: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
        assert_eq!(json["version"], version, "the one registered last speaks");
        drop(snapshot);
        s.stop().await;
    }
}
