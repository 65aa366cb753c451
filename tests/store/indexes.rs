//! Rows that do not match their indexes, and that no start checks: the first write that meets one rebuilds the indexes.

use portolan::model::service::Service;
use portolan::store::StoreSettings;

use crate::common::{Running, damage, folder, is_sound, registration, removal, settings, spec};
use crate::health::{make_healthy, make_unhealthy, row};

/// Damages the row that `row_of` describes, in a file of an unhealthy service with history and probes; then everything can be written.
async fn costs_nothing(row_of: impl Fn(&Service) -> Vec<u8>) {
    let (_folder, path) = folder();
    let s = Running::open(settings(&path)).expect("opens");
    s.register(registration("users", "a", spec(1))).await.expect("registers");
    for _ in 0..3 {
        make_healthy(&s, "users", "a").await;
    }
    make_unhealthy(&s, "users", "a").await;
    s.store.record_probes(vec![row(&s.instance("users", "a"), 7)]).await.expect("records");
    let damaged = row_of(&s.service("users"));
    s.stop().await;
    damage(&path, &damaged, damaged[0] ^ 64);
    // Less history than there is, so that some of it is deleted.
    let s = Running::open(StoreSettings { history_rows: 1, ..settings(&path) }).expect("opens");
    assert_eq!(s.store.quarantined().0, 0);
    s.register(registration("late", "a", spec(1))).await.expect("registers");
    make_healthy(&s, "users", "a").await;
    s.remove(removal("users", None)).await.expect("removes");
    s.stop().await;
    is_sound(&path);
}

/// The start of the service's rows in history and availability.
fn of_service(service: &Service, next: &[u8]) -> Vec<u8> {
    [&service.id.as_bytes()[..], service.key.as_str().as_bytes(), b"a", next].concat()
}

#[tokio::test]
async fn a_damaged_span_stops_no_write() {
    costs_nothing(|service| of_service(service, b"unhealthy")).await;
}

#[tokio::test]
async fn a_damaged_entry_of_history_stops_no_write() {
    // The first bytes of its time.
    costs_nothing(|service| of_service(service, &[0x01, 0x9b])).await;
}

#[tokio::test]
async fn a_damaged_probe_stops_no_write() {
    costs_nothing(|service| {
        let instance = &service.instances[0];
        let id = u8::try_from(instance.id.0).expect("a small number");
        let generation = u8::try_from(instance.generation).expect("a small number");
        [&[id][..], b"default", &[generation], b"{"].concat()
    })
    .await;
}
