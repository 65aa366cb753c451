//! Tokens, owners and namespaces where they cross the routes.

use portolan::api::access::Scopes;
use reqwest::Method;
use serde_json::{Value, json};

use crate::app::{Answer, Options, TestApp, token};
use crate::watching::Watch;

const ADMIN: Scopes = Scopes { read: true, register: true, admin: true };
const ALL: Option<&[&str]> = Some(&["*"]);

async fn guarded() -> TestApp {
    TestApp::with(Options { auth: true, ..Options::default() }).await
}

async fn call(app: &TestApp, method: Method, target: &str, token: &str, body: Option<&Value>) -> Answer {
    let mut request = app.request(method, target).bearer_auth(token);
    if let Some(body) = body {
        request = request.json(body);
    }
    app.send(request).await
}

async fn register(app: &TestApp, token: &str, body: &Value) -> Answer {
    call(app, Method::POST, "/api/v1/services/register", token, Some(body)).await
}

fn service(base_url: &str) -> Value {
    json!({"name": "pay", "base_url": base_url})
}

#[tokio::test]
async fn a_name_cannot_be_hijacked() {
    let app = guarded().await;
    let (owner, thief) = (token("owner", None, None), token("thief", None, None));
    let admin = token("root", None, Some(ADMIN));
    let id = register(&app, &owner, &service("http://127.0.0.1:1")).await.ok()["data"]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    assert_eq!(register(&app, &thief, &service("http://127.0.0.1:6")).await.refusal(403), "not_owner");
    for (method, target) in [
        (Method::DELETE, format!("/api/v1/services/{id}")),
        (Method::DELETE, format!("/api/v1/services/{id}?all=true")),
        (Method::DELETE, format!("/api/v1/services/{id}/instances/default")),
        (Method::DELETE, "/api/v1/services/deregister?name=pay".to_owned()),
        (Method::DELETE, "/api/v1/services/deregister?name=pay&instance=default".to_owned()),
        (Method::POST, format!("/api/v1/services/{id}/health-check")),
    ] {
        assert_eq!(
            call(&app, method.clone(), &target, &thief, None).await.refusal(403),
            "not_owner",
            "{method} {target}"
        );
    }
    // A second instance would attract the name's traffic too: only an admin may let another owner in.
    let second = json!({"name": "pay", "instance": "b", "base_url": "http://127.0.0.1:6"});
    assert_eq!(register(&app, &thief, &second).await.refusal(403), "not_owner");
    register(&app, &admin, &second).await.ok();
    let whole = format!("/api/v1/services/{id}?all=true");
    assert_eq!(call(&app, Method::DELETE, &whole, &thief, None).await.refusal(403), "not_owner");
    assert_eq!(call(&app, Method::DELETE, &whole, &owner, None).await.refusal(403), "not_owner");
    let found = app.get("/api/v1/services/discover?name=pay").await.ok();
    assert_eq!(found["data"]["instances"].as_array().map(Vec::len), Some(2));
    register(&app, &admin, &service("http://127.0.0.1:2")).await.ok();
    call(&app, Method::DELETE, &whole, &admin, None).await.ok();
}

#[tokio::test]
async fn what_needs_a_token_says_so() {
    let app = guarded().await;
    let id = register(&app, &token("t", None, None), &service("http://127.0.0.1:1")).await.ok()["data"]["id"].clone();
    let id = id.as_str().expect("an id");
    for (method, target) in [
        (Method::GET, format!("/api/v1/services/{id}")),
        (Method::GET, format!("/api/v1/services/{id}/history")),
        (Method::DELETE, format!("/api/v1/services/{id}")),
        (Method::POST, format!("/api/v1/services/{id}/health-check")),
        (Method::DELETE, "/api/v1/services/deregister?name=pay".to_owned()),
        (Method::POST, "/api/v1/services/register".to_owned()),
    ] {
        let answer = app.send(app.request(method.clone(), &target)).await;
        assert_eq!(answer.refusal(401), "token_required", "{method} {target}");
        assert_eq!(answer.json()["error"], "Authorization header required");
        assert!(answer.header("www-authenticate").starts_with("Bearer"));
        let forged = call(&app, method, &target, "a.b.c", None).await;
        assert_eq!(forged.refusal(401), "token_invalid");
    }
    for open in
        ["/", "/api/v1/health", "/api/v1/services", "/api/v1/services/stats", "/api/v1/services/discover?name=pay"]
    {
        assert_eq!(app.get(open).await.status, 200, "{open}");
    }
}

