//! Who leads, and what becomes of a replica that stands still, dies, or starts where nothing answers.

mod electors;
mod installs;
mod peers;
mod pod;
mod replicas;
mod starting;

use std::time::{Duration, Instant};

/// For what must happen sooner or later.
const AMPLE: Duration = Duration::from_mins(3);

/// Waits until `holds`, and says how long that took; fails with what it waited for.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) -> Duration {
    let started = Instant::now();
    while !holds().await {
        assert!(started.elapsed() < AMPLE, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    started.elapsed()
}
