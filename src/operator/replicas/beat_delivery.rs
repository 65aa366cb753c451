//! Delivers the heartbeats that were kept: to this process's prober while it probes, else to the leader.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream;
use http::StatusCode;
use tokio_util::sync::CancellationToken;

use super::kept_beats::KeptBeat;
use super::pass_on::LeaderLine;
use crate::model::backoff::Backoff;
use crate::model::ports::{BeatError, Heartbeats, Leadership, PassOnError, PassedBeat};

/// Heartbeats that are taken at a time.
const CHUNK: usize = 256;
/// Requests to the leader at a time.
const AT_ONCE: usize = 16;
/// Pauses while nobody takes them.
const PAUSES: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));

/// The task that delivers.
pub struct BeatDelivery {
    line: LeaderLine,
    leadership: Arc<dyn Leadership>,
    heartbeats: Arc<dyn Heartbeats>,
}

impl BeatDelivery {
    /// Delivers what `line` keeps. `heartbeats` are those of this process's prober.
    pub fn new(line: LeaderLine, leadership: Arc<dyn Leadership>, heartbeats: Arc<dyn Heartbeats>) -> Self {
        Self { line, leadership, heartbeats }
    }

    /// Delivers until `stop`.
    ///
    /// # Errors
    /// Never fails; a heartbeat that nobody takes within a minute is dropped, and its program sends others.
    pub async fn run(self, stop: CancellationToken) -> Result<(), std::convert::Infallible> {
        let mut pauses = PAUSES;
        loop {
            let delivered = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                delivered = self.deliver_some() => delivered,
            };
            if delivered {
                pauses.reset();
                continue;
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(pauses.next()) => {}
            }
        }
    }

    /// Waits for heartbeats and delivers some; whether all of those were taken.
    async fn deliver_some(&self) -> bool {
        while self.line.kept().is_empty() {
            self.line.kept().added().await;
        }
        let left = if self.leadership.probes() { self.deliver_here() } else { self.deliver_there().await };
        let all = left.is_empty();
        for kept in left {
            self.line.kept().put_back(kept);
        }
        all
    }

    /// Those that the prober cannot take yet.
    fn deliver_here(&self) -> Vec<KeptBeat> {
        let mut left = Vec::new();
        for kept in self.line.kept().take(CHUNK) {
            if !self.line.kept().counts(&kept) {
                continue;
            }
            let PassedBeat { service, instance, beat, .. } = &kept.beat;
            let is_left = if let Some(beat) = beat.clone() {
                // One that is busy has renewed the lease, but has not taken the status.
                let heard = self.heartbeats.beat(*service, instance, beat);
                matches!(heard, Err(BeatError::Unavailable | BeatError::Busy { .. }))
            } else {
                // A new leader gives every lease its full time, so one that it does not know yet needs no renewal.
                drop(self.heartbeats.registered(*service, instance));
                false
            };
            if is_left {
                left.push(kept);
            }
        }
        left
    }

    /// Those that the leader did not take.
    async fn deliver_there(&self) -> Vec<KeptBeat> {
        let send = async |kept: KeptBeat| {
            if !self.line.kept().counts(&kept) {
                return None;
            }
            match self.line.send_beat(kept.beat.request.clone()).await {
                Ok(answer) if answer.status() == StatusCode::SERVICE_UNAVAILABLE => Some(kept),
                // A refusal is an answer, too: the instance is gone, or the token is no longer valid.
                Ok(_) => None,
                Err(PassOnError::NoLeader | PassOnError::Busy | PassOnError::SecondHop) => Some(kept),
            }
        };
        let kept = self.line.kept().take(CHUNK);
        stream::iter(kept).map(send).buffer_unordered(AT_ONCE).filter_map(async |left| left).collect().await
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use arc_swap::ArcSwapOption;
    use bytes::Bytes;
    use http::{Request, Response};
    use http_body_util::{BodyExt, Full};
    use hyper::body::Incoming;
    use hyper::server::conn::http1::Builder;
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use tokio::net::TcpListener;
    use tokio::sync::mpsc;
    use uuid::Uuid;

    use super::*;
    use crate::model::name::InstanceName;
    use crate::model::ports::{AlwaysLeads, Beat, BeatPassed, BeatStatus, Heard, PassOn};
    use crate::operator::replicas::own_beats::OwnBeats;
    use crate::telemetry::metrics::Metrics;

    /// A prober that answers every heartbeat so.
    struct Answers(Result<Heard, BeatError>);

    impl Heartbeats for Answers {
        fn beat(&self, _: Uuid, _: &InstanceName, _: Beat) -> Result<Heard, BeatError> {
            self.0.clone()
        }

        fn registered(&self, _: Uuid, _: &InstanceName) -> Result<Heard, BeatError> {
            self.0.clone()
        }
    }

    fn beat(status: BeatStatus) -> Beat {
        Beat { status, note: None }
    }

    fn passed(status: BeatStatus) -> PassedBeat {
        let request = Request::new(Bytes::from_static(status.as_str().as_bytes()));
        PassedBeat { service: Uuid::nil(), instance: InstanceName::default(), beat: Some(beat(status)), request }
    }

    fn line_to_nobody() -> LeaderLine {
        LeaderLine::new(|| None, Arc::default(), None, Metrics::default()).expect("a client")
    }

    /// Whether a heartbeat is kept on after the prober answered so.
    fn is_kept(answer: Result<Heard, BeatError>) -> bool {
        let line = line_to_nobody();
        line.kept().keep(passed(BeatStatus::Fail)).expect("room");
        !BeatDelivery::new(line, Arc::new(AlwaysLeads), Arc::new(Answers(answer))).deliver_here().is_empty()
    }

    #[test]
    fn a_heartbeat_that_the_prober_cannot_take_yet_is_kept_on() {
        assert!(is_kept(Err(BeatError::Unavailable)));
        assert!(is_kept(Err(BeatError::Busy { retry_after_seconds: 1 })), "its status is not taken yet");
        assert!(!is_kept(Err(BeatError::NotFound)));
        assert!(!is_kept(Ok(Heard { ttl: Duration::from_secs(30) })));
    }

    /// A leader that answers everything with 200 and sends the bodies it got.
    async fn leader() -> (SocketAddr, mpsc::UnboundedReceiver<Bytes>) {
        let (bodies, got) = mpsc::unbounded_channel();
        let take = move |request: Request<Incoming>| {
            let bodies = bodies.clone();
            async move {
                bodies.send(request.into_body().collect().await?.to_bytes()).expect("the test reads");
                Ok::<_, hyper::Error>(Response::new(Full::<Bytes>::default()))
            }
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let serve = Builder::new().serve_connection(TokioIo::new(connection), service_fn(take.clone()));
                tokio::spawn(serve);
            }
        });
        (address, got)
    }

    #[tokio::test]
    async fn a_heartbeat_that_was_kept_does_not_overrule_one_that_the_leader_has_answered_since() {
        let (address, mut got) = leader().await;
        let leads = Arc::new(ArcSwapOption::<SocketAddr>::empty());
        let who = Arc::clone(&leads);
        let line = LeaderLine::new(move || who.load().as_deref().copied(), Arc::default(), None, Metrics::default());
        let line = line.expect("a client");
        let answers = Arc::new(Answers(Err(BeatError::Unavailable)));
        let delivery = BeatDelivery::new(line.clone(), Arc::new(AlwaysLeads), answers);

        let kept = line.heartbeat(passed(BeatStatus::Fail)).await;
        assert!(matches!(kept, Ok(BeatPassed::Kept)), "{kept:?}");
        leads.store(Some(Arc::new(address)));
        let answered = line.heartbeat(passed(BeatStatus::Pass)).await;
        assert!(
            matches!(&answered, Ok(BeatPassed::Answered(answer)) if answer.status() == StatusCode::OK),
            "{answered:?}"
        );
        assert!(delivery.deliver_there().await.is_empty() && line.kept().is_empty());

        line.kept().keep(passed(BeatStatus::Warn)).expect("room");
        assert!(delivery.deliver_there().await.is_empty());
        let bodies: Vec<_> = std::iter::from_fn(|| got.try_recv().ok()).collect();
        assert_eq!(bodies, ["pass", "warn"], "nothing newer was heard than what came last");
    }

    #[test]
    fn what_this_replicas_prober_hears_overrules_what_was_kept() {
        for (answer, is_left) in [
            (Ok(Heard { ttl: Duration::from_secs(30) }), false),
            (Err(BeatError::NotFound), false),
            (Err(BeatError::Busy { retry_after_seconds: 1 }), true),
            (Err(BeatError::Unavailable), true),
        ] {
            let line = line_to_nobody();
            let own = OwnBeats::new(Arc::new(Answers(answer.clone())), line.clone());
            line.kept().keep(passed(BeatStatus::Fail)).expect("room");
            let renewed = own.registered(Uuid::nil(), &InstanceName::default());
            assert!(renewed == answer && !line.kept().is_empty(), "a renewal says nothing of the program");
            assert_eq!(own.beat(Uuid::nil(), &InstanceName::default(), beat(BeatStatus::Pass)), answer);
            assert_eq!(!line.kept().is_empty(), is_left, "{answer:?}");
        }
    }
}
