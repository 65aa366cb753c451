//! Every client command against a real server.

use std::io::Write;
use std::sync::OnceLock;

use serde_json::{Value, json};

use crate::common::{Server, answering, canned_forever, ended, json, portolan, process, stderr, stdout};

/// Where the first instance of `user-service` is reached.
fn backend() -> &'static str {
    static URL: OnceLock<String> = OnceLock::new();
    URL.get_or_init(|| canned_forever("well"))
}

/// A server with `user-service` (two instances, nobody behind the second) and `mail-service` without a check.
fn furnished() -> Server {
    let server = Server::start(&[]);
    let health = format!("{}/health", backend());
    let well = ["--health-url", &health, "--version", "1.4.2", "--zone", "eu-1a", "--meta", "team=identity"];
    let base = ["register", "--name", "user-service", "-i", "a", "--base-url", backend()];
    ok(&server, &[&base[..], &well].concat());
    let dead = ["--base-url", "http://127.0.0.1:9", "--check-tcp", "--version", "1.5.0", "--weight", "20"];
    ok(&server, &[&["register", "--name", "user-service", "-i", "b"][..], &dead].concat());
    ok(&server, &["register", "--name", "mail-service", "--base-url", "http://127.0.0.1:9"]);
    server
}

fn ok(server: &Server, args: &[&str]) -> String {
    let output = server.cli(args);
    assert_eq!(ended(&output).0, 0, "{args:?} {}", stderr(&output));
    stdout(&output)
}

fn code(server: &Server, args: &[&str]) -> i32 {
    ended(&server.cli(args)).0
}

#[test]
fn register_says_what_it_did() {
    let server = Server::start(&[]);
    let args = ["register", "--name", "mail-service", "--base-url", "http://127.0.0.1:9"];
    let output = server.cli(&args);
    assert_eq!(stdout(&output), "registered default/mail-service: unknown (NotChecked), 0/1 instances healthy\n");
    assert!(stderr(&output).contains("--health-url"), "{}", stderr(&output));

    let refused = server.cli(&["register", "--name", "Mail_Service", "--base-url", "nowhere"]);
    let (code, said) = ended(&refused);
    assert_eq!(code, 2);
    assert!(said.contains("name:") && said.contains("mail-service") && said.contains("base_url:"), "{said}");
}

