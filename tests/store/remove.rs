//! Deregistering: permissions, instances, generations.

use portolan::model::ports::{Registrar, Removal, ServiceRef, WriteError};

use crate::common::{Running, admin, fresh, joining, registration, removal, spec, token};

async fn two_owners(s: &Running) {
    for (instance, owner) in [("a", "alice"), ("b", "bob")] {
        s.store.register(registration("users", instance, spec(1)), joining(owner)).await.expect("registers");
    }
}

fn all(name: &str) -> Removal {
    Removal { all: true, ..removal(name, None) }
}

#[tokio::test]
async fn removing_the_last_instance_removes_the_service() {
    let (_folder, s) = fresh();
    s.register(registration("users", "a", spec(1))).await.expect("registers");
    s.register(registration("users", "b", spec(2))).await.expect("registers");
    s.remove(removal("users", Some("a"))).await.expect("removes");
    let service = s.service("users");
    assert_eq!((service.instances.len(), service.instances[0].name.as_str()), (1, "b"));
    s.remove(removal("users", Some("b"))).await.expect("removes");
    assert_eq!((s.find("users"), s.catalog().read().total().instances, s.revision()), (None, 0, 4));
    s.stop().await;
}

#[tokio::test]
async fn a_missing_service_or_instance_is_not_found() {
    let (_folder, s) = fresh();
    assert_eq!(s.remove(removal("users", None)).await, Err(WriteError::ServiceNotFound));
    let by_id = Removal { service: ServiceRef::Id(uuid::Uuid::now_v7()), ..removal("users", None) };
    assert_eq!(s.remove(by_id).await, Err(WriteError::ServiceNotFound));
    s.register(registration("users", "a", spec(1))).await.expect("registers");
    assert_eq!(s.remove(removal("users", Some("b"))).await, Err(WriteError::InstanceNotFound));
    let by_id = Removal { service: ServiceRef::Id(s.service("users").id), ..removal("users", None) };
    assert_eq!(s.remove(by_id).await, Ok(()));
    s.stop().await;
}

#[tokio::test]
async fn several_instances_are_removed_only_with_all() {
    let (_folder, s) = fresh();
    for instance in ["a", "b", "c"] {
        s.register(registration("users", instance, spec(1))).await.expect("registers");
    }
    assert_eq!(s.remove(removal("users", None)).await, Err(WriteError::HasInstances(3)));
    s.remove(all("users")).await.expect("removes");
    assert_eq!((s.find("users"), s.revision()), (None, 4));
    s.stop().await;
}

#[tokio::test]
async fn only_owners_remove() {
    let (_folder, s) = fresh();
    two_owners(&s).await;
    let remove = |removal, caller| s.store.deregister(removal, caller);
    assert_eq!(remove(removal("users", Some("a")), token("bob")).await, Err(WriteError::NotOwner));
    assert_eq!(remove(removal("users", None), token("mallory")).await, Err(WriteError::NotOwner));
    assert_eq!(remove(all("users"), token("alice")).await, Err(WriteError::NotOwner), "one of the two is bob's");
    assert_eq!(s.service("users").instances.len(), 2);
    remove(removal("users", Some("b")), token("bob")).await.expect("its owner may");
    remove(all("users"), admin()).await.expect("an admin may");
    s.stop().await;
}

#[tokio::test]
async fn a_late_shutdown_does_not_remove_its_successor() {
    let (_folder, s) = fresh();
    let old = s.register(registration("users", "a", spec(1))).await.expect("registers").generation;
    let new = s.register(registration("users", "a", spec(2))).await.expect("registers").generation;
    let of = |generation| Removal { if_generation: Some(generation), ..removal("users", Some("a")) };
    assert_eq!(s.remove(of(old)).await, Err(WriteError::StaleGeneration { asked: old, current: new }));
    s.remove(of(new)).await.expect("removes");
    assert_eq!(s.find("users"), None);
    s.stop().await;
}
