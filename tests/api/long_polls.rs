//! Long polls: `wait` and `cursor` on discovery and on the list.

use std::sync::Arc;
use std::time::{Duration, Instant};

use portolan::api::WatchLimits;
use portolan::model::outcome::Health;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::app::{Answer, Options, TestApp, token_for};
use crate::empty::empty_for;

const DISCOVER: &str = "/api/v1/services/discover?name=s";
const LIST: &str = "/api/v1/services?namespace=*";

fn cursor(answer: &Answer) -> String {
    answer.header("portolan-cursor").to_owned()
}

/// The cursor of what `target` answers now.
async fn known(app: &TestApp, target: &str) -> String {
    cursor(&app.get(&format!("{target}&wait=30s")).await)
}

/// A request for `target` that waits for its change, longer than any test.
async fn waiting(app: &Arc<TestApp>, target: &str) -> JoinHandle<Answer> {
    let target = format!("{target}&wait=5m&cursor={}", known(app, target).await);
    let app = Arc::clone(app);
    let poll = tokio::spawn(async move { app.get(&target).await });
    settle(&poll).await;
    poll
}

/// Time in which a poll that was woken would have been answered: that of another one which nothing wakes.
async fn settle(poll: &JoinHandle<Answer>) {
    for _ in 0..30 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(!poll.is_finished(), "it was woken");
    }
}

async fn woken(poll: JoinHandle<Answer>) -> Answer {
    tokio::time::timeout(Duration::from_mins(2), poll).await.expect("it is woken").expect("no panic")
}

async fn instance(app: &TestApp, service: &str, name: &str, zone: &str) {
    let body = json!({"name": service, "instance": name, "base_url": format!("http://127.0.0.1/{name}"), "zone": zone});
    app.register(&body).await.ok();
}

async fn start() -> Arc<TestApp> {
    Arc::new(TestApp::start().await)
}

#[tokio::test]
async fn a_first_request_and_one_that_knows_another_answer_are_answered_at_once() {
    let app = start().await;
    app.add("s").await;
    for target in [DISCOVER, LIST] {
        let first = app.get(&format!("{target}&wait=5m")).await;
        assert_eq!(first.header("cache-control"), "no-store");
        let plain = app.get(target).await;
        assert!(!plain.headers.contains_key("portolan-cursor"), "only to those that wait");
        assert_eq!(first.json(), plain.json());
        // The cursor of an answer that this server never gave, as after a change long ago.
        let old = app.get(&format!("{target}&wait=5m&cursor=0123456789abcdef")).await;
        assert_eq!((old.json(), cursor(&old)), (plain.json(), cursor(&first)));
    }
}

#[tokio::test]
async fn discovery_wakes_for_what_it_shows_and_for_nothing_else() {
    let app = start().await;
    instance(&app, "s", "a", "east").await;
    instance(&app, "s", "b", "west").await;
    let whole = waiting(&app, DISCOVER).await;
    let east = waiting(&app, &format!("{DISCOVER}&zone=east")).await;
    let before = known(&app, DISCOVER).await;
    app.add("other").await;
    app.set_health("default/other", "default", Health::Unhealthy).await;
    settle(&whole).await;

    app.set_health("default/s", "b", Health::Unhealthy).await;
    let answer = woken(whole).await;
    assert_ne!(cursor(&answer), before);
    assert_eq!(cursor(&answer), known(&app, DISCOVER).await);
    let instances = answer.ok()["data"]["instances"].take();
    assert!(instances.as_array().expect("a list").iter().any(|one| one["status"] == "unhealthy"), "{instances}");
    settle(&east).await;
    app.set_health("default/s", "a", Health::Healthy).await;
    assert_eq!(woken(east).await.ok()["data"]["instances"][0]["status"], "healthy");
}

#[tokio::test]
async fn a_refusal_waits_for_its_end() {
    let app = start().await;
    let absent = waiting(&app, DISCOVER).await;
    app.add("other").await;
    settle(&absent).await;
    app.add("s").await;
    assert_eq!(woken(absent).await.ok()["data"]["name"], "s");

    let target = format!("{DISCOVER}&healthy=true");
    let none = app.get(&format!("{target}&wait=1s")).await;
    assert_eq!(none.refusal(503), "no_healthy_instance");
    let none = waiting(&app, &target).await;
    app.set_health("default/s", "default", Health::Unhealthy).await;
    settle(&none).await;
    app.set_health("default/s", "default", Health::Healthy).await;
    assert_eq!(woken(none).await.ok()["data"]["status"], "healthy");
    let gone = waiting(&app, &target).await;
    app.delete("/api/v1/services/deregister?name=s").await.ok();
    assert_eq!(woken(gone).await.refusal(404), "service_not_found");
}

