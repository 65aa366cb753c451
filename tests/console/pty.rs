//! The program in a real pseudo-terminal, against a real server.

use std::time::Duration;

use portable_pty::CommandBuilder;
use portolan::console::run::{Start, run};
use portolan::console::source::{Abilities, Link, Request, Source, SourceEvent};
use portolan::console::state::{Options, ThemeName};
use rustix::process::Signal;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::terminal::{Server, Terminal};

const SIZE: (u16, u16) = (100, 30);
/// Set in the child that panics.
const PANICS: &str = "PORTOLAN_TEST_PANICS";

fn server() -> Server {
    Server::start(env!("CARGO_BIN_EXE_portolan").into())
}

fn console(server: &Server) -> Terminal {
    Terminal::start(server.console(&["--server", &server.url()]), SIZE)
}

/// A port on which nothing listens.
const CLOSED: u16 = 1;

#[test]
fn from_the_start_to_the_end() {
    let server = server();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    server.register("users", listener.local_addr().expect("an address").port());
    server.register("orders", CLOSED);
    let mut t = console(&server);
    t.wait_for("LIVE");
    t.wait_for("✖ down 1");
    t.wait_for("● healthy 1");
    t.keys("/orders\r");
    t.wait_for("1 of 2");
    t.keys("\r");
    t.wait_for("default/orders instances");
    t.wait_for(" refused");
    t.keys("\r\r");
    t.wait_for("WHERE IT BROKE");
    t.keys("p");
    t.wait_for("probe orders: default: nothing listens on 127.0.0.1:");
    t.resize((60, 16));
    t.wait_for("explain default/orders");
    t.keys("qqq");
    t.wait_for("overview");
    t.keys("q");
    t.wait_for("Quit?");
    t.keys("\r");
    assert!(t.ended().success());
    t.becomes_clean();
}

#[test]
fn a_terminal_that_does_not_say_how_large_it_is_gets_a_usual_frame() {
    let server = server();
    server.register("users", CLOSED);
    let mut t = Terminal::start(server.console(&["--server", &server.url()]), (0, 0));
    t.wait_for("✖ down 1");
    t.wait_for("Enter open");
    t.resize((100, 30));
    t.wait_for("X explain");
    t.keys("\u{3}");
    assert!(t.ended().success());
    t.becomes_clean();

    let mut t = Terminal::start(server.console(&["--server", &server.url(), "--once"]), (0, 0));
    assert!(t.ended().success());
    t.wait_for("Enter open");
    let raw = String::from_utf8_lossy(&t.shown().raw).into_owned();
    assert_eq!(raw.lines().count(), 40, "{raw}");
    assert!(raw.contains("✖ down 1") && raw.lines().any(|line| line.chars().count() > 80), "{raw}");
}

#[test]
fn a_url_among_the_labels_is_a_link_and_takes_no_cell() {
    let server = server();
    server.register_with("users", CLOSED, &["--meta", "runbook=https://wiki.example/users"]);
    let mut t = console(&server);
    t.wait_for("users");
    t.keys("\r\r");
    t.wait_for("runbook=https://wiki.example/users");
    let raw = String::from_utf8_lossy(&t.shown().raw).into_owned();
    let at = raw.find("\x1b]8;;https://wiki.example/users\x1b\\").expect("the link begins");
    let rest = &raw[at..];
    assert!(rest.contains("https://wiki.example/users\x1b") && rest.contains("\x1b]8;;\x1b\\"), "and ends");
    t.keys("\u{3}");
    assert!(t.ended().success());
    t.becomes_clean();
}

#[test]
fn a_row_whose_link_changes_is_drawn_whole() {
    let server = server();
    let names = ["alpha", "bravo", "delta", "gamma"];
    let target = |name: &str| format!("https://wiki.example/{}/{name}", "a".repeat(100));
    for name in names {
        server.register_with(name, CLOSED, &["--meta", &format!("runbook={}", target(name))]);
    }
    let mut t = Terminal::start(server.console(&["--server", &server.url()]), (200, 50));
    let in_order = |text: &str, wanted: &[&str]| {
        let rows: Vec<&str> = text.lines().filter_map(|line| Some(&line[..line.find("https://wiki")?])).collect();
        rows.len() == wanted.len() && rows.iter().zip(wanted).all(|(row, name)| row.contains(name))
    };
    t.wait_for("✖ down 4");
    t.keys(":cols runbook\r:sort name\r");
    t.wait("by name", |text| in_order(text, &names));
    let before = t.shown().raw.len();
    t.keys("I");
    let inverted: Vec<&str> = names.into_iter().rev().collect();
    t.wait("the other way round", |text| in_order(text, &inverted));
    let raw = String::from_utf8_lossy(&t.shown().raw[before..]).into_owned();
    for name in names {
        assert!(raw.contains(&format!("\x1b]8;;{}\x1b\\", target(name))), "{name}, whose cells show the same: {raw:?}");
    }
    t.keys("\u{3}");
    assert!(t.ended().success());
    t.becomes_clean();
}

