//! The store's file as a source: it sends what the server commits, whatever happens to the file.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use portolan::console::data::{ProbingOfService, Service};
use portolan::console::source::file::FileSource;
use portolan::console::source::{Link, Operation, Request, Source, SourceEvent};
use portolan::console::window::Window;
use portolan::model::health::CheckState;
use portolan::model::outcome::{Health, Outcome, Reason, Stage, Timings, Transition, Verdict};
use portolan::model::probe::{HealthChange, ProbeRow, Sample};
use portolan::model::service::Instance;
use portolan::model::time::UnixMs;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::company;
use crate::store::{Running, at, files, folder, fresh, leads, registration, removal, settings, spec, until};

/// Longest wait for anything.
const TIMEOUT: Duration = Duration::from_mins(2);

/// A running source, its events and requests to it.
struct Watching {
    events: mpsc::Receiver<SourceEvent>,
    requests: mpsc::Sender<Request>,
    stop: CancellationToken,
    task: JoinHandle<()>,
    link: Link,
}

impl Watching {
    fn start(path: &Path) -> Self {
        Self::with_queue(path, 256)
    }

    /// With a queue of that many events.
    fn with_queue(path: &Path, queue: usize) -> Self {
        let (sender, events) = mpsc::channel(queue);
        let (requests, received) = mpsc::channel(64);
        let stop = CancellationToken::new();
        let source: Box<dyn Source> = Box::new(FileSource::new(path));
        let task = tokio::spawn(source.run(sender, received, stop.clone()));
        Self { events, requests, stop, task, link: Link::Connecting }
    }

    /// The first event that `wanted` accepts.
    async fn until<T>(&mut self, what: &str, mut wanted: impl FnMut(SourceEvent) -> Option<T>) -> T {
        let look = async {
            loop {
                let event = self.events.recv().await.expect("the source goes on");
                if let SourceEvent::Link(link) = &event {
                    self.link = link.clone();
                }
                if let Some(found) = wanted(event) {
                    return found;
                }
            }
        };
        timeout(TIMEOUT, look).await.unwrap_or_else(|_| panic!("{what} did not come"))
    }

    async fn snapshot(&mut self) -> Vec<Service> {
        let is_snapshot = |event| if let SourceEvent::Snapshot(all) = event { Some(all) } else { None };
        self.until("a snapshot", is_snapshot).await
    }

    async fn changes(&mut self) -> (Vec<Service>, Vec<Uuid>) {
        let is_change = |event| if let SourceEvent::Changes(some, gone) = event { Some((some, gone)) } else { None };
        self.until("a change", is_change).await
    }

    async fn live(&mut self) {
        if self.link != Link::Live {
            self.until("the link", |event| (event == SourceEvent::Link(Link::Live)).then_some(())).await;
        }
    }

    /// Why the link is lost.
    async fn lost(&mut self) -> String {
        if let Link::Lost { why, .. } = &self.link {
            return why.to_string();
        }
        let is_lost =
            |event| if let SourceEvent::Link(Link::Lost { why, .. }) = event { Some(why.into()) } else { None };
        self.until("the link's loss", is_lost).await
    }

    async fn end(self) {
        self.stop.cancel();
        timeout(TIMEOUT, self.task).await.expect("it ends when it is cancelled").expect("in order");
    }
}

fn names(services: &[Service]) -> Vec<&str> {
    let mut names: Vec<&str> = services.iter().map(|s| &*s.name).collect();
    names.sort_unstable();
    names
}

fn failed(millis: i64) -> Outcome {
    Outcome {
        verdict: Verdict::Fail,
        reason: Reason::ConnectRefused,
        stage: Stage::Connect,
        at: at(millis).wall,
        address: Some("10.0.0.5:1".parse().expect("an address")),
        code: None,
        certificate_expires_at: None,
        message: "10.0.0.5:1 refuses connections".to_owned(),
        timings: Timings { connect_us: Some(80), ..Timings::default() },
    }
}

fn falls(instance: &Instance, millis: i64) -> HealthChange {
    HealthChange {
        instance: instance.id,
        generation: instance.generation,
        health: Health::Unhealthy,
        reason: Reason::ConnectRefused,
        since: at(millis).wall,
        message: None,
        check: portolan::model::name::CheckName::default(),
        warning: None,
        also_failing: Box::default(),
        observed_version: None,
        transition: Some(Transition {
            at: at(millis).wall,
            from: instance.health,
            to: Health::Unhealthy,
            reason: Reason::ConnectRefused,
            message: format!("refused at {millis}"),
            check: portolan::model::name::CheckName::default(),
            evidence: Some(failed(millis)),
        }),
        state: CheckState::new(at(millis)),
    }
}

