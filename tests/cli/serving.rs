//! `portolan serve` as a process: starts, refusals, its end.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStderr, Stdio};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};

use crate::common::{PATIENCE, Server, ended, portolan, process};

#[test]
fn signals_end_it_in_order_once_it_listens() {
    for signal in [Signal::TERM, Signal::INT].repeat(5) {
        let mut server = Server::start(&[]);
        server.signal(signal);
        assert_eq!(server.wait(), Some(0), "{signal:?}");
    }
}

#[test]
fn a_bad_setting_is_usage_and_named() {
    let output = portolan().arg("serve").env("HEALTH_CHECK_INTERVAL", "0").env("LOG_LEVEL", "loud").output();
    let (code, said) = ended(&output.expect("it runs"));
    assert_eq!(code, 2);
    assert!(said.contains("HEALTH_CHECK_INTERVAL is \"0\"") && said.contains("LOG_LEVEL is \"loud\""), "{said}");
}

#[test]
fn a_weak_secret_file_is_usage() {
    let folder = tempfile::tempdir().expect("a folder");
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "hunter2\n").expect("written");
    let mut command = portolan();
    command.arg("serve").env("ENABLE_AUTH", "true").env("JWT_SECRET_FILE", &secret).env("SERVER_PORT", "0");
    let (code, said) = ended(&command.env("DB_PATH", folder.path().join("db")).output().expect("it runs"));
    assert_eq!(code, 2, "{said}");
    assert!(!said.contains("hunter2"), "{said}");
}

#[test]
fn a_used_port_and_a_used_file_are_refused() {
    let server = Server::start(&[]);
    let port = server.url.rsplit_once(':').expect("a port").1;
    let mut command = portolan();
    command.arg("serve").env("SERVER_PORT", port).env("DB_PATH", server.folder.path().join("other.db"));
    let (code, said) = ended(&command.output().expect("it runs"));
    assert!(code == 1 && said.contains("SERVER_PORT"), "{code} {said}");

    let mut command = portolan();
    command.arg("serve").env("SERVER_PORT", "0").env("DB_PATH", server.folder.path().join("services.db"));
    let (code, said) = ended(&command.output().expect("it runs"));
    assert!(code == 1 && said.contains("services.db"), "{code} {said}");
}

#[test]
fn it_says_why_it_listens_only_on_loopback() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = process();
    command.arg("serve").env("SERVER_PORT", "0").env("DB_PATH", folder.path().join("services.db"));
    let mut child = command.env("PORTOLAN_RATE_LIMIT", "7").stderr(Stdio::piped()).spawn().expect("it starts");
    let log = BufReader::new(child.stderr.take().expect("piped"));
    let lines: Vec<String> = log.lines().map_while(Result::ok).take(3).collect();
    child.kill().expect("it is running");
    child.wait().expect("it ends");
    let said = lines.join("\n");
    assert!(said.contains("PORTOLAN_RATE_LIMIT is set, and no setting has that name"), "{said}");
    assert!(said.contains("loopback only") && said.contains("ENABLE_AUTH=true"), "{said}");
}

#[test]
fn a_server_that_is_stopping_is_not_ready_and_answers_while_it_drains() {
    let mut server = Server::start(&[("PORTOLAN_DRAIN_SECONDS", "9")]);
    let ready = server.get("/readyz?verbose");
    assert!(ready.contains("200 OK") && ready.contains("[+] server: started; serving requests\n"), "{ready}");
    assert!(
        ready.contains("[+] guard: health follows the probes (clear)\n") && ready.ends_with("\nready\n"),
        "{ready}"
    );
    server.signal(Signal::TERM);
    let started = Instant::now();
    while server.get("/readyz").contains("200 OK") {
        assert!(started.elapsed() < PATIENCE, "still ready");
    }
    let turned_away = server.get("/readyz");
    assert!(turned_away.contains("503 ") && turned_away.contains("[-] server: shutting down; "), "{turned_away}");
    assert_eq!(
        ended(&server.cli(&["register", "--name", "late", "--base-url", "http://127.0.0.1:9"])).0,
        0,
        "everything else goes on"
    );
    assert!(server.get("/api/v1/services/discover?name=late").contains("200 OK"));
    assert_eq!(server.wait(), Some(0));
}

#[test]
fn a_file_deleted_while_it_runs_fails_writes_and_shows_in_readyz() {
    let mut server = Server::start(&[]);
    assert_eq!(ended(&server.cli(&["register", "--name", "kept", "--base-url", "http://127.0.0.1:9"])).0, 0);
    std::fs::remove_file(server.folder.path().join("services.db")).expect("deleted");
    let (code, said) = ended(&server.cli(&["register", "--name", "late", "--base-url", "http://127.0.0.1:9"]));
    assert!(code == 3 && said.contains("deleted, moved or replaced") && said.contains("restart"), "{code} {said}");
    let ready = server.get("/readyz?verbose");
    assert!(
        ready.contains("200 OK") && ready.contains("[+] store: writes fail: the store's file was deleted"),
        "{ready}"
    );
    assert!(server.get("/api/v1/services/discover?name=kept").contains("200 OK"), "reads go on");
    server.signal(Signal::TERM);
    assert_eq!(server.wait(), Some(0), "it ends in order though probing state cannot be written");
}