#[tokio::test]
async fn a_refusal_wakes_when_its_code_or_its_reason_changes() {
    const WEB: &str = "/api/v1/services/discover?name=web";
    let (options, reasons) = empty_for("the core Service web has no endpoints now");
    let app = Arc::new(TestApp::with(options).await);
    app.add("s").await;
    let others = [LIST, DISCOVER, "/api/v1/services/discover?name=other"];
    let others = futures::future::join_all(others.map(|target| waiting(&app, target))).await;

    let empty = waiting(&app, WEB).await;
    reasons.send_replace(Some("the core Service web has no endpoints now"));
    settle(&empty).await;
    reasons.send_replace(Some("there is no core Service web in this namespace; create it"));
    let answer = woken(empty).await;
    assert_eq!(answer.refusal(503), "no_healthy_instance");
    assert!(answer.text().contains("there is no core Service web"), "{}", answer.text());
    let empty = waiting(&app, WEB).await;
    reasons.send_replace(None);
    assert_eq!(woken(empty).await.refusal(404), "service_not_found");
    let absent = waiting(&app, WEB).await;
    reasons.send_replace(Some("the core Service web has no endpoints now"));
    assert_eq!(woken(absent).await.refusal(503), "no_healthy_instance");
    for other in &others {
        settle(other).await;
    }
}

#[tokio::test]
async fn a_list_wakes_for_what_it_lists_and_for_nothing_else() {
    let app = start().await;
    for name in ["a", "b"] {
        app.add(name).await;
        app.set_health(&format!("default/{name}"), "default", Health::Healthy).await;
    }
    let names = |answer: Answer| -> Vec<String> {
        let data = answer.ok()["data"].take();
        data.as_array().expect("a list").iter().map(|one| one["name"].as_str().expect("a name").to_owned()).collect()
    };
    let target = format!("{LIST}&status=unhealthy");
    let failing = waiting(&app, &target).await;
    let shop = waiting(&app, "/api/v1/services?namespace=shop").await;
    app.add("c").await;
    app.set_health("default/c", "default", Health::Healthy).await;
    settle(&failing).await;
    app.set_health("default/a", "default", Health::Unhealthy).await;
    assert_eq!(names(woken(failing).await), ["a"]);
    let failing = waiting(&app, &target).await;
    app.set_health("default/b", "default", Health::Unhealthy).await;
    assert_eq!(names(woken(failing).await), ["b", "a"]);
    let failing = waiting(&app, &target).await;
    app.set_health("default/a", "default", Health::Healthy).await;
    assert_eq!(names(woken(failing).await), ["b"], "one that no longer belongs there");
    let failing = waiting(&app, &target).await;
    app.delete("/api/v1/services/deregister?name=b").await.ok();
    assert_eq!(names(woken(failing).await), [""; 0]);

    settle(&shop).await;
    app.register(&json!({"name": "s", "namespace": "shop", "base_url": "http://127.0.0.1:9"})).await.ok();
    assert_eq!(names(woken(shop).await), ["s"]);
    let newest = waiting(&app, &format!("{LIST}&limit=1")).await;
    app.set_health("default/c", "default", Health::Unhealthy).await;
    settle(&newest).await;
    app.add("d").await;
    assert_eq!(names(woken(newest).await), ["d"]);
}

#[tokio::test]
async fn what_does_not_change_is_answered_when_the_time_is_up() {
    let app = start().await;
    app.add("s").await;
    for target in [DISCOVER, LIST] {
        let first = app.get(&format!("{target}&wait=1s")).await;
        let again = format!("{target}&wait=300ms&cursor={}", cursor(&first));
        let begun = Instant::now();
        let same = app.get(&again).await;
        assert!(begun.elapsed() >= Duration::from_millis(300), "not sooner");
        assert_eq!((cursor(&same), same.json()), (cursor(&first), first.json()));
        let tag = first.header("etag").to_owned();
        let unchanged = app.send(app.request(Method::GET, &again).header("if-none-match", tag)).await;
        assert_eq!((unchanged.status.as_u16(), cursor(&unchanged)), (304, cursor(&first)));
    }
}

