//! The list/watch loop that services and replicas share: pauses between rounds, timeouts, and the detection of a watch that fell
//! silent. How long the pauses and timeouts are, `watch/follow.rs` and `replicas/peers.rs` say.

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use futures::stream::{self, Stream, StreamExt};
use kube::api::WatchParams;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// After a round shorter than this, the next one waits.
const MIN_ROUND: Duration = Duration::from_secs(1);
/// How late a watch's end may be before its connection counts as dead.
const GRACE: Duration = Duration::from_secs(5);

/// Why no answer came.
#[derive(Debug, thiserror::Error)]
pub(in crate::operator) enum ApiError {
    /// The request timed out.
    #[error("no answer")]
    NoAnswer(Duration),
    /// Not even the end of the watch came.
    #[error("the watch fell silent")]
    Silent(Duration),
    /// The client's error.
    #[error(transparent)]
    Failed(#[from] kube::Error),
}

/// Something that is listed and watched, round after round.
pub(in crate::operator) trait ListWatch {
    /// What may end a round early.
    type Error: Send;
    /// What ends the loop.
    type Fatal: Send;

    /// A list if one is needed, then a watch until it ends.
    fn round(&mut self) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Handles what ended a round early.
    fn failed(&mut self, error: Self::Error) -> Result<(), Self::Fatal>;

    /// The pause before the next round.
    fn pause(&mut self) -> Duration;
}

/// Runs rounds until `stop`; after that, nothing is an error.
pub(in crate::operator) async fn run<R: ListWatch>(mut rounds: R, stop: CancellationToken) -> Result<(), R::Fatal> {
    loop {
        let started = Instant::now();
        let ended = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            ended = rounds.round() => ended,
        };
        match ended.map_err(|error| rounds.failed(error)) {
            Ok(()) if started.elapsed() >= MIN_ROUND => continue,
            Err(Err(_)) if stop.is_cancelled() => return Ok(()),
            Err(Err(over)) => return Err(over),
            Ok(()) | Err(Ok(())) => {}
        }
        // Either way, the head of the loop decides.
        let _ = timeout(rounds.pause(), stop.cancelled()).await;
    }
}

/// The answer, if it comes in time.
pub(in crate::operator) async fn answer<T>(
    within: Duration,
    request: impl Future<Output = kube::Result<T>>,
) -> Result<T, ApiError> {
    timeout(within, request).await.map_err(|_| ApiError::NoAnswer(within))?.map_err(ApiError::from)
}

/// How long a watch may last, in seconds. A connection whose other end is gone without a word is noticed when this is over: bookmarks do not
/// come for a kind that nobody has changed since the API server started.
const WATCH: RangeInclusive<u32> = 60..=90;

/// How long a watch may last, in seconds.
#[derive(Debug, Clone, Copy)]
pub(in crate::operator) struct WatchLength(u32);

impl WatchLength {
    /// Random for each watch, so that replicas do not come back in step.
    pub(in crate::operator) fn random() -> Self {
        Self(rand::random_range(WATCH))
    }

    /// The request's parameters.
    pub(in crate::operator) fn params(self) -> WatchParams {
        WatchParams::default().timeout(self.0)
    }

    /// The events of a watch of this length, with an error if it falls silent.
    pub(in crate::operator) fn with_timeout<T>(
        self,
        events: impl Stream<Item = kube::Result<T>>,
    ) -> impl Stream<Item = Result<T, ApiError>> {
        let patience = Duration::from_secs(u64::from(self.0)) + GRACE;
        stream::try_unfold(Box::pin(events), move |mut events| async move {
            let event = timeout(patience, events.next()).await.map_err(|_| ApiError::Silent(patience))?;
            Ok(event.transpose()?.map(|event| (event, events)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rounds that end like this, one after the other; the last one stops the loop.
    struct Script {
        ends: Vec<Result<(), &'static str>>,
        stop: CancellationToken,
        pauses: u32,
    }

    impl ListWatch for &mut Script {
        type Error = &'static str;
        type Fatal = &'static str;

        async fn round(&mut self) -> Result<(), &'static str> {
            let end = self.ends.remove(0);
            if self.ends.is_empty() {
                self.stop.cancel();
            }
            end
        }

        fn failed(&mut self, error: &'static str) -> Result<(), &'static str> {
            if error == "closed" { Err(error) } else { Ok(()) }
        }

        fn pause(&mut self) -> Duration {
            self.pauses += 1;
            Duration::ZERO
        }
    }

    async fn played(ends: Vec<Result<(), &'static str>>) -> (Result<(), &'static str>, usize, u32) {
        let stop = CancellationToken::new();
        let mut script = Script { ends, stop: stop.clone(), pauses: 0 };
        let ended = run(&mut script, stop).await;
        (ended, script.ends.len(), script.pauses)
    }

    #[tokio::test]
    async fn rounds_go_on_with_pauses_until_nothing_can_follow() {
        assert_eq!(played(vec![Ok(()), Err("forbidden"), Ok(())]).await, (Ok(()), 0, 3));
        assert_eq!(played(vec![Ok(()), Err("closed"), Ok(())]).await, (Err("closed"), 1, 1));
        assert_eq!(played(vec![Err("closed")]).await, (Ok(()), 0, 0), "it was to stop anyway");
    }

    #[tokio::test]
    async fn an_answer_that_never_comes_is_not_waited_for() {
        let within = Duration::from_millis(5);
        let unheard = answer(within, std::future::pending::<kube::Result<()>>()).await.expect_err("no answer");
        assert!(matches!(unheard, ApiError::NoAnswer(time) if time == within));
    }
}
