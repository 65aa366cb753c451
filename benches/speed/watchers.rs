//! Ten thousand watchers, and as many long polls: the cost of each while nothing happens, and how long a change takes to reach the last of
//! them.

use std::cell::RefCell;
use std::io::ErrorKind;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use futures::{StreamExt, TryStreamExt};
use measure::{median, percentile};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::LocalSet;

use crate::Plan;
use crate::process::Server;

const WATCHERS: usize = 10_000;
/// Watchers per address: a client may use a share of the connections.
const PER_ADDRESS: usize = 100;
/// Connections opened at once.
const OPENING: usize = 64;
/// With this many descriptors a server grants that many connections to watchers.
const NEEDED: u64 = 19_000;
/// Descriptors that a server keeps for probes.
const PROBES: u64 = 1024;
/// Descriptors for everything but the watchers.
const BESIDE: u64 = 200;
const PATIENCE: Duration = Duration::from_mins(1);
/// The text before the number of a change in its event.
const MARK: &[u8] = b"\"version\":\"9.9.";

/// How a client learns of changes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// An event stream.
    Watch,
    /// A request that waits, and another one after each answer.
    Poll,
}

/// When watchers received which change.
#[derive(Default)]
struct Seen {
    change: usize,
    at: Vec<Instant>,
}

/// The figures of one server.
struct Figures {
    kb_each: f64,
    half: f64,
    last: f64,
}

/// Runs the benchmark.
pub(crate) fn run(plan: Plan) -> Result<()> {
    let watchers = allowed()?;
    let folder = tempfile::tempdir()?;
    let settings = [("PORTOLAN_RATE_LIMIT_PER_MINUTE", "0"), ("PORTOLAN_READ_RATE_LIMIT_PER_MINUTE", "0")];
    let measured = |kind| {
        let file = tempfile::tempdir_in(&folder)?;
        measure_one(&Server::portolan(&file.path().join("watchers.db"), &settings)?, kind, watchers, plan.rounds)
    };
    let (ours, polls) = (measured(Kind::Watch)?, measured(Kind::Poll)?);
    let bare = measure_one(&Server::role(&["broadcast"])?, Kind::Watch, watchers, plan.rounds)?;
    let ms = |value: f64| format!("{value:.0} ms");
    let kb = |value: f64| format!("{value:.1} KB");
    let rows = [
        vec!["memory of an idle watcher".into(), kb(ours.kb_each), kb(bare.kb_each), "≤ 20 KB".into()],
        vec!["a change to half of them, median".into(), ms(ours.half), ms(bare.half), String::new()],
        vec!["a change to all of them, median".into(), ms(ours.last), ms(bare.last), "≤ 200 ms".into()],
    ];
    let title = format!("{watchers} watchers");
    measure::print(&title, &["figure", "Portolan", "a bare loop that writes the event to all", "goal"], &rows);
    let rows = [
        vec!["memory of an idle long poll".into(), kb(polls.kb_each), "≤ 20 KB".into()],
        vec!["a change to half of them, median".into(), ms(polls.half), String::new()],
        vec!["a change to all of them, median".into(), ms(polls.last), String::new()],
    ];
    measure::print(&format!("{watchers} long polls"), &["figure", "Portolan", "goal"], &rows);
    Ok(())
}

/// How many watchers this machine's descriptor limit allows: a server uses four fifths of it for probes and connections, and three quarters of
/// the connections for watchers. Raises the limit if it may.
fn allowed() -> Result<usize> {
    let wanted = Rlimit { current: Some(NEEDED), maximum: Some(NEEDED) };
    let had = getrlimit(Resource::Nofile);
    if had.maximum.is_some_and(|most| most < NEEDED) {
        // Without the permission to raise it, the bench continues with fewer watchers.
        let _ = setrlimit(Resource::Nofile, wanted);
    }
    let limit = getrlimit(Resource::Nofile).maximum.unwrap_or(NEEDED);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(limit), maximum: Some(limit) });
    Ok(WATCHERS.min(usize::try_from((limit / 5 * 4).saturating_sub(PROBES) / 4 * 3 - BESIDE)?))
}

fn measure_one(server: &Server, kind: Kind, watchers: usize, rounds: usize) -> Result<Figures> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        change(&server.url, 0).await?;
        let before = server.resident_mb()?;
        let seen = Rc::new(RefCell::new(Seen::default()));
        let open = futures::stream::iter(0..watchers).map(|n| open(&server.url, kind, n)).buffer_unordered(OPENING);
        let open: Vec<TcpStream> = open.try_collect().await?;
        let kb_each = (server.resident_mb()? - before) * 1e3 / count(watchers);
        for stream in open {
            tokio::task::spawn_local(watch(stream, kind, Rc::clone(&seen)));
        }
        let (mut half, mut last) = (Vec::new(), Vec::new());
        for n in 1..=rounds {
            *seen.borrow_mut() = Seen { change: n, at: Vec::with_capacity(watchers) };
            let began = Instant::now();
            change(&server.url, n).await?;
            while seen.borrow().at.len() < watchers {
                ensure!(began.elapsed() < PATIENCE, "{} of {watchers} saw a change", seen.borrow().at.len());
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let took: Vec<f64> = seen.borrow().at.iter().map(|at| (*at - began).as_secs_f64() * 1e3).collect();
            half.push(percentile(took.iter().copied(), 50));
            last.push(percentile(took, 100));
        }
        Ok(Figures { kb_each, half: median(half), last: median(last) })
    })
}

