//! A server's API: a watch for changes, and single requests.
//!
//! In: requests of the console. Out: events. In order: this file (the watch), `sse` (its events), `requests` (single requests), `past` (availability and outages), [`read`] and
//! `memory` (bounds on what a server may send).

mod memory;
mod past;
pub mod read;
mod requests;
mod sse;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Abilities, Link, RECONNECT_BACKOFF, Request, Source, SourceEvent};
use crate::console::data::{ServerEvent, Service};
use crate::model::backoff::Backoff;
use crate::model::text::escape;
use crate::model::time::UnixMs;
use crate::model::value_error::json_sentence;
use crate::wire::events;
use memory::{ServiceMemory, SnapshotParts, TooLarge, memory_of};
use sse::{Event, Parser};

/// Longest silence of a watch: the server sends a comment every 15 s.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(40);
/// Shortest time between two reports that the server was heard.
const HEARD_INTERVAL: Duration = Duration::from_secs(1);
/// Longest wait for a watch's first byte.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// Requests for data under way at once, and as many operations.
const MAX_REQUESTS: usize = 16;
/// Longest cursor that is kept, in bytes.
const MAX_CURSOR: usize = 256;
/// Largest event that is queued behind others, in bytes of its text or, if that is more, of memory. A larger one waits until all before it were
/// taken.
const SMALL_EVENT: usize = 256 * 1024;
/// Most events of the server itself that are kept; it keeps ten of each component.
const MAX_SERVER_EVENTS: usize = 128;
/// Longest message of such an event, in characters.
const MAX_MESSAGE: usize = 600;

/// Makes requests to one server, with its token.
pub trait ServerClient: Send + Sync + 'static {
    /// Where the server is: `server http://127.0.0.1:8080`, `cluster prod`.
    fn location(&self) -> String;
    /// One sentence about a request that got no answer, where more is known than `error` says.
    fn connection_error(&self, error: &reqwest::Error) -> Option<String>;
    /// A request of `api/v1/` + `path`.
    ///
    /// # Errors
    /// A sentence: the token cannot be read.
    fn request(&self, method: Method, path: &[&str], query: &[(&str, &str)]) -> Result<RequestBuilder, String>;
}

/// Which namespaces are watched.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Reach {
    /// All that the token covers.
    #[default]
    All,
    /// The server's default one.
    Default,
    /// This one.
    One(Box<str>),
}

impl Reach {
    /// The parameter `namespace` that says so; none for the default one.
    pub fn namespace(&self) -> Option<&str> {
        match self {
            Self::All => Some("*"),
            Self::Default => None,
            Self::One(name) => Some(name),
        }
    }
}

/// The source.
pub struct ApiSource {
    client: Arc<dyn ServerClient>,
    reach: Reach,
    name: Option<Box<str>>,
    retry: Arc<Notify>,
}

impl ApiSource {
    /// Watches the server of `client`.
    pub fn new(client: Arc<dyn ServerClient>) -> Self {
        Self { client, reach: Reach::All, name: None, retry: Arc::new(Notify::new()) }
    }

    /// The same, restricted to these namespaces.
    #[must_use]
    pub fn within(self, reach: Reach) -> Self {
        Self { reach, ..self }
    }

    /// The same, restricted to services of one name.
    #[must_use]
    pub fn named(self, name: Option<Box<str>>) -> Self {
        Self { name, ..self }
    }
}

impl Source for ApiSource {
    fn name(&self) -> String {
        self.client.location()
    }

    fn abilities(&self) -> Abilities {
        Abilities { acts: true, live_probing: true }
    }

    fn run(
        self: Box<Self>,
        events: mpsc::Sender<SourceEvent>,
        requests: mpsc::Receiver<Request>,
        stop: CancellationToken,
    ) -> BoxFuture<'static, ()> {
        async move {
            let reach = self.reach.clone();
            let watch = Watch {
                client: Arc::clone(&self.client),
                reach: self.reach,
                name: self.name,
                events: events.clone(),
                cursor: None,
                gathered: None,
                held: ServiceMemory::default(),
            };
            let answers = answer(self.client, reach, requests, events, Arc::clone(&self.retry));
            tokio::select! {
                () = stop.cancelled() => {}
                () = watch.keep(&self.retry) => {}
                () = answers => {}
            }
        }
        .boxed()
    }
}

