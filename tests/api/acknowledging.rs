//! Acknowledgements of failures through the API.

use portolan::api::access::Scopes;
use portolan::model::outcome::Health;
use reqwest::Method;
use serde_json::{Value, json};

use crate::app::{Answer, Options, TestApp, token};
use crate::schema::Schemas;
use crate::watching::Watch;

async fn put(app: &TestApp, target: &str, body: &Value) -> Answer {
    app.send(app.request(Method::PUT, target).json(body)).await
}

/// `s` with the instances `a`, which fails, and `b`, which does not; the path of its acknowledgement.
async fn one_of_two_fails(app: &TestApp) -> String {
    let mut id = Value::Null;
    for (name, health) in [("a", Health::Unhealthy), ("b", Health::Healthy)] {
        let body = json!({"name": "s", "instance": name, "base_url": format!("http://127.0.0.1/{name}")});
        id = app.register(&body).await.ok()["data"]["id"].take();
        app.set_health("default/s", name, health).await;
    }
    format!("/api/v1/services/{}/acknowledgement", id.as_str().expect("an id"))
}

fn instance<'a>(service: &'a Value, name: &str) -> &'a Value {
    let all = service["instances"].as_array().expect("a list");
    all.iter().find(|one| one["name"] == name).unwrap_or_else(|| panic!("no {name} in {service}"))
}

#[tokio::test]
async fn a_failure_is_acknowledged_and_a_new_one_is_not() {
    let app = TestApp::start().await;
    let path = one_of_two_fails(&app).await;
    let mut watch = Watch::open(&app, "").await;
    watch.named("snapshot").await;
    let revision = app.catalog.read().revision();
    let given = put(&app, &path, &json!({"note": "disk ordered \u{1f427}", "for_seconds": 1800})).await.ok();
    assert_eq!(given["message"], "Failure acknowledged");
    assert_eq!(app.catalog.read().revision(), revision + 1);
    let change = watch.named("change").await;
    let listed = app.get("/api/v1/services").await.ok();
    for shown in [&given["data"], &change["upserts"][0], &listed["data"][0]] {
        for known in [&shown["acknowledged"], &instance(shown, "a")["acknowledged"]] {
            assert_eq!((&known["note"], &known["by"]), (&json!("disk ordered \u{1f427}"), &json!("anonymous")));
            assert!(known["since"].is_string() && known["until"].is_string(), "{known}");
            assert!(known.get("failure").is_none() && known.get("whole").is_none(), "{known}");
        }
        assert!(instance(shown, "b").get("acknowledged").is_none());
        assert_eq!(shown["status"], "healthy", "it changes nothing else");
    }
    app.set_health("default/s", "b", Health::Unhealthy).await;
    let change = watch.named("change").await;
    let shown = &change["upserts"][0];
    assert!(shown.get("acknowledged").is_none() && instance(shown, "a").get("acknowledged").is_none(), "{shown}");
    let history = app.get("/api/v1/services/history?name=s&limit=3").await.ok();
    let events: Vec<_> = history["data"].as_array().expect("entries").iter().map(|e| e["event"].as_str()).collect();
    assert!(events.contains(&Some("unacknowledged")) && events.contains(&Some("acknowledged")), "{history}");

    let one = format!("{path}?instance=a");
    let given = put(&app, &one, &json!({"note": "only this"})).await.ok()["data"].take();
    assert!(given.get("acknowledged").is_none(), "b fails, too: {given}");
    assert!(instance(&given, "a")["acknowledged"].get("until").is_none());
    let withdrawn = app.delete(&one).await.ok();
    assert_eq!(withdrawn["message"], "Acknowledgement withdrawn");
    assert!(instance(&withdrawn["data"], "a").get("acknowledged").is_none());
    let revision = app.catalog.read().revision();
    app.delete(&path).await.ok();
    assert_eq!(app.catalog.read().revision(), revision, "there was none to withdraw");
}

#[tokio::test]
async fn it_ends_by_itself() {
    let app = TestApp::start().await;
    let path = one_of_two_fails(&app).await;
    let mut watch = Watch::open(&app, "").await;
    watch.named("snapshot").await;
    put(&app, &path, &json!({"note": "short", "for_seconds": 1})).await.ok();
    assert!(watch.named("change").await["upserts"][0]["acknowledged"].is_object());
    let ended = watch.named("change").await;
    assert!(ended["upserts"][0].get("acknowledged").is_none(), "{ended}");
    let history = app.get("/api/v1/services/history?name=s&limit=1").await.ok();
    assert_eq!(history["data"][0]["message"], "the acknowledgement by anonymous (short) ended by itself");
}

