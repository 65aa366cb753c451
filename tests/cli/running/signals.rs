//! Which signals the program gets.

use std::io::{BufRead, BufReader};

use portable_pty::{CommandBuilder, NativePtySystem, PtySize, PtySystem};
use rustix::process::{Pid, Signal, kill_process};

use super::{NEVER, PROGRAM, Run, free_port, ignored, program, wait_for};
use crate::common::{PATIENCE, Server};
use crate::programs::wait_for as polled;

#[test]
fn every_signal_is_passed_on_and_a_second_one_too() {
    let mut run = Run::start("http://127.0.0.1:9", &["--port", "1"], &program(0, 2));
    assert_eq!(run.line(), "ready");
    // What these tests ignore, as under nohup or in the background of a script, is ignored by what they start.
    let ignored = ignored();
    for (signal, name) in [
        (Signal::HUP, "SIGHUP"),
        (Signal::QUIT, "SIGQUIT"),
        (Signal::USR1, "SIGUSR1"),
        (Signal::USR2, "SIGUSR2"),
        (Signal::INT, "SIGINT"),
        (Signal::TERM, "SIGTERM"),
        (Signal::TERM, "SIGTERM"),
    ] {
        if ignored & 1 << (signal.as_raw() - 1) != 0 {
            continue;
        }
        run.signal(signal);
        assert_eq!(run.line(), name);
    }
    assert_eq!(run.code(), 3);
}

#[test]
fn a_key_of_the_terminal_reaches_the_program_once() {
    let pty = NativePtySystem::default().openpty(PtySize::default()).expect("a terminal");
    let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_portolan"));
    command.args([
        "run",
        "--name",
        "a",
        "--port",
        "1",
        "--server",
        "http://127.0.0.1:9",
        "--",
        "python3",
        "-c",
        PROGRAM,
        "0",
        "1",
    ]);
    let mut child = pty.slave.spawn_command(command).expect("it starts");
    let pid = Pid::from_raw(i32::try_from(child.process_id().expect("a process")).expect("a number")).expect("a pid");
    let mut lines = BufReader::new(pty.master.try_clone_reader().expect("a reader")).lines().map_while(Result::ok);
    let mut until = |wanted: &str| {
        let mut seen = Vec::new();
        for line in lines.by_ref() {
            if line.contains(wanted) {
                return seen;
            }
            seen.push(line);
        }
        panic!("no {wanted} in {seen:?}");
    };
    until("ready");
    let mut keys = pty.master.take_writer().expect("a writer");
    std::io::Write::write_all(&mut keys, b"\x03").expect("a key");
    until("SIGINT");
    // A second SIGINT would have been sent before this.
    kill_process(pid, Signal::USR1).expect("it runs");
    let between = until("SIGUSR1");
    assert!(!between.iter().any(|line| line.contains("SIGINT")), "{between:?}");
    kill_process(pid, Signal::INT).expect("it runs");
    until("SIGINT");
    kill_process(pid, Signal::TERM).expect("it runs");
    until("SIGTERM");
    assert_eq!(child.wait().expect("it ends").exit_code(), 3);
}

/// Says that it is ready, and at SIGHUP writes that into a file and ends with code 4; by itself it ends some time later.
const HANGS_UP: &str = r#"
import os, signal, sys, time
def heard(number, _):
    os.write(os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT), b"SIGHUP")
    os._exit(4)
signal.signal(signal.SIGHUP, heard)
print("ready", flush=True)
time.sleep(300)
"#;

#[test]
fn a_terminal_that_closes_reaches_the_program() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("heard");
    let pty = NativePtySystem::default().openpty(PtySize::default()).expect("a terminal");
    let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_portolan"));
    command.args(["run", "--name", "a", "--port", "1", "--server", "http://127.0.0.1:9", "--"]);
    command.args(["python3", "-c", HANGS_UP, file.to_str().expect("UTF-8")]);
    let mut child = pty.slave.spawn_command(command).expect("it starts");
    drop(pty.slave);
    let mut lines = BufReader::new(pty.master.try_clone_reader().expect("a reader")).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("ready")));
    // With them, the terminal closes.
    drop((lines, pty.master));
    let ended = polled("it ends", || child.try_wait().expect("it is ours"));
    assert_eq!(ended.exit_code(), 4);
    assert_eq!(std::fs::read_to_string(&file).expect("the program heard of it"), "SIGHUP");
}

#[test]
fn nobody_finds_a_program_that_was_asked_to_stop() {
    let server = Server::start(&[]);
    let port = free_port();
    let mut run = Run::start(&server.url, &["--port", &port.to_string()], &program(port, 2));
    wait_for(&server, "healthy");
    run.signal(Signal::TERM);
    assert_eq!([run.line(), run.line()], ["ready", "SIGTERM"]);
    wait_for(&server, "gone");
    assert_eq!(run.child.try_wait().expect("a state"), None, "it still runs");
    // What is not asked to stop stays: other signals deregister nothing.
    run.signal(Signal::TERM);
    assert_eq!(run.code(), 3);
}

#[test]
fn a_program_that_ignores_the_request_is_registered_again() {
    let server = Server::start(&[]);
    let port = free_port();
    let run = Run::start(&server.url, &["--port", &port.to_string()], &program(port, NEVER));
    wait_for(&server, "healthy");
    run.signal(Signal::HUP);
    run.signal(Signal::TERM);
    wait_for(&server, "gone");
    let began = std::time::Instant::now();
    wait_for(&server, "healthy");
    run.note("it still runs 30 s after it was asked to stop: registering it again");
    assert!(began.elapsed() < PATIENCE);
}