#[test]
fn a_registration_comes_from_a_file_or_stdin() {
    let server = Server::start(&[]);
    let body = json!({"name": "user-service", "base_url": "http://127.0.0.1:9", "metadata": {"team": "identity"}});
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(body.to_string().as_bytes()).expect("written");
    let from_file = server.cli(&["register", "-f", file.path().to_str().expect("UTF-8"), "-o", "json"]);
    assert_eq!(json(&from_file)["metadata"]["team"], "identity");

    let mut from_stdin = server.command(&["register", "-f", "-", "-n", "shop", "-o", "json"]);
    let output = from_stdin.write_stdin(body.to_string()).output().expect("it runs");
    assert_eq!(json(&output)["namespace"], "shop");

    let mut typo = server.command(&["register", "-f", "-"]);
    let output = typo.write_stdin(r#"{"nmae":"x"}"#).output().expect("it runs");
    let (code, said) = ended(&output);
    assert!(code == 2 && said.contains("nmae"), "{said}");

    let mut several = server.command(&["register", "-f", "-"]);
    let output = several.write_stdin(format!("{body}\n{body}\n")).output().expect("it runs");
    let (code, said) = ended(&output);
    assert!(code == 2 && said.contains("error: standard input is not JSON"), "{said}");
    assert!(said.contains("register each line alone, or stop the server and use `portolan import`"), "{said}");
}

#[test]
fn flags_that_have_no_effect_say_what_they_need() {
    let server = Server::start(&[]);
    let base = ["register", "--name", "x", "--base-url", "http://127.0.0.1:9"];
    for (flags, wrong) in [
        (&["--identity", "/a=b"][..], "error: --identity needs --check-http"),
        (&["--identity", "/a=b", "--version-from", "/v"], "--identity and --version-from need --check-http"),
        (&["--check-grpc", "--check-statuses", "200"], "--check-statuses needs --check-http"),
        (&["--check-tcp", "--check-tls-no-verify"], "--check-tls-no-verify needs --check-http or --check-grpc"),
        (&["--check-http", "--check-statuses", "20x"], "'20x'"),
        (&["--check-http", "--check-statuses", "999"], "'999'"),
        (&["--check-http", "--check-statuses", "20x"], "expected statuses from 100 to 599, such as 200,204"),
    ] {
        let (code, said) = ended(&server.cli(&[&base[..], flags].concat()));
        assert!(code == 2 && said.contains(wrong), "{flags:?}: {code} {said}");
    }
}

#[test]
fn a_wrong_base_path_is_no_absence() {
    let server = Server::start(&[]);
    let mut get = process();
    get.args(["get", "x"]).env("PORTOLAN_SERVER", format!("{}/registry", server.url));
    let (code, said) = ended(&get.output().expect("it runs"));
    assert!(code == 3 && said.contains("is PORTOLAN_SERVER or --server right?"), "{code} {said}");
}

#[test]
fn history_of_a_mistyped_instance_is_not_found() {
    let server = Server::start(&[]);
    ok(&server, &["register", "--name", "x", "--base-url", "http://127.0.0.1:9"]);
    ok(&server, &["history", "x", "-i", "default"]);
    assert_eq!(code(&server, &["history", "x", "-i", "defualt"]), 4);
}

#[test]
fn list_shows_a_table_or_the_data() {
    let server = furnished();
    let table = ok(&server, &["list"]);
    let mut lines = table.lines();
    let head: Vec<&str> = lines.next().expect("a heading").split_whitespace().collect();
    assert_eq!(head, ["NAME", "VERSION", "STATUS", "INSTANCES", "REASON", "SINCE", "BASE_URL"]);
    assert!(lines.next().is_some_and(|line| line.starts_with("mail-service ")), "{table}");
    assert!(lines.next().is_some_and(|line| line.starts_with("user-service ")), "{table}");
    assert!(!table.contains('\u{1b}'), "no colours in a pipe");

    let data = json(&server.cli(&["list", "-o", "json"]));
    let names: Vec<&Value> = data.as_array().expect("an array").iter().map(|s| &s["name"]).collect();
    assert_eq!(names, ["mail-service", "user-service"]);
}

#[test]
fn list_selects_in_one_or_all_namespaces() {
    let server = furnished();
    ok(&server, &["register", "-n", "shop", "--name", "order-service", "--base-url", "http://127.0.0.1:9"]);
    let names = |args: &[&str]| {
        let data = json(&server.cli(&[&["list", "-o", "json"][..], args].concat()));
        let list = data.as_array().expect("an array").clone();
        list.iter().map(|s| s["name"].as_str().expect("a name").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&["-A"]), ["order-service", "mail-service", "user-service"]);
    assert_eq!(names(&["-n", "shop"]), ["order-service"]);
    assert_eq!(names(&["--version", "^1.4"]), ["user-service"]);
    assert_eq!(names(&["--zone", "eu-1a"]), ["user-service"]);
    assert_eq!(names(&["--meta", "team=identity"]), ["user-service"]);
    assert_eq!(names(&["--version", ">=3"]), [""; 0]);
    assert!(ok(&server, &["list", "-A"]).lines().next().is_some_and(|head| head.starts_with("NAMESPACE")));
    assert_eq!(code(&server, &["list", "--version", "not a range"]), 2);

    let nothing = server.cli(&["list", "-n", "empty"]);
    assert!(stderr(&nothing).contains("2 other namespaces: add -A"), "{}", stderr(&nothing));
}

#[test]
fn a_list_of_several_pages_is_one_list() {
    let server = Server::start(&[("MAX_SERVICES", "0")]);
    let client = portolan::crypto::http_client().build().expect("a client");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        for n in 0..520 {
            let body = json!({"name": format!("s{n}"), "base_url": "http://127.0.0.1:9"});
            let url = format!("{}/api/v1/services/register", server.url);
            let reply = client.post(url).json(&body).send().await.expect("an answer");
            assert_eq!(reply.status(), 200);
        }
    });
    let data = json(&server.cli(&["list", "-o", "json"]));
    let names: std::collections::BTreeSet<_> =
        data.as_array().expect("an array").iter().map(|s| s["name"].to_string()).collect();
    assert_eq!(names.len(), 520);
    assert_eq!(ok(&server, &["list"]).lines().count(), 521);
}