/// The threads of a process: each one's name and nice value ([proc(5)](https://man7.org/linux/man-pages/man5/proc.5.html)).
#[cfg(target_os = "linux")]
fn threads(pid: u32) -> Vec<(String, i64)> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
    let stats = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("stat")).ok());
    let parsed = stats.filter_map(|stat| {
        let (head, rest) = stat.rsplit_once(") ")?;
        // The nineteenth field; `rest` begins with the third.
        Some((head.split_once('(')?.1.to_owned(), rest.split_whitespace().nth(16)?.parse().ok()?))
    });
    parsed.collect()
}

#[cfg(target_os = "linux")]
#[test]
fn probing_has_its_own_threads_with_lower_priority() {
    let server = Server::start(&[]);
    let (probing, others): (Vec<_>, Vec<_>) =
        threads(server.pid()).into_iter().partition(|(name, _)| name == "probing");
    let nice: Vec<i64> = others.iter().map(|(_, nice)| *nice).collect();
    assert!(others.iter().any(|(name, _)| name == "serving") && nice.iter().all(|n| *n == nice[0]), "{others:?}");
    assert!(!probing.is_empty() && probing.iter().all(|(_, n)| *n == (nice[0] + 10).min(19)), "{probing:?}");
}

/// The value of a metric without labels.
#[cfg(target_os = "linux")]
fn metric(answer: &str, name: &str) -> f64 {
    let line = answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in {answer}")).parse().expect("a number")
}

#[cfg(target_os = "linux")]
#[test]
fn process_metrics_equal_those_of_the_system() {
    let before = std::time::SystemTime::now();
    let server = Server::start(&[]);
    // Connections that stay open for as long as they are counted.
    let address = server.url.strip_prefix("http://").expect("plain http");
    let held: Vec<TcpStream> = (0..20).map(|_| TcpStream::connect(address).expect("it listens")).collect();
    let started = Instant::now();
    let answer = loop {
        let answer = server.get("/metrics");
        if metric(&answer, "portolan_http_connections") > f64::from(20) {
            break answer;
        }
        assert!(started.elapsed() < PATIENCE, "it does not accept: {answer}");
    };
    let (open, most) = (metric(&answer, "process_open_fds"), metric(&answer, "process_max_fds"));
    assert!(open > f64::from(20) && open < most, "{open} of {most}");
    let entries = std::fs::read_dir(format!("/proc/{}/fd", server.pid())).expect("it runs").count();
    assert!(u32::try_from(entries).is_ok_and(|entries| (open - f64::from(entries)).abs() < 10.0), "{open} {entries}");
    drop(held);

    let resident = metric(&answer, "process_resident_memory_bytes");
    assert!(resident > 1e6 && resident < metric(&answer, "process_virtual_memory_bytes"), "{resident}");
    assert!(metric(&answer, "process_cpu_seconds_total") > 0.0);
    let epoch = |time: std::time::SystemTime| time.duration_since(std::time::UNIX_EPOCH).expect("later").as_secs_f64();
    let began = metric(&answer, "process_start_time_seconds");
    // Its clock counts whole milliseconds.
    assert!(began > epoch(before) - 0.002 && began < epoch(std::time::SystemTime::now()), "{began}");
}

/// A server whose log is read only up to the line with its address.
struct Unread {
    child: Child,
    log: Option<BufReader<ChildStderr>>,
    address: String,
    _folder: tempfile::TempDir,
}

