//! What needs no server: help, completions, usage, tokens.

use crate::common::{SECRET, canned, ended, portolan, stderr, stdout};

const COMMANDS: [&str; 16] = [
    "serve",
    "demo",
    "token",
    "run",
    "register",
    "deregister",
    "drain",
    "undrain",
    "list",
    "get",
    "discover",
    "check",
    "history",
    "availability",
    "wait",
    "completions",
];

#[test]
fn the_help_groups_the_commands() {
    let output = portolan().arg("--help").output().expect("it runs");
    assert_eq!(ended(&output).0, 0);
    insta::assert_snapshot!("help", stdout(&output));
}

#[test]
fn every_command_has_help_with_examples() {
    for command in COMMANDS {
        let output = portolan().args([command, "--help"]).output().expect("it runs");
        let text = stdout(&output);
        assert_eq!(ended(&output).0, 0, "{command}");
        assert!(text.contains("Examples:\n") && text.contains("Usage: portolan"), "{text}");
    }
    for command in ["register", "list"] {
        let output = portolan().args([command, "--help"]).output().expect("it runs");
        insta::assert_snapshot!(format!("help-{command}"), stdout(&output));
    }
}

#[test]
fn a_wrong_command_line_is_usage() {
    let wrong: [&[&str]; 8] = [
        &[],
        &["lst"],
        &["list", "--nonsense"],
        &["get"],
        &["list", "-n", "a", "-A"],
        &["list", "--status", "sick"],
        &["check", "x", "--timeout", "0"],
        &["list", "--server", "localhost:8080"],
    ];
    for args in wrong {
        let output = portolan().args(args).output().expect("it runs");
        assert_eq!(output.status.code(), Some(2), "{args:?} {}", stderr(&output));
        assert!(!output.stderr.is_empty() && output.stdout.is_empty(), "{args:?}");
    }
}

#[test]
fn the_references_are_printed() {
    let settings = stdout(&portolan().arg("settings").output().expect("it runs"));
    assert_eq!(settings, portolan::config::markdown_table());
    let commands = stdout(&portolan().arg("cli-reference").output().expect("it runs"));
    assert!(COMMANDS.iter().all(|c| commands.contains(&format!("\n## portolan {c}\n"))), "{commands}");
    assert!(!commands.contains("cli-reference"), "hidden commands stay hidden");
}

#[test]
fn an_unreachable_server_says_what_to_do() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let url = format!("http://{free}");
    let output = portolan().args(["list", "--server", &url]).output().expect("it runs");
    let (code, said) = ended(&output);
    assert_eq!(code, 3, "{said}");
    assert!(said.contains(&url) && said.contains("PORTOLAN_SERVER"), "{said}");
    assert!(said.to_lowercase().contains("refused"), "{said}");
}

#[test]
fn a_silent_server_is_unreachable_in_time() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", silent.local_addr().expect("an address"));
    let output = portolan().args(["list", "--server", &url, "--timeout", "200ms"]).output().expect("it runs");
    let (code, said) = ended(&output);
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("--timeout"), "{said}");
}

#[test]
fn a_silent_cluster_is_unreachable_in_time() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let file = tempfile::NamedTempFile::new().expect("a file");
    let config = format!(
        "apiVersion: v1\nkind: Config\nclusters: [{{name: c, cluster: {{server: \"http://{}\"}}}}]\nusers: [{{name: u, user: {{}}}}]\n\
         contexts: [{{name: far, context: {{cluster: c, user: u}}}}]\n",
        silent.local_addr().expect("an address")
    );
    std::fs::write(file.path(), config).expect("written");
    let mut command = portolan();
    command.args(["list", "--context", "far", "--timeout", "200ms"]).env("KUBECONFIG", file.path());
    let (code, said) = ended(&command.output().expect("it runs"));
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("context far") && said.contains("within 200ms") && said.contains("--timeout"), "{said}");
}

#[test]
fn a_token_goes_to_the_named_server() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), "abc.def.ghi\n").expect("written");
    let path = file.path().to_str().expect("UTF-8");
    for (variable, value) in [("PORTOLAN_TOKEN", "abc.def.ghi"), ("PORTOLAN_TOKEN_FILE", path)] {
        let (url, asked) = canned("200 OK", r#"{"success":true,"message":"","data":[]}"#);
        let output = portolan().args(["list", "--server", &url]).env(variable, value).output().expect("it runs");
        assert_eq!(ended(&output).0, 0);
        let request = asked.join().expect("a request").to_lowercase();
        assert!(request.contains("authorization: bearer abc.def.ghi\r\n"), "{variable} {request}");
    }
}

#[test]
fn a_token_is_refused_in_the_clear_beyond_this_machine() {
    // An address for documentation (RFC 5737): nothing may be sent there, and nothing is.
    let output = portolan()
        .args(["list", "--server", "http://192.0.2.1:9", "--timeout", "1s"])
        .env("PORTOLAN_TOKEN", "abc.def.ghi")
        .output()
        .expect("it runs");
    let (code, said) = ended(&output);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("--insecure") && !said.contains("abc.def"), "{said}");
}

#[test]
fn only_the_token_is_printed() {
    let output = portolan().env("JWT_SECRET", SECRET).args(["token", "--subject", "ci"]).output().expect("it runs");
    let token = stdout(&output);
    assert_eq!((token.lines().count(), token.trim().split('.').count()), (1, 3));
    assert!(output.stderr.is_empty());

    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), format!("{SECRET}\nan-older-secret-that-only-verifies-now\n")).expect("written");
    let from_file = portolan().env("JWT_SECRET_FILE", file.path()).args(["token", "--subject", "ci"]).output();
    assert_eq!(ended(&from_file.expect("it runs")).0, 0);
}

#[test]
fn a_token_that_most_servers_refuse_is_made_with_a_warning() {
    for (ttl, warned) in [("30d", false), ("31d", true)] {
        let args = ["token", "--subject", "ci", "--ttl", ttl];
        let output = portolan().env("JWT_SECRET", SECRET).args(args).output().expect("it runs");
        assert_eq!((ended(&output).0, stdout(&output).lines().count()), (0, 1));
        assert_eq!(stderr(&output).contains("PORTOLAN_TOKEN_MAX_DAYS"), warned, "{ttl}");
    }
}

#[test]
fn an_unacceptable_token_is_not_made() {
    let weak = portolan().env("JWT_SECRET", "hunter2").args(["token", "--subject", "x"]).output().expect("it runs");
    let (code, said) = ended(&weak);
    assert!(code == 2 && said.contains("32") && !said.contains("hunter2"), "{said}");
    for args in [&["token", "--subject", ""][..], &["token", "--subject", "x", "--scope", "root"], &["token"]] {
        let output = portolan().env("JWT_SECRET", SECRET).args(args).output().expect("it runs");
        assert_eq!(ended(&output).0, 2, "{args:?}");
    }
    let none = portolan().args(["token", "--subject", "x"]).output().expect("it runs");
    assert!(stderr(&none).contains("JWT_SECRET"), "{}", stderr(&none));
}

#[test]
fn the_api_document_is_printed() {
    let output = portolan().arg("openapi").output().expect("it runs");
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(document["paths"]["/api/v1/services/register"].is_object());
}
