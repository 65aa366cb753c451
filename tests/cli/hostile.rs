//! Servers that are hostile or answer nonsense, and readers that go away.

use std::io::Read;
use std::process::Stdio;

use crate::common::{canned, canned_forever, ended, endless, portolan, process, stderr, stdout};

/// A service whose every text tries to move the cursor.
const EVIL: &str = r#"{"id":"0198c0de-0000-7000-8000-000000000000","name":"\u001b[2Jx","namespace":"\u009b5n","version":"\u202e1.0",
"status":"healthy\u001b[31m","reason":"a\r\nb","base_url":"http://h\u0007","description":"\u2028","metadata":{"k\u001b]0;t\u0007":"v"},
"instances":[{"name":"i\u001bc","status":"unhealthy","base_url":"http://\u200f","reason":"\u001b[1A","zone":"\t"}]}"#;

fn assert_safe(text: &str) {
    let bad = text.chars().find(|c| *c != '\n' && portolan::model::text::is_hostile(*c));
    assert_eq!(bad, None, "{text:?}");
}

#[test]
fn foreign_text_cannot_move_the_cursor() {
    let one = format!(r#"{{"success":true,"message":"m","data":{EVIL}}}"#);
    let list = format!(r#"{{"success":true,"message":"m","data":[{EVIL}]}}"#);
    for (args, body) in [
        (&["list", "-A", "-o", "wide"][..], &list),
        (&["get", "x", "-o", "wide"], &one),
        (&["discover", "x"], &one),
        (&["discover", "x", "-o", "url"], &one),
        (&["availability", "-A"], &list),
        (&["availability", "-A", "-o", "csv"], &list),
    ] {
        let (url, asked) = canned("200 OK", body);
        let output = portolan().args(args).args(["--server", &url]).output().expect("it runs");
        assert_eq!(ended(&output).0, 0, "{}", stderr(&output));
        assert_safe(&stdout(&output));
        assert!(!stdout(&output).is_empty());
        asked.join().expect("a request");
    }
}

#[test]
fn foreign_errors_cannot_move_it_either() {
    let body = r#"{"success":false,"error":"\u001b[2Jgone","code":"service_not_found","hint":"\u009b1A",
        "details":[{"field":"\u202e","expected":"\u0007"},{"field":"a","problem":"\u001b[2J"}]}"#;
    let (url, _asked) = canned("404 Not Found", body);
    let output = portolan().args(["get", "x", "--server", &url]).output().expect("it runs");
    let (code, said) = ended(&output);
    assert_eq!(code, 4);
    assert!(said.contains("gone"));
    assert_safe(&said);
}

#[test]
fn each_status_has_its_exit_code() {
    let cases = [
        ("400 Bad Request", "invalid_payload", 2),
        ("401 Unauthorized", "token_required", 5),
        ("403 Forbidden", "not_owner", 5),
        ("404 Not Found", "service_not_found", 4),
        ("409 Conflict", "manifest_owned", 5),
        ("429 Too Many Requests", "rate_limited", 5),
        ("500 Internal Server Error", "internal", 3),
        ("503 Service Unavailable", "busy", 3),
        ("503 Service Unavailable", "no_healthy_instance", 1),
        ("507 Insufficient Storage", "disk_full", 3),
    ];
    for (status, code, exit) in cases {
        let body = format!(r#"{{"success":false,"error":"because","code":"{code}"}}"#);
        let (url, _asked) = canned(status, &body);
        let output = portolan().args(["discover", "x", "--server", &url]).output().expect("it runs");
        let (ended, said) = ended(&output);
        assert_eq!(ended, exit, "{status} {code} {said}");
        assert!(said.starts_with("error: because\n"), "{said}");
    }
}

#[test]
fn an_answer_that_is_not_portolans_is_recognised() {
    for (status, body, exit) in [
        ("200 OK", "<html>welcome</html>", 3),
        ("200 OK", "[]", 3),
        ("502 Bad Gateway", "<html>nginx</html>", 3),
        ("404 Not Found", "{}", 3),
        ("302 Found", "", 3),
    ] {
        let (url, _asked) = canned(status, body);
        let output = portolan().args(["list", "--server", &url]).output().expect("it runs");
        let (code, said) = ended(&output);
        assert_eq!(code, exit, "{status} {said}");
        assert!(said.contains("not Portolan's") && said.contains(&url), "{said}");
    }
}

#[test]
fn an_answer_without_data_is_named() {
    let (url, _asked) = canned("200 OK", r#"{"success":true,"message":""}"#);
    let output = portolan().args(["list", "--server", &url]).output().expect("it runs");
    let (code, said) = ended(&output);
    assert!(code == 3 && said.contains("holds no data"), "{code} {said}");
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let services = vec![r#"{"name":"a-service-with-a-rather-long-name","status":"healthy"}"#; 20_000].join(",");
    let (url, asked) = canned("200 OK", &format!(r#"{{"success":true,"message":"","data":[{services}]}}"#));
    let mut child = process()
        .args(["list", "--server", &url])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut first = [0; 4];
    let mut reader = child.stdout.take().expect("piped");
    reader.read_exact(&mut first).expect("a heading");
    drop(reader);
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(&first, b"NAME");
    assert_eq!(ended(&output), (0, String::new()));
    asked.join().expect("a request");
}

#[test]
fn output_that_cannot_be_written_is_a_failure() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("Linux has it");
    let output = process().arg("settings").stdout(full).stderr(Stdio::piped()).output().expect("it runs");
    let (code, said) = ended(&output);
    assert!(code == 3 && said.contains("could not be written"), "{code} {said}");
}

#[test]
fn an_endless_list_is_refused() {
    let url = canned_forever(r#"{"success":true,"message":"","data":[],"next_cursor":"again"}"#);
    let output = portolan().args(["list", "--server", &url]).output().expect("it runs");
    let (code, said) = ended(&output);
    assert!(code == 3 && said.contains("next_cursor repeats"), "{code} {said}");
}

const STREAM: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream";
const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json";

/// A service with a long description.
fn service(n: usize) -> String {
    let description = "d".repeat(4000);
    format!(
        r#"{{"id":"0198c0de-0000-7000-8000-{n:012}","namespace":"n","name":"s","status":"healthy","description":"{description}"}}"#
    )
}

#[test]
fn an_endless_watch_is_an_error_and_does_not_fill_the_memory() {
    let services: Vec<String> = (0..100).map(service).collect();
    let part =
        format!("event: snapshot\ndata: {{\"services\":[{}],\"first\":false,\"last\":false}}\n\n", services.join(","));
    let line = format!("data: {}\n", "a".repeat(1 << 20));
    let cases = [
        ("event: change\n", line, "an event of over 24 MiB"),
        ("event: change\ndata: ", "a".repeat(1 << 20), "an event of over 24 MiB"),
        ("", part, "more than 128 MiB of services"),
    ];
    for (first, piece, words) in cases {
        let url = endless(STREAM, first, piece);
        for command in [&["watch"][..], &["list", "--watch"], &["console", "--once"]] {
            let output =
                portolan().args(command).args(["--server", &url, "--timeout", "5m"]).output().expect("it runs");
            let (code, said) = ended(&output);
            assert!(code == 3 && said.contains(words), "{command:?} {code} {said}");
        }
    }
}

#[test]
fn an_endless_answer_is_an_error_too() {
    let begin = r#"{"success":true,"message":"","data":["#;
    for (piece, words) in [(" ".repeat(1 << 20), "over 24 MiB"), ("{},".repeat(1 << 18), "24 MiB")] {
        let url = endless(ANSWER, begin, piece);
        for command in [&["list"][..], &["get", "x"], &["discover", "x"], &["check", "x"]] {
            let output =
                portolan().args(command).args(["--server", &url, "--timeout", "5m"]).output().expect("it runs");
            let (code, said) = ended(&output);
            assert!(code == 3 && said.contains("too large to be Portolan's") && said.contains(words), "{code} {said}");
        }
    }
    let objects = format!("{begin}{}{{}}]}}", "{},".repeat(1 << 20));
    let (url, _asked) = canned("200 OK", &objects);
    let output = portolan().args(["list", "--server", &url]).output().expect("it runs");
    let (code, said) = ended(&output);
    assert!(code == 3 && said.contains("more objects than any service"), "{code} {said}");
}
