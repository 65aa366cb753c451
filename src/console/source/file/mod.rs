//! The store's file on this machine. A commit is visible within 300 ms, without any request to the server.
//!
//! In: the file, and requests. Out: events. In order: this file (when to poll), `poll` (reading, on a thread that may block), `convert`.

mod convert;
mod poll;

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Abilities, Link, RECONNECT_BACKOFF, Refusal, Request, Source, SourceEvent};
use crate::console::data::ServerEvent;
use crate::model::backoff::Backoff;
use crate::model::time::UnixMs;
use crate::store::reader::FileReader;
use poll::{Lost, Poll};

/// How often the file is polled.
const POLL_INTERVAL: Duration = Duration::from_millis(150);
/// How often to check whether a server has the file open.
const SERVER_INTERVAL: Duration = Duration::from_secs(1);
/// Most events of the file that are kept.
const MAX_EVENTS: usize = 64;

/// The source of a file.
#[derive(Debug)]
pub struct FileSource {
    path: PathBuf,
}

impl FileSource {
    /// The file that the server's `DB_PATH` names; it need not exist yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }
}

impl Source for FileSource {
    fn name(&self) -> String {
        format!("file {}", self.path.display())
    }

    fn abilities(&self) -> Abilities {
        Abilities { acts: false, live_probing: false }
    }

    fn run(
        self: Box<Self>,
        events: mpsc::Sender<SourceEvent>,
        requests: mpsc::Receiver<Request>,
        stop: CancellationToken,
    ) -> BoxFuture<'static, ()> {
        let now = Instant::now();
        let follow = Follow {
            path: self.path,
            sender: events,
            reader: None,
            link: Link::Connecting,
            backoff: RECONNECT_BACKOFF,
            next: now,
            next_server: now,
            served: None,
            live_until: None,
            events: Vec::new(),
        };
        Box::pin(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                // Nobody listens any more.
                Err(Closed) = follow.run(requests) => {}
            }
        })
    }
}

/// The console is gone.
struct Closed;

struct Follow {
    path: PathBuf,
    sender: mpsc::Sender<SourceEvent>,
    /// The open file; a blocking thread borrows it for each poll.
    reader: Option<FileReader>,
    link: Link,
    backoff: Backoff,
    next: Instant,
    next_server: Instant,
    /// Whether a server had the file open at the last check.
    served: Option<bool>,
    /// When a server had the file open last: until then its data was current, however old.
    live_until: Option<UnixMs>,
    events: Vec<ServerEvent>,
}

impl Follow {
    async fn run(mut self, mut requests: mpsc::Receiver<Request>) -> Result<std::convert::Infallible, Closed> {
        loop {
            tokio::select! {
                biased;
                () = sleep_until(self.next) => self.poll().await?,
                request = requests.recv() => self.answer(request.ok_or(Closed)?).await?,
            }
        }
    }

    async fn send(&mut self, event: SourceEvent) -> Result<(), Closed> {
        self.sender.send(event).await.map_err(|_| Closed)
    }