#[tokio::test]
async fn commits_arrive_as_they_happen() {
    let (folder, s) = fresh();
    s.register(registration("users", "a", spec(1))).await.expect("registers");
    let mut w = Watching::start(&folder.path().join("p.db"));
    assert_eq!(names(&w.snapshot().await), ["users"]);
    w.live().await;

    let began = Instant::now();
    s.register(registration("orders", "a", spec(2))).await.expect("registers");
    let (changed, gone) = w.changes().await;
    assert_eq!((names(&changed), gone.len()), (vec!["orders"], 0));
    assert!(began.elapsed() < Duration::from_secs(2), "seen after {:?}", began.elapsed());

    let instance = s.instance("users", "a");
    assert_eq!(s.store.commit_health(vec![falls(&instance, 70)], leads()).await, Ok(vec![true]));
    let (changed, _) = w.changes().await;
    let users = &changed[0];
    assert_eq!((&*users.name, users.health, &*users.reason), ("users", Health::Unhealthy, "ConnectRefused"));
    assert_eq!((users.since(), users.revision), (Some(at(70).wall), 3));

    let id = s.service("orders").id;
    s.remove(removal("orders", None)).await.expect("removes");
    assert_eq!(w.changes().await, (vec![], vec![id]));
    w.end().await;
    s.stop().await;
}

#[tokio::test]
async fn services_equal_those_of_the_api() {
    let (folder, s) = fresh();
    let mut labelled = spec(1);
    labelled.metadata.insert("team".to_owned(), "pay".to_owned());
    s.register(registration("users", "a", labelled)).await.expect("registers");
    s.register(registration("users", "b", spec(2))).await.expect("registers");
    let mut w = Watching::start(&folder.path().join("p.db"));
    let services = w.snapshot().await;
    let mut json = Vec::new();
    s.catalog().read().find("default", "users").expect("registered").write_json(true, &mut json);
    let served: Service = serde_json::from_slice(&json).expect("the console reads the API's JSON");
    assert_eq!(services, [served]);
    w.end().await;
    s.stop().await;
}

#[tokio::test]
async fn probing_and_history_come_from_the_rows() {
    let (folder, s) = fresh();
    s.register(registration("users", "a", spec(1))).await.expect("registers");
    let instance = s.instance("users", "a");
    for millis in [70, 80, 90] {
        assert_eq!(s.store.commit_health(vec![falls(&instance, millis)], leads()).await, Ok(vec![true]));
    }
    let row = ProbeRow {
        instance: instance.id,
        generation: instance.generation,
        check: portolan::model::name::CheckName::default(),
        state: CheckState::new(at(90)),
        next_due: at(1090).steady,
        last: Some(failed(90)),
        last_pass: None,
        samples: vec![Sample { at: at(90).wall, total_us: None, code: None }],
    };
    s.store.record_probes(vec![row]).await.expect("is saved");
    let id = s.service("users").id;
    let mut w = Watching::start(&folder.path().join("p.db"));
    w.snapshot().await;

    w.requests.send(Request::Probing(vec![id])).await.expect("is sent");
    let is_probing = |event| if let SourceEvent::Probing(of, known) = event { Some((of, known)) } else { None };
    let (of, known) = w.until("the probing", is_probing).await;
    let known: ProbingOfService = *known.expect("it is known");
    let first = &known.instances[0];
    assert_eq!((of, known.live, &*first.instance), (id, false, "a"));
    assert_eq!((first.last_fail.as_ref(), first.samples.len()), (Some(&failed(90).into()), 1));
    // As the prober reports for an instance that is not proved yet: the first pass is enough.
    assert_eq!((first.streak.passing, first.streak.count, first.streak.of), (true, 0, 1));

    w.requests.send(Request::History(id, None)).await.expect("is sent");
    let is_history =
        |event| if let SourceEvent::History(_, entries, next) = event { Some((entries, next)) } else { None };
    let (entries, next) = w.until("the history", is_history).await;
    let messages: Vec<&str> = entries.iter().map(|e| &*e.message).collect();
    assert_eq!((messages, next), (vec!["refused at 90", "refused at 80", "refused at 70"], None));

    w.requests.send(Request::Probing(vec![Uuid::nil()])).await.expect("is sent");
    assert_eq!(w.until("the answer", is_probing).await, (Uuid::nil(), None));
    w.requests.send(Request::Operate(7, Operation::Check(id))).await.expect("is sent");
    let is_refusal =
        |event| if let SourceEvent::OperationDone(7, Err(refusal)) = event { Some(refusal.message) } else { None };
    assert!(w.until("a refusal", is_refusal).await.contains("--server"));
    w.end().await;
    s.stop().await;
}

