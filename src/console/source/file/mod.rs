//! The store's file on this machine: what the server committed is seen within 300 ms, without the server's help.

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

use super::{Abilities, Backoff, Link, Refusal, Request, Source, SourceEvent};
use crate::console::data::ServerEvent;
use crate::model::time::UnixMs;
use crate::store::reader::FileReader;
use poll::{Look, Lost};

/// Time between two looks at the file.
const LOOK: Duration = Duration::from_millis(150);
/// Time between two looks for the server.
const SERVER: Duration = Duration::from_secs(1);
/// Events of the file that are kept.
const EVENTS: usize = 64;

/// The source of a file.
#[derive(Debug)]
pub struct FileSource {
    path: PathBuf,
}

impl FileSource {
    /// Of the file that the server's `DB_PATH` names; it need not be there yet.
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
        news: mpsc::Sender<SourceEvent>,
        asks: mpsc::Receiver<Request>,
        stop: CancellationToken,
    ) -> BoxFuture<'static, ()> {
        let now = Instant::now();
        let follow = Follow {
            path: self.path,
            news,
            reader: None,
            link: Link::Connecting,
            backoff: Backoff::default(),
            next: now,
            next_server: now,
            served: None,
            events: Vec::new(),
        };
        Box::pin(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                // Nobody listens any more.
                Err(Closed) = follow.run(asks) => {}
            }
        })
    }
}

/// The console is gone.
struct Closed;

struct Follow {
    path: PathBuf,
    news: mpsc::Sender<SourceEvent>,
    /// The open file; it is lent to a blocking thread for each look, and taken back.
    reader: Option<FileReader>,
    link: Link,
    backoff: Backoff,
    next: Instant,
    next_server: Instant,
    /// Whether a server had the file open when that was looked at last.
    served: Option<bool>,
    events: Vec<ServerEvent>,
}

impl Follow {
    async fn run(mut self, mut asks: mpsc::Receiver<Request>) -> Result<std::convert::Infallible, Closed> {
        loop {
            tokio::select! {
                biased;
                () = sleep_until(self.next) => self.look().await?,
                ask = asks.recv() => self.answer(ask.ok_or(Closed)?).await?,
            }
        }
    }

    async fn tell(&mut self, news: SourceEvent) -> Result<(), Closed> {
        self.news.send(news).await.map_err(|_| Closed)
    }

    /// Does something with the file on a thread that may block, and waits for it.
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

    async fn look(&mut self) -> Result<(), Closed> {
        let now = Instant::now();
        let ask_server = now >= self.next_server;
        match self.lend(move |path, reader| poll::look(path, reader, ask_server)).await {
            Ok(look) => self.seen(look, now).await,
            Err(lost) => self.lost(lost).await,
        }
    }

    async fn seen(&mut self, look: Look, now: Instant) -> Result<(), Closed> {
        self.next = now + LOOK;
        self.backoff.reset();
        if look.replaced {
            self.event(true, "the file was made anew or opened in another way; everything was read again").await?;
        }
        if let Some(served) = look.served {
            self.next_server = now + SERVER;
            if self.served.replace(served).is_some_and(|before| before != served) {
                let message = if served { "a server opened the file" } else { "the server closed the file" };
                self.event(served, message).await?;
            }
        }
        let link = match self.served {
            Some(false) => {
                let why = "no server has this file open: shown is what it left. Start it with `portolan serve`".into();
                // The next look for it.
                let wait = self.next_server.saturating_duration_since(now);
                Link::Lost { why, retry_at: UnixMs::wall().plus(wait) }
            }
            _ => Link::Live,
        };
        // Whether the server is there is known only as of the last look for it.
        if look.served.is_some() || link == Link::Live {
            self.link(link).await?;
        }
        match look.news {
            Some(news) => self.tell(news).await,
            None => Ok(()),
        }
    }

    async fn lost(&mut self, Lost(why): Lost) -> Result<(), Closed> {
        let wait = self.backoff.wait();
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
        self.tell(SourceEvent::Link(link)).await
    }

    async fn event(&mut self, good: bool, message: &str) -> Result<(), Closed> {
        if self.events.len() == EVENTS {
            self.events.remove(0);
        }
        self.events.push(ServerEvent { at: UnixMs::wall(), part: "file".into(), good, message: message.into() });
        self.tell(SourceEvent::Server(self.events.clone())).await
    }

    async fn answer(&mut self, ask: Request) -> Result<(), Closed> {
        match ask {
            Request::Probing(ids) => self.probing(ids).await,
            Request::History(id, before) => {
                match self.lend(move |_, reader| poll::history(reader.as_ref(), id, before)).await {
                    Ok(Some(news)) => self.tell(news).await,
                    // The next look says why there is no answer.
                    Ok(None) | Err(_) => Ok(()),
                }
            }
            Request::Operate(number, _) => {
                let message = "a file cannot act: give --server to probe, drain or deregister".into();
                self.tell(SourceEvent::Done(number, Err(Refusal { code: Box::default(), message }))).await
            }
            Request::Retry => {
                self.backoff.reset();
                (self.next, self.next_server) = (Instant::now(), Instant::now());
                Ok(())
            }
        }
    }

    async fn probing(&mut self, ids: Vec<Uuid>) -> Result<(), Closed> {
        let Ok(known) = self.lend(move |_, reader| poll::probing(reader.as_ref(), &ids)).await else { return Ok(()) };
        for news in known {
            self.tell(news).await?;
        }
        Ok(())
    }
}
