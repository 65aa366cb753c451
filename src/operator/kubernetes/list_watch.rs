//! The list/watch loop that services and replicas share: pauses between rounds, timeouts, and the detection of a watch that fell
//! silent.

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use futures::stream::{self, Stream, StreamExt};
use kube::api::WatchParams;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// After a round that ends sooner than this, the next does not begin at once.
const SHORT: Duration = Duration::from_secs(1);
/// What a watch's end may be late before its connection is taken for dead.
const LATE: Duration = Duration::from_secs(5);

/// Why nothing is heard.
#[derive(Debug, thiserror::Error)]
pub(in crate::operator) enum ApiError {
    /// Nothing came within the time that a request has.
    #[error("no answer")]
    NoAnswer(Duration),
    /// Not even the end of a watch came.
    #[error("the watch fell silent")]
    Silent(Duration),
    /// The client's word.
    #[error(transparent)]
    Failed(#[from] kube::Error),
}

/// What is followed round by round.
pub(in crate::operator) trait ListWatch {
    /// Why a round ended early.
    type Error: Send;
    /// Why there can be no other.
    type Fatal: Send;

    /// A list where one is needed, then a watch until it ends.
    fn round(&mut self) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Takes note of what ended a round early.
    fn failed(&mut self, trouble: Self::Error) -> Result<(), Self::Fatal>;

    /// The pause that the next round deserves.
    fn pause(&mut self) -> Duration;
}

/// Round after round until `stop`, after which nothing is an error.
pub(in crate::operator) async fn run<R: ListWatch>(mut rounds: R, stop: CancellationToken) -> Result<(), R::Fatal> {
    loop {
        let started = Instant::now();
        let ended = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            ended = rounds.round() => ended,
        };
        match ended.map_err(|trouble| rounds.failed(trouble)) {
            Ok(()) if started.elapsed() >= SHORT => continue,
            Err(Err(_)) if stop.is_cancelled() => return Ok(()),
            Err(Err(over)) => return Err(over),
            Ok(()) | Err(Ok(())) => {}
        }
        // Cancelled or over: the loop's head looks.
        let _ = timeout(rounds.pause(), stop.cancelled()).await;
    }
}

/// The answer, when it comes in time.
pub(in crate::operator) async fn answer<T>(
    within: Duration,
    asked: impl Future<Output = kube::Result<T>>,
) -> Result<T, ApiError> {
    timeout(within, asked).await.map_err(|_| ApiError::NoAnswer(within))?.map_err(ApiError::from)
}

/// How many seconds a watch is asked for.
#[derive(Debug, Clone, Copy)]
pub(in crate::operator) struct Length(u32);

impl Length {
    /// Chosen anew for each watch, so that replicas do not come back in step.
    pub(in crate::operator) fn within(seconds: RangeInclusive<u32>) -> Self {
        Self(rand::random_range(seconds))
    }

    /// What the API server is asked for.
    pub(in crate::operator) fn params(self) -> WatchParams {
        WatchParams::default().timeout(self.0)
    }

    /// The events of the watch that was asked for so.
    pub(in crate::operator) fn patient<T>(
        self,
        events: impl Stream<Item = kube::Result<T>>,
    ) -> impl Stream<Item = Result<T, ApiError>> {
        let patience = Duration::from_secs(u64::from(self.0)) + LATE;
        stream::try_unfold(Box::pin(events), move |mut events| async move {
            let event = timeout(patience, events.next()).await.map_err(|_| ApiError::Silent(patience))?;
            Ok(event.transpose()?.map(|event| (event, events)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ListWatch that end like this, one after the other; the last asks to stop.
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

        fn failed(&mut self, trouble: &'static str) -> Result<(), &'static str> {
            if trouble == "closed" { Err(trouble) } else { Ok(()) }
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
