//! `GET /api/v1/watch`: everything or what was missed, then each commit, limited to what the caller may see.

use portolan::api::WatchLimits;
use portolan::api::access::Scopes;
use portolan::model::outcome::Health;
use portolan::model::time::UnixMs;
use portolan::telemetry::server_events::{Component, EventSender, ServerEvent};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::timeout;

use crate::app::{Options, TestApp, token, token_for, token_of};

/// An open watch.
pub(crate) struct Watch {
    response: reqwest::Response,
    buffer: String,
}

/// One event.
#[derive(Debug)]
struct Event {
    name: String,
    id: Option<String>,
    data: Value,
}

impl Watch {
    pub(crate) async fn open(app: &TestApp, query: &str) -> Self {
        Self::of(app.request(Method::GET, &format!("/api/v1/watch{query}"))).await
    }

    pub(crate) async fn of(request: reqwest::RequestBuilder) -> Self {
        let response = request.send().await.expect("an answer");
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream; charset=utf-8");
        Self { response, buffer: String::new() }
    }

    /// The next block of any kind; none when the stream is over.
    async fn block(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.buffer.find("\n\n") {
                let rest = self.buffer.split_off(end + 2);
                return Some(std::mem::replace(&mut self.buffer, rest));
            }
            let piece = timeout(Duration::from_mins(2), self.response.chunk()).await.expect("in time").ok()??;
            self.buffer.push_str(std::str::from_utf8(&piece).expect("UTF-8"));
        }
    }

    /// The next event; comments, which come without end, do not count.
    async fn event(&mut self) -> Event {
        timeout(Duration::from_mins(2), self.first_event()).await.expect("an event in time")
    }

    async fn first_event(&mut self) -> Event {
        loop {
            let block = self.block().await.expect("the stream goes on");
            let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
            if let Some(name) = field("event: ") {
                let data = serde_json::from_str(&field("data: ").expect("data")).expect("JSON");
                return Event { name, id: field("id: "), data };
            }
        }
    }

    /// The data of the next event, which has that name.
    pub(crate) async fn named(&mut self, name: &str) -> Value {
        let event = self.event().await;
        assert_eq!(event.name, name);
        event.data
    }

    /// Snapshot events up to the last: the names of all services, and the cursor.
    async fn snapshot(&mut self) -> (Vec<String>, String) {
        let mut all = Vec::new();
        loop {
            let event = self.event().await;
            assert_eq!(event.name, "snapshot");
            assert_eq!(event.data["first"], all.is_empty(), "{event:?}");
            all.extend(names(&event.data["services"]));
            if event.data["last"] == true {
                return (all, event.id.expect("a cursor"));
            }
            assert_eq!(event.id, None);
        }
    }
}

fn names(services: &Value) -> Vec<String> {
    services.as_array().expect("a list").iter().map(|s| s["name"].as_str().expect("a name").to_owned()).collect()
}

#[tokio::test]
async fn each_commit_is_an_event_with_what_changed() {
    let app = TestApp::start().await;
    app.add("a").await;
    let mut watch = Watch::open(&app, "").await;
    assert_eq!(watch.snapshot().await.0, ["a"]);
    let added = app.add("b").await;
    let event = watch.event().await;
    assert_eq!((event.name.as_str(), names(&event.data["upserts"])), ("change", vec!["b".to_owned()]));
    assert_eq!(event.data["upserts"][0], added, "a service reads as anywhere else");
    app.set_health("default/b", "default", Health::Unhealthy).await;
    assert_eq!(watch.event().await.data["upserts"][0]["status"], "unhealthy");
    app.delete(&format!("/api/v1/services/{}", added["id"].as_str().expect("an id"))).await.ok();
    let removed = watch.event().await.data;
    assert_eq!(removed["removed"], json!([{"id": added["id"], "namespace": "default", "name": "b"}]));
}

#[tokio::test]
async fn a_cursor_brings_what_was_missed_and_nothing_else() {
    let app = TestApp::start().await;
    for name in ["a", "b", "c"] {
        app.add(name).await;
    }
    let cursor = Watch::open(&app, "").await.snapshot().await.1;
    let mut idle = Watch::open(&app, &format!("?cursor={cursor}")).await;
    let nothing = idle.event().await;
    assert_eq!(nothing.data, json!({"upserts": [], "removed": []}));
    app.set_health("default/a", "default", Health::Healthy).await;
    app.delete("/api/v1/services/deregister?name=b").await.ok();
    for by_header in [false, true] {
        let request = if by_header {
            app.request(Method::GET, "/api/v1/watch").header("last-event-id", &cursor)
        } else {
            app.request(Method::GET, &format!("/api/v1/watch?cursor={cursor}"))
        };
        let missed = Watch::of(request).await.event().await;
        assert_eq!((missed.name.as_str(), names(&missed.data["upserts"])), ("change", vec!["a".to_owned()]));
        assert_eq!(missed.data["removed"][0]["name"], "b");
        assert_ne!(missed.id.expect("a cursor"), cursor);
    }
}

