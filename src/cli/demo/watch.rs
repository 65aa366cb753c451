//! What changed since the last poll of the public API.

use std::collections::HashMap;

use uuid::Uuid;

use crate::cli::client::Client;
use crate::cli::exit::Failure;
use crate::cli::{history, list};
use crate::wire::{HistoryEntry, Service};

/// A transition and its service.
#[derive(Debug, Clone)]
pub(super) struct Event {
    pub(super) service: String,
    pub(super) change: HistoryEntry,
}

/// Remembers which transitions were reported.
#[derive(Debug, Default)]
pub(super) struct Watcher {
    revisions: HashMap<Uuid, u64>,
    /// The newest transition of each service.
    newest: HashMap<Uuid, i64>,
}

impl Watcher {
    /// The transitions that are new, oldest first.
    ///
    /// # Errors
    /// The server does not answer.
    pub(super) async fn poll(&mut self, client: &Client) -> Result<Vec<Event>, Failure> {
        let services = list::everything(client).await?;
        let mut events = Vec::new();
        for service in &services {
            if self.revisions.insert(service.id, service.revision) != Some(service.revision) {
                let page = history::transitions(client, service.id).await?;
                events.extend(self.new_events(service, page));
            }
        }
        events.sort_by_key(|event| event.change.id);
        Ok(events)
    }

    fn new_events(&mut self, service: &Service, page: Vec<HistoryEntry>) -> Vec<Event> {
        let seen = self.newest.get(&service.id).copied().unwrap_or(i64::MIN);
        let fresh: Vec<Event> = page
            .into_iter()
            .filter(|change| change.id > seen)
            .map(|change| Event { service: service.name.to_string(), change })
            .collect();
        let newest = fresh.iter().map(|event| event.change.id).max().unwrap_or(seen);
        self.newest.insert(service.id, newest);
        fresh
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transition_is_reported_once() {
        let page = |ids: &[i64]| ids.iter().map(|id| HistoryEntry { id: *id, ..HistoryEntry::default() }).collect();
        let service = Service { id: Uuid::from_u128(1), ..Service::default() };
        let mut watcher = Watcher::default();
        assert_eq!(watcher.new_events(&service, page(&[2, 1])).len(), 2);
        assert_eq!(watcher.new_events(&service, page(&[2, 1])).len(), 0);
        let events = watcher.new_events(&service, page(&[3, 2]));
        assert_eq!((events.len(), events[0].change.id), (1, 3));
    }
}