    /// Works with the file on a thread that may block, and waits for it.
    async fn lend<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&Path, &mut Option<FileReader>) -> Result<T, Lost> + Send + 'static,
    ) -> Result<T, Lost> {
        let (mut reader, path) = (self.reader.take(), self.path.clone());
        let done = spawn_blocking(move || {
            let done = work(&path, &mut reader);
            (reader, done)
        });
        let (reader, done) = done.await.map_err(|error| Lost(format!("reading the file failed: {error}").into()))?;
        self.reader = reader;
        done
    }

    async fn poll(&mut self) -> Result<(), Closed> {
        let now = Instant::now();
        let ask_server = now >= self.next_server;
        match self.lend(move |path, reader| poll::poll(path, reader, ask_server)).await {
            Ok(poll) => self.polled(poll, now).await,
            Err(lost) => self.lost(lost).await,
        }
    }

    async fn polled(&mut self, poll: Poll, now: Instant) -> Result<(), Closed> {
        self.next = now + POLL_INTERVAL;
        self.backoff.reset();
        if poll.reopened {
            self.event(true, "the file was replaced or opened differently; everything was read again").await?;
        }
        if let Some(served) = poll.served {
            self.next_server = now + SERVER_INTERVAL;
            if self.served.replace(served).is_some_and(|before| before != served) {
                let message = if served { "a server opened the file" } else { "the server closed the file" };
                self.event(served, message).await?;
            }
        }
        if self.served == Some(true) {
            self.live_until = Some(UnixMs::wall());
        }
        let link = match self.served {
            Some(false) => {
                let why =
                    "no server has this file open: this is its last state. Start one with `portolan serve`".into();
                // The next check for it.
                let wait = self.next_server.saturating_duration_since(now);
                Link::Lost { why, retry_at: UnixMs::wall().plus(wait) }
            }
            _ => Link::Live,
        };
        // What the file says comes first: without a server it is all there is.
        if let Some(event) = poll.event {
            self.send(event).await?;
        }
        // Before the link is lost, so that the first frame shows the file's age.
        if let Some(at) = poll.written_at {
            let at = self.live_until.map_or(at, |live| live.max(at));
            self.send(SourceEvent::AsOf(at)).await?;
        }
        // The last check for the server decides whether it is there.
        if poll.served.is_some() || link == Link::Live { self.link(link).await } else { Ok(()) }
    }

    async fn lost(&mut self, Lost(why): Lost) -> Result<(), Closed> {
        let wait = self.backoff.next();
        self.next = Instant::now() + wait;
        self.next_server = self.next;
        if !matches!(&self.link, Link::Lost { why: before, .. } if *before == why) {
            self.event(false, &why).await?;
        }
        self.link(Link::Lost { why, retry_at: UnixMs::wall().plus(wait) }).await
    }

    async fn link(&mut self, link: Link) -> Result<(), Closed> {
        if self.link == link {
            return Ok(());
        }
        self.link = link.clone();
        self.send(SourceEvent::Link(link)).await
    }

    async fn event(&mut self, good: bool, message: &str) -> Result<(), Closed> {
        if self.events.len() == MAX_EVENTS {
            self.events.remove(0);
        }
        self.events.push(ServerEvent { at: UnixMs::wall(), part: "file".into(), good, message: message.into() });
        self.send(SourceEvent::Server(self.events.clone())).await
    }

    async fn answer(&mut self, request: Request) -> Result<(), Closed> {
        match request {
            Request::Probing(ids) => self.probing(ids).await,
            Request::History(id, before) => {
                match self.lend(move |_, reader| poll::history(reader.as_ref(), id, before)).await {
                    Ok(Some(event)) => self.send(event).await,
                    Err(Lost(why)) if before.is_none() => self.send(SourceEvent::NoHistory(id, why)).await,
                    // The next poll says why no file is open. An older page is requested again.
                    Ok(None) | Err(_) => Ok(()),
                }
            }
            Request::Strips(subject) => {
                let of = subject.clone();
                let answer = self.lend(move |_, reader| poll::strips(reader.as_ref(), &of)).await;
                self.send(SourceEvent::Strips(subject, answer.map_err(|Lost(why)| why))).await
            }
            Request::Shares(ids) => {
                let of = ids.clone();
                let answer = self.lend(move |_, reader| poll::shares(reader.as_ref(), &of)).await;
                self.send(SourceEvent::Shares(ids, answer.map_err(|Lost(why)| why))).await
            }
            Request::Outages(window) => {
                let answer = self.lend(move |_, reader| poll::outages(reader.as_ref(), window)).await;
                self.send(SourceEvent::Outages(window, answer.map_err(|Lost(why)| why))).await
            }
            Request::Operate(number, _) => {
                let message = "a file can only be viewed: use --server to probe, drain or deregister".into();
                self.send(SourceEvent::OperationDone(number, Err(Refusal { code: Box::default(), message }))).await
            }
            Request::Retry => {
                self.backoff.reset();
                (self.next, self.next_server) = (Instant::now(), Instant::now());
                Ok(())
            }
        }
    }

    async fn probing(&mut self, ids: Vec<Uuid>) -> Result<(), Closed> {
        match self.lend(move |_, reader| poll::probing(reader.as_ref(), &ids)).await {
            Ok(known) => {
                for event in known {
                    self.send(event).await?;
                }
                Ok(())
            }
            Err(Lost(why)) => self.send(SourceEvent::NoProbing(why)).await,
        }
    }
}