#[test]
fn a_server_that_goes_and_comes_back() {
    let mut server = server();
    server.register("users", CLOSED);
    let mut t = console(&server);
    t.wait_for("users");
    server.kill();
    t.wait_for("STALE");
    assert!(t.text().contains("users"), "what was known is still shown");
    server.restart();
    t.wait_for("LIVE");
    server.register("orders", CLOSED);
    t.wait_for("orders");
    t.keys("\u{3}");
    assert!(t.ended().success());
    t.becomes_clean();
}

#[test]
fn server_events_are_shown() {
    let server = server();
    server.register("users", CLOSED);
    let mut t = console(&server);
    t.wait_for("LIVE");
    t.keys("E");
    t.wait_for("started; serving requests");
    server.lose_file();
    t.wait_for("writes fail: the store's file was deleted");
    t.keys("q");
    t.wait_for("users");
}

#[test]
fn signals_end_it_and_leave_the_terminal_clean() {
    let server = server();
    for signal in [Signal::TERM, Signal::HUP] {
        let mut t = console(&server);
        t.wait_for("LIVE");
        assert!(!t.is_clean(), "the second screen is in use");
        t.signal(signal);
        t.ended();
        t.becomes_clean();
    }
}

/// Several at once, since it is up to chance which thread reads the dead terminal, and may spin there.
#[test]
fn a_terminal_that_hangs_up_ends_it() {
    let server = server();
    let consoles: Vec<_> = (0..16).map(|_| console(&server)).collect();
    for t in &consoles {
        t.wait_for("LIVE");
    }
    let leaving: Vec<_> = consoles.into_iter().map(|t| std::thread::spawn(|| t.hang_up())).collect();
    let mut left: Vec<_> = leaving.into_iter().map(|leaves| leaves.join().expect("it hangs up")).collect();
    let began = std::time::Instant::now();
    while !left.is_empty() {
        assert!(began.elapsed() < Duration::from_mins(2), "{} go on without a terminal", left.len());
        left.retain_mut(|child| child.try_wait().expect("it is ours").is_none());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn an_unchanged_screen_costs_no_byte() {
    let server = server();
    let t = console(&server);
    t.wait_for("nothing is registered yet");
    // What follows the first frame has two seconds to come.
    std::thread::sleep(Duration::from_secs(2));
    let before = t.shown().bytes;
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(t.shown().bytes - before, 0);
}

/// A source that panics at a request to try again.
struct Panics;

impl Source for Panics {
    fn name(&self) -> String {
        "nothing".to_owned()
    }

    fn abilities(&self) -> Abilities {
        Abilities { acts: false, live_probing: true }
    }

    fn run(
        self: Box<Self>,
        events: mpsc::Sender<SourceEvent>,
        mut requests: mpsc::Receiver<Request>,
        _: CancellationToken,
    ) -> futures::future::BoxFuture<'static, ()> {
        Box::pin(async move {
            events.send(SourceEvent::Link(Link::Live)).await.expect("received");
            while requests.recv().await != Some(Request::Retry) {}
            panic!("on request");
        })
    }
}

/// Runs this test again in a terminal, where it is a console with a source that panics.
#[test]
fn a_panic_restores_the_terminal_before_it_prints() {
    if std::env::var_os(PANICS).is_some() {
        let options = Options { theme: ThemeName::Normal, ..Options::default() };
        let start = Start { source: Box::new(Panics), options, namespace: None, filter: None, memory: None };
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let ended = runtime.block_on(run(start, CancellationToken::new()));
        assert!(ended.is_err(), "a source that ended is an error");
        return;
    }
    let mut command = CommandBuilder::new(std::env::current_exe().expect("this binary"));
    command.args(["--exact", "pty::a_panic_restores_the_terminal_before_it_prints", "--nocapture"]);
    command.env(PANICS, "1");
    // A long trace would scroll the message off the screen.
    command.env("RUST_BACKTRACE", "0");
    command.env("TERM", "xterm-256color");
    let mut t = Terminal::start(command, SIZE);
    t.wait_for("LIVE");
    t.keys("\u{12}");
    t.wait_for("on request");
    assert!(t.ended().success(), "{}", t.text());
    t.becomes_clean();
}
