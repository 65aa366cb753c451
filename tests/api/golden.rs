//! Every route and refusal as it looks on the wire; values that differ from run to run are redacted.

use portolan::model::outcome::Health;
use reqwest::Method;
use serde_json::{Value, json};

use crate::app::{Answer, Options, TestApp};
use crate::schema::Schemas;

/// The answer with its headers, ids, times and epoch replaced.
fn golden(answer: &Answer) -> Value {
    let mut headers = serde_json::Map::new();
    for (name, value) in &answer.headers {
        let value = value.to_str().expect("ASCII");
        let shown = match name.as_str() {
            "date" | "content-length" => continue,
            "etag" => value.split_once('.').map_or(value.to_owned(), |(_, revision)| format!("W/\"[epoch].{revision}")),
            _ => value.to_owned(),
        };
        headers.insert(name.to_string(), shown.into());
    }
    let mut body = if answer.bytes.is_empty() { Value::Null } else { answer.json() };
    redact(&mut body);
    json!({"status": answer.status.as_u16(), "headers": headers, "body": body})
}

fn redact(value: &mut Value) {
    match value {
        Value::Array(all) => all.iter_mut().for_each(redact),
        Value::Object(map) => {
            for (key, value) in map {
                match (key.as_str(), &*value) {
                    ("id", Value::String(_)) => *value = "[id]".into(),
                    ("timestamp", _) => *value = "[seconds]".into(),
                    ("next_cursor", _) => *value = "[cursor]".into(),
                    ("registered_at" | "updated_at" | "since" | "at" | "last_health_check", Value::String(_)) => {
                        *value = "[time]".into();
                    }
                    _ => redact(value),
                }
            }
        }
        _ => {}
    }
}

/// Sends a request, checks the answer against `/openapi.json`, and returns the text of the snapshot.
async fn shown(app: &TestApp, method: Method, target: &str, body: Option<Value>) -> Value {
    let request = app.request(method.clone(), target);
    let answer = app.send(match body {
        Some(json) => request.json(&json),
        None => request,
    });
    let answer = answer.await;
    if !answer.bytes.is_empty() {
        Schemas::load().check(method.as_str(), target, answer.status.as_u16(), &answer.json());
    }
    golden(&answer)
}

macro_rules! snapshot {
    ($name:literal, $value:expr) => {
        insta::assert_json_snapshot!($name, $value)
    };
}

fn full_body() -> Value {
    json!({
        "name": "user-service",
        "version": "1.0.0",
        "description": "User management service",
        "base_url": "http://localhost:8081",
        "health_url": "http://localhost:8081/health",
        "metadata": {"environment": "production", "team": "backend"},
        "namespace": "shop",
        "instance": "a",
        "weight": 10,
        "zone": "eu-1a",
        "check": {"http": {"expected_statuses": [200, 204]}, "interval_seconds": 10},
    })
}

#[tokio::test]
async fn reads_and_writes() {
    let app = TestApp::start().await;
    let register = "/api/v1/services/register";
    snapshot!("register", shown(&app, Method::POST, register, Some(full_body())).await);
    app.set_health("shop/user-service", "a", Health::Healthy).await;
    let mut moved = full_body();
    moved["base_url"] = "http://localhost:8082".into();
    snapshot!("register_replacing_a_healthy_url", shown(&app, Method::POST, register, Some(moved)).await);
    app.set_health("shop/user-service", "a", Health::Unhealthy).await;
    snapshot!("list", shown(&app, Method::GET, "/api/v1/services?namespace=*", None).await);
    snapshot!("list_empty_with_hint", shown(&app, Method::GET, "/api/v1/services", None).await);
    let discover = "/api/v1/services/discover?namespace=shop&name=user-service";
    snapshot!("discover", shown(&app, Method::GET, discover, None).await);
    snapshot!("stats", shown(&app, Method::GET, "/api/v1/services/stats?namespace=*", None).await);
    let id = id_of(&app, "shop", "user-service").await;
    snapshot!("get", shown(&app, Method::GET, &format!("/api/v1/services/{id}"), None).await);
    snapshot!("history", shown(&app, Method::GET, &format!("/api/v1/services/{id}/history"), None).await);
    let page = format!("/api/v1/services/{id}/history?limit=1");
    snapshot!("history_page", shown(&app, Method::GET, &page, None).await);
    snapshot!("delete", shown(&app, Method::DELETE, &format!("/api/v1/services/{id}"), None).await);
    snapshot!("root", shown(&app, Method::GET, "/", None).await);
    snapshot!("health", shown(&app, Method::GET, "/api/v1/health", None).await);
}