#[tokio::test]
async fn a_cursor_that_cannot_be_continued_from_brings_everything() {
    let app = TestApp::start().await;
    app.add("a").await;
    let cursor = Watch::open(&app, "").await.snapshot().await.1;
    let (epoch, revision) = cursor.split_once('.').expect("two parts");
    let ahead: u64 = revision.parse::<u64>().expect("a number") + 1000;
    for strange in [format!("0000000000000000.{revision}"), format!("{epoch}.{ahead}")] {
        let mut watch = Watch::open(&app, &format!("?cursor={strange}")).await;
        assert_eq!(watch.snapshot().await.0, ["a"], "{strange}");
    }
    assert_eq!(app.get("/api/v1/watch?cursor=nonsense").await.refusal(400), "invalid_parameter");
    assert_eq!(app.get("/api/v1/watch?curser=x").await.refusal(400), "invalid_parameter");
}

#[tokio::test]
async fn a_big_snapshot_comes_in_parts() {
    let app = TestApp::start().await;
    for n in 0..600 {
        app.add(&format!("s{n}")).await;
    }
    let mut all = Watch::open(&app, "?namespace=*").await.snapshot().await.0;
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 600);
}

#[tokio::test]
async fn only_what_the_caller_may_see_is_sent() {
    let app = TestApp::with(Options { auth: true, read_auth: true, ..Options::default() }).await;
    assert_eq!(app.get("/api/v1/watch").await.refusal(401), "token_required");
    let (mine, other) = (token("me", Some(&["mine"]), None), token("you", Some(&["other"]), None));
    let register = |token: String, namespace: &'static str| {
        let body = json!({"name": "a", "namespace": namespace, "base_url": "http://127.0.0.1:9"});
        app.send(app.request(Method::POST, "/api/v1/services/register").bearer_auth(token).json(&body))
    };
    register(mine.clone(), "mine").await.ok();
    let request = app.request(Method::GET, "/api/v1/watch?namespace=*").bearer_auth(&mine);
    let mut watch = Watch::of(request).await;
    assert_eq!(watch.snapshot().await.0.len(), 1);
    register(other, "other").await.ok();
    let body = json!({"name": "b", "namespace": "mine", "base_url": "http://127.0.0.1:9"});
    let request = app.request(Method::POST, "/api/v1/services/register").bearer_auth(&mine).json(&body);
    app.send(request).await.ok();
    let event = watch.event().await;
    assert_eq!(names(&event.data["upserts"]), ["b"], "the other namespace's service is not shown");
}

#[tokio::test]
async fn one_namespace_is_watched_alone() {
    let app = TestApp::start().await;
    let mut watch = Watch::open(&app, "?namespace=shop").await;
    assert!(watch.snapshot().await.0.is_empty());
    app.add("elsewhere").await;
    app.register(&json!({"name": "here", "namespace": "shop", "base_url": "http://127.0.0.1:9"})).await.ok();
    assert_eq!(names(&watch.event().await.data["upserts"]), ["here"]);
}