#[test]
fn get_shows_everything_and_its_json_is_exact() {
    let server = furnished();
    let shown = ok(&server, &["get", "user-service"]);
    for part in ["Name         user-service", "Namespace    default", "INSTANCE", "http://127.0.0.1:9", "20"] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    let data = stdout(&server.cli(&["get", "mail-service", "-o", "json"]));
    let url = format!("{}/api/v1/services/discover?name=mail-service", server.url);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let reply = runtime.block_on(async { reqwest::get(url).await?.text().await }).expect("an answer");
    assert!(reply.contains(data.trim_end()), "{data} is byte for byte in {reply}");

    let id = json(&server.cli(&["get", "mail-service", "-o", "json"]))["id"].as_str().expect("an id").to_owned();
    assert_eq!(stdout(&server.cli(&["get", &id, "-o", "json"])), data);
}

#[test]
fn not_found_is_exit_code_4_with_a_hint() {
    let server = furnished();
    for args in [
        &["get", "nobody"][..],
        &["get", "0198c0de-0000-7000-8000-000000000000"],
        &["discover", "nobody"],
        &["check", "nobody"],
        &["history", "nobody"],
        &["deregister", "nobody"],
    ] {
        assert_eq!(code(&server, args), 4, "{args:?}");
    }
    let elsewhere = server.cli(&["get", "mail-service", "-n", "shop"]);
    let (code, said) = ended(&elsewhere);
    assert!(code == 4 && said.contains("in default: add -n default"), "{said}");
}

#[test]
fn check_shows_where_the_time_went() {
    let server = furnished();
    let output = server.cli(&["check", "user-service"]);
    let shown = stdout(&output);
    assert_eq!(ended(&output).0, 0, "one of two is healthy: {shown}");
    for part in ["connect", "request", "total", "ms", "█", "Passed", "ConnectRefused"] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    let only = |name: &str| server.cli(&["check", "user-service", "-i", name]);
    assert_eq!([ended(&only("a")).0, ended(&only("b")).0, ended(&only("c")).0], [0, 1, 4]);
    assert!(!stdout(&only("a")).contains("ConnectRefused") && stdout(&only("b")).contains("0 of 1 healthy"));
    ok(&server, &["deregister", "user-service", "-i", "a"]);
    let output = server.cli(&["check", "user-service", "-o", "json"]);
    assert_eq!(ended(&output).0, 1, "what is left is unhealthy");
    let data = json(&output);
    assert_eq!(data["service"]["status"], "unhealthy");
    assert_eq!(data["checks"][0]["outcome"]["reason"], "ConnectRefused");
    assert!(data["checks"][0]["outcome"]["timings"]["connect_us"].is_u64(), "{data}");

    let unchecked = server.cli(&["check", "mail-service"]);
    assert_eq!(ended(&unchecked).0, 0);
    assert!(stdout(&unchecked).contains("without a check"), "{}", stdout(&unchecked));
}

#[test]
fn discover_finds_what_is_healthy() {
    let server = furnished();
    server.cli(&["check", "user-service"]);
    assert_eq!(ok(&server, &["discover", "user-service", "-o", "url"]), format!("{}\n", backend()));
    let unproved = server.cli(&["discover", "mail-service", "-o", "url"]);
    let (exit, said) = ended(&unproved);
    assert_eq!((exit, stdout(&unproved).as_str()), (1, ""), "{said}");
    assert!(said.contains("--any"), "{said}");
    assert_eq!(ok(&server, &["discover", "mail-service", "--any", "-o", "url"]), "http://127.0.0.1:9\n");
    let picked = ok(&server, &["discover", "user-service", "--healthy", "--pick", "weighted", "-o", "url"]);
    assert_eq!(picked, format!("{}\n", backend()));
    let newer = json(&server.cli(&["discover", "user-service", "--version", "^1.5", "-o", "json"]));
    assert_eq!(newer["instances"].as_array().expect("instances").len(), 1);
    assert_eq!(newer["base_url"], "http://127.0.0.1:9");
    assert_eq!(code(&server, &["discover", "user-service", "--version", "^1.5", "--healthy"]), 1);
    assert_eq!(code(&server, &["discover", "user-service", "--version", "^9"]), 4);
    assert!(ok(&server, &["discover", "user-service"]).contains("INSTANCE"));
}

