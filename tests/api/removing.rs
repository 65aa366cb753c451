//! Deregistration by id, by name, and of one instance.

use reqwest::Method;
use serde_json::{Value, json};

use crate::app::{Answer, TestApp};

async fn two_instances(app: &TestApp) -> (String, Vec<u64>) {
    let mut generations = Vec::new();
    let mut id = String::new();
    for name in ["a", "b"] {
        let body = json!({"name": "s", "instance": name, "base_url": "http://127.0.0.1:9"});
        let service = app.register(&body).await.ok()["data"].take();
        service["id"].as_str().expect("an id").clone_into(&mut id);
        let all = service["instances"].as_array().expect("a list");
        let of = all.iter().find(|i| i["name"] == name).expect("there");
        generations.push(of["generation"].as_u64().expect("a number"));
    }
    (id, generations)
}

async fn delete_if(app: &TestApp, target: &str, generation: &str) -> Answer {
    app.send(app.request(Method::DELETE, target).header("if-match", generation)).await
}

#[tokio::test]
async fn several_instances_need_a_word() {
    let app = TestApp::start().await;
    let (id, _) = two_instances(&app).await;
    assert_eq!(app.delete(&format!("/api/v1/services/{id}")).await.refusal(409), "has_instances");
    assert_eq!(app.delete("/api/v1/services/deregister?name=s").await.refusal(409), "has_instances");
    let done = app.delete(&format!("/api/v1/services/{id}?all=true")).await.ok();
    assert_eq!(done, json!({"success": true, "message": "Service deregistered successfully"}));
    assert_eq!(app.delete(&format!("/api/v1/services/{id}")).await.refusal(404), "service_not_found");
}

#[tokio::test]
async fn a_late_shutdown_cannot_remove_its_successor() {
    let app = TestApp::start().await;
    let (id, generations) = two_instances(&app).await;
    let target = format!("/api/v1/services/{id}/instances/a");
    let successor = json!({"name": "s", "instance": "a", "base_url": "http://127.0.0.1:10"});
    let current = app.register(&successor).await.ok();
    let stale = generations[0].to_string();
    let refused = delete_if(&app, &target, &stale).await;
    assert_eq!(refused.refusal(412), "stale_generation");
    let now =
        current["data"]["instances"].as_array().expect("a list").iter().find(|i| i["name"] == "a").expect("there");
    let both = format!("If-Match names generation {stale}, but the instance now has generation {}", now["generation"]);
    let message = refused.json()["error"].take();
    assert!(message.as_str().is_some_and(|message| message.starts_with(&both)), "{message}");
    let by_name = "/api/v1/services/deregister?name=s&instance=a";
    assert_eq!(delete_if(&app, by_name, &format!("\"{stale}\"")).await.refusal(412), "stale_generation");
    let whole = format!("/api/v1/services/{id}");
    assert_eq!(delete_if(&app, &whole, &stale).await.refusal(400), "invalid_parameter");
    assert_eq!(delete_if(&app, &target, "soon").await.refusal(400), "invalid_parameter");
    let b = format!("/api/v1/services/{id}/instances/b");
    delete_if(&app, &b, &generations[1].to_string()).await.ok();
    let left = app.get("/api/v1/services/discover?name=s").await.ok();
    let names: Vec<&Value> = left["data"]["instances"].as_array().expect("a list").iter().map(|i| &i["name"]).collect();
    assert_eq!(names, ["a"]);
}

#[tokio::test]
async fn the_service_goes_with_its_last_instance() {
    let app = TestApp::start().await;
    let (id, _) = two_instances(&app).await;
    for name in ["a", "b"] {
        assert_eq!(app.get("/api/v1/services/discover?name=s").await.status, 200);
        let done = app.delete(&format!("/api/v1/services/deregister?name=s&instance={name}")).await.ok();
        assert_eq!(done["message"], "Instance deregistered successfully");
    }
    assert_eq!(app.get("/api/v1/services/discover?name=s").await.status, 404);
    assert_eq!(app.get(&format!("/api/v1/services/{id}")).await.status, 404);
}

#[tokio::test]
async fn what_is_not_there_cannot_be_removed() {
    let app = TestApp::start().await;
    let (id, _) = two_instances(&app).await;
    for (target, status, code) in [
        ("/api/v1/services/deregister?name=other".to_owned(), 404, "service_not_found"),
        ("/api/v1/services/deregister?name=No%20Label".to_owned(), 404, "service_not_found"),
        ("/api/v1/services/deregister?name=s&namespace=other".to_owned(), 404, "service_not_found"),
        ("/api/v1/services/deregister?name=s&instance=c".to_owned(), 404, "instance_not_found"),
        ("/api/v1/services/deregister?name=s&instance=C".to_owned(), 400, "invalid_parameter"),
        ("/api/v1/services/deregister?nmae=s".to_owned(), 400, "invalid_parameter"),
        (format!("/api/v1/services/{id}/instances/c"), 404, "instance_not_found"),
        (format!("/api/v1/services/{id}/instances/%61"), 404, "instance_not_found"),
        ("/api/v1/services/not-an-id".to_owned(), 404, "service_not_found"),
        (format!("/api/v1/services/{}", id.replace('-', "")), 404, "service_not_found"),
    ] {
        assert_eq!(app.delete(&target).await.refusal(status), code, "{target}");
    }
}