#[tokio::test]
async fn what_is_no_time_and_no_cursor_is_refused() {
    let app = start().await;
    app.add("s").await;
    for (query, field) in [
        ("wait=", "wait"),
        ("wait=30", "wait"),
        ("wait=0s", "wait"),
        ("wait=6m", "wait"),
        ("wait=-1s", "wait"),
        ("wait=1s&cursor=", "cursor"),
        ("wait=1s&cursor=42", "cursor"),
        ("wait=1s&cursor=0123456789ABCDEF", "cursor"),
    ] {
        for target in [DISCOVER, LIST] {
            let refused = app.get(&format!("{target}&{query}")).await;
            assert_eq!(refused.json()["details"][0]["field"], field, "{target} {query}");
            assert_eq!(refused.refusal(400), "invalid_parameter", "{target} {query}");
        }
    }
    for query in ["cursor=0123456789abcdef", "pick=weighted&wait=1s"] {
        assert_eq!(app.get(&format!("{DISCOVER}&{query}")).await.refusal(400), "invalid_parameter", "{query}");
    }
}

/// A server with a place for one.
async fn with_one_place() -> Arc<TestApp> {
    let watches = WatchLimits { total: 1, per_client: 1 };
    let app = Arc::new(TestApp::with(Options { watches, ..Options::default() }).await);
    app.add("s").await;
    app
}

/// Waits until a poll holds the only place.
async fn until_full(app: &TestApp, known: &str) -> Answer {
    loop {
        let answer = app.get(&format!("{LIST}&wait=50ms&cursor={known}")).await;
        if answer.status != 200 {
            return answer;
        }
    }
}

#[tokio::test]
async fn places_to_wait_in_are_bounded_and_come_back() {
    let app = with_one_place().await;
    let list = known(&app, LIST).await;
    let poll = waiting(&app, DISCOVER).await;
    let full = until_full(&app, &list).await;
    assert!(full.header("retry-after").parse::<u64>().is_ok_and(|seconds| seconds > 0));
    assert_eq!(full.refusal(429), "too_many_watches");
    assert_eq!(app.get("/api/v1/watch").await.refusal(429), "too_many_watches", "watches share it");
    app.get(&format!("{LIST}&wait=5m")).await.ok();
    app.set_health("default/s", "default", Health::Healthy).await;
    woken(poll).await.ok();
    let list = known(&app, LIST).await;
    app.get(&format!("{LIST}&wait=100ms&cursor={list}")).await.ok();

    // One that gives up.
    let target = format!("{LIST}&wait=5m&cursor={list}");
    let given_up = app.request(Method::GET, &target).timeout(Duration::from_millis(500)).send().await;
    assert!(given_up.expect_err("it takes longer").is_timeout());
    let mut place = app.get(&format!("{LIST}&wait=50ms&cursor={list}")).await;
    while place.status != 200 {
        place = app.get(&format!("{LIST}&wait=50ms&cursor={list}")).await;
    }
}

#[tokio::test]
async fn a_server_that_stops_answers_what_waits() {
    let app = with_one_place().await;
    let list = known(&app, LIST).await;
    let poll = waiting(&app, LIST).await;
    until_full(&app, &list).await;
    app.shut_down();
    let answer = woken(poll).await;
    assert_eq!(cursor(&answer), list);
    answer.ok();
}

#[tokio::test]
async fn a_token_that_ends_ends_the_wait() {
    let app = TestApp::with(Options { auth: true, read_auth: true, ..Options::default() }).await;
    let short = token_for(Duration::from_secs(3), "short");
    let get = async |target: &str| app.send(app.request(Method::GET, target).bearer_auth(&short)).await;
    let list = "/api/v1/services?wait=5m";
    let first = get(list).await;
    let ended = get(&format!("{list}&cursor={}", cursor(&first))).await;
    assert!(ended.header("www-authenticate").contains("invalid_token"));
    let body: Value = ended.json();
    assert_eq!(ended.refusal(401), "token_expired", "{body}");
}
