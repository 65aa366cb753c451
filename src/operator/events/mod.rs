//! Events in the Kubernetes API: what happened to an object, for `kubectl describe`. The leader writes them, few of them, and nothing waits
//! for them.

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

/// Who reports.
const CONTROLLER: &str = "portolan.dev/portolan";
/// Events that wait at most.
const QUEUE: usize = 256;
/// Events a second, and at once; the surplus is dropped and counted: status says the same.
const RATE: (u32, u32) = (5, 50);
/// Time for an answer.
const ANSWER: Duration = Duration::from_secs(5);
/// How often the guard is looked at.
const LOOK: Duration = Duration::from_millis(500);
/// Longest note that the Kubernetes API takes, in bytes.
const MAX_NOTE: usize = 1024;

/// What happened to which object, and when: it may wait for its turn.
#[derive(Debug)]
struct Told {
    regarding: ObjectReference,
    notice: Notice,
    at: Timestamp,
}

/// The handle; cloning shares it.
#[derive(Debug, Clone)]
pub struct Events {
    queue: mpsc::Sender<Told>,
    metrics: Metrics,
}

/// Who writes events, and of what it may tell besides services.
pub struct EventSettings {
    /// The pod's name, or the host's.
    pub instance: String,
    /// What stands for this process as a whole: its Lease.
    pub whole: ObjectReference,
    /// Whether the mass-failure guard holds transitions.
    pub guard_holds: Box<dyn Fn() -> bool + Send>,
}

/// The part that writes them.
pub struct EventWriter {
    client: Client,
    settings: EventSettings,
    leadership: Arc<dyn Leadership>,
    metrics: Metrics,
    queue: mpsc::Receiver<Told>,
    bucket: Bucket,
    guard_held: bool,
    told: bool,
}

impl Events {
    /// The handle, and the part that does the work.
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
            told: false,
        };
        (Self { queue: sender, metrics }, writer)
    }

    /// Tells of what the status of `known` becomes.
    pub(crate) fn transitions(&self, known: &ObservedObject, now: &ServiceStatus) {
        for notice in status::notices(known.status(), now) {
            self.tell(known, notice);
        }
    }

    /// Tells something of `known`.
    pub(crate) fn tell(&self, known: &ObservedObject, notice: Notice) {
        let mut object = known.reference();
        object.field_path = notice.instance.as_ref().map(|name| format!("spec.instances{{{name}}}"));
        if self.queue.try_send(Told { regarding: object, notice, at: Timestamp::now() }).is_err() {
            self.metrics.cluster.event("dropped");
        }
    }
}

impl EventWriter {
    /// Writes until `stop`.
    ///
    /// # Errors
    /// None; it ends when it is stopped.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), std::convert::Infallible> {
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let told = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                Some(told) = self.queue.recv() => Some(told),
                _ = look.tick() => self.guard(),
            };
            let Some(told) = told else { continue };
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = self.write(told) => {}
            }
        }
    }

    fn guard(&mut self) -> Option<Told> {
        let holds = (self.settings.guard_holds)();
        let was = std::mem::replace(&mut self.guard_held, holds);
        let (regarding, notice) = (self.settings.whole.clone(), status::guard_notice(holds));
        (holds != was).then(|| Told { regarding, notice, at: Timestamp::now() })
    }

    async fn write(&mut self, told: Told) {
        if !self.leadership.leads() {
            return;
        }
        if !self.bucket.take(Instant::now()) {
            return self.metrics.cluster.event("dropped");
        }
        let namespace = told.regarding.namespace.clone().unwrap_or_default();
        let api: Api<Event> = Api::namespaced(self.client.clone(), &namespace);
        let event = self.event(told);
        match timeout(ANSWER, api.create(&PostParams::default(), &event)).await {
            Ok(Ok(_)) => {
                self.told = false;
                self.metrics.cluster.event("written");
            }
            Ok(Err(error)) => self.failed(&error.to_string()),
            Err(_) => self.failed("no answer"),
        }
    }

    fn failed(&mut self, why: &str) {
        self.metrics.cluster.event("failed");
        if !std::mem::replace(&mut self.told, true) {
            let why = text::escape(why, 300);
            tracing::warn!(
                "events cannot be written; this ServiceAccount needs the verb create on events.events.k8s.io: {why}"
            );
        }
    }

    fn event(&self, Told { regarding, notice, at }: Told) -> Event {
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

/// At most what the Kubernetes API takes.
fn cut(mut note: String) -> String {
    note.truncate(note.floor_char_boundary(MAX_NOTE));
    note
}
