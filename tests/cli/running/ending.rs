//! How it ends, and what it leaves alone.

use std::process::{Command, Stdio};

use rustix::process::Signal;

use super::{NEVER, Run, free_port, ignored, instance, mask, program, rest, wait_for};
use crate::common::{Server, process, stderr, stdout};
use crate::programs::wait_for as polled;

/// The exit code and stderr of a program that ends by itself.
fn ended(script: &str) -> (Option<i32>, String) {
    ended_as(&["sh", "-c", script])
}

fn ended_as(command: &[&str]) -> (Option<i32>, String) {
    let mut run = process();
    run.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    let output = run.args(["run", "--name", "a", "--port", "1", "--"]).args(command).output().expect("it runs");
    (output.status.code(), stderr(&output))
}

#[test]
fn it_ends_as_the_program_does() {
    let never_ready = "portolan: never registered: the program ended before port 1 answered\n".to_owned();
    assert_eq!(ended("exit 0"), (Some(0), never_ready), "nobody needs the registry for that");
    assert_eq!(ended("exit 7").0, Some(7));
    assert_eq!(ended("kill -KILL $$").0, Some(137));
    assert_eq!(ended("kill -TERM $$").0, Some(143));
    let (code, said) = ended_as(&["/nonexistent/program"]);
    assert!(code == Some(127) && said.contains("/nonexistent/program cannot be started"), "{said}");
    let (code, said) = ended_as(&["/etc/passwd"]);
    assert!(code == Some(126) && said.contains("cannot be started"), "{said}");
}

#[test]
fn a_wrong_command_line_starts_no_program() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("started");
    let touch = ["--", "touch", file.to_str().expect("UTF-8")];
    for wrong in [
        &["--port", "80", "--server", "nowhere"][..],
        &["--port", "80", "--name", "A_B"],
        &["--port", "80", "--token-file", "/nonexistent", "--server", "http://10.0.0.1"],
        &["--base-url", "x"],
        &["--port", "80", "--deregister-after", "5s"],
        &["--port", "80", "--check-http", "/", "--identity", "/name=$servic"],
        &[],
    ] {
        let mut run = process();
        run.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        let output = run.args(["run", "--name", "a"]).args(wrong).args(touch).output().expect("it runs");
        assert_eq!(output.status.code(), Some(2), "{wrong:?} {}", stderr(&output));
        assert!(!file.exists(), "{wrong:?}");
    }
}

#[test]
fn the_program_finds_what_it_would_find_alone() {
    let script =
        "env | sort; pwd; umask; nice; ulimit -n; grep -E 'SigBlk|SigIgn|THP_enabled|NoNewPrivs' /proc/self/status";
    let alone = |mut command: Command| {
        command.env("PORTOLAN_SERVER", "http://127.0.0.1:9").env("PORTOLAN_TOKEN", "secret");
        let path = std::env::var_os("PATH").unwrap_or_default();
        let output = command.env("PATH", path).stdin(Stdio::null()).output().expect("it runs");
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        stdout(&output)
    };
    let mut direct = Command::new("sh");
    direct.env_clear().args(["-c", script]);
    let mut run = process();
    run.args(["run", "--name", "a", "--port", "1", "--", "sh", "-c", script]);
    let (direct, run) = (alone(direct), alone(run));
    assert!(direct.contains("PORTOLAN_TOKEN=secret") && direct.contains("THP_enabled"), "{direct}");
    let split = |text: &str| -> (Vec<String>, u64) {
        let (ignored, others) = text.lines().partition::<Vec<&str>, _>(|line| line.starts_with("SigIgn:"));
        (others.into_iter().map(str::to_owned).collect(), mask(ignored[0]))
    };
    assert_eq!(split(&direct), split(&run));
}

#[test]
fn what_is_ignored_stays_ignored() {
    let portolan = env!("CARGO_BIN_EXE_portolan");
    let script = format!("trap '' HUP; exec {portolan} run --name a --port 1 -- grep SigIgn /proc/self/status");
    let output = Command::new("sh").args(["-c", &script]).output().expect("a shell");
    let line = stdout(&output);
    assert_eq!(mask(&line), ignored() | 1, "as under nohup: {line}");
}

#[test]
fn a_program_that_goes_into_the_background_ends_it() {
    let server = Server::start(&[]);
    let command = ["--", "sh", "-c", "sleep 1000 & exit 0"].map(str::to_owned);
    let mut run = Run::start(&server.url, &["--port", "1"], &command);
    assert_eq!(run.code(), 0);
}

#[test]
fn orphans_leave_no_zombies() {
    // As process 1 of a container, but without one: a subreaper inherits orphans as well.
    let reaper = r"
import ctypes, os, sys
assert ctypes.CDLL(None).prctl(36, 1, 0, 0, 0) == 0
os.execv(sys.argv[1], sys.argv[1:])
";
    let orphans = "for n in 1 2 3; do sh -c 'sh -c \"exit 3\" &'; done; echo made; read line; exit 5";
    let mut command = Command::new("python3");
    command.args(["-c", reaper, env!("CARGO_BIN_EXE_portolan"), "run", "--name", "a", "--port", "1"]);
    command.args(["--", "sh", "-c", orphans]).stdin(Stdio::piped());
    let mut run = Run::spawn(command);
    assert_eq!(run.line(), "made");
    let id = run.child.id();
    let children = format!("/proc/{id}/task/{id}/children");
    let only_the_program = || std::fs::read_to_string(&children).expect("it runs").split_whitespace().count() == 1;
    polled("the orphans are reaped", || only_the_program().then_some(()));
    drop(run.child.stdin.take());
    assert_eq!(run.code(), 5, "the program's own code, not an orphan's");
}

#[test]
fn a_program_that_will_not_stop_is_killed_only_on_request() {
    let mut run = Run::start("http://127.0.0.1:9", &["--port", "1", "--kill-after", "5s"], &program(0, NEVER));
    assert_eq!(run.line(), "ready");
    run.signal(Signal::TERM);
    assert_eq!(run.line(), "SIGTERM");
    run.note("killing it, as --kill-after says");
    assert_eq!(run.code(), 137);
}

#[test]
fn a_server_that_was_never_reached_delays_nothing() {
    let port = free_port();
    let mut run = Run::start("http://127.0.0.1:9", &["--port", &port.to_string()], &program(port, 1));
    run.note("not registered: no server answers at");
    run.signal(Signal::TERM);
    assert_eq!(run.code(), 3);
    assert!(rest(&run.notes).iter().all(|line| !line.contains("registered, until")), "nothing can be registered");
}

#[test]
fn a_server_that_hangs_delays_the_end_by_seconds_only() {
    let server = Server::start(&[]);
    let port = free_port();
    let port_flag = port.to_string();
    let mut run = Run::start(&server.url, &["--port", &port_flag], &program(port, 1));
    wait_for(&server, "healthy");
    server.pause();
    let began = std::time::Instant::now();
    run.signal(Signal::TERM);
    assert_eq!(run.code(), 3);
    run.note("still registered until its lease expires: the registry did not answer in time");
    assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
    server.signal(Signal::CONT);

    // The next one with the same host and port takes over what is left.
    let next = Run::start(&server.url, &["--port", &port_flag], &program(port, 1));
    next.note("registered default/a/");
    wait_for(&server, "healthy");
    assert!(instance(&server)["base_url"].as_str().is_some_and(|url| url.ends_with(&format!(":{port}"))));
}
