//! History: pages, removed services, bounds.

use portolan::model::outcome::Health;
use portolan::model::ports::ServiceRef;
use portolan::model::probe::HealthChange;
use portolan::model::service::Instance;
use portolan::model::time::Now;
use portolan::store::{HistoryEvent, HistoryPage, HistoryQuery, StoreError, StoreSettings};

use crate::common::{Running, at, folder, fresh, key, leads, registration, removal, settings, spec};
use crate::health::healthy;

fn query(name: &str) -> HistoryQuery {
    HistoryQuery { service: ServiceRef::Key(key(name)), instance: None, before: None, limit: 2 }
}

/// Lets the instance's health change `times` times.
async fn flip(s: &Running, instance: &Instance, times: i64) {
    for n in 0..times {
        let mut change = healthy(instance, n);
        change.health = if n % 2 == 0 { Health::Unhealthy } else { Health::Healthy };
        assert_eq!(s.store.commit_health(vec![change], leads()).await, Ok(vec![true]));
    }
}

#[tokio::test]
async fn pages_hold_every_entry_once_newest_first() {
    let (_folder, s) = fresh();
    for name in ["users", "other"] {
        s.register(registration(name, "a", spec(1))).await.expect("registers");
        flip(&s, &s.instance(name, "a"), 5).await;
    }
    let (mut seen, mut before) = (Vec::new(), None);
    loop {
        let page = s.store.history(HistoryQuery { before, ..query("users") }).await.expect("a page");
        assert_eq!((page.service, &page.key), (s.service("users").id, &key("users")));
        assert!(page.entries.len() <= 2);
        seen.extend(page.entries.into_iter().map(|e| e.message));
        match page.next {
            Some(next) => before = Some(next),
            None => break,
        }
    }
    assert_eq!(seen, ["passed at 4", "passed at 3", "passed at 2", "passed at 1", "passed at 0"]);
    s.stop().await;
}

#[tokio::test]
async fn an_entry_carries_its_evidence() {
    let (_folder, s) = fresh();
    s.register(registration("users", "a", spec(1))).await.expect("registers");
    flip(&s, &s.instance("users", "a"), 1).await;
    let entries = s.history("users").await;
    let [entry] = entries.as_slice() else { panic!("one entry") };
    assert_eq!((entry.event, entry.instance.as_str(), entry.at), (HistoryEvent::Health, "a", at(0).wall));
    assert_eq!(entry.evidence, Some(crate::health::outcome(0)));
    let json = serde_json::to_value(portolan::wire::HistoryEntry::from(entry.clone())).expect("JSON");
    assert_eq!(json["event"], "health");
    assert_eq!(json["evidence"]["timings"]["connect_us"], 80);
    s.stop().await;
}

#[tokio::test]
async fn a_page_can_be_of_one_instance() {
    let (_folder, s) = fresh();
    for instance in ["a", "b"] {
        s.register(registration("users", instance, spec(1))).await.expect("registers");
        flip(&s, &s.instance("users", instance), 2).await;
    }
    let only = HistoryQuery { instance: Some("a".parse().expect("a name")), limit: 10, ..query("users") };
    let page = s.store.history(only).await.expect("a page");
    assert!(page.entries.iter().all(|e| e.instance.as_str() == "a") && page.entries.len() == 2);
    s.stop().await;
}

#[tokio::test]
async fn a_removed_service_is_remembered_by_id_and_name() {
    let (_folder, s) = fresh();
    assert!(matches!(s.store.history(query("users")).await, Err(StoreError::ServiceNotFound)));
    s.register(registration("users", "a", spec(1))).await.expect("registers");
    flip(&s, &s.instance("users", "a"), 1).await;
    let id = s.service("users").id;
    s.remove(removal("users", None)).await.expect("removes");
    for service in [ServiceRef::Id(id), ServiceRef::Key(key("users"))] {
        let HistoryPage { service, key: found, entries, next } =
            s.store.history(HistoryQuery { service, ..query("users") }).await.expect("a page");
        assert_eq!((service, found, next), (id, key("users"), None));
        let [removed, _] = entries.as_slice() else { panic!("two entries") };
        assert_eq!((removed.event, removed.from, removed.to), (HistoryEvent::Removed, Health::Unhealthy, None));
        assert!(removed.message.starts_with("deregistered; it was registered at 2026-01-01T00:00"), "{removed:?}");
    }
    s.register(registration("users", "a", spec(1))).await.expect("registers");
    assert_eq!(s.history("users").await.len(), 0, "another service of that name begins its own");
    s.stop().await;
}

#[tokio::test]
async fn a_changed_address_is_recorded() {
    let (_folder, s) = fresh();
    s.register(registration("users", "a", spec(1))).await.expect("registers");
    crate::health::make_healthy(&s, "users", "a").await;
    s.register(registration("users", "a", spec(2))).await.expect("changes");
    let entries = s.history("users").await;
    let [reset, _] = entries.as_slice() else { panic!("two entries: {entries:?}") };
    assert_eq!((reset.from, reset.to), (Health::Healthy, Some(Health::Unknown)));
    s.stop().await;
}

