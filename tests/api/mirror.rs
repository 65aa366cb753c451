//! What clients of a replica see: the cluster's ids, revisions and tags, and what is the replica's own.

use std::sync::Arc;

use portolan::model::mirror::{MirrorChange, Mirrored, MirroredInstance, ReportedHealth, VerdictsFrom};
use portolan::model::name::{InstanceName, Namespace, ServiceKey};
use portolan::model::outcome::{Health, Reason};
use portolan::model::service::{InstanceSpec, Owner, Source};
use portolan::model::time::UnixMs;
use portolan::model::url::EndpointUrl;
use reqwest::Method;
use serde_json::Value;
use uuid::Uuid;

use crate::app::{Options, TestApp};
use crate::schema::Schemas;

const ID: Uuid = Uuid::from_u128(0xfeed);
const DISCOVER: &str = "/api/v1/services/discover?name=a";

async fn replica() -> TestApp {
    TestApp::with(Options { mirror: Some(Uuid::from_u128(0xabc << 64)), ..Options::default() }).await
}

/// The object of `a` at a revision, with what its status says.
async fn put(app: &TestApp, revision: u64, reported: Option<ReportedHealth>) {
    mirror(app, "a", ID, revision, reported).await;
}

async fn named(app: &TestApp, name: &str, id: Uuid, revision: u64) {
    mirror(app, name, id, revision, None).await;
}

async fn mirror(app: &TestApp, name: &str, id: Uuid, revision: u64, reported: Option<ReportedHealth>) {
    let spec = InstanceSpec {
        health_url: Some(EndpointUrl::health("http://127.0.0.1:9/live").expect("a url")),
        ..InstanceSpec::at(EndpointUrl::base("http://127.0.0.1:9").expect("a url"))
    };
    let instance = MirroredInstance {
        name: InstanceName::default(),
        spec: Arc::new(spec),
        owner: Owner::Anonymous,
        generation: Some(41),
        drain: None,
        reported,
        acknowledged: None,
    };
    let object = Mirrored {
        key: ServiceKey::new(&Namespace::default(), &name.parse().expect("a name")),
        id,
        source: Source::Rest,
        registered_at: UnixMs(1_000),
        updated_at: UnixMs(2_000),
        revision,
        instances: vec![instance],
    };
    app.store.mirror(vec![MirrorChange::Put(object)], VerdictsFrom::Here).await.expect("mirrors");
}

async fn shown(app: &TestApp) -> (Value, String) {
    let answer = app.get(DISCOVER).await;
    let tag = answer.header("etag").to_owned();
    (answer.ok()["data"].clone(), tag)
}

#[tokio::test]
async fn a_verdict_that_no_status_carries_has_a_tag_of_its_own() {
    let app = replica().await;
    put(&app, 900, None).await;
    let (service, plain) = shown(&app).await;
    assert_eq!((&service["id"], &service["revision"]), (&ID.to_string().into(), &900.into()));
    assert_eq!(service["instances"][0]["generation"], 41);
    assert_eq!(service["instances"][0]["registered_at"], "1970-01-01T00:00:01.000Z");
    assert_eq!(plain, "W/\"0000000000000abc.900\"", "every replica's");

    app.set_health("default/a", "default", Health::Healthy).await;
    let known = app.send(app.request(Method::GET, DISCOVER).header("if-none-match", &plain)).await;
    assert_eq!(known.status, 200);
    let (service, own) = shown(&app).await;
    assert_eq!((&service["status"], &service["revision"]), (&"healthy".into(), &900.into()));
    assert!(own.starts_with("W/\"0000000000000abc.900+"), "{own}");
    let known = app.send(app.request(Method::GET, DISCOVER).header("if-none-match", &own)).await;
    assert_eq!(known.status, 304);

    let since = service["instances"][0]["since"].as_str().expect("a time").parse().expect("a time");
    let reported = ReportedHealth::new(Health::Healthy, Reason::Passed, since);
    put(&app, 901, Some(reported)).await;
    assert_eq!(shown(&app).await.1, "W/\"0000000000000abc.901\"");
}

#[tokio::test]
async fn a_replica_that_does_not_know_every_service_yet_does_not_say_that_there_is_none() {
    let app = replica().await;
    named(&app, "a", ID, 900).await;
    assert_eq!(app.get(DISCOVER).await.status, 200, "what it knows it tells");
    let missing = [
        "/api/v1/services/discover?name=nobody",
        "/api/v1/services/discover?name=%6eobody",
        "/api/v1/services/0198c0ff-ee00-7000-8000-000000000001",
        "/api/v1/services/0198c0ff-ee00-7000-8000-000000000001/history",
    ];
    let counted = ["/api/v1/services", "/api/v1/services/stats"];
    for target in missing.iter().chain(&counted) {
        let answer = app.get(target).await;
        assert_eq!(answer.header("retry-after"), "2", "{target}");
        assert_eq!(answer.refusal(503), "unavailable", "{target}");
    }
    // A finished list, older than what is known of `a`.
    app.store.mirror_all(Vec::new(), 899, VerdictsFrom::Here).await.expect("mirrors");
    for target in missing {
        assert_eq!(app.get(target).await.refusal(404), "service_not_found", "{target}");
    }
    for target in counted {
        assert_eq!(app.get(target).await.status, 200, "{target}");
    }
}

