//! Which replica leads, and what happens when one freezes, dies, or starts without an answer.

#[path = "../../api/authority.rs"]
pub(crate) mod authority;
mod electors;
mod installs;
mod peers;
pub(crate) mod pod;
mod replicas;
mod starting;
mod tls;

use std::time::{Duration, Instant};

/// Time for anything that must happen.
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
