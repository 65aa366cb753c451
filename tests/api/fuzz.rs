//! Whatever comes, an envelope goes out, and never a fault.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};

use crate::app::{Answer, TestApp};
use crate::schema::Schemas;

fn runner(cases: u32) -> TestRunner {
    TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() })
}

/// Checks that the answer is not a 500, is an envelope, and is as `/openapi.json` describes it.
fn well_answered(schemas: &Schemas, method: &str, target: &str, answer: &Answer) -> Result<(), TestCaseError> {
    schemas.check(method, target, answer.status.as_u16(), &answer.json());
    let faultless = answer.status.as_u16() < 500 || answer.json()["code"] == "no_healthy_instance";
    prop_assert!(faultless, "{}: {}", answer.status, answer.text());
    let json = answer.json();
    prop_assert_eq!(json["success"].as_bool(), Some(answer.status.is_success()));
    if !answer.status.is_success() {
        prop_assert!(json["code"].is_string() && json["error"].is_string(), "{}", answer.text());
    }
    Ok(())
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
        "[a-z0-9-]{0,10}".prop_map(Value::from),
        "(http|https|tcp|grpc|x)://[a-z0-9.@\\[\\]:]{0,15}(:[0-9]{1,6})?(/[ -~]{0,10})?".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::hash_map(key(), inner, 0..6).prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

fn key() -> impl Strategy<Value = String> {
    let known = [
        "name",
        "base_url",
        "health_url",
        "version",
        "description",
        "metadata",
        "namespace",
        "instance",
        "weight",
        "zone",
        "check",
        "http",
        "tcp",
        "grpc",
        "none",
        "path",
        "tls",
        "interval_seconds",
        "expected_statuses",
        "ttl_seconds",
        "deregister_after_seconds",
        "tags",
        "external_id",
        "checks",
        "heartbeat",
        "identity",
        "json",
        "header",
        "tls_san",
        "version_from",
        "advisory",
        "url",
    ];
    prop_oneof![3 => prop::sample::select(known.to_vec()).prop_map(str::to_owned), 1 => ".{0,12}"]
}

/// A valid body with some fields replaced, in bytes of which some are then changed.
fn body() -> impl Strategy<Value = Vec<u8>> {
    let fields = prop::collection::vec((key(), any_json()), 0..4);
    let damage = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3);
    let near = (fields, damage, prop::bool::weighted(0.3)).prop_map(|(fields, damage, damaged)| {
        let mut valid =
            json!({"name": "a", "base_url": "http://127.0.0.1:9", "metadata": {"k": "v"}, "check": {"tcp": {}},
                "tags": ["t"], "checks": [{"name": "b", "http": {"path": "/", "identity": {"json": {"/a": "$service"}}}}]});
        for (key, value) in fields {
            valid[key] = value;
        }
        let mut bytes = valid.to_string().into_bytes();
        for (at, byte) in damage.into_iter().filter(|_| damaged) {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes
    });
    prop_oneof![6 => near, 1 => any_json().prop_map(|v| v.to_string().into_bytes()), 1 => prop::collection::vec(any::<u8>(), 0..200)]
}

#[test]
fn no_registration_is_a_fault() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let app = runtime.block_on(TestApp::start());
    let schemas = Schemas::load();
    let checked = runner(600).run(&body(), |bytes| {
        let answer = runtime.block_on(async {
            let request =
                app.request(Method::POST, "/api/v1/services/register").header(CONTENT_TYPE, "application/json");
            app.send(request.body(bytes)).await
        });
        well_answered(&schemas, "POST", "/api/v1/services/register", &answer)
    });
    checked.expect("never a fault");
    // Whatever was taken in is still served.
    runtime.block_on(async { app.get("/api/v1/services?namespace=*").await.ok() });
    let _inside = runtime.enter();
    drop(app);
}

fn query() -> impl Strategy<Value = String> {
    let names = [
        "name",
        "namespace",
        "status",
        "version",
        "zone",
        "meta.team",
        "meta.",
        "healthy",
        "tag",
        "warning",
        "pick",
        "limit",
        "cursor",
        "all",
        "instance",
        "x",
    ];
    let value = prop_oneof![
        Just("a".to_owned()),
        Just("true".to_owned()),
        Just("weighted".to_owned()),
        Just("^1".to_owned()),
        "[!$'-;=@-Z_a-z~]{0,20}",
        "(%[0-9a-f]{2}){0,6}",
        "(%[0-9a-g]{0,2}){0,3}",
        "[0-9]{1,22}",
    ];
    let part =
        (prop_oneof![6 => prop::sample::select(names.to_vec()).prop_map(str::to_owned), 1 => "[a-z.%]{0,8}"], value)
            .prop_map(|(name, value)| format!("{name}={value}"));
    prop::collection::vec(part, 0..6).prop_map(|parts| parts.join("&"))
}

#[test]
fn no_query_is_a_fault() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let app = runtime.block_on(async {
        let app = TestApp::start().await;
        app.add("a").await;
        app
    });
    let routes = prop::sample::select(vec!["/discover", "", "/stats", "/01890a5d-ac96-774b-bcce-b302099a8057/history"]);
    let schemas = Schemas::load();
    let checked = runner(800).run(&(routes, query()), |(route, query)| {
        let target = format!("/api/v1/services{route}?{query}");
        let answer = runtime.block_on(app.get(&target));
        well_answered(&schemas, "GET", &target, &answer)
    });
    checked.expect("never a fault");
    let _inside = runtime.enter();
    drop(app);
}

#[test]
fn no_path_is_a_fault() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let app = runtime.block_on(TestApp::start());
    let path = "(/(api|v1|services|instances|history|health-check|heartbeat|drain|acknowledgement|[a-z0-9%.-]{0,6}|[!-~&&[^?#]]{0,12})){1,6}";
    let methods = prop::sample::select(vec!["GET", "POST", "DELETE", "PUT", "PATCH"]);
    let schemas = Schemas::load();
    let checked = runner(600).run(&(path, methods), |(path, method)| {
        let answer = runtime.block_on(async {
            let method = Method::from_bytes(method.as_bytes()).expect("a method");
            app.send(app.request(method, &format!("/api/v1/services{path}"))).await
        });
        // The client resolves `..` before it sends.
        let sent = reqwest::Url::parse(&format!("http://a/api/v1/services{path}")).expect("a URL");
        well_answered(&schemas, method, sent.path(), &answer)
    });
    checked.expect("never a fault");
    let _inside = runtime.enter();
    drop(app);
}
