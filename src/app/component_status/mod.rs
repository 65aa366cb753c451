//! What the server tells of itself: to who asks `/readyz`, and to who watches, as events, whenever it changes.
//!
//! The parts know nothing of this. How they stand is read off their handles a few times a second, and is an event when it is not what was
//! told last. None is logged here: the parts log their own changes, and how late probes start is a metric.

mod rounds;
mod word;
mod words;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::model::time::UnixMs;
use crate::telemetry::server_events::{EventReceiver, EventSender, Part};
use rounds::Rounds;

pub(super) use word::Word;
pub(super) use words::LocalWords;

/// How often is looked: how late an event may be.
const LOOK: Duration = Duration::from_millis(250);

/// How the parts stand, in words.
pub(super) trait Words: Send + Sync + 'static {
    /// Of each part.
    fn words(&self) -> Vec<(Part, Word)>;
}

/// The part that looks and tells.
pub(super) struct EventReporter {
    words: Arc<dyn Words>,
    rounds: Rounds,
    telling: EventSender,
    told_to_stop: CancellationToken,
}

impl EventReporter {
    /// Of those `words`; `told_to_stop` is looked at without delay.
    pub(super) fn new(words: Arc<dyn Words>, told_to_stop: CancellationToken) -> Self {
        Self { words, rounds: Rounds::default(), telling: EventSender::default(), told_to_stop }
    }

    /// One who hears.
    pub(super) fn hear(&self) -> EventReceiver {
        self.telling.hear()
    }

    /// Looks until `end`.
    pub(super) async fn run(mut self, end: CancellationToken) -> Result<(), Infallible> {
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let stopping = self.told_to_stop.is_cancelled();
            tokio::select! {
                () = end.cancelled() => return Ok(()),
                () = self.told_to_stop.cancelled(), if !stopping => {}
                _ = look.tick() => {}
            }
            let events = self.rounds.look(self.words.words(), UnixMs::wall(), Instant::now());
            self.telling.tell(events);
        }
    }
}
