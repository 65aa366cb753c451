//! Changes of services as they happen, for commands that print them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::client::Client;
use super::exit::{Exit, Failure};
use super::output::Streams;
use crate::console::data::{ServerEvent, Service};
use crate::console::source::api::{ApiSource, Reach};
use crate::console::source::{EVENT_QUEUE, Link, REQUEST_QUEUE, Request, Source, SourceEvent};

/// One service's change.
#[derive(Debug)]
pub(super) struct Change {
    /// Before; none when it is new.
    pub(super) from: Option<Service>,
    /// After; none when it is gone.
    pub(super) to: Option<Service>,
}

/// Follows a server. Changes during an outage are reported after it.
pub(super) struct Changes {
    known: HashMap<Uuid, Service>,
    /// Events of the server itself since the connection was made.
    server_events: Option<Vec<ServerEvent>>,
    events: mpsc::Receiver<SourceEvent>,
    /// Unused, but a source ends when its requests do.
    _requests: mpsc::Sender<Request>,
    _source: JoinSet<()>,
}

impl Changes {
    /// Follows the services in `reach`, or those of them that are called `name`; [`Self::known`] has the current ones.
    ///
    /// # Errors
    /// The server does not answer, or refuses.
    pub(super) async fn follow(client: Client, reach: Reach, name: Option<&str>) -> Result<Self, Failure> {
        let (sender, events) = mpsc::channel(EVENT_QUEUE);
        let (requests, received) = mpsc::channel(REQUEST_QUEUE);
        let mut source = JoinSet::new();
        let client = Arc::new(client);
        let api = ApiSource::new(Arc::<Client>::clone(&client)).within(reach.clone()).named(name.map(Into::into));
        let api = Box::new(api);
        source.spawn(api.run(sender, received, CancellationToken::new()));
        let mut changes =
            Self { known: HashMap::new(), server_events: None, events, _requests: requests, _source: source };
        loop {
            match changes.events.recv().await {
                Some(SourceEvent::Link(Link::Lost { why, .. })) => {
                    return Err(refused_or_lost(&client, &reach, name, why).await);
                }
                Some(SourceEvent::Snapshot(services)) => {
                    changes.replace(services);
                    return Ok(changes);
                }
                Some(_) => {}
                None => return Err(ended()),
            }
        }
    }

    /// Every service as it is now.
    pub(super) fn known(&self) -> impl Iterator<Item = &Service> {
        self.known.values()
    }

    /// The next changes, at least one. Outages and events of the server itself go to stderr.
    ///
    /// # Errors
    /// The end of the source.
    pub(super) async fn next(&mut self, streams: &mut Streams) -> Result<Vec<Change>, Failure> {
        loop {
            let changes = match self.events.recv().await {
                Some(SourceEvent::Snapshot(services)) => self.replace(services),
                Some(SourceEvent::Changes(upserts, removed)) => self.apply(upserts, &removed),
                Some(SourceEvent::Link(Link::Lost { why, .. })) => {
                    streams.note(&format!("{why}; trying again"));
                    self.server_events = None;
                    continue;
                }
                Some(SourceEvent::Server(events)) => {
                    self.print_events(events, streams);
                    continue;
                }
                Some(_) => continue,
                None => return Err(ended()),
            };
            if !changes.is_empty() {
                return Ok(changes);
            }
        }
    }

    /// Prints new events; of those before the connection, only the last one of each component, and only a bad one.
    fn print_events(&mut self, events: Vec<ServerEvent>, streams: &mut Streams) {
        let is_last = |n: usize| !events[n + 1..].iter().any(|later| later.part == events[n].part);
        for (n, event) in events.iter().enumerate() {
            let is_new = match &self.server_events {
                Some(before) => !before.contains(event),
                None => !event.good && is_last(n),
            };
            if is_new {
                streams.note(&format!("{}  server ({}): {}", event.at, event.part, event.message));
            }
        }
        self.server_events = Some(events);
    }

    fn apply(&mut self, upserts: Vec<Service>, removed: &[Uuid]) -> Vec<Change> {
        let gone = removed.iter().filter_map(|id| Some(Change { from: Some(self.known.remove(id)?), to: None }));
        let mut changes: Vec<Change> = gone.collect();
        for service in upserts {
            let from = self.known.insert(service.id, service.clone());
            if from.as_ref() != Some(&service) {
                changes.push(Change { from, to: Some(service) });
            }
        }
        changes
    }

    fn replace(&mut self, services: Vec<Service>) -> Vec<Change> {
        let there: HashSet<Uuid> = services.iter().map(|service| service.id).collect();
        let gone: Vec<Uuid> = self.known.keys().filter(|id| !there.contains(id)).copied().collect();
        self.apply(services, &gone)
    }
}

/// Why a watch could not start: the tunnel's error, else the refusal in full with what to do about it, else `why`.
async fn refused_or_lost(client: &Client, reach: &Reach, name: Option<&str>, why: Box<str>) -> Failure {
    if let Some(error) = client.connection_error() {
        return error;
    }
    let query = [("namespace", reach.namespace()), ("name", name)];
    let query: Vec<(&str, &str)> = query.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
    client.refusal(&["watch"], &query).await.unwrap_or_else(|| Failure::new(Exit::Unreachable, why))
}

fn ended() -> Failure {
    Failure::new(Exit::Unreachable, "the watch ended unexpectedly")
}
