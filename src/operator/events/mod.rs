//! Events in the Kubernetes API: what happened to an object, for `kubectl describe`.
//!
//! In: notices about objects and the state of the mass-failure guard. Out: a few events, written by the leader; nothing waits for them.
//!
//! 1. This file: the queue and its writer.
//! 2. [`bucket`]: the bound on their rate.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, timeout};
use tokio_util::sync::CancellationToken;

pub(in crate::operator) mod bucket;

use crate::model::ports::Leadership;
use crate::model::text;
use crate::operator::crd::ServiceStatus;
use crate::operator::ingest::ObservedObject;
use crate::operator::status::{self, Notice};
use crate::telemetry::metrics::Metrics;
use bucket::Bucket;

/// The reporting controller.
const CONTROLLER: &str = "portolan.dev/portolan";
/// Most events that wait.
const QUEUE: usize = 256;
/// Events per second, and at once. More are dropped and counted; status says the same.
const RATE: (u32, u32) = (5, 50);
/// Time for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Time between two checks of the guard.
const GUARD_POLL: Duration = Duration::from_millis(500);
/// Longest note that the Kubernetes API takes, in bytes.
const MAX_NOTE: usize = 1024;

/// An event that waits to be written.
#[derive(Debug)]
struct QueuedEvent {
    regarding: ObjectReference,
    notice: Notice,
    at: Timestamp,
}

/// The handle; cloning shares it.
#[derive(Debug, Clone)]
pub struct Events {
    queue: mpsc::Sender<QueuedEvent>,
    metrics: Metrics,
}

/// The reporting instance, and what to report besides services.
pub struct EventSettings {
    /// The pod's name, or the host's.
    pub instance: String,
    /// The object that stands for this process: its Lease.
    pub whole: ObjectReference,
    /// Whether the mass-failure guard holds transitions.
    pub guard_holds: Box<dyn Fn() -> bool + Send>,
}

/// The task that writes events.
pub struct EventWriter {
    client: Client,
    settings: EventSettings,
    leadership: Arc<dyn Leadership>,
    metrics: Metrics,
    queue: mpsc::Receiver<QueuedEvent>,
    bucket: Bucket,
    guard_held: bool,
    warned: bool,
}

impl Events {
    /// The handle, and the task that does the work.
    pub fn new(
        client: Client,
        settings: EventSettings,
        leadership: Arc<dyn Leadership>,
        metrics: Metrics,
    ) -> (Self, EventWriter) {
        let (sender, queue) = mpsc::channel(QUEUE);
        let writer = EventWriter {
            client,
            settings,
            leadership,
            metrics: metrics.clone(),
            queue,
            bucket: Bucket::new(RATE.0, RATE.1),
            guard_held: false,
            warned: false,
        };
        (Self { queue: sender, metrics }, writer)
    }

    /// Reports what changes when the status of `observed` becomes `now`.
    pub(crate) fn transitions(&self, observed: &ObservedObject, now: &ServiceStatus) {
        for notice in status::notices(observed.status(), now) {
            self.send(observed, notice);
        }
    }

    /// Reports something about `observed`.
    pub(crate) fn send(&self, observed: &ObservedObject, notice: Notice) {
        let mut object = observed.reference();
        object.field_path = notice.instance.as_ref().map(|name| format!("spec.instances{{{name}}}"));
        if self.queue.try_send(QueuedEvent { regarding: object, notice, at: Timestamp::now() }).is_err() {
            self.metrics.cluster.event("dropped");
        }
    }
}

impl EventWriter {
    /// Writes until `stop`.
    ///
    /// # Errors
    /// Never fails; events that cannot be written are dropped.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), std::convert::Infallible> {
        let mut guard_poll = tokio::time::interval(GUARD_POLL);
        guard_poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let queued = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                Some(queued) = self.queue.recv() => Some(queued),
                _ = guard_poll.tick() => self.guard(),
            };
            let Some(queued) = queued else { continue };
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = self.write(queued) => {}
            }
        }
    }

    fn guard(&mut self) -> Option<QueuedEvent> {
        let holds = (self.settings.guard_holds)();
        let was = std::mem::replace(&mut self.guard_held, holds);
        let (regarding, notice) = (self.settings.whole.clone(), status::guard_notice(holds));
        (holds != was).then(|| QueuedEvent { regarding, notice, at: Timestamp::now() })
    }

    async fn write(&mut self, queued: QueuedEvent) {
        if !self.leadership.leads() {
            return;
        }
        if !self.bucket.take(Instant::now()) {
            return self.metrics.cluster.event("dropped");
        }
        let namespace = queued.regarding.namespace.clone().unwrap_or_default();
        let api: Api<Event> = Api::namespaced(self.client.clone(), &namespace);
        let event = self.event(queued);
        match timeout(ANSWER_TIMEOUT, api.create(&PostParams::default(), &event)).await {
            Ok(Ok(_)) => {
                self.warned = false;
                self.metrics.cluster.event("written");
            }
            Ok(Err(error)) => self.failed(&error.to_string()),
            Err(_) => self.failed("no answer"),
        }
    }

    fn failed(&mut self, why: &str) {
        self.metrics.cluster.event("failed");
        if !std::mem::replace(&mut self.warned, true) {
            let why = text::escape(why, 300);
            tracing::warn!(
                "events cannot be written; this ServiceAccount needs the verb create on events.events.k8s.io: {why}"
            );
        }
    }

    fn event(&self, QueuedEvent { regarding, notice, at }: QueuedEvent) -> Event {
        let name = regarding.name.clone().unwrap_or_default();
        Event {
            metadata: ObjectMeta {
                namespace: regarding.namespace.clone(),
                name: Some(format!("{name}.{:016x}", rand::random::<u64>())),
                ..ObjectMeta::default()
            },
            event_time: Some(MicroTime(at)),
            reporting_controller: Some(CONTROLLER.to_owned()),
            reporting_instance: Some(self.settings.instance.clone()),
            action: Some(notice.action.to_owned()),
            reason: Some(notice.reason.to_owned()),
            type_: Some(if notice.is_warning { "Warning" } else { "Normal" }.to_owned()),
            note: Some(cut(notice.note)),
            regarding: Some(regarding),
            ..Event::default()
        }
    }
}

/// Cuts the note to what the Kubernetes API accepts.
fn cut(mut note: String) -> String {
    note.truncate(note.floor_char_boundary(MAX_NOTE));
    note
}
