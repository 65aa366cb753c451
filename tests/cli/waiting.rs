//! `portolan wait`, and registering at a server that is not there yet.

use std::process::{Child, Output, Stdio};

use serde_json::Value;

use crate::common::{Server, canned_forever, ended, json, portolan, process, stderr, stdout};
use crate::programs::wait_for;

fn register(server: &Server, instance: &str, more: &[&str]) {
    let flags = ["register", "--name", "a", "-i", instance];
    let output = server.cli(&[&flags[..], more].concat());
    assert_eq!(ended(&output).0, 0, "{}", stderr(&output));
}

/// A `wait` that goes on while the test does something.
fn waiting(url: &str, args: &[&str]) -> Child {
    let mut wait = process();
    wait.args(["wait", "a", "--timeout", "100s"]).args(args).env("PORTOLAN_SERVER", url);
    wait.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts")
}

fn done(child: Child) -> Output {
    child.wait_with_output().expect("it ends")
}

#[test]
fn each_state_is_waited_for() {
    let server = Server::start(&[]);
    let up = canned_forever("well");
    let (registered, healthy, drained) = (
        waiting(&server.url, &["--for", "registered", "--min", "2"]),
        waiting(&server.url, &["--for", "healthy"]),
        waiting(&server.url, &["--for", "drained", "-i", "y"]),
    );
    register(&server, "x", &["--base-url", &up, "--check-http", "/", "--version", "1.4.0"]);
    let output = done(healthy);
    assert_eq!(
        (ended(&output).0, stdout(&output).as_str()),
        (0, "a: 1 of 1 instances healthy\n"),
        "{}",
        stderr(&output)
    );
    register(&server, "y", &["--base-url", "http://127.0.0.1:9", "--version", "1.5.0"]);
    let output = done(registered);
    assert_eq!((ended(&output).0, stdout(&output).as_str()), (0, "a: 2 instances registered\n"));
    assert_eq!(ended(&server.cli(&["drain", "a", "-i", "y", "--reason", "r"])).0, 0);
    let output = done(drained);
    assert_eq!((ended(&output).0, stdout(&output).as_str()), (0, "a: 1 of 1 of these instances drained\n"));

    let both = waiting(&server.url, &["--for", "registered", "-i", "x", "-i", "z"]);
    let named = server.cli(&["wait", "a", "--for", "registered", "-i", "x", "-i", "z", "--timeout", "1s"]);
    let (code, said) = ended(&named);
    assert!(code == 6 && said.contains("a after 1 s: 1 of these instances registered"), "{code} {said}");
    register(&server, "z", &["--base-url", "http://127.0.0.1:9", "--version", "1.5.0"]);
    assert_eq!(ended(&done(both)).0, 0, "all that are named");
    assert_eq!(ended(&server.cli(&["deregister", "a", "-i", "z"])).0, 0);

    let gone = waiting(&server.url, &["--for", "gone", "--version", "~1.4"]);
    assert_eq!(ended(&server.cli(&["deregister", "a", "-i", "x"])).0, 0);
    assert_eq!(ended(&done(gone)).0, 0);
    assert_eq!(ended(&server.cli(&["wait", "b", "--for", "gone"])).0, 0, "it never was there");
}

#[test]
fn a_drained_instance_is_not_healthy_enough() {
    let server = Server::start(&[]);
    let up = canned_forever("well");
    register(&server, "x", &["--base-url", &up, "--check-http", "/"]);
    register(&server, "y", &["--base-url", &up, "--check-http", "/"]);
    assert_eq!(ended(&server.cli(&["wait", "a", "--for", "healthy", "--min", "2"])).0, 0);
    assert_eq!(ended(&server.cli(&["drain", "a", "-i", "y", "--reason", "r"])).0, 0);
    let two = server.cli(&["wait", "a", "--for", "healthy", "--min", "2", "--timeout", "5s"]);
    let (code, said) = ended(&two);
    assert_eq!(code, 6, "{said}");
    assert!(said.contains("a after 5 s: 1 of 2 instances healthy, 1 drained"), "{said}");
    let list = stdout(&server.cli(&["list"]));
    assert!(list.contains("2/2 (1 drained)"), "{list}");
    assert_eq!(ended(&server.cli(&["drain", "a", "-i", "x", "--reason", "r"])).0, 0);
    let (code, said) = ended(&server.cli(&["discover", "a", "-o", "url"]));
    assert!(code == 1 && said.contains("no selected instance of a is healthy and not drained"), "{code} {said}");
    let both = waiting(&server.url, &["--for", "healthy", "--min", "2"]);
    assert_eq!(ended(&server.cli(&["undrain", "a", "--all"])).0, 0);
    assert_eq!(ended(&done(both)).0, 0);
}

