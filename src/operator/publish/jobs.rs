//! The writes in progress, and how many may follow.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use kube::Client;

use super::apply::{Request, WriteError, Writer, Written};
use super::view::ObjectName;
use crate::model::backoff::Backoff;
use crate::model::name::ServiceKey;
use crate::model::ports::Leadership;
use crate::operator::events::bucket::Bucket;

/// Writes of slices per second, and at once.
const RATE: (u32, u32) = (50, 100);
/// Most jobs at the same time.
const MAX_JOBS: usize = 8;
/// Most requests of one job, before others have their turn.
const MAX_REQUESTS: usize = 8;
/// Pauses of all writes while the Kubernetes API accepts none.
const OUTAGE_PAUSES: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(10));

/// What a job writes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Subject {
    /// The slices of an object.
    Object(ServiceKey),
    /// A slice that nobody owns.
    Ownerless(ObjectName),
}

impl Subject {
    pub(super) fn namespace(&self) -> &str {
        match self {
            Self::Object(key) => key.namespace(),
            Self::Ownerless((namespace, _)) => namespace,
        }
    }
}

/// A finished job.
pub(super) struct Finished {
    pub(super) subject: Subject,
    pub(super) written: Vec<Written>,
    pub(super) result: Result<(), WriteError>,
}

/// Jobs, at most one for each subject.
pub(super) struct Jobs {
    writer: Writer,
    bucket: Bucket,
    running: FuturesUnordered<BoxFuture<'static, Finished>>,
    busy: HashSet<Subject>,
    pauses: Backoff,
    paused_until: Option<Instant>,
}

impl Jobs {
    pub(super) fn new(client: Client, leadership: Arc<dyn Leadership>) -> Self {
        Self {
            writer: Writer { client, leadership },
            bucket: Bucket::new(RATE.0, RATE.1),
            running: FuturesUnordered::new(),
            busy: HashSet::new(),
            pauses: OUTAGE_PAUSES,
            paused_until: None,
        }
    }

    /// Whether another may start.
    pub(super) fn may_start(&self, now: Instant) -> bool {
        self.start_at(now).is_some_and(|at| at <= now)
    }

    /// When another may start; none before one has ended.
    pub(super) fn start_at(&self, now: Instant) -> Option<Instant> {
        let paused = self.paused_until.unwrap_or(now);
        (self.running.len() < MAX_JOBS).then(|| paused.max(now + self.bucket.wait(now)))
    }

    /// Whether the subject has one.
    pub(super) fn is_busy(&self, subject: &Subject) -> bool {
        self.busy.contains(subject)
    }

    /// Sends as many of the requests as the rate allows; whoever planned the others finds them again afterwards.
    pub(super) fn start(&mut self, subject: Subject, mut requests: Vec<Request>, now: Instant) {
        let allowed = (0..requests.len().min(MAX_REQUESTS)).take_while(|_| self.bucket.take(now)).count();
        requests.truncate(allowed);
        self.busy.insert(subject.clone());
        let writer = self.writer.clone();
        self.running.push(Box::pin(async move {
            let (written, result) = writer.write(subject.namespace(), requests).await;
            Finished { subject, written, result }
        }));
    }

    /// The next that ends, if there are any. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<Finished> {
        let finished = self.running.next().await?;
        self.busy.remove(&finished.subject);
        match &finished.result {
            Ok(()) => self.pauses.reset(),
            Err(WriteError::Unavailable(_)) => self.paused_until = Some(Instant::now() + self.pauses.next()),
            Err(_) => {}
        }
        Some(finished)
    }

    /// Aborts all. Dropping a write closes its connection.
    pub(super) fn clear(&mut self) {
        self.running.clear();
        self.busy.clear();
    }
}

#[cfg(test)]
mod tests {
    use http::Response;
    use kube::client::Body;
    use serde_json::json;

    use super::*;
    use crate::model::ports::Role;
    use crate::operator::queue::PausingQueue;

    #[derive(Debug)]
    struct Leads;

    impl Leadership for Leads {
        fn role(&self) -> Role {
            Role::Leads
        }
    }

    /// Jobs at an API server that answers each request with this code, as when it cannot call a webhook.
    fn jobs(code: u16) -> Jobs {
        let message = "failed calling webhook";
        let status = json!({ "kind": "Status", "status": "Failure", "message": message, "reason": "", "code": code });
        let answer = move |_: http::Request<Body>| {
            std::future::ready(Response::builder().status(code).body(Body::from(status.to_string().into_bytes())))
        };
        Jobs::new(Client::new(tower::service_fn(answer), "shop"), Arc::new(Leads))
    }

    /// Jobs at an API server that never answers, as when a webhook hangs.
    fn unanswered_jobs() -> Jobs {
        let silence = |_: http::Request<Body>| std::future::pending::<Result<Response<Body>, std::io::Error>>();
        Jobs::new(Client::new(tower::service_fn(silence), "shop"), Arc::new(Leads))
    }

    fn subjects() -> [Subject; 2] {
        let orders = ServiceKey::new(&"shop".parse().expect("a namespace"), &"orders".parse().expect("a name"));
        [Subject::Object(orders), Subject::Ownerless(("shop".into(), "lost".into()))]
    }

    async fn failure(jobs: &mut Jobs, subject: &Subject) -> WriteError {
        let request = Request::Delete("lost".into(), "uid".into());
        jobs.start(subject.clone(), vec![request], Instant::now());
        assert!(jobs.is_busy(subject));
        let error = jobs.next().await.expect("a job").result.expect_err("it fails");
        assert!(!jobs.is_busy(subject));
        error
    }

    /// Whether it waits after that.
    fn is_delayed(error: &WriteError) -> bool {
        let mut queue = PausingQueue::default();
        error.delay(&("shop".to_owned(), "lost".to_owned()), &mut queue, Instant::now());
        queue.is_any_failing(|_| true)
    }

    #[tokio::test]
    async fn only_an_answer_that_concerns_all_writes_pauses_them() {
        let (all, one) =
            ([401, 429, 502, 503, 504].map(|code| (code, true)), [403, 409, 422, 500].map(|code| (code, false)));
        for (code, pauses) in all.into_iter().chain(one) {
            for subject in subjects() {
                let mut jobs = jobs(code);
                let error = failure(&mut jobs, &subject).await;
                assert_eq!(is_delayed(&error), !pauses, "{code}: {error:?}");
                assert_eq!(jobs.may_start(Instant::now()), !pauses, "{code}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_without_an_answer_waits_and_no_other_does() {
        for subject in subjects() {
            let mut jobs = unanswered_jobs();
            let error = failure(&mut jobs, &subject).await;
            assert!(is_delayed(&error) && error.label() == Some("away"), "{error:?}");
            assert!(jobs.may_start(Instant::now()));
        }
    }
}
