//! The legacy gateway's own examples, as its document prints them.

use std::process::Output;

use tokio::process::Command;

use crate::app::TestApp;

const REGISTER: &str = r#"curl -X POST http://localhost:8080/api/v1/services/register \
  -H "Content-Type: application/json" \
  -d '{
    "name": "user-service",
    "version": "1.0.0",
    "description": "User management service",
    "base_url": "http://localhost:8081",
    "health_url": "http://localhost:8081/health",
    "metadata": {
      "environment": "production",
      "team": "backend"
    }
  }'"#;
const DISCOVER: &str = r#"curl "http://localhost:8080/api/v1/services/discover?name=user-service""#;
const LIST: &str = "curl http://localhost:8080/api/v1/services";

/// Runs an example unchanged, except for the port.
async fn run(app: &TestApp, example: &str) -> serde_json::Value {
    let here = example.replace("localhost:8080", &format!("localhost:{}", app.address.port()));
    let Output { status, stdout, stderr } =
        Command::new("sh").arg("-c").arg(&here).env("no_proxy", "*").output().await.expect("a shell");
    assert!(status.success(), "curl failed: {}", String::from_utf8_lossy(&stderr));
    serde_json::from_slice(&stdout).expect("JSON")
}

#[tokio::test]
async fn the_legacy_gateways_curl_examples_work() {
    let app = TestApp::start().await;
    let registered = run(&app, REGISTER).await;
    assert_eq!(registered["success"], true);
    assert_eq!(registered["message"], "Service registered successfully");
    let service = &registered["data"];
    assert_eq!(service["name"], "user-service");
    assert_eq!(service["version"], "1.0.0");
    assert_eq!(service["description"], "User management service");
    assert_eq!(service["base_url"], "http://localhost:8081");
    assert_eq!(service["health_url"], "http://localhost:8081/health");
    assert_eq!(service["status"], "unknown");
    assert_eq!(service["metadata"]["environment"], "production");
    assert_eq!(service["metadata"]["team"], "backend");

    let found = run(&app, DISCOVER).await;
    assert_eq!(found["message"], "Service found");
    assert_eq!(found["data"], *service);

    let list = run(&app, LIST).await;
    assert_eq!(list["message"], "Services retrieved successfully");
    assert_eq!(list["data"], serde_json::json!([service]));
}