#[expect(clippy::cast_precision_loss, reason = "ten thousand")]
fn count(watchers: usize) -> f64 {
    watchers as f64
}

/// Registers the `n`th version of a service.
async fn change(url: &str, n: usize) -> Result<()> {
    let body = serde_json::json!({
        "name": "beat", "version": format!("9.9.{n}"), "base_url": "http://127.0.0.1:9",
        "check": {"tcp": {}, "interval_seconds": 86_400}, "metadata": {"team": "core"},
    });
    let client = portolan::crypto::http_client().no_proxy().build()?;
    client.post(format!("{url}/api/v1/services/register")).json(&body).send().await?.error_for_status()?;
    Ok(())
}

/// Opens the `n`th watch and reads the initial state; a long poll then waits.
async fn open(url: &str, kind: Kind, n: usize) -> Result<TcpStream> {
    let server = url.strip_prefix("http://").context("an address")?;
    let client = n / PER_ADDRESS;
    let from = std::net::Ipv4Addr::new(127, 1, u8::try_from(client / 250)?, u8::try_from(client % 250 + 1)?);
    let socket = TcpSocket::new_v4()?;
    socket.bind((from, 0).into())?;
    let mut stream = socket.connect(server.parse()?).await?;
    let target = match kind {
        Kind::Watch => "/api/v1/watch",
        Kind::Poll => "/api/v1/services/discover?name=beat&wait=1s",
    };
    stream.write_all(format!("GET {target} HTTP/1.1\r\nHost: {server}\r\n\r\n").as_bytes()).await?;
    let (mut read, mut piece) = (Vec::new(), [0; 4096]);
    while !has(&read, MARK) {
        match tokio::time::timeout(PATIENCE, stream.read(&mut piece)).await?? {
            0 => bail!("a watch ended: {}", String::from_utf8_lossy(&read)),
            n => read.extend_from_slice(&piece[..n]),
        }
    }
    if kind == Kind::Poll {
        stream.write_all(next_poll(&read)?.as_bytes()).await?;
    }
    Ok(stream)
}

/// Notes when the awaited change arrives.
async fn watch(mut stream: TcpStream, kind: Kind, seen: Rc<RefCell<Seen>>) -> Result<()> {
    let mut piece = [0; 16 * 1024];
    loop {
        stream.readable().await?;
        let read = match stream.try_read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(n) => &piece[..n],
            Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error.into()),
        };
        let change = seen.borrow().change;
        if has(read, format!("\"version\":\"9.9.{change}\"").as_bytes()) {
            seen.borrow_mut().at.push(Instant::now());
        }
        if kind == Kind::Poll {
            stream.write_all(next_poll(read)?.as_bytes()).await?;
        }
    }
}

/// The request that waits for another answer than this one.
fn next_poll(answer: &[u8]) -> Result<String> {
    let head = String::from_utf8_lossy(answer);
    let cursor = head.lines().find_map(|line| line.strip_prefix("portolan-cursor: ")).context("a cursor")?;
    let target = format!("/api/v1/services/discover?name=beat&wait=5m&cursor={cursor}");
    Ok(format!("GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"))
}

fn has(text: &[u8], part: &[u8]) -> bool {
    memchr::memmem::find(text, part).is_some()
}

/// The minimal program for the same task: keeps every watcher's connection, and writes each posted body to all of them.
pub(crate) async fn broadcast(listener: TcpListener) -> Result<()> {
    let (mut watchers, mut newest) = (Vec::new(), Vec::new());
    loop {
        let (mut stream, _) = listener.accept().await?;
        let head = read_request(&mut stream).await?;
        if head.starts_with(b"GET") {
            stream.try_write(&newest)?;
            watchers.push(stream);
            continue;
        }
        newest = [b"event: change\ndata: ".as_slice(), &head, b"\n\n"].concat();
        for watcher in &watchers {
            let watcher: &TcpStream = watcher;
            watcher.try_write(&newest)?;
        }
        stream.try_write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")?;
    }
}

/// Reads a request up to the end of its head or of its JSON.
async fn read_request(stream: &mut TcpStream) -> Result<Vec<u8>> {
    let mut read = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let n = stream.read(&mut piece).await?;
        ensure!(n > 0, "half a request");
        read.extend_from_slice(&piece[..n]);
        let end = if read.starts_with(b"GET") { b"\r\n\r\n".as_slice() } else { b"}" };
        if read.ends_with(end) {
            return Ok(read);
        }
    }
}
