//! What this process tells of itself: few events, kept for who looks later, and handed to who watches.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use tokio::sync::watch;

use crate::model::time::UnixMs;

/// Events that are kept of one part, so that none pushes out what another told.
pub const KEPT_OF_PART: usize = 10;

/// Who tells. The words are a closed set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// The process as a whole.
    Server,
    /// What keeps services on disk.
    Store,
    /// What probes.
    Prober,
    /// The mass-failure guard.
    Guard,
    /// Who probes and writes for all, of several replicas.
    Leader,
    /// What is known of the cluster's services.
    Mirror,
    /// Which install writes the status of what is watched.
    Installs,
}

impl Part {
    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Store => "store",
            Self::Prober => "prober",
            Self::Guard => "guard",
            Self::Leader => "leader",
            Self::Mirror => "mirror",
            Self::Installs => "installs",
        }
    }
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerEvent {
    /// When, wall clock.
    pub at: UnixMs,
    /// Who tells.
    pub part: Part,
    /// Whether the part is as it should be since then.
    pub good: bool,
    /// One sentence of ours: no foreign text, no path, no address.
    pub message: Cow<'static, str>,
}

/// All that is kept, oldest first.
#[derive(Debug, Default)]
pub struct ServerEvents {
    /// The events: at most [`KEPT_OF_PART`] of each part.
    pub events: Vec<ServerEvent>,
    /// The whole as its readers send it on, made by the first of them.
    pub rendered: OnceLock<Bytes>,
}

/// The side that tells.
#[derive(Debug)]
pub struct EventSender {
    events: VecDeque<ServerEvent>,
    told: watch::Sender<Arc<ServerEvents>>,
}

impl Default for EventSender {
    fn default() -> Self {
        Self { events: VecDeque::new(), told: watch::Sender::new(Arc::default()) }
    }
}

impl EventSender {
    /// Adds events; the oldest of a part that has told much are forgotten.
    pub fn tell(&mut self, events: Vec<ServerEvent>) {
        if events.is_empty() {
            return;
        }
        for event in events {
            let part = event.part;
            self.events.push_back(event);
            if self.events.iter().filter(|event| event.part == part).count() > KEPT_OF_PART
                && let Some(oldest) = self.events.iter().position(|event| event.part == part)
            {
                self.events.remove(oldest);
            }
        }
        let events = self.events.iter().cloned().collect();
        self.told.send_replace(Arc::new(ServerEvents { events, rendered: OnceLock::new() }));
    }

    /// One who hears.
    pub fn hear(&self) -> EventReceiver {
        EventReceiver(self.told.subscribe())
    }
}

/// The side that hears; a clone hears what the one that it was made from has not heard yet.
#[derive(Debug, Clone)]
pub struct EventReceiver(watch::Receiver<Arc<ServerEvents>>);

impl EventReceiver {
    /// Of nobody.
    pub fn nothing() -> Self {
        EventSender::default().hear()
    }

    /// One who has heard nothing of what is kept.
    #[must_use]
    pub fn from_the_start(&self) -> Self {
        let mut hearing = self.clone();
        if hearing.0.borrow_and_update().events.is_empty() {
            return hearing;
        }
        hearing.0.mark_changed();
        hearing
    }

    /// All that is kept, as soon as there is something in it that was not heard. Cancel safe. Never resolves once nobody tells any more.
    pub async fn next(&mut self) -> Arc<ServerEvents> {
        match self.0.changed().await {
            Ok(()) => Arc::clone(&self.0.borrow_and_update()),
            Err(_) => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn event(part: Part, n: i64) -> ServerEvent {
        ServerEvent { at: UnixMs(n), part, good: n % 2 == 0, message: Cow::Owned(format!("the event {n}")) }
    }

    #[test]
    fn a_part_that_tells_much_pushes_out_only_its_own() {
        let mut telling = EventSender::default();
        let mut hearing = telling.hear().from_the_start();
        assert!(hearing.next().now_or_never().is_none(), "nothing was told");
        telling.tell(vec![event(Part::Server, 0)]);
        for n in 1..1000 {
            telling.tell(vec![event(Part::Mirror, n)]);
        }
        let told = hearing.next().now_or_never().expect("told");
        let at: Vec<i64> = told.events.iter().map(|event| event.at.0).collect();
        assert_eq!((at.len(), at[0], at[1], at[10]), (1 + KEPT_OF_PART, 0, 990, 999));
        assert!(hearing.next().now_or_never().is_none(), "heard");
    }

    #[test]
    fn who_comes_late_hears_all_that_is_kept_and_who_stays_hears_no_end() {
        let mut telling = EventSender::default();
        let first = telling.hear();
        telling.tell(vec![event(Part::Store, 1)]);
        let mut late = first.from_the_start();
        assert_eq!(late.next().now_or_never().expect("told").events.len(), 1);
        drop(telling);
        assert!(late.next().now_or_never().is_none());
        let mut later = first.from_the_start();
        assert!(later.next().now_or_never().is_none_or(|told| told.events.len() == 1));
    }
}