#[tokio::test]
async fn one_name_is_watched_alone_and_waited_for() {
    let app = TestApp::start().await;
    let add = async |namespace: &str, name: &str| {
        let body = json!({"name": name, "namespace": namespace, "base_url": "http://127.0.0.1:9"});
        app.register(&body).await.ok();
    };
    let mut here = Watch::open(&app, "?name=pay").await;
    assert!(here.snapshot().await.0.is_empty(), "it is not there yet");
    for (namespace, name) in [("default", "payments"), ("shop", "pay"), ("default", "pay"), ("bank", "pay")] {
        add(namespace, name).await;
    }
    let event = here.event().await;
    let service = &event.data["upserts"][0];
    assert_eq!((names(&event.data["upserts"]), &service["namespace"]), (vec!["pay".to_owned()], &json!("default")));
    let cursor = event.id.expect("a cursor");

    let mut everywhere = Watch::open(&app, "?name=pay&namespace=*").await;
    let all = everywhere.event().await.data;
    let namespaces: Vec<&str> =
        all["services"].as_array().expect("a list").iter().filter_map(|s| s["namespace"].as_str()).collect();
    assert_eq!((namespaces, &all["last"]), (vec!["bank", "default", "shop"], &json!(true)), "newest first");
    let mut shop = Watch::open(&app, "?name=pay&namespace=shop").await;
    assert_eq!(shop.snapshot().await.0, ["pay"]);

    app.set_health("default/payments", "default", Health::Healthy).await;
    app.set_health("shop/pay", "default", Health::Healthy).await;
    app.delete("/api/v1/services/deregister?name=payments").await.ok();
    app.delete("/api/v1/services/deregister?name=pay").await.ok();
    for watch in [&mut everywhere, &mut shop] {
        assert_eq!(watch.event().await.data["upserts"][0]["namespace"], "shop");
    }
    for watch in [&mut here, &mut everywhere] {
        let removed = watch.event().await.data["removed"].clone();
        assert_eq!((removed[0]["namespace"].as_str(), removed[0]["name"].as_str()), (Some("default"), Some("pay")));
    }

    let missed = Watch::open(&app, &format!("?name=pay&cursor={cursor}")).await.event().await;
    assert_eq!((missed.name.as_str(), &missed.data["upserts"]), ("change", &json!([])));
    assert_eq!(missed.data["removed"].as_array().map(Vec::len), Some(1), "payments is not shown: {missed:?}");
    let missed = Watch::open(&app, &format!("?name=pay&namespace=*&cursor={cursor}")).await.event().await;
    let upserts = missed.data["upserts"].as_array().expect("a list");
    assert!(upserts.iter().all(|s| s["name"] == "pay" && s["namespace"] != "default"), "{missed:?}");
    assert_eq!(upserts.len(), 2, "bank came and shop changed");
    assert_eq!(app.get("/api/v1/watch?name=Not%20a%20name").await.refusal(400), "invalid_parameter");
}

#[tokio::test]
async fn many_services_of_one_name_come_in_parts() {
    let app = TestApp::start().await;
    let long = "x".repeat(900);
    for n in 0..60 {
        let body = json!({"name": "pay", "namespace": format!("n{n:02}"), "base_url": "http://127.0.0.1:9", "description": long});
        app.register(&body).await.ok();
    }
    app.add("other").await;
    let mut watch = Watch::open(&app, "?name=pay&namespace=*").await;
    let (mut seen, mut events) = (Vec::new(), 0);
    loop {
        let data = watch.event().await.data;
        let services = data["services"].as_array().expect("a list");
        seen.extend(services.iter().map(|s| s["namespace"].as_str().expect("a name").to_owned()));
        events += 1;
        if data["last"] == true {
            break;
        }
    }
    let newest_first: Vec<String> = (0..60).rev().map(|n| format!("n{n:02}")).collect();
    assert!(events > 1 && seen == newest_first, "{events} events: {seen:?}");
}

fn event(component: Component, good: bool, message: &'static str) -> Vec<ServerEvent> {
    vec![ServerEvent { at: UnixMs(0), component, good, message: message.into() }]
}

#[tokio::test]
async fn what_the_server_tells_of_itself_follows_what_there_is_and_comes_again_when_it_grows() {
    let mut sender = EventSender::default();
    sender.send(event(Component::Server, true, "it started"));
    let app = TestApp::with(Options { server_events: Some(sender.subscribe()), ..Options::default() }).await;
    app.add("a").await;
    let mut watch = Watch::open(&app, "?namespace=nothing-there").await;
    let cursor = watch.snapshot().await.1;
    let started = json!({"at": "1970-01-01T00:00:00.000Z", "part": "server", "good": true, "message": "it started"});
    let first = watch.event().await;
    assert_eq!((first.name.as_str(), first.id, first.data), ("server", None, json!([started])));

    sender.send(event(Component::Store, false, "writes fail"));
    let failing = json!({"at": "1970-01-01T00:00:00.000Z", "part": "store", "good": false, "message": "writes fail"});
    let grown = watch.event().await;
    assert_eq!((grown.name.as_str(), grown.data), ("server", json!([started, failing])));

    let mut back = Watch::open(&app, &format!("?cursor={cursor}")).await;
    assert_eq!(back.event().await.name, "change");
    assert_eq!(back.event().await.data, json!([started, failing]), "a client that comes back gets everything");
    drop(sender);
    app.add("b").await;
    assert_eq!(names(&back.event().await.data["upserts"]), ["b"], "changes go on when nobody tells any more");
}

