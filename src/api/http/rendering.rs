//! Bounds the renderings that take a thread of their own. The runtime's queue for such work has no bound, and what is in it runs even if its
//! client has left; so a rendering waits for its turn before it is queued, and its turn lasts until the work is done.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinError, spawn_blocking};
use tokio::time::timeout;

use super::envelope::{ApiError, Code};
use super::in_flight::{InFlight, InFlightLimits, Permit};
use crate::api::clients::ClientKey;
use crate::telemetry::metrics::Metrics;

/// Permits for two renderings at once, each of one unit, and one for each client: a client that sends many keeps only its own waiting.
const LIMITS: InFlightLimits = InFlightLimits { total: 2 * 1024, per_client: 1024 };
/// Longest wait for a turn: shorter than Prometheus waits for an answer, which is 10 s.
const PATIENCE: Duration = Duration::from_secs(5);
/// Seconds after which a client may retry.
const RETRY_SECONDS: u64 = 1;

/// Gives out the turns.
#[derive(Debug)]
pub(in crate::api) struct Renderings {
    permits: Arc<InFlight>,
    metrics: Metrics,
}

/// One rendering may run.
#[derive(Debug)]
pub(in crate::api) struct Turn(Permit);

impl Renderings {
    /// Nothing is being rendered yet.
    pub(in crate::api) fn new(metrics: Metrics) -> Self {
        Self { permits: InFlight::new(LIMITS, metrics.clone()), metrics }
    }

    /// Waits for a turn of `client`, first come first served.
    ///
    /// # Errors
    /// 503 `busy` when the wait is too long.
    pub(in crate::api) async fn turn(&self, client: ClientKey) -> Result<Turn, ApiError> {
        if let Ok(Some(permit)) = timeout(PATIENCE, self.permits.wait(client, 1)).await {
            return Ok(Turn(permit));
        }
        self.metrics.reject("renderings");
        let message = "other answers of this size are still being prepared; try again";
        Err(ApiError::new(Code::Busy, message).retry_after(RETRY_SECONDS))
    }
}

impl Turn {
    /// Runs `work` on a thread of its own. It goes on when the caller leaves, and the turn ends only with it.
    ///
    /// # Errors
    /// If `work` panics.
    pub(in crate::api) async fn run<T: Send + 'static>(
        self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        let Self(permit) = self;
        let with_permit = move || {
            let _until_done = permit;
            work()
        };
        spawn_blocking(with_permit).await
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::sync::mpsc;

    use futures::FutureExt;

    use super::*;

    fn client(n: u8) -> ClientKey {
        IpAddr::from([10, 0, 0, n]).into()
    }

    #[tokio::test]
    async fn work_whose_client_has_left_keeps_its_turn_until_it_is_done() {
        let renderings = Renderings::new(Metrics::default());
        let (begun, has_begun) = mpsc::channel();
        let mut open = Vec::new();
        for n in 1..=2 {
            let (release, released) = mpsc::channel::<()>();
            let begun = begun.clone();
            let turn = renderings.turn(client(n)).await.expect("a turn");
            let mut rendering = Box::pin(turn.run(move || {
                begun.send(()).expect("the test listens");
                let _ = released.recv();
            }));
            assert!(rendering.as_mut().now_or_never().is_none(), "it runs");
            has_begun.recv().expect("it began");
            open.push(release);
        }
        assert!(renderings.turn(client(3)).now_or_never().is_none(), "two at once");
        drop(open.pop());
        let third = renderings.turn(client(3)).await.expect("the second one is done");
        let mut same = Box::pin(renderings.turn(client(3)));
        assert!(same.as_mut().now_or_never().is_none(), "one of each client");
        drop(third);
        assert!(same.await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_wait_ends_with_a_refusal() {
        let renderings = Renderings::new(Metrics::default());
        let _first = renderings.turn(client(1)).await.expect("a turn");
        let refused = renderings.turn(client(1)).await.expect_err("it is taken");
        assert_eq!(refused.code, Code::Busy);
        assert_eq!(refused.into_reply().headers()["retry-after"], "1");
        assert!(renderings.turn(client(2)).await.is_ok(), "another client has its own");
        let rendered = renderings.metrics.render().expect("renders");
        assert!(rendered.contains("portolan_rejected_total{reason=\"renderings\"} 1"), "{rendered}");
    }
}
