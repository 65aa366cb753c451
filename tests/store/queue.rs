//! The writer's queue: batches, bounds, order, shutdown.

use futures::FutureExt;
use portolan::model::ports::{Registrar, Removal, ServiceRef, WriteError};
use portolan::model::time::Clock;
use portolan::store::{Opened, Store};
use portolan::telemetry::metrics::Metrics;
use tokio_util::sync::CancellationToken;

use crate::common::{anyone, at, folder, fresh, registration, removal, settings, spec, token};

#[tokio::test]
async fn queued_jobs_are_committed_together() {
    let (_folder, path) = folder();
    let metrics = Metrics::default();
    let Opened { store, writer, catalog, .. } =
        Store::open(settings(&path), Clock::manual(at(0)), metrics.clone()).expect("opens");
    let (_, mut feed) = catalog.subscribe();
    let calls = (0..100).map(|n| store.register(registration(&format!("s{n}"), "a", spec(1)), anyone()));
    let refused = store.register(registration("s7", "a", spec(2)), token("mallory"));
    let all = async { (futures::future::join_all(calls).await, refused.await) };
    let shutdown = CancellationToken::new();
    // Everything is queued before the writer starts.
    let ((registered, refused), ran) = tokio::join!(biased; async {
        let done = all.await;
        shutdown.cancel();
        done
    }, writer.run(shutdown.clone()));
    ran.expect("in order");
    assert_eq!(metrics.commits.get(), 1);
    assert_eq!(refused.expect_err("another's"), WriteError::NotOwner, "and it hurts none of its batch");
    let mut revisions: Vec<_> = registered.iter().map(|r| r.as_ref().expect("registers").service.revision).collect();
    revisions.sort_unstable();
    assert_eq!(revisions, (1..=100).collect::<Vec<_>>(), "one register, one revision");
    let batch = feed.next().await.expect("a batch");
    assert_eq!((batch.revision, batch.upserts.len()), (100, 100));
    let revisions: Vec<_> = catalog.read().newest_first(None).map(|e| e.service().revision).collect();
    assert_eq!(revisions, (1..=100).rev().collect::<Vec<_>>(), "ids of one moment are in order too");
}

#[tokio::test]
async fn a_full_queue_refuses_and_counts() {
    let (_folder, path) = folder();
    let metrics = Metrics::default();
    let opened = Store::open(settings(&path), Clock::manual(at(0)), metrics.clone()).expect("opens");
    let mut waiting: Vec<_> =
        (0..5_000).map(|n| opened.store.register(registration(&format!("s{n}"), "a", spec(1)), anyone())).collect();
    let mut busy = 0;
    for call in &mut waiting {
        if let std::task::Poll::Ready(answer) = futures::poll!(call) {
            assert_eq!(answer.expect_err("nothing runs yet"), WriteError::Busy);
            busy += 1;
        }
    }
    assert_eq!(busy, 5_000 - 4_096);
    let text = metrics.render().expect("renders");
    assert!(text.contains("portolan_rejected_total{reason=\"queue_full\"} 904"), "{text}");
}

#[tokio::test]
async fn a_stopped_store_says_so() {
    let (_folder, s) = fresh();
    let store = s.store.clone();
    assert!(!store.is_closed());
    s.stop().await;
    assert!(store.is_closed());
    let late = store.register(registration("users", "a", spec(1)), anyone()).await;
    assert_eq!(late.expect_err("stopped"), WriteError::Closed);
    let query = portolan::store::HistoryQuery {
        service: ServiceRef::Key(crate::common::key("users")),
        instance: None,
        before: None,
        limit: 1,
    };
    assert!(matches!(store.history(query).await, Err(portolan::store::StoreError::Closed)));
}

#[tokio::test]
async fn what_is_queued_at_shutdown_is_still_written() {
    let (_folder, path) = folder();
    let Opened { store, writer, .. } =
        Store::open(settings(&path), Clock::manual(at(0)), Metrics::default()).expect("opens");
    let calls = (0..50).map(|n| store.register(registration(&format!("s{n}"), "a", spec(1)), anyone()));
    let shutdown = CancellationToken::new();
    shutdown.cancel();
    let (registered, ran) = tokio::join!(biased; futures::future::join_all(calls), writer.run(shutdown));
    ran.expect("in order");
    for registered in registered {
        registered.expect("written");
    }
    let s = crate::common::Running::open(settings(&path)).expect("the lock is free");
    assert_eq!(s.all().len(), 50);
    s.stop().await;
}

#[tokio::test]
async fn a_service_added_and_removed_in_one_batch_leaves_nothing() {
    let (_folder, path) = folder();
    let Opened { store, writer, catalog, .. } =
        Store::open(settings(&path), Clock::manual(at(0)), Metrics::default()).expect("opens");
    let shutdown = CancellationToken::new();
    let (added, removed, (), ran) = tokio::join!(biased;
        store.register(registration("users", "a", spec(1)), anyone()),
        store.deregister(removal("users", None), anyone()),
        async { shutdown.cancel() },
        writer.run(shutdown.clone()));
    ran.expect("in order");
    added.expect("registers");
    removed.expect("removes");
    assert_eq!((catalog.read().revision(), catalog.read().total().total()), (2, 0));
    let s = crate::common::Running::open(settings(&path)).expect("opens");
    assert_eq!((s.revision(), s.all().len()), (2, 0));
    s.stop().await;
}

#[tokio::test]
async fn a_renewal_does_not_overtake_a_removal_whose_client_left() {
    let (folder, s) = fresh();
    s.register(registration("users", "a", spec(1))).await.expect("registers");
    let id = s.service("users").id;
    s.stop().await;
    let by_id = Removal { service: ServiceRef::Id(id), ..removal("users", Some("a")) };
    for removal in [by_id, removal("users", Some("a"))] {
        let Opened { store, writer, catalog, .. } =
            Store::open(settings(&folder.path().join("p.db")), Clock::manual(at(0)), Metrics::default())
                .expect("opens");
        let mut given_up = store.deregister(removal, anyone());
        assert!(futures::poll!(&mut given_up).is_pending(), "it is queued");
        drop(given_up);
        let shutdown = CancellationToken::new();
        let again = async {
            let registered = store.register(registration("users", "a", spec(1)), anyone()).await;
            let renewed = store.register(registration("users", "a", spec(1)), anyone()).now_or_never();
            shutdown.cancel();
            (registered.expect("registers"), renewed.expect("past the queue again").expect("registers"))
        };
        let ((registered, renewed), ran) = tokio::join!(biased; again, writer.run(shutdown.clone()));
        ran.expect("in order");
        assert_eq!((registered.renewed, renewed.renewed), (false, true));
        let snapshot = catalog.read();
        let service = snapshot.get("default/users").expect("what was answered is there").service();
        assert_eq!((service.id, service.instances.len()), (registered.service.id, 1));
    }
}
