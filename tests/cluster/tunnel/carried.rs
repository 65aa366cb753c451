//! What goes through.

use serde_json::Value;

use super::server::{Running, SECRET, Server};
use super::{Place, ended, printed};

fn minted() -> String {
    let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_portolan"));
    let output = program.args(["token", "--subject", "ops"]).env("JWT_SECRET", SECRET).output().expect("it runs");
    printed(&output).trim().to_owned()
}

/// With the rights of the documentation's Role. The environment names another server, which nobody asks.
#[tokio::test]
async fn commands_reach_the_server_with_their_token_and_leave_nothing() {
    let place = Place::new().await;
    let server = Server::start(&[("ENABLE_AUTH", "true"), ("JWT_SECRET", SECRET)]).await;
    place.pod("a", server.port()).await;
    let person = place.person().await;
    let run = async |args: &[&str]| {
        let mut command = place.command(&person, args);
        command.env("PORTOLAN_TOKEN", minted()).env("PORTOLAN_SERVER", "http://127.0.0.1:1");
        command.output().await.expect("it runs")
    };
    let register = ["register", "--name", "cart", "--base-url", "http://10.0.0.5:80"];
    let (code, said) = ended(&place.run(&person, &register).await);
    assert!(code == 5 && said.contains("token"), "without a token: {code} {said}");

    printed(&run(&register).await);
    let listed: Value = serde_json::from_str(&printed(&run(&["list", "-o", "json"]).await)).expect("JSON");
    assert_eq!(listed[0]["name"], "cart");
    assert!(printed(&run(&["get", "cart"]).await).contains("http://10.0.0.5:80"));
    printed(&run(&["history", "cart"]).await);
    printed(&run(&["discover", "cart"]).await);
    let frame = printed(&run(&["console", "--once"]).await);
    assert!(frame.contains("cluster test") && frame.contains("cart"), "{frame}");
    printed(&run(&["deregister", "cart"]).await);
    assert_eq!(place.left(), 0);
}

#[tokio::test]
async fn nothing_is_left_of_a_command_that_was_killed() {
    let place = Place::new().await;
    let server = Server::start(&[]).await;
    place.pod("a", server.port()).await;
    let mut watch = Running::start(place.command(place.plane.admin(), &["list", "--watch"]));
    watch.until("NAME").await;
    server.register("cart").await;
    watch.until("cart").await;
    watch.child.kill().await.expect("SIGKILL");
    assert_eq!(place.left(), 0);
}

#[tokio::test]
async fn a_large_answer_comes_whole() {
    let place = Place::new().await;
    let server = Server::start(&[("PORTOLAN_RATE_LIMIT_PER_MINUTE", "0"), ("MAX_SERVICES", "1000")]).await;
    place.pod("a", server.port()).await;
    let client = portolan::crypto::http_client().no_proxy().build().expect("a client");
    let url = format!("http://127.0.0.1:{}/api/v1/services/register", server.port());
    let long = "x".repeat(400);
    for n in 0..300 {
        let body =
            serde_json::json!({ "name": format!("s-{n}"), "base_url": "http://10.0.0.5:80", "description": long });
        let answer = client.post(&url).json(&body).send().await.expect("an answer");
        let (status, said) = (answer.status(), answer.text().await.expect("a whole answer"));
        assert!(status.is_success(), "{n}: {said}");
    }
    let listed = printed(&place.run(place.plane.admin(), &["list", "-o", "json"]).await);
    let all: Vec<Value> = serde_json::from_str(&listed).expect("JSON");
    assert_eq!(all.iter().filter(|one| one["description"] == long.as_str()).count(), 300);
}