#[tokio::test]
async fn bad_input_is_refused_in_words() {
    let app = TestApp::start().await;
    let path = one_of_two_fails(&app).await;
    for (body, field) in [
        (json!({}), "note"),
        (json!({"note": ""}), "note"),
        (json!({"note": " "}), "note"),
        (json!({"note": 7}), "note"),
        (json!({"note": "n".repeat(257)}), "note"),
        (json!({"note": "a\u{1b}[2J"}), "note"),
        (json!({"note": "a\nb"}), "note"),
        (json!({"note": "n", "for_seconds": 0}), "for_seconds"),
        (json!({"note": "n", "for_seconds": -1}), "for_seconds"),
        (json!({"note": "n", "for_seconds": 2_592_001}), "for_seconds"),
        (json!({"note": "n", "for_seconds": 1e300}), "for_seconds"),
        (json!({"note": "n", "for_seconds": "1h"}), "for_seconds"),
        (json!({"note": "n", "for": "1h"}), "for"),
    ] {
        let answer = put(&app, &path, &body).await;
        assert_eq!(answer.refusal(400), "invalid_payload", "{body}");
        let details = answer.json()["details"].take();
        assert_eq!((details.as_array().map(Vec::len), &details[0]["field"]), (Some(1), &json!(field)), "{details}");
    }
    put(&app, &path, &json!({"note": "n".repeat(256), "for_seconds": 2_592_000})).await.ok();
    let note = json!({"note": "n"});
    let healthy = put(&app, &format!("{path}?instance=b"), &note).await;
    assert_eq!(healthy.refusal(409), "nothing_to_acknowledge");
    assert!(healthy.text().contains("nothing to acknowledge: this instance neither fails nor warns"));
    assert_eq!(put(&app, &format!("{path}?instance=x"), &note).await.refusal(404), "instance_not_found");
    assert_eq!(put(&app, &format!("{path}?instance=X_"), &note).await.refusal(400), "invalid_parameter");
    assert_eq!(put(&app, &format!("{path}?all=true"), &note).await.refusal(400), "invalid_parameter");
    let nowhere = "/api/v1/services/01890a5d-ac96-774b-bcce-b302099a8057/acknowledgement";
    assert_eq!(put(&app, nowhere, &note).await.refusal(404), "service_not_found");
    app.set_health("default/s", "a", Health::Healthy).await;
    assert_eq!(put(&app, &path, &note).await.refusal(409), "nothing_to_acknowledge");
    app.set_warning("default/s", "b").await;
    let warned = put(&app, &path, &note).await.ok();
    assert!(instance(&warned["data"], "b")["acknowledged"].is_object(), "a warning may be known, too");
}

#[tokio::test]
async fn whoever_may_write_in_the_namespace_acknowledges() {
    let app = TestApp::with(Options { auth: true, ..Options::default() }).await;
    let register = app.request(Method::POST, "/api/v1/services/register");
    let register = register.json(&json!({"name": "s", "base_url": "http://127.0.0.1:9"}));
    let id = app.send(register.bearer_auth(token("owner", None, None))).await.ok()["data"]["id"].take();
    app.set_health("default/s", "default", Health::Unhealthy).await;
    let path = format!("/api/v1/services/{}/acknowledgement", id.as_str().expect("an id"));
    let call = |token: Option<String>| {
        let request = app.request(Method::PUT, &path).json(&json!({"note": "n"}));
        app.send(match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        })
    };
    assert_eq!(call(None).await.refusal(401), "token_required");
    let elsewhere = token("alice", Some(&["shop"]), None);
    assert_eq!(call(Some(elsewhere)).await.refusal(403), "namespace_forbidden");
    let given = call(Some(token("alice", None, None))).await.ok();
    assert_eq!(given["data"]["acknowledged"]["by"], "alice");
}

#[tokio::test]
async fn whoever_may_not_read_the_service_acknowledges_without_seeing_it() {
    let only_register = Some(Scopes { read: false, register: true, admin: false });
    let (owner, other) = (token("owner", None, only_register), token("other", None, only_register));
    for read_auth in [false, true] {
        let app = TestApp::with(Options { auth: true, read_auth, ..Options::default() }).await;
        let register = app.request(Method::POST, "/api/v1/services/register");
        let register = register.json(&json!({"name": "s", "base_url": "http://127.0.0.1:9"}));
        let id = app.send(register.bearer_auth(&owner)).await.ok()["data"]["id"].take();
        app.set_health("default/s", "default", Health::Unhealthy).await;
        let path = format!("/api/v1/services/{}/acknowledgement", id.as_str().expect("an id"));
        for method in [Method::PUT, Method::DELETE, Method::DELETE] {
            for (token, sees) in [(&other, !read_auth), (&owner, true)] {
                let request = app.request(method.clone(), &path).bearer_auth(token);
                let given = app.send(request.json(&json!({"note": "n"}))).await.ok();
                assert_eq!(given.get("data").is_some(), sees, "{method} {given}");
                Schemas::load().check(method.as_str(), &path, 200, &given);
            }
            let snapshot = app.catalog.read();
            let service = snapshot.get("default/s").expect("registered").service();
            let acknowledged = service.instances[0].acknowledged.is_some();
            assert_eq!(acknowledged, method == Method::PUT, "it counts all the same");
        }
    }
}