/// Answers requests concurrently, a bounded number at once. Operations have a bound of their own: a probe may take a minute, and what the screen
/// shows must not wait for it.
async fn answer(
    client: Arc<dyn ServerClient>,
    reach: Reach,
    mut requests: mpsc::Receiver<Request>,
    events: mpsc::Sender<SourceEvent>,
    retry: Arc<Notify>,
) {
    let (mut under_way, mut operations) = (JoinSet::new(), JoinSet::new());
    // The console limits their number.
    let mut waiting = VecDeque::new();
    loop {
        tokio::select! {
            Some(_) = under_way.join_next() => {}
            Some(_) = operations.join_next() => {}
            request = requests.recv(), if under_way.len() < MAX_REQUESTS => match request {
                Some(request) => {
                    let (client, events) = (Arc::clone(&client), events.clone());
                    match request {
                        Request::Retry => retry.notify_one(),
                        Request::Operate(..) => waiting.push_back(requests::answer(client, request, events)),
                        Request::Strips(subject) => drop(under_way.spawn(past::strips(client, subject, events))),
                        Request::Shares(ids) => drop(under_way.spawn(past::shares(client, ids, events))),
                        Request::Outages(window) => {
                            under_way.spawn(past::outages(client, reach.clone(), window, events));
                        }
                        request => drop(under_way.spawn(requests::answer(client, request, events))),
                    }
                }
                None => return,
            },
        }
        while operations.len() < MAX_REQUESTS
            && let Some(next) = waiting.pop_front()
        {
            operations.spawn(next);
        }
    }
}

/// Why a watch ended.
enum End {
    /// Nobody listens any more.
    Closed,
    /// One sentence.
    Lost(String),
    /// The server does not know the cursor.
    UnknownCursor,
    /// The server has more than the console keeps.
    TooLarge(TooLarge),
}

struct Watch {
    client: Arc<dyn ServerClient>,
    reach: Reach,
    name: Option<Box<str>>,
    events: mpsc::Sender<SourceEvent>,
    /// Where to continue.
    cursor: Option<String>,
    /// The parts of a snapshot that is under way.
    gathered: Option<SnapshotParts>,
    /// The memory of the services that were passed on.
    held: ServiceMemory,
}

impl From<TooLarge> for End {
    fn from(why: TooLarge) -> Self {
        Self::TooLarge(why)
    }
}

/// The events of the server itself that are kept, with bounded texts.
fn kept(mut events: Vec<ServerEvent>) -> Vec<ServerEvent> {
    events.drain(..events.len().saturating_sub(MAX_SERVER_EVENTS));
    for event in &mut events {
        for (text, most) in [(&mut event.part, 64), (&mut event.message, MAX_MESSAGE)] {
            if let Some((end, _)) = text.char_indices().nth(most) {
                *text = text.get(..end).unwrap_or_default().into();
            }
        }
    }
    events.shrink_to_fit();
    events
}

impl Watch {
    /// Watches as long as somebody listens.
    async fn keep(mut self, retry: &Notify) {
        let mut backoff = RECONNECT_BACKOFF;
        loop {
            let why = match self.once(&mut backoff).await {
                End::Closed => return,
                End::UnknownCursor => {
                    self.cursor = None;
                    continue;
                }
                End::Lost(why) => why,
                End::TooLarge(why) => {
                    // Some services were not passed on, so start with a snapshot.
                    self.cursor = None;
                    why.to_string()
                }
            };
            self.gathered = None;
            let wait = backoff.next();
            let lost = Link::Lost { why: why.into(), retry_at: UnixMs::wall().plus(wait) };
            if self.events.send(SourceEvent::Link(lost)).await.is_err() {
                return;
            }
            tokio::select! {
                () = sleep(wait) => {}
                () = retry.notified() => {}
            }
        }
    }

    async fn once(&mut self, backoff: &mut Backoff) -> End {
        let mut response = match self.open().await {
            Ok(response) => response,
            Err(end) => return end,
        };
        let mut parser = Parser::default();
        let mut reported: Option<Instant> = None;
        loop {
            let piece = match timeout(SILENCE_TIMEOUT, response.chunk()).await {
                Ok(Ok(Some(piece))) => piece,
                Ok(Ok(None)) => return End::Lost("the server ended the watch; is it stopping?".to_owned()),
                Ok(Err(error)) => return End::Lost(requests::describe(&*self.client, &error)),
                Err(_) => return End::Lost(format!("the server said nothing for {} s", SILENCE_TIMEOUT.as_secs())),
            };
            if reported.is_none_or(|at| at.elapsed() >= HEARD_INTERVAL) {
                reported = Some(Instant::now());
                if self.events.send(SourceEvent::Heard).await.is_err() {
                    return End::Closed;
                }
            }
            let events = match parser.feed(&piece) {
                Ok(events) => events,
                Err(why) => return End::Lost(why.to_owned()),
            };
            for event in events {
                if let Err(end) = self.take(event, backoff).await {
                    return end;
                }
            }
        }
    }