#[test]
fn history_shows_the_newest_first_and_why() {
    let server = furnished();
    server.cli(&["check", "user-service"]);
    let table = ok(&server, &["history", "user-service"]);
    assert!(
        table
            .lines()
            .next()
            .is_some_and(|head| head.split_whitespace().eq(["AGE", "INSTANCE", "FROM", "TO", "REASON", "MESSAGE"]))
    );
    assert!(table.contains("ConnectRefused"), "{table}");
    let data = json(&server.cli(&["history", "user-service", "--instance", "b", "-o", "json"]));
    let entries = data.as_array().expect("an array");
    assert!(!entries.is_empty() && entries.iter().all(|e| e["instance"] == "b"), "{data}");
    assert_eq!(entries[0]["to"], "unhealthy");

    let id = json(&server.cli(&["get", "user-service", "-o", "json"]))["id"].as_str().expect("an id").to_owned();
    ok(&server, &["deregister", "user-service", "--all"]);
    for removed in [id.as_str(), "user-service"] {
        let output = server.cli(&["history", removed]);
        let (exit, said) = ended(&output);
        assert_eq!((exit, said), (0, format!("{removed} is no longer registered\n")));
        assert!(stdout(&output).contains("removed"), "a service is remembered by its id and its name");
    }
}

#[test]
fn history_is_shown_page_by_page_up_to_its_bound() {
    // 12,000 entries, and pages of 500 at most, as a server's.
    let url = answering(|_, request| {
        let number = |name: &str| {
            let (_, rest) = request.lines().next()?.split_once(name)?;
            rest.split(['&', ' ']).next()?.parse::<usize>().ok()
        };
        let newest = number("cursor=").unwrap_or(12_000);
        let Some(limit @ 1..=500) = number("limit=") else { return ("400 Bad Request", String::new()) };
        let oldest = newest - limit;
        let entries: Vec<Value> = (oldest..newest).rev().map(|id| json!({"id": id, "instance": "a"})).collect();
        let page = json!({"success": true, "message": "", "data": entries, "next_cursor": oldest.to_string()});
        ("200 OK", page.to_string())
    });
    let history = |limit: &str, format: &str| {
        let args = ["history", "a", "--server", &url, "--limit", limit, "-o", format];
        portolan().args(args).output().expect("it runs")
    };
    let data = json(&history("1200", "json"));
    let ids: Vec<_> = data.as_array().expect("an array").iter().filter_map(|entry| entry["id"].as_u64()).collect();
    assert_eq!(ids, (10_800..12_000).rev().collect::<Vec<_>>());
    let some = history("600", "table");
    assert_eq!((ended(&some).0, stdout(&some).lines().count()), (0, 601));
    assert!(stderr(&some).contains("there are older ones: give a higher --limit"), "{}", stderr(&some));
    let most = history("10000", "table");
    assert_eq!((ended(&most).0, stdout(&most).lines().count()), (0, 10_001));
    let said = stderr(&most);
    assert!(said.contains("continues in the API with cursor=2000") && !said.contains("--limit"), "{said}");
    assert_eq!(ended(&history("10001", "table")).0, 2);
}

#[test]
fn deregister_removes_one_or_all() {
    let server = furnished();
    let several = server.cli(&["deregister", "user-service"]);
    let (exit, said) = ended(&several);
    let hint = "--instance NAME removes one (a, b); --all removes every one";
    assert!(exit == 5 && said.contains(hint), "{said}");
    let (exit, said) = ended(&server.cli(&["deregister", "user-service", "-i", "zzz"]));
    assert!(exit == 4 && said.contains("portolan get user-service shows those it has"), "{said}");
    let output = server.cli(&["deregister", "user-service", "--instance", "b"]);
    assert_eq!(ended(&output), (0, "deregistered instance b of user-service\n".to_owned()));
    assert!(output.stdout.is_empty());
    let id = json(&server.cli(&["get", "user-service", "-o", "json"]))["id"].as_str().expect("an id").to_owned();
    ok(&server, &["deregister", &id]);
    assert_eq!(code(&server, &["get", "user-service"]), 4);
    for (instance, port) in [("a", "1"), ("b", "2")] {
        let url = format!("http://127.0.0.1:{port}");
        ok(&server, &["register", "--name", "mail", "-i", instance, "--base-url", &url, "--external-id", "x"]);
    }
    let (exit, said) = ended(&server.cli(&["deregister", "mail", "--external-id", "x"]));
    assert!(exit == 5 && said.contains("name one with --instance, or add --all to remove them all"), "{said}");
    ok(&server, &["deregister", "mail", "--external-id", "x", "--all"]);
    assert_eq!(code(&server, &["get", "mail"]), 4);
}
