//! What a source says besides its data: that a server refuses evidence or answers late, and how old a file is.

use std::sync::Arc;
use std::time::Duration;

use portolan::console::app::Effect;
use portolan::console::source::api::ApiSource;
use portolan::console::source::{Abilities, Link, Operation, Request, Source, SourceEvent};
use portolan::console::state::State;
use portolan::wire::{Checked, OneService, Refusal, Service};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::scene::{CART, CHECKOUT, NOON, TestConsole, ago, cast, history, options, passed, probing};
use crate::server_client::To;

const SIZE: (u16, u16) = (120, 60);
/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_mins(2);
/// How long a client may be set to wait.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(1);
const WHY: &str = "the token has expired: log in again";

/// Answers a probe later than [`CLIENT_TIMEOUT`], and refuses everything else.
async fn answer(mut stream: TcpStream) {
    let mut head = [0; 4096];
    let read = stream.read(&mut head).await.unwrap_or_default();
    let (status, body) = if head[..read].starts_with(b"POST") {
        sleep(CLIENT_TIMEOUT * 3).await;
        let checked = Checked { instance: "a".into(), outcome: Some(passed(1).into()), ..Checked::default() };
        let service = Service::default();
        let message = "probed".into();
        let all = OneService { success: true, message, data: service, warnings: None, checks: Some(vec![checked]) };
        ("200 OK", serde_json::to_string(&all))
    } else {
        let (error, hint) = ("the token has expired".to_owned(), Some("log in again".to_owned()));
        let refusal = Refusal { error, hint, code: "token_expired".into(), ..Refusal::default() };
        ("401 Unauthorized", serde_json::to_string(&refusal))
    };
    let body = body.expect("JSON");
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    // The client may be gone.
    let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
}

/// The first event that `wanted` accepts after these requests to such a server, from a client that waits so long.
async fn after<T>(client_timeout: Duration, requests: Vec<Request>, wanted: impl Fn(SourceEvent) -> Option<T>) -> T {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let http = portolan::crypto::http_client().no_proxy().timeout(client_timeout).build().expect("a client");
    let to = Arc::new(To(listener.local_addr().expect("an address"), http));
    let ((sender, mut events), (asks, asked)) = (mpsc::channel(256), mpsc::channel(64));
    let source = Box::new(ApiSource::new(to)).run(sender, asked, CancellationToken::new());
    let serving = async {
        loop {
            tokio::spawn(answer(listener.accept().await.expect("a connection").0));
        }
    };
    let asking = async {
        for request in requests {
            asks.send(request).await.expect("it takes requests");
        }
        loop {
            if let Some(found) = wanted(events.recv().await.expect("the source goes on")) {
                return found;
            }
        }
    };
    let found = async {
        tokio::select! {
            found = asking => found,
            () = source => panic!("a source does not end by itself"),
            () = serving => unreachable!("it serves for ever"),
        }
    };
    timeout(PATIENCE, found).await.expect("an event")
}

#[tokio::test]
async fn refused_evidence_is_reported_in_the_servers_words() {
    let why = after(PATIENCE, vec![Request::Probing(vec![CART])], |event| match event {
        SourceEvent::NoProbing(why) => Some(why),
        _ => None,
    });
    assert_eq!(&*why.await, WHY);
    let (id, why) = after(PATIENCE, vec![Request::History(CART, None)], |event| match event {
        SourceEvent::NoHistory(id, why) => Some((id, why)),
        _ => None,
    })
    .await;
    assert_eq!((id, &*why), (CART, WHY));
}

#[tokio::test]
async fn a_probe_may_take_longer_than_other_requests() {
    let done = after(CLIENT_TIMEOUT, vec![Request::Operate(1, Operation::Observe(CART))], |event| match event {
        SourceEvent::OperationDone(1, done) => Some(done),
        _ => None,
    });
    let how = done.await.expect("an answer").how;
    assert!(how.starts_with("a: passed"), "{how}");
}

#[tokio::test]
async fn what_is_shown_does_not_wait_for_probes() {
    let probes = (0..100).map(|number| Request::Operate(number, Operation::Observe(CART)));
    let requests = probes.chain([Request::History(CART, None)]).collect();
    let first = after(PATIENCE, requests, |event| match event {
        SourceEvent::OperationDone(..) => Some("a probe"),
        SourceEvent::NoHistory(..) => Some("the history"),
        _ => None,
    });
    assert_eq!(first.await, "the history");
}

fn requests(effects: &[Effect]) -> Vec<&Request> {
    effects
        .iter()
        .filter_map(|effect| if let Effect::Request(request) = effect { Some(request) } else { None })
        .collect()
}

