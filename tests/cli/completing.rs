//! Completion in real shells.

use std::path::Path;
use std::process::Command;

use crate::common::{Server, canned, canned_forever, ended, endless, portolan, stderr, stdout};

/// What the bash script completes at the end of these words.
fn bash(url: &str, words: &[&str]) -> Vec<String> {
    let script = "
        source <(portolan completions bash)
        COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); COMP_TYPE=9
        _clap_complete_portolan portolan \"${COMP_WORDS[COMP_CWORD]}\" \"${COMP_WORDS[COMP_CWORD-1]}\"
        printf '%s\\n' \"${COMPREPLY[@]}\"";
    let folder = Path::new(env!("CARGO_BIN_EXE_portolan")).parent().expect("a folder");
    let mut shell = Command::new("bash");
    shell.env_clear().env("PORTOLAN_SERVER", url).args(["--norc", "-c", script, "bash", "portolan"]).args(words);
    let path = std::env::var("PATH").unwrap_or_default();
    let output = shell.env("PATH", format!("{}:{path}", folder.display())).output().expect("a shell");
    assert_eq!(stderr(&output), "", "nothing disturbs the prompt");
    stdout(&output).lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[test]
fn names_come_from_the_server() {
    let server = Server::start(&[]);
    for (namespace, name) in
        [("default", "user-service"), ("default", "user-db"), ("default", "mail"), ("shop", "user-shop")]
    {
        let output = server.cli(&["register", "--name", name, "-n", namespace, "--base-url", "http://127.0.0.1:9"]);
        assert_eq!(ended(&output).0, 0, "{}", stderr(&output));
    }
    for command in
        ["get", "check", "history", "availability", "deregister", "discover", "watch", "drain", "undrain", "wait"]
    {
        assert_eq!(bash(&server.url, &[command, "us"]), ["user-db", "user-service"], "{command}");
    }
    assert_eq!(bash(&server.url, &["get", "-n", "shop", "u"]), ["user-shop"]);
    assert_eq!(bash("http://127.0.0.1:9", &["get", "--server", &server.url, "m"]), ["mail"]);
    assert_eq!(bash(&server.url, &["get", "--namesp"]), ["--namespace"]);
    assert!(bash(&server.url, &["und"]).contains(&"undrain".to_owned()));
}

#[test]
fn no_server_no_names_and_no_noise() {
    assert_eq!(bash("http://127.0.0.1:9", &["get", "us"]), [""; 0], "nobody answers");
    assert_eq!(bash("nonsense", &["get", "us"]), [""; 0]);
    let (refusing, _) = canned("401 Unauthorized", r#"{"success":false,"error":"no","code":"token_required"}"#);
    assert_eq!(bash(&refusing, &["get", "us"]), [""; 0]);
    assert_eq!(bash(&canned_forever("not JSON"), &["get", "us"]), [""; 0]);
    let hostile = canned_forever(
        r#"{"success":true,"message":"m","data":[{"name":"us; rm -rf"},{"name":"us$(x)"},{"name":"user"}]}"#,
    );
    assert_eq!(bash(&hostile, &["get", "us"]), ["user"], "what is not a name is not offered");
}

#[test]
fn a_slow_server_delays_the_prompt_by_a_second() {
    let slow =
        endless("HTTP/1.1 200 OK\r\nContent-Type: application/json", "{\"success\":true,\"data\":[", " ".to_owned());
    let began = std::time::Instant::now();
    assert_eq!(bash(&slow, &["get", "us"]), [""; 0]);
    assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
}

#[test]
fn every_shell_gets_its_script() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = portolan().args(["completions", shell]).output().expect("it runs");
        let script = stdout(&output);
        assert!(
            ended(&output).0 == 0 && script.contains("PORTOLAN_COMPLETE") && script.contains("portolan"),
            "{shell}: {script}"
        );
    }
}
