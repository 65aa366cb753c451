//! The client code of `examples/clients`, in Python and Go, against a real server that is killed and loses its data.

use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;

use crate::common::{Server, answering, stderr, stdout};
use crate::programs::{Program, example, fetch, wait_for};

/// The lease of the programs, in seconds: long enough for a busy machine, since a program renews it every 1.6 to 2.4 s.
const TTL: &str = "6";
/// What a program's life shows, for the table of `make interop`.
const LIFE: &str = "the programs of `examples/clients`, while the server is killed and loses its file | registered, renewed, registered again, gone";
/// Renewals that take longer than a lease lasts, so that without them the lease had expired.
const RENEWALS: u64 = 4;

/// The address as people often write it.
fn slashed(server: &str) -> String {
    format!("{server}/")
}

fn python(server: &str) -> Command {
    let mut command = Command::new("python3");
    command.arg(example("clients/service.py")).args(["user-service", TTL]).env("PORTOLAN_SERVER", slashed(server));
    command
}

/// Builds the program first, so that the test runs it and not `go run`, which passes no signals on.
fn go(server: &str, folder: &std::path::Path) -> Command {
    let program = folder.join("service");
    let built =
        Command::new("go").args(["build", "-o"]).arg(&program).arg(".").current_dir(example("clients/go")).status();
    assert!(built.expect("Go is installed").success(), "it compiles");
    let mut command = Command::new(program);
    command.args(["user-service", TTL]).env("PORTOLAN_SERVER", slashed(server));
    command
}

/// The service, once `count` instances are healthy.
fn healthy(server: &str, count: usize) -> Value {
    wait_for(&format!("{count} healthy instances"), || {
        let body = fetch(&format!("{server}/api/v1/services/discover?name=user-service&healthy=true"))?;
        let found: Value = serde_json::from_str(&body).expect("JSON");
        (found["data"]["instances"].as_array().map(Vec::len) == Some(count)).then(|| found["data"].clone())
    })
}

/// Heartbeats that the server has answered with 200.
fn renewals(server: &str) -> u64 {
    heartbeats(server, 200)
}

/// Heartbeats that the server has answered with `status`.
fn heartbeats(server: &str, status: u16) -> u64 {
    let (metrics, status) = (fetch(&format!("{server}/metrics")).unwrap_or_default(), format!("status=\"{status}\""));
    let heartbeats = metrics.lines().filter(|line| line.contains("/heartbeat\"") && line.contains(&status));
    let counts = heartbeats.filter(|line| line.starts_with("portolan_http_requests_total{"));
    counts.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

/// Waits for more heartbeats than one lease needs, so that without them it had expired.
fn outlast_the_lease(server: &str, programs: u64) {
    let before = renewals(server);
    wait_for("renewals", || (renewals(server) >= before + RENEWALS * programs).then_some(()));
}

/// A program's life: registered, renewed, without a server, registered again at one without data, gone.
fn lives(start: impl FnOnce(&str) -> Command, version: &str) {
    let server = Server::start(&[]);
    let url = server.url.clone();
    let mut program = Program::start(&mut start(&url));
    let listens = program.after("user-service listens on ");

    let service = healthy(&url, 1);
    assert_eq!((&service["base_url"], &service["version"]), (&listens.as_str().into(), &version.into()));
    let instance = &service["instances"][0];
    let checks: Vec<_> = instance["checks"].as_array().into_iter().flatten().map(|check| &check["name"]).collect();
    assert_eq!(checks, ["heartbeat"], "{instance}");
    outlast_the_lease(&url, 1);
    let later = healthy(&url, 1);
    assert_eq!(later["instances"][0]["since"], instance["since"], "it stayed healthy");
    assert_eq!(later["revision"], service["revision"], "a renewal changes nothing");

    let peers = || serde_json::from_str::<Vec<String>>(&fetch(&format!("{listens}/peers"))?).ok();
    assert_eq!(peers(), Some(vec![listens.clone()]));
    drop(server);
    assert!(fetch(&format!("{url}/healthz")).is_none(), "the server is away");
    assert_eq!(peers(), Some(vec![listens.clone()]), "the last good answer is kept");

    let port = url.rsplit(':').next().expect("a port");
    let empty = Server::start(&[("SERVER_PORT", port)]);
    assert_eq!(healthy(&empty.url, 1)["base_url"], listens.as_str());

    program.signal(Signal::TERM);
    assert!(program.ended().success());
    let gone = empty.get("/api/v1/services/discover?name=user-service");
    assert!(gone.starts_with("HTTP/1.1 404") && gone.contains("service_not_found"), "{gone}");
}

#[test]
fn a_program_in_python_stays_registered() {
    lives(python, "1.0.0");
    println!("interop: a client in Python | {LIFE}");
}

#[test]
fn a_program_in_go_stays_registered() {
    let folder = tempfile::tempdir().expect("a folder");
    lives(|server| go(server, folder.path()), "2.0.0");
    println!("interop: a client in Go | {LIFE}");
}

/// A rolling deploy: the new version beside the old one, and then alone.
#[test]
fn two_versions_live_side_by_side_without_a_flap() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&[]);
    let mut old = Program::start(&mut python(&server.url));
    let new = Program::start(&mut go(&server.url, folder.path()));
    let both = healthy(&server.url, 2);
    outlast_the_lease(&server.url, 2);
    assert_eq!(healthy(&server.url, 2)["revision"], both["revision"], "nothing changes without a cause");

    old.signal(Signal::TERM);
    assert!(old.ended().success());
    outlast_the_lease(&server.url, 1);
    let alone = healthy(&server.url, 1);
    assert_eq!((&alone["version"], &alone["base_url"]), (&"2.0.0".into(), &new.after("listens on ").as_str().into()));
    let before = both["instances"].as_array().expect("both").iter().find(|one| one["version"] == "2.0.0");
    assert_eq!(Some(&alone["instances"][0]["since"]), before.map(|one| &one["since"]), "it was not touched");
    let history = server.get("/api/v1/services/history?name=user-service");
    assert!(!history.contains("\"to\":\"unhealthy\""), "{history}");
}