#[tokio::test]
async fn a_token_stays_in_its_namespaces() {
    let app = guarded().await;
    let all = token("all", ALL, None);
    let shop = token("shop", Some(&["shop"]), None);
    let elsewhere = json!({"name": "a", "namespace": "ops", "base_url": "http://127.0.0.1:1"});
    assert_eq!(register(&app, &shop, &elsewhere).await.refusal(403), "namespace_forbidden");
    assert_eq!(register(&app, &shop, &service("http://127.0.0.1:1")).await.refusal(403), "namespace_forbidden");
    let id = register(&app, &all, &elsewhere).await.ok()["data"]["id"].as_str().expect("an id").to_owned();
    // Reads are open, so it may be seen; changed or asked for evidence it may not.
    call(&app, Method::GET, &format!("/api/v1/services/{id}"), &shop, None).await.ok();
    for (method, target) in [
        (Method::DELETE, format!("/api/v1/services/{id}")),
        (Method::DELETE, "/api/v1/services/deregister?name=a&namespace=ops".to_owned()),
        (Method::DELETE, "/api/v1/services/deregister?name=not-there&namespace=ops".to_owned()),
        (Method::POST, format!("/api/v1/services/{id}/health-check")),
        (Method::GET, format!("/api/v1/services/{id}/history")),
    ] {
        assert_eq!(
            call(&app, method.clone(), &target, &shop, None).await.refusal(403),
            "namespace_forbidden",
            "{method} {target}"
        );
    }
}

#[tokio::test]
async fn closed_reads_show_only_what_is_covered() {
    let app = TestApp::with(Options { auth: true, read_auth: true, ..Options::default() }).await;
    let (all, shop) = (token("all", ALL, None), token("shop", Some(&["shop"]), None));
    let mut ids = Vec::new();
    for namespace in ["shop", "ops"] {
        let body = json!({"name": "a", "namespace": namespace, "base_url": "http://127.0.0.1:1"});
        ids.push(register(&app, &all, &body).await.ok()["data"]["id"].as_str().expect("an id").to_owned());
    }
    for target in ["/api/v1/services", "/api/v1/services/stats", "/api/v1/services/discover?name=a", "/metrics"] {
        assert_eq!(app.get(target).await.refusal(401), "token_required", "{target}");
    }
    let get = async |target: &str, token: &str| call(&app, Method::GET, target, token, None).await;
    assert_eq!(get("/api/v1/services?namespace=*", &all).await.ok()["data"].as_array().map(Vec::len), Some(2));
    assert_eq!(get("/api/v1/services?namespace=*", &shop).await.ok()["data"].as_array().map(Vec::len), Some(1));
    let hidden = get("/api/v1/services?namespace=ops", &shop).await.ok();
    assert_eq!(hidden["data"], json!([]));
    assert_eq!(hidden["hint"], "none in namespace ops; 1 in shop: add namespace=shop");
    assert_eq!(get("/api/v1/services/stats?namespace=*", &shop).await.ok()["data"]["total_services"], 1);
    assert_eq!(get("/api/v1/services/stats?namespace=ops", &shop).await.ok()["data"]["total_services"], 0);
    get("/api/v1/services/discover?name=a&namespace=shop", &shop).await.ok();
    for target in [
        "/api/v1/services/discover?name=a&namespace=ops".to_owned(),
        "/api/v1/services/discover?name=%61&namespace=ops".to_owned(),
        format!("/api/v1/services/{}", ids[1]),
        format!("/api/v1/services/{}/history", ids[1]),
    ] {
        let answer = get(&target, &shop).await;
        assert_eq!(answer.refusal(404), "service_not_found", "{target}");
    }
    // What one may not see whole has no tag that another could use.
    let tag = get("/api/v1/services?namespace=*", &all).await.header("etag").to_owned();
    assert!(!tag.is_empty());
    assert_eq!(get("/api/v1/services?namespace=*", &shop).await.header("etag"), "");
    let guessed = app.request(Method::GET, "/api/v1/services?namespace=*").bearer_auth(&shop);
    assert_eq!(app.send(guessed.header("if-none-match", tag)).await.status, 200);
    // A hint never names what may not be seen.
    let default = get("/api/v1/services/discover?name=a", &shop).await.json();
    assert_eq!(default["hint"], "none in namespace default, but in shop: add namespace=shop");
    let delete = format!("/api/v1/services/{}", ids[1]);
    assert_eq!(call(&app, Method::DELETE, &delete, &shop, None).await.refusal(404), "service_not_found");
}

