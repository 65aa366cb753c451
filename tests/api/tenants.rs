//! What a tenant gets of another tenant's services where reads are closed: nothing, from any route of the API's own description.

use portolan::model::outcome::Health;
use reqwest::Method;
use serde_json::{Value, json};

use crate::app::{Options, TestApp, token};

/// In every text of the other tenant's service.
const MARK: &str = "sesame";
/// What each parameter of a path or query is in a request for the other tenant's service; others are left out.
const NAMED: [(&str, &str); 2] = [("name", "sesame-shop"), ("window", "24h")];

async fn other_tenants_service(app: &TestApp) -> String {
    let body = json!({
        "name": "sesame-shop", "namespace": "sesame", "instance": "sesame-1", "base_url": "http://127.0.0.1:9/sesame",
        "description": "sesame", "version": "1.0.0-sesame", "zone": "sesame", "metadata": { "sesame": "sesame" }, "tags": ["sesame"],
        "external_id": "sesame", "ttl_seconds": 3600,
    });
    let request = app.request(Method::POST, "/api/v1/services/register");
    let request = request.bearer_auth(token("sesame-owner", Some(&["sesame"]), None)).json(&body);
    let id = app.send(request).await.ok()["data"]["id"].as_str().expect("an id").to_owned();
    app.set_health("sesame/sesame-shop", "sesame-1", Health::Unhealthy).await;
    id
}

/// Each path of the description with its methods, and a request that is about the other tenant's service.
fn targets(document: &Value, id: &str) -> Vec<(Method, String)> {
    let mut all = Vec::new();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for (method, described) in methods.as_object().expect("methods") {
            let Ok(method) = method.to_uppercase().parse::<Method>() else { continue };
            let described = described["parameters"].as_array().cloned().unwrap_or_default();
            let takes = |name: &str| described.iter().any(|one| one["in"] == "query" && one["name"] == name);
            let given = NAMED.iter().filter(|(name, _)| takes(name)).map(|(name, value)| format!("{name}={value}"));
            let plain: Vec<String> = given.chain(takes("id").then(|| format!("id={id}"))).collect();
            let path = path.replace("{id}", id).replace("{name}", "sesame-1");
            let target = |more: Option<&str>| {
                let query: Vec<&str> = plain.iter().map(String::as_str).chain(more).collect();
                if query.is_empty() { path.clone() } else { format!("{path}?{}", query.join("&")) }
            };
            all.push((method.clone(), target(None)));
            if takes("namespace") {
                all.push((method.clone(), target(Some("namespace=sesame"))));
                all.push((method.clone(), target(Some("namespace=*"))));
            }
        }
    }
    all
}

/// The body of a change, where it has one.
fn body_of(target: &str) -> Option<Value> {
    match target.rsplit('/').next()? {
        "register" => Some(json!({ "name": "sesame-shop", "namespace": "sesame", "base_url": "http://127.0.0.1:9" })),
        "drain" => Some(json!({ "reason": "none" })),
        "acknowledgement" => Some(json!({ "note": "none" })),
        _ => None,
    }
}

#[tokio::test]
async fn no_route_shows_or_touches_what_belongs_to_another_tenant() {
    let app = TestApp::with(Options { auth: true, read_auth: true, ..Options::default() }).await;
    let id = other_tenants_service(&app).await;
    let mine = token("tenant", Some(&["mine"]), None);
    let targets = targets(&app.get("/openapi.json").await.json(), &id);
    assert!(targets.len() > 40, "{targets:?}");
    let before = app.catalog.snapshot().sequence();
    for (method, target) in targets {
        // It does not end; `watching` has its tests.
        if target.starts_with("/api/v1/watch") {
            continue;
        }
        let request = app.request(method.clone(), &target).bearer_auth(&mine);
        let answer = app.send(match body_of(&target).filter(|_| method != Method::DELETE) {
            Some(body) => request.json(&body),
            None => request,
        });
        let answer = answer.await;
        let text = answer.text();
        // A refusal may repeat what the caller wrote.
        let repeated =
            answer.status.is_client_error() && !text.contains("1.0.0") && !text.contains("127.0.0.1:9/sesame");
        assert!(repeated || !text.contains(MARK) && !text.contains(&id), "{method} {target}: {text}");
        if method != Method::GET {
            let refused = [403, 404].contains(&answer.status.as_u16()) || target.ends_with("namespace=*");
            assert!(refused, "{method} {target}: {} {text}", answer.status);
        }
    }
    assert_eq!(app.catalog.snapshot().sequence(), before, "nothing was changed");
    for target in
        [format!("/api/v1/services/{id}/health-check"), format!("/api/v1/services/{id}/health-check?observe=true")]
    {
        let answer = app.send(app.request(Method::POST, &target).bearer_auth(&mine)).await;
        assert_eq!(answer.refusal(404), "service_not_found", "it is not probed, and not even said to exist");
    }
}