impl Unread {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut command = process();
        command.arg("serve").env("SERVER_PORT", "0").env("DB_PATH", folder.path().join("services.db"));
        let mut child =
            command.env("PORTOLAN_RATE_LIMIT_PER_MINUTE", "0").stderr(Stdio::piped()).spawn().expect("it starts");
        let mut log = BufReader::new(child.stderr.take().expect("piped"));
        let mut line = String::new();
        while !line.contains("listening on http://") {
            line.clear();
            assert_ne!(log.read_line(&mut line).expect("UTF-8"), 0, "it ended");
        }
        let address = line
            .split_once("http://")
            .and_then(|(_, rest)| rest.split_whitespace().next())
            .expect("an address")
            .to_owned();
        Self { child, log: Some(log), address, _folder: folder }
    }

    /// Sends that many requests, each of which leaves a long line, and reads their answers.
    fn ask(&self, times: usize) {
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let request = format!(
            "GET /healthz?{} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: {}\r\n\r\n",
            "x".repeat(200),
            "y".repeat(60)
        );
        let mut answers = BufReader::new(stream.try_clone().expect("a second handle"));
        for _ in 0..times / 50 {
            stream.write_all(request.repeat(50).as_bytes()).expect("it reads");
            let mut answered = 0;
            let mut line = String::new();
            while answered < 50 {
                line.clear();
                assert_ne!(answers.read_line(&mut line).expect("it answers"), 0, "it closed");
                answered += usize::from(line == "ok\n");
            }
        }
    }

    fn dropped(&self) -> u64 {
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").expect("it reads");
        let mut metrics = String::new();
        stream.read_to_string(&mut metrics).expect("it answers");
        let line = metrics.lines().find_map(|line| line.strip_prefix("portolan_log_dropped_total "));
        line.expect("the metric").parse().expect("a number")
    }

    fn end(&mut self) -> Option<i32> {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("it is running");
        self.child.wait().expect("it ends").code()
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_log_that_nobody_reads_stops_nothing_and_lines_are_counted() {
    let mut server = Unread::start();
    while server.dropped() == 0 {
        server.ask(1000);
    }
    let started = Instant::now();
    assert_eq!(server.end(), Some(0), "it ends though nobody reads its last lines");
    assert!(started.elapsed() < PATIENCE);
}

#[test]
fn a_log_that_flows_again_says_how_much_is_missing() {
    let mut server = Unread::start();
    while server.dropped() == 0 {
        server.ask(1000);
    }
    let mut log = server.log.take().expect("not read yet");
    let mut line = String::new();
    while !line.contains("lines were dropped") {
        line.clear();
        assert_ne!(log.read_line(&mut line).expect("UTF-8"), 0, "it ended");
    }
    assert!(line.contains(" WARN portolan::log: "), "{line}");
    let reader = std::thread::spawn(move || {
        let mut rest = String::new();
        log.read_to_string(&mut rest).map(|_| rest)
    });
    assert_eq!(server.end(), Some(0));
    let rest = reader.join().expect("no panic").expect("UTF-8");
    assert!(rest.lines().last().is_some_and(|last| last.contains("stopped")), "{rest}");
}

#[test]
fn a_log_whose_reader_is_gone_stops_nothing() {
    let mut server = Unread::start();
    server.log = None;
    while server.dropped() == 0 {
        server.ask(100);
    }
    assert_eq!(server.end(), Some(0));
}

/// A store of two services, one of them unreadable, and the path of its file.
fn with_a_bad_row() -> (tempfile::TempDir, std::path::PathBuf) {
    let mut server = Server::start(&[]);
    for name in ["users", "orders"] {
        let output = server.cli(&["register", "--name", name, "--base-url", "http://127.0.0.1:9"]);
        assert_eq!(ended(&output).0, 0, "{}", ended(&output).1);
    }
    server.signal(Signal::TERM);
    assert_eq!(server.wait(), Some(0));
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("services.db");
    std::fs::copy(server.folder.path().join("services.db"), &path).expect("copies");
    let sql = "UPDATE instance SET base_url = 'nowhere' WHERE service = (SELECT row FROM service WHERE name = 'users')";
    rusqlite::Connection::open(&path).expect("opens").execute_batch(sql).expect("writes");
    (folder, path)
}

#[test]
fn a_row_that_cannot_be_read_is_named_counted_and_printed() {
    let (_folder, path) = with_a_bad_row();
    let path = path.to_str().expect("a plain path");
    let server = Server::start(&[("DB_PATH", path)]);
    let ready = server.get("/readyz?verbose");
    assert!(ready.starts_with("HTTP/1.1 200"), "{ready}");
    assert!(ready.contains("2 rows in quarantine") && ready.contains("default/users"), "{ready}");
    assert!(ready.contains("`portolan quarantine`"), "{ready}");
    assert!(server.get("/metrics").contains("portolan_quarantined_rows 2"));
    let listed = server.cli(&["list", "-o", "json"]);
    assert!(crate::common::stdout(&listed).contains("orders"), "{listed:?}");
    let output = portolan().args(["quarantine", "--file", path]).output().expect("it runs");
    assert_eq!(ended(&output).0, 0, "{}", ended(&output).1);
    let rows: Vec<serde_json::Value> =
        crate::common::stdout(&output).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(rows.len(), 2);
    assert_eq!((&rows[0]["table"], &rows[0]["content"]["base_url"]), (&"instance".into(), &"nowhere".into()));
}

#[test]
fn quarantine_without_a_store_is_not_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let output =
        portolan().args(["quarantine", "--file"]).arg(folder.path().join("none.db")).output().expect("it runs");
    assert_eq!(ended(&output).0, 4, "{}", ended(&output).1);
}

#[test]
fn a_damaged_store_is_refused_unless_an_empty_start_is_requested() {
    let (_folder, path) = with_a_bad_row();
    let bytes = std::fs::read(&path).expect("reads");
    std::fs::write(&path, &bytes[..bytes.len() / 2]).expect("cuts");
    let mut command = portolan();
    command.arg("serve").env("SERVER_PORT", "0").env("DB_PATH", &path);
    let (code, said) = ended(&command.output().expect("it runs"));
    assert!(code == 1 && said.contains("is damaged") && said.contains("--start-empty"), "{code} {said}");
    let mut child = process()
        .args(["serve", "--start-empty"])
        .env("SERVER_PORT", "0")
        .env("DB_PATH", &path)
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut log = BufReader::new(child.stderr.take().expect("piped")).lines().map_while(Result::ok);
    let started = log.by_ref().any(|line| line.contains("listening on"));
    child.kill().expect("ends it");
    child.wait().expect("it ends");
    assert!(started);
}
