//! Server events: what the process reports about its own components. The last few are kept for later readers; watches get all of them.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use tokio::sync::watch;

use crate::model::time::UnixMs;

/// Events kept of each component, so that a busy one cannot push out the events of others.
pub const KEPT_PER_COMPONENT: usize = 10;

/// The component that an event is about. A closed set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Component {
    /// The process as a whole.
    Server,
    /// The server's certificate and key.
    Tls,
    /// The SQLite store.
    Store,
    /// The prober.
    Prober,
    /// The mass-failure guard.
    Guard,
    /// The leader among the replicas.
    Leader,
    /// The mirror of the cluster's services.
    Mirror,
    /// The audit file.
    Audit,
    /// The installs of Portolan that write status in the watched namespaces.
    Installs,
    /// The policies of namespaces.
    Policies,
    /// The objects of other projects that health is written into.
    Annotated,
}

impl Component {
    /// Its name in `/readyz?verbose` and in events.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Tls => "tls",
            Self::Store => "store",
            Self::Prober => "prober",
            Self::Guard => "guard",
            Self::Leader => "leader",
            Self::Mirror => "mirror",
            Self::Audit => "audit",
            Self::Installs => "installs",
            Self::Policies => "policies",
            Self::Annotated => "annotated",
        }
    }
}

/// A component's change of status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerEvent {
    /// When, wall clock.
    pub at: UnixMs,
    /// Which component.
    pub component: Component,
    /// Whether the component works as it should from then on.
    pub good: bool,
    /// One sentence of our own: no foreign text, no path, no address.
    pub message: Cow<'static, str>,
}

/// All kept events, oldest first.
#[derive(Debug, Default)]
pub struct ServerEvents {
    /// At most [`KEPT_PER_COMPONENT`] of each component.
    pub events: Vec<ServerEvent>,
    /// All of them as watches send them, rendered by the first reader that needs it.
    pub rendered: OnceLock<Bytes>,
}

/// The sending side.
#[derive(Debug)]
pub struct EventSender {
    events: VecDeque<ServerEvent>,
    sender: watch::Sender<Arc<ServerEvents>>,
}

impl Default for EventSender {
    fn default() -> Self {
        Self { events: VecDeque::new(), sender: watch::Sender::new(Arc::default()) }
    }
}

impl EventSender {
    /// Adds events; beyond [`KEPT_PER_COMPONENT`], a component's oldest are dropped.
    pub fn send(&mut self, events: Vec<ServerEvent>) {
        if events.is_empty() {
            return;
        }
        for event in events {
            let component = event.component;
            self.events.push_back(event);
            if self.events.iter().filter(|event| event.component == component).count() > KEPT_PER_COMPONENT
                && let Some(oldest) = self.events.iter().position(|event| event.component == component)
            {
                self.events.remove(oldest);
            }
        }
        let events = self.events.iter().cloned().collect();
        self.sender.send_replace(Arc::new(ServerEvents { events, rendered: OnceLock::new() }));
    }

    /// A receiver for events from now on; see [`EventReceiver::from_the_start`].
    pub fn subscribe(&self) -> EventReceiver {
        EventReceiver(self.sender.subscribe())
    }
}

/// The receiving side. A clone has received what its original had.
#[derive(Debug, Clone)]
pub struct EventReceiver(watch::Receiver<Arc<ServerEvents>>);

impl EventReceiver {
    /// A receiver without a sender.
    pub fn closed() -> Self {
        EventSender::default().subscribe()
    }

    /// A receiver that gets all kept events first.
    #[must_use]
    pub fn from_the_start(&self) -> Self {
        let mut receiver = self.clone();
        if receiver.0.borrow_and_update().events.is_empty() {
            return receiver;
        }
        receiver.0.mark_changed();
        receiver
    }

    /// All kept events, as soon as at least one of them is new to this receiver. Cancel safe. Never resolves once the sender is gone.
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

    fn event(component: Component, n: i64) -> ServerEvent {
        ServerEvent { at: UnixMs(n), component, good: n % 2 == 0, message: Cow::Owned(format!("the event {n}")) }
    }

    #[test]
    fn a_busy_component_pushes_out_only_its_own_events() {
        let mut sender = EventSender::default();
        let mut receiver = sender.subscribe().from_the_start();
        assert!(receiver.next().now_or_never().is_none(), "there are no events yet");
        sender.send(vec![event(Component::Server, 0)]);
        for n in 1..1000 {
            sender.send(vec![event(Component::Mirror, n)]);
        }
        let news = receiver.next().now_or_never().expect("there are events");
        let at: Vec<i64> = news.events.iter().map(|event| event.at.0).collect();
        assert_eq!((at.len(), at[0], at[1], at[10]), (1 + KEPT_PER_COMPONENT, 0, 990, 999));
        assert!(receiver.next().now_or_never().is_none(), "all of them were received");
    }

    #[test]
    fn a_late_receiver_gets_all_kept_events_and_the_end_of_the_sender_is_no_event() {
        let mut sender = EventSender::default();
        let first = sender.subscribe();
        sender.send(vec![event(Component::Store, 1)]);
        let mut late = first.from_the_start();
        assert_eq!(late.next().now_or_never().expect("there are events").events.len(), 1);
        drop(sender);
        assert!(late.next().now_or_never().is_none());
        let mut later = first.from_the_start();
        assert!(later.next().now_or_never().is_none_or(|received| received.events.len() == 1));
    }
}