#[tokio::test]
async fn a_replaced_file_is_noticed() {
    let (folder, s) = fresh();
    let path = folder.path().join("p.db");
    s.register(registration("users", "a", spec(1))).await.expect("registers");
    let mut w = Watching::start(&path);
    assert_eq!(names(&w.snapshot().await), ["users"]);
    s.stop().await;
    for suffix in ["", "-wal", "-shm", ".lock"] {
        let from = folder.path().join(format!("p.db{suffix}"));
        if from.exists() {
            std::fs::rename(from, folder.path().join(format!("old.db{suffix}"))).expect("is renamed");
        }
    }
    let s = Running::open(settings(&path)).expect("opens");
    s.register(registration("orders", "a", spec(1))).await.expect("registers");
    loop {
        let services = w.until("the new file", |event| match event {
            SourceEvent::Snapshot(all) | SourceEvent::Changes(all, _) => Some(all),
            _ => None,
        });
        if names(&services.await) == ["orders"] {
            break;
        }
    }
    w.end().await;
    s.stop().await;
}

#[tokio::test]
async fn another_line_of_revisions_arrives_as_a_snapshot() {
    let (folder, s) = fresh();
    let path = folder.path().join("p.db");
    s.register(registration("users", "a", spec(1))).await.expect("registers");
    let mut w = Watching::start(&path);
    w.snapshot().await;
    w.live().await;
    s.stop().await;
    assert!(w.lost().await.contains("no server has this file open"));
    std::fs::remove_file(folder.path().join("p.db.lock")).expect("is removed");
    let s = Running::open(settings(&path)).expect("opens");
    assert_eq!(names(&w.snapshot().await), ["users"]);
    w.live().await;
    s.register(registration("orders", "a", spec(1))).await.expect("registers");
    assert_eq!(names(&w.changes().await.0), ["orders"]);
    w.end().await;
    s.stop().await;
}

#[tokio::test]
async fn many_changes_at_once_are_not_another_file() {
    let (folder, s) = fresh();
    let mut w = Watching::with_queue(&folder.path().join("p.db"), 1);
    w.snapshot().await;
    w.live().await;
    // Two answers that nobody takes hold it up, so that it finds all that follows at once.
    for number in [1, 2] {
        w.requests.send(Request::Operate(number, Operation::Observe(Uuid::nil()))).await.expect("is sent");
    }
    until("it has both requests", async || w.requests.capacity() == w.requests.max_capacity()).await;
    let names: Vec<String> = (0..1001).map(|n| format!("svc-{n}")).collect();
    let registered = names.iter().map(|name| s.register(registration(name, "a", spec(1))));
    assert!(futures::future::join_all(registered).await.iter().all(Result::is_ok));
    let all = w.until("all of them", |event| match event {
        SourceEvent::Server(events) => panic!("{events:?}"),
        SourceEvent::Snapshot(all) => Some(all),
        _ => None,
    });
    assert_eq!(all.await.len(), names.len());
    w.end().await;
    s.stop().await;
}

#[tokio::test]
async fn a_file_without_a_server_says_when_it_was_written() {
    let (folder, s) = fresh();
    let path = folder.path().join("p.db");
    s.register(registration("users", "a", spec(1))).await.expect("registers");
    s.stop().await;
    let written = UnixMs::wall().0 - 3 * 86_400_000;
    let time = SystemTime::UNIX_EPOCH + Duration::from_millis(written.try_into().expect("after 1970"));
    std::fs::File::options().write(true).open(&path).and_then(|file| file.set_modified(time)).expect("it is set");
    let mut w = Watching::start(&path);
    let is_age = |event| if let SourceEvent::AsOf(at) = event { Some(at) } else { None };
    assert_eq!(w.until("its age", is_age).await, UnixMs(written));
    assert_eq!(w.link, Link::Connecting, "before the link is lost");
    assert!(w.lost().await.contains("no server has this file open"));
    w.end().await;
}

#[tokio::test]
async fn a_missing_file_is_waited_for() {
    let (_folder, path) = folder();
    let mut w = Watching::start(&path);
    assert!(w.lost().await.contains("there is no store at"));
    let s = Running::open(settings(&path)).expect("opens");
    s.register(registration("users", "a", spec(1))).await.expect("registers");
    loop {
        let services = w.until("the file", |event| match event {
            SourceEvent::Snapshot(all) | SourceEvent::Changes(all, _) => Some(all),
            _ => None,
        });
        if names(&services.await) == ["users"] {
            break;
        }
    }
    w.live().await;
    w.end().await;
    s.stop().await;
}