#[tokio::test]
async fn history_says_since_when_this_replica_has_seen_it() {
    let app = replica().await;
    put(&app, 900, None).await;
    app.set_health("default/a", "default", Health::Healthy).await;
    let path = format!("/api/v1/services/{ID}/history");
    let reported = app.get(&path).await.ok();
    assert_eq!(reported["data"].as_array().expect("a list").len(), 1);
    let since: UnixMs = reported["history_since"].as_str().expect("a time").parse().expect("a time");
    assert!(since <= UnixMs::wall() && since > UnixMs(0));
    Schemas::load().check("GET", &path, 200, &reported);
}

#[tokio::test]
async fn a_watch_that_was_further_at_another_replica_is_not_taken_back() {
    let app = replica().await;
    put(&app, 900, None).await;
    let answer = app.request(Method::GET, "/api/v1/watch?cursor=0000000000000abc.905").send();
    let mut answer = std::pin::pin!(answer);
    let early = tokio::time::timeout(std::time::Duration::from_millis(200), &mut answer).await;
    assert!(early.is_err(), "what it has is older than what the client saw");
    // The answer to its own write does not reveal what others wrote before.
    put(&app, 910, None).await;
    let early = tokio::time::timeout(std::time::Duration::from_millis(200), &mut answer).await;
    assert!(early.is_err(), "what others wrote before has not come yet");
    app.store.catalog().advance_watch(905);
    let (text, _) = first_of(answer.await.expect("an answer")).await;
    assert!(text.contains("event: snapshot") && text.contains("\"revision\":910"), "{text}");
}

/// A watch's first event of services, and its cursor.
async fn first_of(mut answer: reqwest::Response) -> (String, String) {
    assert_eq!(answer.status(), 200);
    let mut text = String::new();
    while !text.contains("\nid: ") || !text.ends_with("\n\n") {
        text += std::str::from_utf8(&answer.chunk().await.expect("goes on").expect("not over")).expect("UTF-8");
    }
    let cursor = text.lines().find_map(|line| line.strip_prefix("id: ")).expect("a cursor").to_owned();
    (text, cursor)
}

async fn watched(app: &TestApp, cursor: &str) -> (String, String) {
    let path = if cursor.is_empty() { "/api/v1/watch".to_owned() } else { format!("/api/v1/watch?cursor={cursor}") };
    first_of(app.request(Method::GET, &path).send().await.expect("an answer")).await
}

#[tokio::test]
async fn a_watch_goes_on_by_the_order_of_its_replica_whatever_the_revisions_are() {
    let app = replica().await;
    named(&app, "a", ID, 900).await;
    let (text, cursor) = watched(&app, "").await;
    assert!(text.contains("event: snapshot"), "{text}");
    // The answer to a write of its own, then what another had written before.
    named(&app, "b", Uuid::from_u128(2), 910).await;
    let (text, ahead) = watched(&app, &cursor).await;
    assert!(text.contains("event: change") && text.contains("\"revision\":910"), "{text}");
    assert!(!text.contains("\"revision\":900"), "it has that: {text}");
    named(&app, "c", Uuid::from_u128(3), 905).await;
    let (text, cursor) = watched(&app, &ahead).await;
    assert!(text.contains("event: change") && text.contains("\"revision\":905"), "it came later: {text}");

    // A verdict has no revision of its own before a status carries it.
    app.set_health("default/a", "default", Health::Healthy).await;
    let (text, cursor) = watched(&app, &cursor).await;
    assert!(text.contains("event: change") && text.contains("\"status\":\"healthy\""), "{text}");

    let key = ServiceKey::new(&Namespace::default(), &"a".parse().expect("a name"));
    let removed = MirrorChange::Remove { key, id: ID, revision: 906 };
    app.store.mirror(vec![removed], VerdictsFrom::Here).await.expect("mirrors");
    let (text, cursor) = watched(&app, &cursor).await;
    let removed = format!("\"removed\":[{{\"id\":\"{ID}\"");
    assert!(text.contains("event: change") && text.contains(&removed), "{text}");
    let (text, _) = watched(&app, &cursor).await;
    assert!(text.contains("{\"upserts\":[],\"removed\":[]}"), "nothing was missed: {text}");

    // Another replica's order is meaningless here.
    let (before, _) = cursor.split_once('~').expect("the replica's own part");
    app.store.catalog().advance_watch(910);
    let (text, _) = watched(&app, &format!("{before}~00000000.1")).await;
    assert!(text.contains("event: snapshot") && text.contains("\"revision\":905"), "{text}");
}
