//! Limits on how much of a server's data a client holds.

use std::collections::HashMap;

use uuid::Uuid;

use super::read::size;
use crate::console::data::Service;

/// Memory that the services of one server may take, in bytes. 25,600 instances with their texts are a third of it.
const MAX_MEMORY: usize = 128 << 20;

/// Memory of the services that were passed on, by id.
#[derive(Debug, Default)]
pub(super) struct ServiceMemory {
    each: HashMap<Uuid, usize>,
    bytes: usize,
}

/// Memory that these services take, where one that comes twice counts twice.
pub(super) fn memory_of(services: &[Service]) -> Result<usize, TooLarge> {
    let bytes = services.iter().map(Service::memory).sum();
    if bytes > MAX_MEMORY { Err(TooLarge) } else { Ok(bytes) }
}

/// The server has more services than a client holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "this server has more than {} of services, the most that a client holds; portolan list -n NAME shows one namespace",
    size(MAX_MEMORY)
)]
pub(super) struct TooLarge;

impl ServiceMemory {
    /// Counts `services` in place of what was known of them.
    pub(super) fn add(&mut self, services: &[Service]) -> Result<(), TooLarge> {
        for service in services {
            let weight = service.memory();
            self.bytes += weight;
            self.bytes -= self.each.insert(service.id, weight).unwrap_or_default();
            if self.bytes > MAX_MEMORY {
                return Err(TooLarge);
            }
        }
        Ok(())
    }

    /// Forgets services that are gone.
    pub(super) fn remove(&mut self, gone: &[Uuid]) {
        for id in gone {
            self.bytes -= self.each.remove(id).unwrap_or_default();
        }
    }
}

/// A snapshot whose parts are coming in.
#[derive(Debug, Default)]
pub(super) struct SnapshotParts {
    services: Vec<Service>,
    bytes: usize,
}

impl SnapshotParts {
    /// Adds a part. A service that comes twice counts twice: it is held twice.
    pub(super) fn add(&mut self, part: Vec<Service>) -> Result<(), TooLarge> {
        self.bytes += memory_of(&part)?;
        if self.bytes > MAX_MEMORY {
            return Err(TooLarge);
        }
        self.services.extend(part);
        Ok(())
    }

    /// Memory that they take, in bytes.
    pub(super) fn memory(&self) -> usize {
        self.bytes
    }

    /// All of it, and what it takes.
    pub(super) fn finish(self) -> Result<(Vec<Service>, ServiceMemory), TooLarge> {
        let mut held = ServiceMemory::default();
        held.add(&self.services)?;
        Ok((self.services, held))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures::FutureExt;
    use reqwest::{Method, RequestBuilder};
    use tokio::sync::mpsc::{self, Receiver};

    use super::super::sse::Event;
    use super::super::{Link, RECONNECT_BACKOFF, Reach, ServerClient, SourceEvent, Watch};
    use super::*;

    struct NoServer;

    impl ServerClient for NoServer {
        fn location(&self) -> String {
            unreachable!("nothing is requested")
        }

        fn connection_error(&self, _: &reqwest::Error) -> Option<String> {
            unreachable!("nothing is requested")
        }

        fn request(&self, _: Method, _: &[&str], _: &[(&str, &str)]) -> Result<RequestBuilder, String> {
            unreachable!("nothing is requested")
        }
    }

    fn watch() -> (Watch, Receiver<SourceEvent>) {
        let (events, queue) = mpsc::channel(256);
        let (client, held) = (Arc::new(NoServer), ServiceMemory::default());
        (Watch { client, reach: Reach::All, name: None, events, cursor: None, gathered: None, held }, queue)
    }

    fn event(name: &str, data: String) -> Event {
        Event { name: name.to_owned(), id: None, data }
    }

    /// Whether that event waits until the one before it was taken.
    async fn waits(name: &str, data: String) -> bool {
        let ((mut watch, mut queue), mut backoff) = (watch(), RECONNECT_BACKOFF);
        let mut taking = Box::pin(watch.take(event(name, data), &mut backoff));
        let waits = taking.as_mut().now_or_never().is_none();
        assert!(matches!(queue.recv().await, Some(SourceEvent::Link(Link::Live))));
        if waits {
            assert!(taking.await.is_ok());
        }
        assert!(matches!(queue.recv().await, Some(SourceEvent::Changes(..) | SourceEvent::Snapshot(_))));
        waits
    }

    #[tokio::test]
    async fn an_event_that_takes_much_memory_waits_however_short_its_text_is() {
        let many = |one: &str, count: usize| vec![one; count].join(",");
        let change = |upserts: &str, removed: &str| format!(r#"{{"upserts":[{upserts}],"removed":[{removed}]}}"#);
        let snapshot = |all: &str| format!(r#"{{"first":true,"last":true,"services":[{all}]}}"#);
        let large = many("{}", 10_000);
        assert!(large.len() < 64 * 1024);
        assert!(!waits("change", change("{}", "{}")).await);
        assert!(waits("change", change(&large, "")).await);
        assert!(waits("change", change("", &many("{}", 80_000))).await);
        assert!(!waits("snapshot", snapshot("{}")).await);
        assert!(waits("snapshot", snapshot(&large)).await);
    }

    #[tokio::test]
    async fn a_snapshot_counts_whole_although_its_last_part_is_small() {
        let ((mut watch, mut queue), mut backoff) = (watch(), RECONNECT_BACKOFF);
        let part = |place: &str, all: &str| event("snapshot", format!(r#"{{{place},"services":[{all}]}}"#));
        let first = part(r#""first":true,"last":false"#, &vec!["{}"; 10_000].join(","));
        assert!(watch.take(first, &mut backoff).await.is_ok());
        let last = part(r#""first":false,"last":true"#, "{}");
        assert!(watch.take(last, &mut backoff).now_or_never().is_none());
        assert!(queue.recv().await.is_some());
    }

    #[test]
    fn one_service_many_times_in_an_event_is_too_large() {
        let service: Service = serde_json::from_str("{}").expect("a service");
        let services = vec![service.clone(); MAX_MEMORY / service.memory() + 1];
        assert_eq!(memory_of(&services), Err(TooLarge));
        assert_eq!(ServiceMemory::default().add(&services), Ok(()), "it is held once");
    }
}