#[tokio::test]
async fn nothing_is_made_beside_the_file_of_a_stopped_server() {
    let (folder, s) = fresh();
    let path = folder.path().join("p.db");
    s.register(registration("users", "a", spec(1))).await.expect("registers");
    s.stop().await;
    let before = files(&folder);
    assert!(!before.contains(&"p.db-wal".to_owned()), "{before:?}");
    let mut w = Watching::start(&path);
    assert_eq!(names(&w.snapshot().await), ["users"]);
    assert!(w.lost().await.contains("no server has this file open"));
    assert_eq!(files(&folder), before);
    // The server starts as if nobody looked, and is followed from then on.
    let s = Running::open(settings(&path)).expect("opens");
    w.live().await;
    s.register(registration("orders", "a", spec(1))).await.expect("registers");
    let orders = w.until("the new service", |event| match event {
        SourceEvent::Snapshot(all) | SourceEvent::Changes(all, _) => all.into_iter().find(|s| &*s.name == "orders"),
        _ => None,
    });
    orders.await;
    w.end().await;
    s.stop().await;
}

#[tokio::test]
async fn a_file_that_is_no_store_is_named() {
    let (_folder, path) = folder();
    std::fs::write(&path, "a text, long enough not to be taken for an empty file").expect("is written");
    let mut w = Watching::start(&path);
    assert!(w.lost().await.contains("is not a store of Portolan"));
    std::fs::remove_file(&path).expect("is removed");
    rusqlite::Connection::open(&path).expect("opens").execute_batch("CREATE TABLE t (a)").expect("is made");
    w.requests.send(Request::Retry).await.expect("is sent");
    let is_lost = |event| if let SourceEvent::Link(Link::Lost { why, .. }) = event { Some(why) } else { None };
    for _ in 0..2 {
        assert!(w.until("the loss", is_lost).await.contains("is not a store of Portolan"));
    }
    w.end().await;
}

#[tokio::test]
async fn availability_and_outages_come_from_the_spans_also_while_no_server_runs() {
    let (_folder, path) = folder();
    company::write(&path).await;
    let mut w = Watching::start(&path);
    let cart = w.snapshot().await.into_iter().find(|s| &*s.name == "cart").expect("registered").id;

    w.requests.send(Request::Outages(Window::Week)).await.expect("is sent");
    let is_list = |event| if let SourceEvent::Outages(Window::Week, list) = event { Some(list) } else { None };
    let list = w.until("the outages", is_list).await.expect("they are read");
    let of = |name: &str| list.outages.iter().filter(|of| &*of.name == name).map(|of| of.seconds).collect::<Vec<_>>();
    assert_eq!((of("cart"), of("mail")), (vec![180.0, 45.0], vec![3300.0]), "the newest first");
    assert_eq!(list.outages.iter().filter(|of| of.until.is_none()).count(), 5);
    assert!(!list.more && list.since.is_some());

    w.requests.send(Request::Strips((cart, None))).await.expect("is sent");
    let is_strips = |event| if let SourceEvent::Strips(_, known) = event { Some(known) } else { None };
    let strips = w.until("the strips", is_strips).await.expect("they are read");
    assert_eq!(strips.iter().map(|(window, _)| *window).collect::<Vec<_>>(), Window::ALL);
    let week = &strips[1].1;
    assert_eq!((week.outage_count, week.longest_outage_seconds, week.drained_seconds), (2, 180.0, 21_600.0));
    assert!(["-", "h", "d", "u"].iter().all(|letter| week.strip.as_ref().is_some_and(|strip| strip.contains(letter))));

    let month = strips[2].1.strip.as_ref().expect("a strip");
    assert!(!month.contains('?'), "five seconds that were not proved do not hide the day around them: {month}");

    w.requests.send(Request::Shares(vec![cart, Uuid::nil()])).await.expect("is sent");
    let is_shares = |event| if let SourceEvent::Shares(_, known) = event { Some(known) } else { None };
    let shares = w.until("the percentages", is_shares).await.expect("they are read");
    assert_eq!(shares.len(), 1, "of those that exist");
    assert!(shares[0].percent.is_some_and(|percent| percent > 99.0 && percent < 100.0), "{:?}", shares[0].percent);
    w.end().await;
}
