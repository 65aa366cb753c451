//! A refusal speaks to the sender of the request: a sentence for each problem, without names from inside the program.

use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};

use crate::app::{Answer, TestApp};

const REGISTER: &str = "/api/v1/services/register";

/// Words that only a Rust programmer understands.
const INSIDE: &[&str] = &[
    "u8",
    "u16",
    "u32",
    "u64",
    "u128",
    "usize",
    "i8",
    "i16",
    "i32",
    "i64",
    "i128",
    "isize",
    "f32",
    "f64",
    "bool",
    "str",
    "struct",
    "enum",
    "tuple",
    "variant",
    "variants",
    "newtype",
    "unit",
    "option",
    "vec",
    "sequence",
    "map",
    "ident",
    "identifier",
    "eof",
    "serde",
    "httpjson",
    "checkjson",
    "grpcjson",
    "tlsjson",
    "btreemap",
];

fn plain(shown: &str, answer: &Answer) {
    let text = answer.text();
    assert!(!text.contains("::"), "{shown}: {text}");
    let words = text.split(|c: char| !c.is_ascii_alphanumeric()).map(str::to_ascii_lowercase);
    for word in words {
        assert!(!INSIDE.contains(&word.as_str()), "{shown}: {word} in {text}");
    }
    let json = answer.json();
    for detail in json["details"].as_array().into_iter().flatten() {
        let problem = detail["problem"].as_str().unwrap_or_default();
        assert!(!problem.is_empty() && detail["field"].is_string(), "{shown}: {text}");
        let expected = detail.get("expected").map(|expected| expected.as_str().expect("a text"));
        assert!(expected.is_none_or(|expected| !expected.contains(';')), "{shown}: {text}");
    }
}

/// One of each kind of value, right nowhere or somewhere.
fn shapes() -> Vec<Value> {
    vec![
        Value::Null,
        json!(true),
        json!(0),
        json!(-1),
        json!(1.5),
        json!(1e300),
        json!(u64::MAX),
        json!(""),
        json!("x"),
        json!("/a b"),
        json!("http://127.0.0.1:9"),
        json!([]),
        json!([null, true, -1, 1.5, "x", [], {}]),
        json!({}),
        json!({"x": 1}),
        json!({"path": 1}),
        json!({"GET": [1]}),
    ]
}

/// Where a registration may hold a value.
const PLACES: &[&str] = &[
    "/name",
    "/base_url",
    "/health_url",
    "/version",
    "/description",
    "/metadata",
    "/metadata/k",
    "/namespace",
    "/instance",
    "/weight",
    "/zone",
    "/x",
    "/check",
    "/check/x",
    "/check/http",
    "/check/http/x",
    "/check/http/path",
    "/check/http/method",
    "/check/http/host",
    "/check/http/headers",
    "/check/http/headers/a",
    "/check/http/expected_statuses",
    "/check/http/tls",
    "/check/http/tls/verify",
    "/check/http/tls/ca",
    "/check/tcp",
    "/check/grpc",
    "/check/grpc/service",
    "/check/grpc/tls",
    "/check/none",
    "/check/interval_seconds",
    "/check/timeout_seconds",
    "/check/healthy_threshold",
];

/// A registration that is valid except for `value` at `pointer`.
fn with(pointer: &str, value: &Value) -> Value {
    let mut body = json!({"name": "a", "base_url": "http://127.0.0.1:9"});
    let mut at = &mut body;
    for part in pointer.split('/').skip(1) {
        at = &mut at[part];
    }
    *at = value.clone();
    body
}

#[tokio::test]
async fn no_wrong_body_is_answered_with_a_type_of_rust() {
    let app = TestApp::start().await;
    let id = app.add("here").await["id"].as_str().expect("an id").to_owned();
    let check = format!("/api/v1/services/{id}/health-check");
    let mut refused = 0;
    for value in shapes() {
        for pointer in PLACES {
            let body = with(pointer, &value);
            let answer = app.register(&body).await;
            plain(&body.to_string(), &answer);
            refused += usize::from(answer.status == 400);
        }
        for target in [REGISTER, &check] {
            plain(&format!("{target} {value}"), &app.post(target, &value).await);
        }
    }
    assert!(refused > 300, "{refused} of them were wrong");
    for broken in
        ["", "{", "{\"name\"", "{\"name\":nul}", "{name:1}", "[1,", "\u{feff}\u{feff}{}", "{} {}", "{\"a\":1,}"]
    {
        for target in [REGISTER, &check] {
            let request = app.request(Method::POST, target).header(CONTENT_TYPE, "application/json");
            plain(broken, &app.send(request.body(broken)).await);
        }
    }
}

#[tokio::test]
async fn no_wrong_parameter_is_answered_with_a_type_of_rust() {
    let app = TestApp::start().await;
    let id = app.add("here").await["id"].as_str().expect("an id").to_owned();
    let routes = [
        (Method::GET, "/api/v1/services".to_owned()),
        (Method::GET, "/api/v1/services/stats".to_owned()),
        (Method::GET, "/api/v1/services/discover".to_owned()),
        (Method::GET, "/api/v1/services/history".to_owned()),
        (Method::GET, format!("/api/v1/services/{id}/history")),
        (Method::GET, "/api/v1/probes".to_owned()),
        (Method::GET, "/api/v1/services/7".to_owned()),
        (Method::DELETE, "/api/v1/services/deregister".to_owned()),
        (Method::DELETE, format!("/api/v1/services/{id}")),
        (Method::DELETE, format!("/api/v1/services/{id}/instances/nobody")),
        (Method::POST, REGISTER.to_owned()),
    ];
    let names =
        ["name", "namespace", "status", "version", "limit", "cursor", "healthy", "pick", "all", "instance", "id", "x"];
    for (method, route) in &routes {
        for name in names {
            for value in ["", "-1", "1.5", "A_B", "%ff", "%20", "99999999999999999999", "x%00", "[]"] {
                let target = format!("{route}?name=nobody&{name}={value}");
                for target in [target, format!("{route}?{name}={value}")] {
                    let request = app.request(method.clone(), &target).header("if-match", "soon");
                    plain(&format!("{method} {target}"), &app.send(request).await);
                }
            }
        }
    }
}

#[tokio::test]
async fn each_problem_is_a_sentence_with_the_expected_values() {
    let app = TestApp::start().await;
    for (pointer, value, problem, expected) in [
        ("/version", json!(5), "is the number 5, not a string", Some("a string")),
        (
            "/weight",
            json!(1001),
            "is 1001, not a whole number from 0 to 1000; 0 drains the instance",
            Some("a whole number from 0 to 1000"),
        ),
        ("/check", json!("http"), "is the string \"http\", not an object", Some("an object")),
        ("/check/http", json!(true), "is true, not an object or a path", Some("an object or a path")),
        ("/check/interval_seconds", json!(1.5), "is the number 1.5, not a whole number", Some("a whole number")),
        ("/base_url", json!("http://h/a b"), "contains a space unescaped (character 11); write it as %20", None),
        ("/chek", json!({}), "unknown; did you mean check?", Some("check")),
        ("/check/http/pathh", json!("/"), "unknown; did you mean path?", Some("path")),
    ] {
        let answer = app.register(&with(pointer, &value)).await;
        assert_eq!(answer.refusal(400), "invalid_payload", "{pointer}");
        let detail = answer.json()["details"][0].take();
        assert_eq!(detail["field"], pointer[1..].replace('/', "."), "{detail}");
        assert_eq!(detail["problem"], problem);
        assert_eq!(detail.get("expected").and_then(Value::as_str), expected, "{detail}");
    }
}