#[tokio::test]
async fn pages_of_other_sites_change_nothing() {
    let app = TestApp::start().await;
    let drive_by = app.request(Method::POST, "/api/v1/services/register").header("origin", "https://evil.example");
    let answer = app.send(drive_by.json(&service("http://127.0.0.1:6"))).await;
    assert_eq!(answer.refusal(403), "cross_origin");
    let rebound = app.request(Method::GET, "/api/v1/services").header("host", "evil.example");
    assert_eq!(app.send(rebound).await.refusal(421), "misdirected_request");
    assert_eq!(app.get("/api/v1/services").await.ok()["data"], json!([]));
    let read = app.send(app.request(Method::GET, "/api/v1/services").header("origin", "https://evil.example")).await;
    assert_eq!((read.status.as_u16(), read.header("access-control-allow-origin")), (200, ""), "no page may read it");
    let local = "http://localhost:3000";
    let read = app.send(app.request(Method::GET, "/api/v1/services").header("origin", local)).await;
    assert_eq!((read.status.as_u16(), read.header("access-control-allow-origin")), (200, local));
    let preflight = app.send(app.request(Method::OPTIONS, "/api/v1/services/register").header("origin", local)).await;
    assert_eq!((preflight.status.as_u16(), preflight.bytes.len()), (204, 0));
    assert_eq!(preflight.header("access-control-allow-methods"), "GET, POST, PUT, DELETE, OPTIONS");
}

#[tokio::test]
async fn the_rate_limit_is_announced_and_enforced() {
    let app = TestApp::with(Options { rate: Some(3), ..Options::default() }).await;
    for left in ["r=2", "r=1", "r=0"] {
        let answer = app.get("/api/v1/services/discover?name=nobody").await;
        assert_eq!(answer.status, 404);
        assert!(answer.header("ratelimit").contains(left), "{}", answer.header("ratelimit"));
        assert!(answer.header("ratelimit-policy").contains("q=3"));
    }
    let refused = app.get("/api/v1/services").await;
    assert_eq!(refused.refusal(429), "rate_limited");
    assert_eq!(refused.json()["error"], "Rate limit exceeded");
    assert!(refused.header("retry-after").parse::<u64>().is_ok_and(|s| (1..=20).contains(&s)));
    for free in ["/healthz", "/readyz", "/metrics", "/openapi.json"] {
        let answer = app.get(free).await;
        assert_ne!(answer.status, 429, "{free}");
        assert_eq!(answer.header("ratelimit"), "", "{free}");
    }
}

#[tokio::test]
async fn the_scope_register_covers_its_own_by_id_and_nothing_else() {
    let only_register = Some(Scopes { read: false, register: true, admin: false });
    for read_auth in [false, true] {
        let app = TestApp::with(Options { auth: true, read_auth, ..Options::default() }).await;
        let (agent, other) = (token("agent", None, only_register), token("other", None, None));
        let added = |answer: Answer| answer.ok()["data"]["id"].as_str().expect("an id").to_owned();
        let own = added(register(&app, &agent, &service("http://127.0.0.1:1")).await);
        let foreign = json!({"name": "foreign", "base_url": "http://127.0.0.1:2"});
        let foreign = added(register(&app, &other, &foreign).await);
        let at = |id: &str, rest: &str| format!("/api/v1/services/{id}{rest}");
        let unknown = "0198c0de-0000-7000-8000-000000000000";

        let shown = call(&app, Method::GET, &at(&own, ""), &agent, None).await.ok();
        assert_eq!(shown["data"]["name"], "pay");
        for id in [foreign.as_str(), unknown, "x"] {
            let refused = call(&app, Method::GET, &at(id, ""), &agent, None).await;
            assert_eq!(refused.refusal(403), "insufficient_scope", "{id}, whether or not it is there");
        }
        assert_eq!(
            call(&app, Method::GET, &at(&own, "/history"), &agent, None).await.refusal(403),
            "insufficient_scope"
        );
        // No prober runs here, and only the owner learns that.
        assert_eq!(
            call(&app, Method::POST, &at(&own, "/health-check"), &agent, None).await.refusal(503),
            "unavailable"
        );
        assert_eq!(
            call(&app, Method::POST, &at(&foreign, "/health-check"), &agent, None).await.refusal(403),
            "not_owner"
        );
        for rest in ["", "/instances/default"] {
            assert_eq!(call(&app, Method::DELETE, &at(&foreign, rest), &agent, None).await.refusal(403), "not_owner");
            assert_eq!(
                call(&app, Method::DELETE, &at(unknown, rest), &agent, None).await.refusal(404),
                "service_not_found"
            );
        }
        call(&app, Method::DELETE, &at(&own, "/instances/default"), &agent, None).await.ok();
        let again = added(register(&app, &agent, &service("http://127.0.0.1:1")).await);
        call(&app, Method::DELETE, &at(&again, ""), &agent, None).await.ok();

        let elsewhere = token("agent", Some(&["shop"]), only_register);
        let own = added(register(&app, &agent, &service("http://127.0.0.1:1")).await);
        let refused = call(&app, Method::GET, &at(&own, ""), &elsewhere, None).await;
        assert_eq!(refused.refusal(403), "insufficient_scope", "a namespace that the token does not cover");
    }
}

