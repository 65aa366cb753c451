//! The faults.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::backends::{Backends, MOODS};
use crate::server::Server;

/// A fault every few seconds; restarts only during the first `restarts`.
pub(crate) async fn cause(server: Arc<Server>, backends: Arc<Backends>, restarts: Duration, stop: CancellationToken) {
    let began = Instant::now();
    loop {
        let wait = Duration::from_millis(rand::random_range(500..6_000));
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
        match rand::random_range(0..20) {
            0 if began.elapsed() < restarts => {
                let kill = rand::random_range(0..2) == 0;
                if let Err(error) = server.restart(kill).await {
                    panic!("the server does not come back: {error:#}");
                }
            }
            1 => server.pause(Duration::from_millis(rand::random_range(200..4_000))).await,
            2 => backends.change_all(rand::random_range(0..MOODS)),
            3 => backends.change_all(0),
            _ => (0..5).for_each(|_| backends.change_one()),
        }
    }
}