#[tokio::test]
async fn watches_are_bounded_and_a_seat_comes_back() {
    let app = TestApp::with(Options { watches: WatchLimits { total: 8, per_client: 2 }, ..Options::default() }).await;
    let first = Watch::open(&app, "").await;
    let _second = Watch::open(&app, "").await;
    let full = app.get("/api/v1/watch").await;
    assert_eq!(full.refusal(429), "too_many_watches");
    assert!(!full.header("retry-after").is_empty());
    drop(first);
    timeout(Duration::from_mins(2), async {
        while app.get("/api/v1/health").await.status != 200
            || app.request(Method::GET, "/api/v1/watch").send().await.expect("an answer").status() != 200
        {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("a slot is free again");
}

#[tokio::test]
async fn a_watch_ends_when_the_server_drains() {
    let app = TestApp::start().await;
    let mut watch = Watch::open(&app, "").await;
    watch.snapshot().await;
    drop(app);
    assert_eq!(watch.block().await, None);
}

#[tokio::test]
async fn a_reader_that_lags_gets_everything_again() {
    // A mirror's commits do not wait for the disk.
    let app = TestApp::with(Options { mirror: Some(uuid::Uuid::nil()), patient: true, ..Options::default() }).await;
    let long: serde_json::Map<_, _> = (0..10).map(|n| (format!("key-{n}"), "x".repeat(1000).into())).collect();
    app.register(&json!({"name": "a", "base_url": "http://127.0.0.1:9", "metadata": long})).await.ok();
    let mut watch = Watch::open(&app, "").await;
    watch.snapshot().await;
    for n in 0..6000_u32 {
        app.set_health("default/a", "default", if n % 2 == 0 { Health::Healthy } else { Health::Unhealthy }).await;
    }
    app.add("last").await;
    let mut started_over = false;
    loop {
        let event = watch.event().await;
        started_over |= event.name == "snapshot";
        let seen = if event.name == "snapshot" { &event.data["services"] } else { &event.data["upserts"] };
        if seen[0]["name"] == "last" {
            break;
        }
    }
    assert!(started_over, "it did not lag");
}

async fn closed(app: &TestApp, token: &str) -> Watch {
    let mut watch = Watch::of(app.request(Method::GET, "/api/v1/watch").bearer_auth(token)).await;
    watch.snapshot().await;
    watch
}

/// The last event, which nothing follows.
async fn end(watch: &mut Watch) -> Value {
    let event = watch.event().await;
    assert_eq!((event.name.as_str(), event.id), ("end", None));
    assert_eq!(watch.block().await, None, "nothing follows");
    event.data
}

#[tokio::test]
async fn a_watch_ends_with_its_token() {
    let app = TestApp::with(Options { auth: true, read_auth: true, ..Options::default() }).await;
    let short = token_for(Duration::from_secs(3), "short");
    let mut watch = closed(&app, &short).await;
    let mut other = closed(&app, &token("long", None, None)).await;
    assert_eq!(end(&mut watch).await["code"], "token_expired");
    let again = app.send(app.request(Method::GET, "/api/v1/watch").bearer_auth(&short)).await;
    assert_eq!(again.refusal(401), "token_expired");
    let body = json!({"name": "a", "base_url": "http://127.0.0.1:9"});
    let register = app.request(Method::POST, "/api/v1/services/register").bearer_auth(token("me", None, None));
    app.send(register.json(&body)).await.ok();
    assert_eq!(names(&other.event().await.data["upserts"]), ["a"], "another token's watch goes on");
}

#[tokio::test]
async fn a_watch_ends_with_its_secret_while_nobody_asks_for_anything() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("secrets");
    let [old, new] = ["the first secret of the tests, long enough", "the second secret of the tests, long enough"];
    let write = |text: &str| {
        let file = tempfile::NamedTempFile::new_in(folder.path()).expect("a file");
        std::fs::write(file.path(), text).expect("written");
        file.persist(&path).expect("renamed");
    };
    write(&format!("{old}\n{new}\n"));
    let app =
        TestApp::with(Options { auth: true, read_auth: true, secrets: Some(path.clone()), ..Options::default() }).await;
    let mut revoked = closed(&app, &token_of(old, "a", None, None)).await;
    let mut kept = closed(&app, &token_of(new, "b", None, None)).await;
    write(&format!("{new}\n"));
    let last = end(&mut revoked).await;
    assert_eq!(last["code"], "token_invalid");
    assert!(last["error"].as_str().is_some_and(|why| why.contains("no longer in force")), "{last}");
    let body = json!({"name": "a", "base_url": "http://127.0.0.1:9"});
    let register = app.request(Method::POST, "/api/v1/services/register").bearer_auth(token_of(new, "me", None, None));
    app.send(register.json(&body)).await.ok();
    assert_eq!(names(&kept.event().await.data["upserts"]), ["a"], "a secret that stays keeps its watches");
}

#[tokio::test]
async fn a_watch_needs_the_scope_of_other_reads() {
    let scopes = Some(Scopes { read: false, register: true, admin: false });
    let closed = TestApp::with(Options { auth: true, read_auth: true, ..Options::default() }).await;
    for target in ["/api/v1/watch?namespace=*", "/api/v1/services", "/api/v1/probes", "/metrics"] {
        let answer = closed.send(closed.request(Method::GET, target).bearer_auth(token("a", None, scopes))).await;
        assert_eq!(answer.refusal(403), "insufficient_scope", "{target}");
    }
    let open = TestApp::with(Options { auth: true, ..Options::default() }).await;
    let mut watch = Watch::of(open.request(Method::GET, "/api/v1/watch").bearer_auth(token("a", None, scopes))).await;
    watch.snapshot().await;
}

#[tokio::test]
async fn a_large_commit_comes_in_small_events_of_which_the_last_has_the_cursor() {
    let app = TestApp::start().await;
    let long = "x".repeat(900);
    let keys: Vec<String> = (0..100).map(|n| format!("default/s{n:02}")).collect();
    for key in &keys {
        let name = key.strip_prefix("default/").expect("of the default namespace");
        app.register(&json!({"name": name, "base_url": "http://127.0.0.1:9", "description": long})).await.ok();
    }
    // One sees all and shares what is rendered, the other sees one namespace.
    let mut watches = [Watch::open(&app, "?namespace=*").await, Watch::open(&app, "").await];
    for watch in &mut watches {
        assert_eq!(watch.snapshot().await.0.len(), 100);
    }
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    app.set_health_of_all(&keys, "default", Health::Healthy).await;
    for watch in &mut watches {
        let (mut seen, mut events) = (Vec::new(), 0);
        let cursor = loop {
            let event = watch.event().await;
            assert_eq!(event.name, "change");
            assert!(event.data.to_string().len() < 64 * 1024, "small events");
            seen.extend(names(&event.data["upserts"]));
            events += 1;
            if let Some(cursor) = event.id {
                break cursor;
            }
        };
        seen.sort();
        assert!(events > 1 && seen.len() == 100 && seen[99] == "s99", "{events} events, {seen:?}");
        let nothing = Watch::open(&app, &format!("?namespace=*&cursor={cursor}")).await.event().await;
        assert_eq!(nothing.data, json!({"upserts": [], "removed": []}), "the cursor is the end of the commit");
    }
}

#[tokio::test]
async fn a_watch_counts_like_a_list_of_what_it_sends() {
    let app = TestApp::with(Options { reads: Some(30), ..Options::default() }).await;
    let long: serde_json::Map<_, _> = (0..60).map(|n| (format!("key-{n}"), "x".repeat(1000).into())).collect();
    for n in 0..8 {
        app.register(&json!({"name": format!("s{n}"), "base_url": "http://127.0.0.1:9", "metadata": long})).await.ok();
    }
    // About 1 MB, each 32 KiB of which counts: more than the registrations have left of the quota.
    let cursor = Watch::open(&app, "").await.snapshot().await.1;
    for target in ["/api/v1/watch", "/api/v1/services", "/api/v1/watch?cursor=0123456789abcdef.1"] {
        let refused = app.get(target).await;
        let hint = refused.json()["hint"].as_str().expect("a hint").to_owned();
        assert!(hint.contains("127.0.0.1 may make 30 reads a minute"), "{hint}");
        assert!(refused.header("retry-after").parse::<u64>().is_ok_and(|seconds| seconds > 1));
        assert_eq!(refused.refusal(429), "rate_limited", "{target}");
    }
    let mut goes_on = Watch::open(&app, &format!("?cursor={cursor}")).await;
    assert_eq!(goes_on.event().await.data, json!({"upserts": [], "removed": []}), "what is known costs nothing");
    app.add("writes-have-their-own").await;
}