#[test]
fn waiting_in_vain_says_how_it_is() {
    let server = Server::start(&[]);
    register(&server, "x", &["--base-url", "http://127.0.0.1:9", "--check-tcp"]);
    wait_for("it is down", || (json(&server.cli(&["get", "a", "-o", "json"]))["status"] == "unhealthy").then_some(()));
    let text = server.cli(&["wait", "a", "--for", "healthy", "--timeout", "5s"]);
    assert_eq!((ended(&text).0, stdout(&text).as_str()), (6, ""));
    assert!(stderr(&text).contains("0 of 1 instances healthy, x: unhealthy (ConnectRefused)"), "{}", stderr(&text));
    let data = server.cli(&["wait", "a", "--for", "healthy", "--timeout", "5s", "-o", "json"]);
    assert_eq!(ended(&data).0, 6);
    let line = json(&data);
    assert_eq!((&line["name"], &line["for"], &line["met"]), (&"a".into(), &"healthy".into(), &false.into()));
    assert_eq!(line["service"]["status"], "unhealthy");
    let met = json(&server.cli(&["wait", "a", "--for", "registered", "-o", "json"]));
    assert_eq!((&met["met"], &met["instances"]), (&true.into(), &serde_json::json!(["x"])));
    let gone = json(&server.cli(&["wait", "b", "--for", "gone", "-o", "json"]));
    assert_eq!((&gone["met"], &gone["service"]), (&true.into(), &Value::Null));
}

#[test]
fn waiting_for_what_is_elsewhere_or_nowhere_says_so() {
    let server = Server::start(&[]);
    let misspelt = server.cli(&["wait", "aa", "--for", "healthy", "--timeout", "5s"]);
    assert!(
        ended(&misspelt).0 == 6
            && stderr(&misspelt).contains("no service is called aa yet")
            && stderr(&misspelt).contains("portolan list -A shows what there is"),
        "{}",
        stderr(&misspelt)
    );
    let shop = ["register", "--name", "aa", "-n", "shop", "--base-url", "http://127.0.0.1:9"];
    assert_eq!(ended(&server.cli(&shop)).0, 0);
    let astray = server.cli(&["wait", "aa", "--for", "registered", "--timeout", "5s"]);
    let (code, said) = ended(&astray);
    let hint = "none in namespace default, but in shop: add -n shop";
    assert!(code == 6 && said.matches(hint).count() == 2, "at the start and at the end: {code} {said}");
}

#[test]
fn waiting_for_what_cannot_come_says_why() {
    let server = Server::start(&[]);
    register(&server, "x", &["--base-url", "http://127.0.0.1:9", "--check-tcp"]);
    register(&server, "unproved", &["--base-url", "http://127.0.0.1:9"]);
    let unproved = server.cli(&["wait", "a", "--for", "healthy", "-i", "unproved", "--timeout", "1s"]);
    let (code, said) = ended(&unproved);
    assert!(code == 6 && said.contains("unproved is not probed, so it never becomes healthy"), "{code} {said}");
    for (flags, hint) in [
        (["-i", "nope"], "a has no instance nope; it has: "),
        (["--version", ">=7"], "no instance has a version in >=7"),
    ] {
        let wait = [&["wait", "a", "--for", "registered", "--timeout", "1s"], &flags[..]].concat();
        let (code, said) = ended(&server.cli(&wait));
        assert!(code == 6 && said.contains(hint) && !said.contains("raise --timeout"), "{code} {said}");
    }
    let (code, said) = ended(&server.cli(&["wait", "a", "--for", "gone", "-i", "nope", "-i", "x", "--timeout", "1s"]));
    assert!(code == 6 && said.contains("raise --timeout"), "what has gone is not mistyped: {code} {said}");
    for wrong in [&["a"][..], &["a", "--for", "well"], &["a", "--for", "gone", "--min", "1"], &["A", "--for", "gone"]] {
        assert_eq!(ended(&server.cli(&[&["wait"], wrong].concat())).0, 2, "{wrong:?}");
    }
}

#[test]
fn a_server_that_is_only_starting_is_waited_for() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
    let url = format!("http://127.0.0.1:{port}");
    let healthy = waiting(&url, &["--for", "registered"]);
    let mut retrying = process();
    retrying.args(["register", "--name", "a", "--base-url", "http://127.0.0.1:9", "--retry", "--timeout", "100s"]);
    let retrying =
        retrying.env("PORTOLAN_SERVER", &url).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let without =
        portolan().args(["register", "--name", "a", "--base-url", "http://127.0.0.1:9", "--server", &url]).output();
    assert_eq!(ended(&without.expect("it runs")).0, 3, "without --retry it fails at once");
    let vain = portolan().args(["wait", "a", "--for", "gone", "--timeout", "300ms", "--server", &url]).output();
    assert_eq!(ended(&vain.expect("it runs")).0, 3, "whether it is gone is not known");
    let vain = [
        "register",
        "--name",
        "a",
        "--base-url",
        "http://127.0.0.1:9",
        "--retry",
        "--timeout",
        "300ms",
        "--server",
        &url,
    ];
    assert_eq!(ended(&portolan().args(vain).output().expect("it runs")).0, 3);

    let _server = Server::start(&[("SERVER_PORT", &port.to_string())]);
    let output = done(retrying);
    assert!(ended(&output).0 == 0 && stdout(&output).starts_with("registered default/a: "), "{}", stderr(&output));
    assert_eq!(ended(&done(healthy)).0, 0);
}

#[test]
fn a_refusal_is_not_retried() {
    let server = Server::start(&[]);
    let began = std::time::Instant::now();
    let output = server.cli(&["register", "--name", "a", "--base-url", "nowhere", "--retry", "--timeout", "100s"]);
    assert_eq!(ended(&output).0, 2, "{}", stderr(&output));
    assert!(began.elapsed().as_secs() < 50);
}
