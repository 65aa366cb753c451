//! ETag and 304 on discovery and list.

use portolan::model::outcome::Health;
use portolan::model::time::Clock;
use reqwest::Method;
use serde_json::json;

use crate::app::{Answer, Options, TestApp};

async fn get_if(app: &TestApp, target: &str, tag: &str) -> Answer {
    app.send(app.request(Method::GET, target).header("if-none-match", tag)).await
}

#[tokio::test]
async fn nothing_is_sent_twice() {
    let app = TestApp::start().await;
    let id = app.add("a").await["id"].as_str().expect("an id").to_owned();
    let discover = "/api/v1/services/discover?name=a";
    for target in
        [discover, "/api/v1/services/discover?name=%61", "/api/v1/services", &format!("/api/v1/services/{id}")]
    {
        let first = app.get(target).await;
        let tag = first.header("etag").to_owned();
        assert!(tag.starts_with("W/\""), "{tag}");
        for known in [&*tag, "*", &format!("\"x\", {tag}"), tag.trim_start_matches("W/")] {
            let again = get_if(&app, target, known).await;
            assert_eq!((again.status.as_u16(), again.bytes.len()), (304, 0), "{known}");
            assert_eq!(again.header("etag"), tag);
        }
        assert_eq!(get_if(&app, target, "\"other\"").await.status, 200);
    }
}

#[tokio::test]
async fn a_selection_has_the_tag_of_its_service() {
    let app = TestApp::start().await;
    app.add("a").await;
    app.set_health("default/a", "default", Health::Healthy).await;
    let target = "/api/v1/services/discover?name=a&healthy=true";
    let tag = app.get(target).await.header("etag").to_owned();
    assert_eq!(get_if(&app, target, &tag).await.status, 304);
    app.set_health("default/a", "default", Health::Unhealthy).await;
    assert_eq!(get_if(&app, target, &tag).await.refusal(503), "no_healthy_instance");
}

#[tokio::test]
async fn a_change_of_health_moves_the_tag_and_another_services_does_not() {
    let app = TestApp::start().await;
    app.add("a").await;
    app.add("b").await;
    let target = "/api/v1/services/discover?name=a";
    let tag = app.get(target).await.header("etag").to_owned();
    let list = app.get("/api/v1/services").await.header("etag").to_owned();
    app.set_health("default/b", "default", Health::Healthy).await;
    assert_eq!(get_if(&app, target, &tag).await.status, 304);
    assert_eq!(get_if(&app, "/api/v1/services", &list).await.status, 200);
    app.set_health("default/a", "default", Health::Healthy).await;
    assert_eq!(get_if(&app, target, &tag).await.status, 200);
}

#[tokio::test]
async fn a_removed_service_is_not_found_whatever_tag_the_client_sends() {
    let app = TestApp::start().await;
    app.add("a").await;
    let target = "/api/v1/services/discover?name=a";
    let tag = app.get(target).await.header("etag").to_owned();
    let list = app.get("/api/v1/services").await.header("etag").to_owned();
    app.delete("/api/v1/services/deregister?name=a").await.ok();
    assert_eq!(get_if(&app, target, &tag).await.refusal(404), "service_not_found");
    assert_eq!(get_if(&app, target, "*").await.refusal(404), "service_not_found");
    assert_eq!(get_if(&app, "/api/v1/services", &list).await.status, 200);
    app.add("a").await;
    assert_eq!(get_if(&app, target, &tag).await.status, 200, "another service of the same name");
}

#[tokio::test]
async fn what_changed_nothing_is_not_counted() {
    // However slow the machine is, nothing of what was spent comes back.
    let clock = Clock::manual(Clock::system().now());
    let app = TestApp::with(Options { rate: Some(20), clock, ..Options::default() }).await;
    app.add("a").await;
    let left = |answer: &Answer| answer.header("ratelimit").to_owned();
    let target = "/api/v1/services/discover?name=a";
    let first = app.get(target).await;
    let tag = first.header("etag").to_owned();
    assert!(left(&first).contains("r=19"), "{}", left(&first));
    for _ in 0..30 {
        let again = get_if(&app, target, &tag).await;
        assert_eq!(again.status, 304);
        assert!(left(&again).contains("r=19"), "{}", left(&again));
    }
    let renewal = json!({"name": "a", "base_url": "http://127.0.0.1:9"});
    for _ in 0..30 {
        assert_eq!(app.register(&renewal).await.status, 200);
    }
    assert!(left(&app.get(target).await).contains("r=18"));
}

#[tokio::test]
async fn a_spent_quota_leaves_renewals_and_304s_alone() {
    let app = TestApp::with(Options { rate: Some(1), ..Options::default() }).await;
    let known = json!({"name": "a", "base_url": "http://127.0.0.1:9"});
    let moved = json!({"name": "a", "base_url": "http://127.0.0.1:10"});
    let target = "/api/v1/services/discover?name=a";
    app.register(&known).await.ok();
    let tag = app.get(target).await.header("etag").to_owned();
    assert_eq!(app.get(target).await.refusal(429), "rate_limited");
    let revision = app.catalog.read().revision();
    for _ in 0..5 {
        assert_eq!(get_if(&app, target, &tag).await.status, 304);
        assert_eq!(app.register(&known).await.status, 200);
    }
    for changing in [app.register(&moved).await, app.register(&json!({"name": "b", "base_url": "http://h"})).await] {
        assert!(changing.header("retry-after").parse::<u64>().is_ok_and(|seconds| seconds > 0));
        assert_eq!(changing.refusal(429), "rate_limited");
    }
    assert_eq!(app.catalog.read().revision(), revision, "what is refused changes nothing");
    for target in [target, "/api/v1/services"] {
        assert_eq!(get_if(&app, target, "\"old\"").await.refusal(429), "rate_limited");
    }
    let mut answered = 0;
    while app.register(&known).await.status == 200 {
        answered += 1;
        assert!(answered < 45, "these have a bound too");
    }
}
