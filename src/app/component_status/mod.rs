//! The status of the server's components: for `/readyz?verbose`, and as events for whoever watches.
//!
//! In: the components' handles, read four times a second. Out: one [`ComponentStatus`] per component, and a server event for each change.
//! The components know nothing of this. Nothing is logged here: each component logs its own changes.
//!
//! Read in this order: `status` (the value), `local` (the components of every server; `cluster/status.rs` adds a replica's), `events`
//! (which changes become events).

mod events;
mod local;
mod status;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::model::time::UnixMs;
use crate::telemetry::server_events::{Component, EventReceiver, EventSender};
use events::EventFilter;

pub(super) use local::LocalStatus;
pub(super) use status::ComponentStatus;

/// Poll interval; bounds the delay of an event.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// Where the statuses come from.
pub(super) trait StatusSource: Send + Sync + 'static {
    /// The current status of each component.
    fn statuses(&self) -> Vec<(Component, ComponentStatus)>;
}

/// The task that turns changes of status into events.
pub(super) struct EventReporter {
    source: Arc<dyn StatusSource>,
    filter: EventFilter,
    sender: EventSender,
    shutdown: CancellationToken,
}

impl EventReporter {
    /// Reads `source`; reports the cancellation of `shutdown` without waiting for the next poll.
    pub(super) fn new(source: Arc<dyn StatusSource>, shutdown: CancellationToken) -> Self {
        Self { source, filter: EventFilter::default(), sender: EventSender::default(), shutdown }
    }

    pub(super) fn subscribe(&self) -> EventReceiver {
        self.sender.subscribe()
    }

    /// Runs until `end`, which comes after `shutdown`.
    pub(super) async fn run(mut self, end: CancellationToken) -> Result<(), Infallible> {
        let mut poll = tokio::time::interval(POLL_INTERVAL);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let stopping = self.shutdown.is_cancelled();
            tokio::select! {
                () = end.cancelled() => return Ok(()),
                () = self.shutdown.cancelled(), if !stopping => {}
                _ = poll.tick() => {}
            }
            let events = self.filter.events(self.source.statuses(), UnixMs::wall(), Instant::now());
            self.sender.send(events);
        }
    }
}