async fn id_of(app: &TestApp, namespace: &str, name: &str) -> String {
    let found = app.get(&format!("/api/v1/services/discover?namespace={namespace}&name={name}")).await.ok();
    found["data"]["id"].as_str().expect("an id").to_owned()
}

#[tokio::test]
async fn refusals_of_reads() {
    let app = TestApp::start().await;
    app.register(&json!({"name": "a", "namespace": "other", "base_url": "http://127.0.0.1:9"})).await.ok();
    app.add("b").await;
    let get = async |target: &str| shown(&app, Method::GET, target, None).await;
    snapshot!("unknown_route", get("/api/v2/services").await);
    snapshot!("trailing_slash", get("/api/v1/services/").await);
    snapshot!("name_required", get("/api/v1/services/discover").await);
    snapshot!("not_found", get("/api/v1/services/discover?name=nobody").await);
    snapshot!("not_found_here", get("/api/v1/services/discover?name=a").await);
    snapshot!("not_found_but_close", get("/api/v1/services/discover?name=B").await);
    snapshot!("none_healthy", get("/api/v1/services/discover?name=b&healthy=true").await);
    snapshot!("none_selected", get("/api/v1/services/discover?name=b&zone=mars").await);
    snapshot!("unknown_parameter", get("/api/v1/services?statsu=healthy").await);
    snapshot!("bad_status", get("/api/v1/services?status=up").await);
    snapshot!("bad_version", get("/api/v1/services?version=%3E%3D").await);
    snapshot!("bad_limit", get("/api/v1/services?limit=1001").await);
    snapshot!("bad_cursor", get("/api/v1/services?cursor=abc").await);
    snapshot!("bad_namespace", get("/api/v1/services/stats?namespace=A_B").await);
    snapshot!("no_such_id", get("/api/v1/services/01890a5d-ac96-774b-bcce-b302099a8057").await);
    snapshot!("malformed_id", get("/api/v1/services/7").await);
    snapshot!("no_history", get("/api/v1/services/01890a5d-ac96-774b-bcce-b302099a8057/history").await);
}

#[tokio::test]
async fn refusals_of_writes() {
    let app = TestApp::with(Options { max_services: 1, max_instances: 2, ..Options::default() }).await;
    let id = app.add("a").await["id"].as_str().expect("an id").to_owned();
    let register = "/api/v1/services/register";
    let post = async |body: Value| shown(&app, Method::POST, register, Some(body)).await;
    snapshot!("missing_fields", post(json!({})).await);
    snapshot!("unknown_field", post(json!({"name": "a", "base_url": "http://127.0.0.1:9", "helth_url": "x"})).await);
    snapshot!("not_an_object", post(json!(["a"])).await);
    snapshot!("denied", post(json!({"name": "a", "base_url": "http://169.254.169.254/"})).await);
    snapshot!("too_many_services", post(json!({"name": "b", "base_url": "http://127.0.0.1:9"})).await);
    let second = json!({"name": "a", "instance": "b", "base_url": "http://127.0.0.1:9"});
    app.register(&second).await.ok();
    let third = json!({"name": "a", "instance": "c", "base_url": "http://127.0.0.1:9"});
    snapshot!("too_many_instances", post(third).await);
    let delete = async |target: String| shown(&app, Method::DELETE, &target, None).await;
    snapshot!("has_instances", delete(format!("/api/v1/services/{id}")).await);
    snapshot!("no_such_instance", delete(format!("/api/v1/services/{id}/instances/zz")).await);
    snapshot!("deregister_without_name", delete("/api/v1/services/deregister".to_owned()).await);
    snapshot!("wrong_method", delete("/api/v1/services".to_owned()).await);
    let check = format!("/api/v1/services/{id}/health-check");
    snapshot!("check_without_prober", shown(&app, Method::POST, &check, None).await);
}