/// The renewals of a third program tell how long to look.
#[test]
fn a_program_whose_name_is_taken_reports_no_more() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&[]);
    let url = &server.url;
    let mut programs =
        [python(url), go(url, folder.path()), python(url)].map(|mut command| Program::start(&mut command));
    for (before, program) in programs[..2].iter().enumerate() {
        let (all, own) = (healthy(url, 3 - before), program.after("listens on "));
        let instances = all["instances"].as_array().into_iter().flatten();
        let name =
            instances.filter(|one| one["base_url"] == *own).find_map(|one| one["name"].as_str()).expect("a name");
        let moved = ["--instance", name, "--base-url", "http://127.0.0.1:9", "--check-none"];
        let output = server.cli(&[&["register", "--name", "user-service"][..], &moved].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        wait_for("a refusal", || (heartbeats(url, 412) > before as u64).then_some(()));
        outlast_the_lease(url, 1);
        assert_eq!(heartbeats(url, 412), before as u64 + 1, "each says it once");
    }
    for program in &mut programs {
        program.signal(Signal::TERM);
        assert!(program.ended().success());
    }
    assert!(server.get("/api/v1/services/discover?name=user-service").contains("127.0.0.1:9"), "it spares the others");
}

/// The words of a Dockerfile's instruction in its list form.
fn words(dockerfile: &str, instruction: &str) -> Vec<String> {
    let list = dockerfile.lines().find_map(|line| line.strip_prefix(instruction)).expect("the instruction");
    serde_json::from_str(list).expect("a list")
}

/// What a container of the Dockerfile runs, with this machine's paths and a free port instead of the container's.
#[test]
fn the_entry_point_of_the_container_registers_its_program() {
    let server = Server::start(&[]);
    let port =
        std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound").port().to_string();
    let dockerfile = std::fs::read_to_string(example("compose/Dockerfile")).expect("a Dockerfile");
    let here = |word: String| match word.as_str() {
        "portolan" => env!("CARGO_BIN_EXE_portolan").to_owned(),
        "8080" => port.clone(),
        "/app/stock.py" => example("shop/stock.py").display().to_string(),
        _ => word,
    };
    let words: Vec<String> =
        ["ENTRYPOINT ", "CMD "].iter().flat_map(|which| words(&dockerfile, which)).map(here).collect();
    let mut program = Program::start(Command::new(&words[0]).args(&words[1..]).env("PORTOLAN_SERVER", &server.url));

    let discover = format!("{}/api/v1/services/discover?name=stock&healthy=true", server.url);
    let body = wait_for("a healthy instance", || fetch(&discover));
    let found: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(found["data"]["base_url"], format!("http://127.0.0.1:{port}"), "{found}");
    program.signal(Signal::TERM);
    assert!(program.ended().success());
    assert!(server.get("/api/v1/services/discover?name=stock").starts_with("HTTP/1.1 404"));
}

/// Whom clients find: first an instance, then none that is healthy, and then the registry is down.
const FINDS: &str = "from discover import discover\nfor _ in range(3): print(discover('user-service'))";

#[test]
fn discovery_in_python_sends_the_token_and_forgets_what_is_down() {
    let folder = tempfile::tempdir().expect("a folder");
    let token = folder.path().join("token");
    std::fs::write(&token, "t0ken\n").expect("written");
    let server = answering(|connection, request| match connection {
        _ if !request.to_ascii_lowercase().contains("authorization: bearer t0ken\r\n") => {
            ("401 Unauthorized", "{}".to_owned())
        }
        0 => ("200 OK", r#"{"success": true, "data": {"instances": [{"base_url": "http://10.0.0.5:80"}]}}"#.to_owned()),
        1 => ("503 Service Unavailable", r#"{"success": false, "code": "no_healthy_instance"}"#.to_owned()),
        _ => ("500 Internal Server Error", "{}".to_owned()),
    });
    let mut command = Command::new("python3");
    command.args(["-c", FINDS]).current_dir(example("clients")).env("PYTHONDONTWRITEBYTECODE", "1");
    let output = command.env("PORTOLAN_SERVER", &server).env("PORTOLAN_TOKEN_FILE", &token).output().expect("it runs");
    assert_eq!(stdout(&output), "['http://10.0.0.5:80']\n[]\n[]\n", "{}", stderr(&output));
}