/// The owners of the services that an answer holds, or that it names none.
fn owners(data: &Value) -> Vec<Value> {
    let services = data.as_array().cloned().unwrap_or_else(|| vec![data.clone()]);
    let instances = services.iter().flat_map(|service| service["instances"].as_array().expect("a list").clone());
    instances.map(|instance| instance["owner"].clone()).collect()
}

#[tokio::test]
async fn who_registered_an_instance_is_shown_to_tokens_that_cover_it_and_to_nobody_else() {
    let app = guarded().await;
    let (ci, ops) = (token("ci", None, None), token("ops", ALL, None));
    let shopper = token("shopper", Some(&["shop"]), None);
    let blind = token("blind", ALL, Some(Scopes { read: false, register: true, admin: false }));
    let registered = register(&app, &ci, &service("http://127.0.0.1:1")).await.ok();
    assert_eq!(registered["data"]["instances"][0]["owner"], json!({"subject": "ci"}));
    register(&app, &shopper, &json!({"name": "cart", "namespace": "shop", "base_url": "http://127.0.0.1:1"}))
        .await
        .ok();

    let (discover, list) = ("/api/v1/services/discover?name=pay", "/api/v1/services?namespace=*");
    let selecting = "/api/v1/services/discover?name=pay&status=unknown";
    for target in [discover, "/api/v1/services/discover?name=%70ay", selecting] {
        let open = app.get(target).await;
        let open_tag = open.header("etag").to_owned();
        assert_eq!(owners(&open.ok()["data"]), [Value::Null], "{target}");
        let known = call(&app, Method::GET, target, &ops, None).await;
        let tag = known.header("etag").to_owned();
        assert_eq!(owners(&known.ok()["data"]), [json!({"subject": "ci"})], "{target}");
        assert_ne!(tag, open_tag, "{target}: a client that gets a token reads it again");
        let again = app.request(Method::GET, target).bearer_auth(&ops).header("if-none-match", &tag);
        assert_eq!(app.send(again).await.status, 304);
        let again = app.request(Method::GET, target).header("if-none-match", &tag);
        assert_eq!(owners(&app.send(again).await.ok()["data"]), [Value::Null]);
        for other in [&shopper, &blind] {
            assert_eq!(owners(&call(&app, Method::GET, target, other, None).await.ok()["data"]), [Value::Null]);
        }
    }
    let shopper_owns = json!({"subject": "shopper"});
    let of = |token: &str| {
        let request = app.request(Method::GET, list).bearer_auth(token);
        async { owners(&app.send(request).await.ok()["data"]) }
    };
    assert_eq!(of(&ops).await, [shopper_owns.clone(), json!({"subject": "ci"})]);
    assert_eq!(of(&shopper).await, [shopper_owns.clone(), Value::Null]);
    assert_eq!(owners(&app.get(list).await.ok()["data"]), [Value::Null, Value::Null]);

    let mut watches = Vec::new();
    for token in [None, Some(&ops), Some(&shopper)] {
        let request = app.request(Method::GET, "/api/v1/watch?namespace=*");
        watches.push(Watch::of(if let Some(token) = token { request.bearer_auth(token) } else { request }).await);
    }
    for (watch, seen) in watches.iter_mut().zip([[false, false], [true, true], [false, true]]) {
        let all = watch.named("snapshot").await;
        let mut shown = owners(&all["services"]).into_iter().map(|owner| !owner.is_null()).collect::<Vec<_>>();
        shown.reverse();
        assert_eq!(shown, seen);
    }
    register(&app, &ci, &service("http://127.0.0.1:2")).await.ok();
    for (watch, seen) in watches.iter_mut().zip([false, true, false]) {
        let change = watch.named("change").await;
        assert_eq!(owners(&change["upserts"]), [if seen { json!({"subject": "ci"}) } else { Value::Null }]);
    }
}
