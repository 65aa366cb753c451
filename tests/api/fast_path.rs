//! The fast path and the route give the same answers, byte for byte.

use portolan::model::outcome::Health;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use reqwest::Method;
use serde_json::json;

use crate::app::{Answer, TestApp};

/// One request, to be sent plain and then in a spelling that the fast path does not read.
#[derive(Debug, Clone)]
struct TestRequest {
    name: String,
    namespace: Option<String>,
    swapped: bool,
    method: &'static str,
    tag: Tag,
    origin: Option<&'static str>,
}

#[derive(Debug, Clone)]
enum Tag {
    None,
    Current,
    Stale,
    Star,
    Garbage(String),
}

fn requests() -> impl Strategy<Value = TestRequest> {
    let name = prop_oneof!["s[0-3]", "[a-z0-9-]{1,5}", "[A-Za-z0-9-]{60,70}", Just("S1".to_owned())];
    let namespace = prop_oneof![
        Just(None),
        Just(Some("default".to_owned())),
        Just(Some("shop".to_owned())),
        "[a-zA-Z0-9-]{1,4}".prop_map(Some),
    ];
    let tag = prop_oneof![
        3 => Just(Tag::None),
        2 => Just(Tag::Current),
        1 => Just(Tag::Stale),
        1 => Just(Tag::Star),
        1 => "[ -~]{0,40}".prop_map(Tag::Garbage),
    ];
    let method = prop_oneof![4 => Just("GET"), 1 => Just("HEAD"), 1 => Just("POST")];
    let origin = prop_oneof![Just(None), Just(Some("https://a.example")), Just(Some("http://localhost:3000"))];
    (name, namespace, any::<bool>(), method, tag, origin).prop_map(|(name, namespace, swapped, method, tag, origin)| {
        TestRequest { name, namespace, swapped, method, tag, origin }
    })
}

impl TestRequest {
    /// The target; `key` is a spelling of the parameter `name`.
    fn target(&self, key: &str) -> String {
        let name = &self.name;
        let base = "/api/v1/services/discover";
        match &self.namespace {
            None => format!("{base}?{key}={name}"),
            Some(ns) if self.swapped => format!("{base}?namespace={ns}&{key}={name}"),
            Some(ns) => format!("{base}?{key}={name}&namespace={ns}"),
        }
    }

    async fn send(&self, app: &TestApp, target: &str) -> Answer {
        let mut request = app.request(Method::from_bytes(self.method.as_bytes()).expect("a method"), target);
        let tag = match &self.tag {
            Tag::None => None,
            Tag::Current => Some(app.get(&self.target("name")).await.header("etag").to_owned()),
            Tag::Stale => Some("W/\"0000000000000000.1\"".to_owned()),
            Tag::Star => Some("*".to_owned()),
            Tag::Garbage(text) => Some(text.trim().to_owned()),
        };
        if let Some(tag) = tag {
            request = request.header("if-none-match", tag);
        }
        if let Some(origin) = self.origin {
            request = request.header("origin", origin);
        }
        app.send(request).await
    }
}

#[test]
fn the_fast_path_and_the_route_give_the_same_answers() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let app = runtime.block_on(async {
        let app = TestApp::start().await;
        for n in 0..4 {
            for namespace in ["default", "shop"] {
                let body = json!({"name": format!("s{n}"), "namespace": namespace, "base_url": format!("http://127.0.0.1:{}", n + 1)});
                app.register(&body).await.ok();
            }
        }
        app.set_health("default/s1", "default", Health::Healthy).await;
        app.set_warning("default/s2", "default").await;
        let rich = json!({
            "name": "s3", "base_url": "http://127.0.0.1:4", "external_id": "a b", "tags": ["x=y", "é"], "ttl_seconds": 30,
            "deregister_after_seconds": 60, "check": {"tcp": {}},
            "checks": [{"name": "admin", "advisory": true, "url": "http://127.0.0.1:5/"}],
        });
        let service = app.register(&rich).await.ok()["data"].take();
        let drain = format!("/api/v1/services/{}/instances/default/drain", service["id"].as_str().expect("an id"));
        app.send(app.request(Method::PUT, &drain).json(&json!({"reason": "why"}))).await.ok();
        app
    });
    let mut runner = TestRunner::new(Config { cases: 300, failure_persistence: None, ..Config::default() });
    let checked = runner.run(&requests(), |asked| {
        let (hot, cold) = runtime.block_on(async {
            (asked.send(&app, &asked.target("name")).await, asked.send(&app, &asked.target("n%61me")).await)
        });
        let but_date = |answer: &Answer| {
            let mut headers = answer.headers.clone();
            headers.remove("date");
            headers
        };
        prop_assert_eq!(hot.status, cold.status);
        prop_assert_eq!(but_date(&hot), but_date(&cold));
        prop_assert_eq!(String::from_utf8_lossy(&hot.bytes), String::from_utf8_lossy(&cold.bytes));
        Ok(())
    });
    checked.expect("the same");
    let _inside = runtime.enter();
    drop(app);
}