#[test]
fn refused_evidence_is_in_the_header_and_in_place_of_what_is_awaited() {
    let mut console = TestConsole::loaded(SIZE);
    console.keys("/name=cart\n\nX");
    console.tick(1000);
    assert!(console.text().contains("waiting for the answer"), "{}", console.text());
    console.receive(SourceEvent::NoProbing(WHY.into()));
    console.receive(SourceEvent::NoHistory(CART, WHY.into()));
    assert!(console.text().contains(&format!("not known: {WHY}")), "{}", console.text());
    assert!(!console.text().contains("waiting for the answer"), "{}", console.text());
    assert!(requests(&console.tick(2000)).is_empty(), "not at once again");
    let again = console.tick(4000);
    assert!(requests(&again).contains(&&Request::Probing(vec![CART])), "{again:?}");
    assert!(requests(&again).contains(&&Request::History(CART, None)), "{again:?}");
    console.receive(SourceEvent::NoProbing("the server wants a token".into()));
    console.tick(15_000);
    let text = console.text();
    assert!(text.contains("LIVE, EVIDENCE REFUSED 14s") && text.contains("not known: the server wants"), "{text}");
    console.keys("T");
    assert!(console.text().contains(&format!("the history is not known: {WHY}")), "{}", console.text());
    console.keys("d");
    let text = console.text();
    assert!(text.contains("  not known: the server wants") && text.contains(&format!("  not known: {WHY}")), "{text}");
    console.receive(SourceEvent::Probing(CART, None));
    assert!(console.text().contains("EVIDENCE REFUSED"), "its changes are still refused: {}", console.text());
    console.receive(SourceEvent::History(CART, vec![], None));
    let text = console.text();
    assert!(!text.contains("REFUSED") && !text.contains("not known: ") && text.contains("none since"), "{text}");
}

#[test]
fn old_evidence_says_that_newer_is_refused() {
    let mut console = TestConsole::loaded(SIZE);
    console.keys("/name=checkout\nX");
    console.receive(SourceEvent::NoProbing(WHY.into()));
    let text = console.text();
    assert!(text.contains(&format!("newer probes are not known: {WHY}")) && text.contains("LAST GOOD"), "{text}");
    console.keys("d");
    console.receive(SourceEvent::NoHistory(CHECKOUT, WHY.into()));
    let text = console.text();
    for said in ["newer probes are not known", "newer ones are not known", "p50 / p99", "11:55:48Z"] {
        assert!(text.contains(said), "{said}: {text}");
    }
    // A service whose history is not on the screen.
    console.receive(SourceEvent::Probing(CHECKOUT, Some(Box::new(probing()))));
    console.keys("1");
    assert!(!console.text().contains("REFUSED"), "{}", console.text());
    // A server that comes back is asked again.
    console.receive(SourceEvent::NoProbing(WHY.into()));
    let lost = Link::Lost { why: "the server does not answer".into(), retry_at: NOON };
    console.receive(SourceEvent::Link(lost));
    assert!(!console.text().contains("REFUSED"), "{}", console.text());
    console.receive(SourceEvent::Link(Link::Live));
    assert!(console.text().contains("LIVE") && !console.text().contains("REFUSED"), "{}", console.text());
}

#[test]
fn a_history_without_an_answer_is_requested_again_soon() {
    let mut console = TestConsole::loaded(SIZE);
    console.keys("/name=cart\nT");
    let asks =
        |console: &mut TestConsole, millis| requests(&console.tick(millis)).contains(&&Request::History(CART, None));
    assert!(asks(&mut console, 250));
    assert!(!asks(&mut console, 3000), "an answer may still come");
    assert!(asks(&mut console, 3250));
    console.receive(SourceEvent::History(CART, history(0), None));
    assert!(!asks(&mut console, 33_000), "it is not old yet");
    assert!(asks(&mut console, 33_250));
}

#[test]
fn a_file_without_a_server_is_as_old_as_its_last_write() {
    let abilities = Abilities { acts: false, live_probing: false };
    let mut console = TestConsole::with(State::new("file /p.db", abilities, options(), SIZE, NOON));
    let lost = || Link::Lost { why: "no server has this file open".into(), retry_at: NOON };
    console.receive(SourceEvent::Snapshot(cast()));
    console.receive(SourceEvent::AsOf(ago(3 * 86_400 + 5 * 3600)));
    console.receive(SourceEvent::Link(lost()));
    assert!(console.text().contains("STALE 3 d 5 h, retry"), "{}", console.text());
    console.receive(SourceEvent::Link(Link::Live));
    console.receive(SourceEvent::AsOf(ago(86_400)));
    console.receive(SourceEvent::Link(lost()));
    console.tick(5000);
    assert!(console.text().contains("STALE 5 s, retry"), "it was live until then: {}", console.text());
}
