//! `portolan drain` and `portolan undrain`.

use serde_json::Value;

use crate::common::{SECRET, Server, ended, json, stderr, stdout};

fn register(server: &Server, instance: &str, more: &[&str]) {
    let flags = ["register", "--name", "a", "-i", instance, "--base-url", "http://127.0.0.1:9"];
    let output = server.cli(&[&flags[..], more].concat());
    assert_eq!(ended(&output).0, 0, "{}", stderr(&output));
}

/// What a command prints; it must succeed.
fn ok(server: &Server, args: &[&str]) -> String {
    let output = server.cli(args);
    assert_eq!(ended(&output).0, 0, "{args:?} {}", stderr(&output));
    stdout(&output)
}

fn drain_of(server: &Server, instance: &str) -> Value {
    let service = json(&server.cli(&["get", "a", "-o", "json"]));
    let instances = service["instances"].as_array().expect("instances");
    instances.iter().find(|i| i["name"] == instance).expect("it is there")["drain"].clone()
}

#[test]
fn the_only_instance_is_drained_and_comes_back_with_its_weight() {
    let server = Server::start(&[]);
    register(&server, "x", &["--weight", "70"]);
    let said = ok(&server, &["drain", "a", "--reason", "new kernel", "--for", "30m"]);
    assert!(said.starts_with("drained default/a/x until 2") && said.ends_with("Z: new kernel\n"), "{said}");
    let drain = drain_of(&server, "x");
    assert_eq!(drain["reason"], "new kernel");
    assert!(drain["until"].is_string() && drain["since"].is_string(), "{drain}");
    register(&server, "x", &["--weight", "70"]);
    assert_eq!(drain_of(&server, "x")["reason"], "new kernel", "a renewal does not end it");
    let shown = ok(&server, &["get", "a"]);
    assert!(shown.contains("70 (drained)") && shown.contains("x  drained for "), "{shown}");
    assert!(shown.contains(": new kernel"), "{shown}");

    let said = ok(&server, &["drain", "a", "--reason", "and a new disk"]);
    assert_eq!(said, "drained default/a/x: and a new disk\n", "once more changes reason and time");
    let said = ok(&server, &["undrain", "a"]);
    assert_eq!(said, "undrained default/a/x: unknown (NotChecked), weight 70\n");
    assert_eq!(drain_of(&server, "x"), Value::Null);
    let again = server.cli(&["undrain", "a"]);
    assert_eq!((ended(&again).0, stdout(&again).as_str()), (0, ""));
    assert!(stderr(&again).contains("no instance of a is drained"), "{}", stderr(&again));
    let named = server.cli(&["undrain", "a", "-i", "x"]);
    assert_eq!((ended(&named).0, stdout(&named).as_str()), (0, ""));
    assert!(stderr(&named).contains("default/a/x is not drained"), "{}", stderr(&named));
}

#[test]
fn several_instances_are_named_or_all() {
    let server = Server::start(&[]);
    for instance in ["x", "y", "z"] {
        register(&server, instance, &[]);
    }
    let refused = server.cli(&["drain", "a", "--reason", "r"]);
    let (code, said) = ended(&refused);
    assert!(
        code == 5 && said.contains("a has 3 instances") && said.contains("x, y, z") && said.contains("--all"),
        "{said}"
    );
    assert_eq!(drain_of(&server, "x"), Value::Null);
    let said = ok(&server, &["drain", "a", "-i", "x", "-i", "z", "--reason", "r"]);
    assert_eq!(said, "drained default/a/x: r\ndrained default/a/z: r\n");
    assert_eq!(drain_of(&server, "y"), Value::Null);
    let absent = server.cli(&["drain", "a", "-i", "w", "--reason", "r"]);
    assert!(ended(&absent).0 == 4 && stderr(&absent).contains("a has no instance w"), "{}", stderr(&absent));

    let data = json(&server.cli(&["drain", "a", "--all", "--reason", "r", "-o", "json"]));
    assert_eq!(data["instances"].as_array().expect("instances").iter().filter(|i| i["drain"].is_object()).count(), 3);
    assert_eq!(ended(&server.cli(&["undrain", "a"])).0, 5);
    ok(&server, &["undrain", "a", "-i", "x", "-i", "z"]);
    assert_eq!(
        ok(&server, &["undrain", "a"]),
        "undrained default/a/y: unknown (NotChecked), weight 100\n",
        "the only one left"
    );
}

#[test]
fn a_drain_is_refused_in_words() {
    let server =
        Server::start(&[("ENABLE_AUTH", "true"), ("JWT_SECRET", SECRET), ("PORTOLAN_BIND_ADDRESS", "127.0.0.1")]);
    let register = ["register", "--name", "a", "--base-url", "http://127.0.0.1:9"];
    assert_eq!(ended(&server.as_subject("owner", &[], &register)).0, 0);
    let drain = ["drain", "a", "--reason", "r"];
    let (code, said) = ended(&server.cli(&drain));
    assert!(code == 5 && said.contains("PORTOLAN_TOKEN"), "{said}");
    assert_eq!(ended(&server.as_subject("other", &[], &drain)).0, 5, "another owner's");
    let output = server.as_subject("owner", &[], &["drain", "a", "--reason", "r", "-o", "json"]);
    assert!(
        json(&output)["instances"][0]["drain"]["by"].as_str().is_some_and(|by| by.contains("owner")),
        "{}",
        stdout(&output)
    );
    for wrong in [&["--for", "31d"][..], &["--for", "1500ms"], &["--for", "0s"]] {
        let output = server.as_subject("owner", &[], &[&drain[..], wrong].concat());
        assert_eq!(ended(&output).0, 2, "{wrong:?} {}", stderr(&output));
    }
    let output = server.as_subject("owner", &[], &["drain", "a", "--reason", "\u{1b}[2J"]);
    assert_eq!(ended(&output).0, 2, "{}", stderr(&output));
    assert_eq!(ended(&server.cli(&["drain", "a"])).0, 2, "a reason is required");
}