    async fn open(&self) -> Result<Response, End> {
        let mut query: Vec<(&str, &str)> = self.reach.namespace().map(|name| ("namespace", name)).into_iter().collect();
        query.extend(self.name.as_deref().map(|name| ("name", name)));
        query.extend(self.cursor.as_deref().map(|cursor| ("cursor", cursor)));
        let request = self.client.request(Method::GET, &["watch"], &query).map_err(End::Lost)?;
        // A watch has no end; only its silence is limited.
        let sent = request.timeout(Duration::from_secs(u64::from(u32::MAX))).send();
        let response = match timeout(OPEN_TIMEOUT, sent).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(End::Lost(requests::describe(&*self.client, &error))),
            Err(_) => return Err(End::Lost(format!("no answer within {} s", OPEN_TIMEOUT.as_secs()))),
        };
        match response.status() {
            StatusCode::OK => Ok(response),
            StatusCode::BAD_REQUEST if self.cursor.is_some() => Err(End::UnknownCursor),
            StatusCode::NOT_FOUND => {
                Err(End::Lost("the server has no watch: it is older than this console, or not Portolan".to_owned()))
            }
            _ => match timeout(OPEN_TIMEOUT, requests::refusal(response)).await {
                Ok(refusal) => Err(End::Lost(refusal.to_string())),
                Err(_) => Err(End::Lost(format!("only part of an answer within {} s", OPEN_TIMEOUT.as_secs()))),
            },
        }
    }

    async fn take(&mut self, event: Event, backoff: &mut Backoff) -> Result<(), End> {
        let strange = |error: serde_json::Error| {
            End::Lost(format!("an event from another version of Portolan ({})", escape(&json_sentence(&error), 200)))
        };
        read::check_objects(event.data.as_bytes()).map_err(|error| End::Lost(error.to_string()))?;
        let (source_event, memory) = match event.name.as_str() {
            "snapshot" => {
                let part: events::Snapshot<Service> = serde_json::from_str(&event.data).map_err(strange)?;
                let mut gathered = self.gathered.take().filter(|_| !part.first).unwrap_or_default();
                gathered.add(part.services)?;
                if !part.last {
                    self.gathered = Some(gathered);
                    return Ok(());
                }
                let memory = gathered.memory();
                let (services, held) = gathered.finish()?;
                self.held = held;
                (SourceEvent::Snapshot(services), memory)
            }
            "change" => {
                let change: events::Change<Service> = serde_json::from_str(&event.data).map_err(strange)?;
                let gone: Vec<Uuid> = change.removed.into_iter().map(|gone| gone.id).collect();
                let memory = memory_of(&change.upserts)? + size_of_val(&*gone);
                self.held.remove(&gone);
                self.held.add(&change.upserts)?;
                (SourceEvent::Changes(change.upserts, gone), memory)
            }
            "end" => {
                let last: events::End = serde_json::from_str(&event.data).map_err(strange)?;
                return Err(End::Lost(format!("the server ended the watch: {}", escape(&last.error, 300))));
            }
            "server" => (SourceEvent::Server(kept(serde_json::from_str(&event.data).map_err(strange)?)), 0),
            _ => return Ok(()),
        };
        if event.id.as_ref().is_some_and(|id| id.len() <= MAX_CURSOR) {
            self.cursor = event.id;
        }
        backoff.reset();
        self.events.send(SourceEvent::Link(Link::Live)).await.map_err(|_| End::Closed)?;
        self.send(source_event, event.data.len().max(memory)).await
    }

    /// Sends an event of that size, in bytes. The queue holds small events, or one large one.
    async fn send(&self, event: SourceEvent, size: usize) -> Result<(), End> {
        if size <= SMALL_EVENT {
            return self.events.send(event).await.map_err(|_| End::Closed);
        }
        let mut all = self.events.reserve_many(self.events.max_capacity()).await.map_err(|_| End::Closed)?;
        if let Some(slot) = all.next() {
            slot.send(event);
        }
        Ok(())
    }
}
