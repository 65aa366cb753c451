//! What clients of a replica see: the cluster's ids, revisions and tags, and what is the replica's own.

use std::collections::BTreeMap;
use std::sync::Arc;

use portolan::model::check::Check;
use portolan::model::mirror::{MirrorChange, Mirrored, MirroredInstance, Told, VerdictsFrom};
use portolan::model::name::{InstanceName, Namespace, ServiceKey};
use portolan::model::outcome::{Health, Reason};
use portolan::model::service::{InstanceSpec, Owner, Source};
use portolan::model::time::UnixMs;
use portolan::model::url::EndpointUrl;
use reqwest::Method;
use serde_json::Value;
use uuid::Uuid;

use crate::app::{TestApp, Wish};
use crate::schema::Schemas;

const ID: Uuid = Uuid::from_u128(0xfeed);
const DISCOVER: &str = "/api/v1/services/discover?name=a";

async fn replica() -> TestApp {
    TestApp::with(Wish { mirror: Some(Uuid::from_u128(0xabc << 64)), ..Wish::default() }).await
}

/// The object of `a` at a revision, with what its status says.
async fn put(app: &TestApp, revision: u64, told: Option<Told>) {
    let spec = InstanceSpec {
        base_url: EndpointUrl::base("http://127.0.0.1:9").expect("a url"),
        health_url: Some(EndpointUrl::health("http://127.0.0.1:9/live").expect("a url")),
        check: Check::default(),
        version: String::new(),
        description: String::new(),
        metadata: BTreeMap::new(),
        weight: 100,
        zone: String::new(),
    };
    let instance = MirroredInstance {
        name: InstanceName::default(),
        spec: Arc::new(spec),
        owner: Owner::Anonymous,
        generation: Some(41),
        told,
    };
    let object = Mirrored {
        key: ServiceKey::new(&Namespace::default(), &"a".parse().expect("a name")),
        id: ID,
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

    app.turn("default/a", "default", Health::Healthy).await;
    let known = app.send(app.request(Method::GET, DISCOVER).header("if-none-match", &plain)).await;
    assert_eq!(known.status, 200);
    let (service, own) = shown(&app).await;
    assert_eq!((&service["status"], &service["revision"]), (&"healthy".into(), &900.into()));
    assert!(own.starts_with("W/\"0000000000000abc.900+"), "{own}");
    let known = app.send(app.request(Method::GET, DISCOVER).header("if-none-match", &own)).await;
    assert_eq!(known.status, 304);

    let since = service["instances"][0]["since"].as_str().expect("a time").parse().expect("a time");
    let told = Told { health: Health::Healthy, reason: Reason::Passed, since, message: String::new() };
    put(&app, 901, Some(told)).await;
    assert_eq!(shown(&app).await.1, "W/\"0000000000000abc.901\"");
}

#[tokio::test]
async fn history_says_since_when_this_replica_has_seen_it() {
    let app = replica().await;
    put(&app, 900, None).await;
    app.turn("default/a", "default", Health::Healthy).await;
    let path = format!("/api/v1/services/{ID}/history");
    let told = app.get(&path).await.ok();
    assert_eq!(told["data"].as_array().expect("a list").len(), 1);
    let since: UnixMs = told["history_since"].as_str().expect("a time").parse().expect("a time");
    assert!(since <= UnixMs::wall() && since > UnixMs(0));
    Schemas::load().check("GET", &path, 200, &told);
}

#[tokio::test]
async fn a_watch_that_was_further_at_another_replica_is_not_taken_back() {
    let app = replica().await;
    put(&app, 900, None).await;
    let asked = app.request(Method::GET, "/api/v1/watch?cursor=0000000000000abc.905").send();
    let mut asked = std::pin::pin!(asked);
    let early = tokio::time::timeout(std::time::Duration::from_millis(200), &mut asked).await;
    assert!(early.is_err(), "what it has is older than what the client saw");
    put(&app, 905, None).await;
    put(&app, 910, None).await;
    let mut answer = asked.await.expect("an answer");
    let mut text = String::new();
    while !text.contains("\ndata: ") {
        text += std::str::from_utf8(&answer.chunk().await.expect("goes on").expect("not over")).expect("UTF-8");
    }
    assert!(text.contains("event: change") && !text.contains("snapshot"), "{text}");
}