#[tokio::test]
async fn the_oldest_entries_make_room() {
    let (_folder, path) = folder();
    let bounds = StoreSettings { history_rows: 4, ..settings(&path) };
    let s = Running::open(bounds.clone()).expect("opens");
    s.register(registration("users", "a", spec(1))).await.expect("registers");
    flip(&s, &s.instance("users", "a"), 9).await;
    let messages =
        |entries: Vec<portolan::store::HistoryEntry>| entries.into_iter().map(|e| e.message).collect::<Vec<_>>();
    let newest = ["passed at 8", "passed at 7", "passed at 6", "passed at 5"];
    assert_eq!(messages(s.history("users").await), newest);
    s.stop().await;
    let s = Running::open(bounds).expect("opens");
    assert_eq!(messages(s.history("users").await), newest, "the bound is known after a restart");
    s.stop().await;
}

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

/// What history holds after the writer has trimmed it, which it does before a write, at intervals.
async fn left_after_a_write(s: &Running) -> Vec<String> {
    s.register(registration(&format!("w{}", s.revision()), "a", spec(1))).await.expect("registers");
    s.history("users").await.into_iter().map(|entry| entry.message).collect()
}

#[tokio::test]
async fn a_clock_that_jumps_ahead_deletes_no_history() {
    let (_folder, path) = folder();
    let bounds = StoreSettings { history_days: 1, ..settings(&path) };
    let s = Running::open(bounds.clone()).expect("opens");
    s.register(registration("users", "a", spec(1))).await.expect("registers");
    flip(&s, &s.instance("users", "a"), 3).await;
    let years = |steady: i64| Now { wall: at(1000 * DAY + steady).wall, ..at(steady) };
    // At every check but the last, and at the start, the clock jumped less than an hour ago.
    for now in [years(HOUR), years(2 * HOUR - 20_000), at(2 * HOUR), years(2 * HOUR + 20_000), years(3 * HOUR)] {
        s.clock.set(now);
        assert_eq!(left_after_a_write(&s).await.len(), 3, "{now:?}");
    }
    s.stop().await;
    let s = Running::open_at(bounds, years(3 * HOUR)).expect("opens");
    assert_eq!(left_after_a_write(&s).await.len(), 3, "a start with a wrong clock");
    s.clock.set(years(4 * HOUR));
    assert!(left_after_a_write(&s).await.is_empty(), "a clock that runs on is believed");
    s.stop().await;
}

#[tokio::test]
async fn a_clock_that_was_behind_deletes_no_young_history() {
    let (_folder, path) = folder();
    let bounds = StoreSettings { history_days: 1, ..settings(&path) };
    let s = Running::open(bounds.clone()).expect("opens");
    s.register(registration("users", "a", spec(1))).await.expect("registers");
    let a = s.instance("users", "a");
    // The third while the clock is ten days behind.
    let judged =
        [(Health::Unhealthy, -9 * DAY), (Health::Healthy, 0), (Health::Unhealthy, -10 * DAY), (Health::Healthy, 1)];
    for (health, now) in judged {
        let change = HealthChange { health, ..healthy(&a, now) };
        assert_eq!(s.store.commit_health(vec![change], leads()).await, Ok(vec![true]));
    }
    s.stop().await;
    let s = Running::open_at(bounds, at(-HOUR)).expect("opens");
    s.clock.set(at(2000));
    assert_eq!(left_after_a_write(&s).await, ["passed at 1", "passed at 0"], "only what is old is deleted");
    s.stop().await;
}

#[tokio::test]
async fn old_entries_are_deleted() {
    let (_folder, path) = folder();
    let bounds = StoreSettings { history_days: 1, ..settings(&path) };
    let s = Running::open(bounds.clone()).expect("opens");
    s.register(registration("users", "a", spec(1))).await.expect("registers");
    flip(&s, &s.instance("users", "a"), 3).await;
    s.stop().await;
    let s = Running::open_at(bounds, at(86_400_002 - HOUR)).expect("opens");
    // Entries 0 and 1 are older than a day by then, entry 2 is not.
    s.clock.set(at(86_400_002));
    assert_eq!(left_after_a_write(&s).await, ["passed at 2"]);
    s.stop().await;
}

#[tokio::test]
async fn an_entry_number_is_never_given_twice() {
    let (_folder, path) = folder();
    let bounds = StoreSettings { history_days: 1, ..settings(&path) };
    let s = Running::open(bounds.clone()).expect("opens");
    s.register(registration("users", "a", spec(1))).await.expect("registers");
    flip(&s, &s.instance("users", "a"), 3).await;
    let newest = s.history("users").await[0].id;
    s.stop().await;
    let s = Running::open_at(bounds, at(200_000_000 - HOUR)).expect("opens");
    s.clock.set(at(200_000_000));
    assert!(left_after_a_write(&s).await.is_empty());
    let mut change = healthy(&s.instance("users", "a"), 200_000_000);
    change.health = Health::Unhealthy;
    assert_eq!(s.store.commit_health(vec![change], leads()).await, Ok(vec![true]));
    assert!(s.history("users").await[0].id > newest, "a cursor from before points to nothing newer");
    s.stop().await;
}
