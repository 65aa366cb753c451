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
        let send = async |kept: KeptBeat| match self.line.send_beat(kept.beat.request.clone()).await {
            Ok(answer) if answer.status() == StatusCode::SERVICE_UNAVAILABLE => Some(kept),
            // A refusal is an answer, too: the instance is gone, or the token is no longer valid.
            Ok(_) => None,
            Err(PassOnError::NoLeader | PassOnError::Busy | PassOnError::SecondHop) => Some(kept),
        };
        let kept = self.line.kept().take(CHUNK);
        stream::iter(kept).map(send).buffer_unordered(AT_ONCE).filter_map(async |left| left).collect().await
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::Request;
    use uuid::Uuid;

    use super::*;
    use crate::model::name::InstanceName;
    use crate::model::ports::{AlwaysLeads, Beat, BeatStatus, Heard};
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

    /// Whether a heartbeat is kept on after the prober answered so.
    fn is_kept(answer: Result<Heard, BeatError>) -> bool {
        let line = LeaderLine::new(|| None, Arc::default(), None, Metrics::default()).expect("a client");
        let beat = Some(Beat { status: BeatStatus::Fail, note: None });
        let (service, instance) = (Uuid::nil(), InstanceName::default());
        let kept = PassedBeat { service, instance, beat, request: Request::new(Bytes::new()) };
        line.kept().keep(kept).expect("room");
        !BeatDelivery::new(line, Arc::new(AlwaysLeads), Arc::new(Answers(answer))).deliver_here().is_empty()
    }

    #[test]
    fn a_heartbeat_that_the_prober_cannot_take_yet_is_kept_on() {
        assert!(is_kept(Err(BeatError::Unavailable)));
        assert!(is_kept(Err(BeatError::Busy { retry_after_seconds: 1 })), "its status is not taken yet");
        assert!(!is_kept(Err(BeatError::NotFound)));
        assert!(!is_kept(Ok(Heard { ttl: Duration::from_secs(30) })));
    }
}
