//! A client that reads continuously.

use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::replica::Replica;

/// Shorter than any outage of the Kubernetes API in a test, to catch reads that wait for it.
const LONGEST: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(50);

/// Reads one service of a replica until [`Reads::end`].
pub(crate) struct Reads {
    stop: CancellationToken,
    task: JoinHandle<Vec<String>>,
}

impl Reads {
    /// Each answer has to be 200 and `good`.
    pub(crate) fn of(replica: &Replica, service: &str, good: fn(&Value) -> bool) -> Self {
        let (stop, url) = (CancellationToken::new(), format!("{}{}", replica.url, replica.target(service)));
        let task = tokio::spawn(read(url, good, stop.clone()));
        Self { stop, task }
    }

    /// Fails unless every read went well.
    pub(crate) async fn end(self) {
        self.stop.cancel();
        let wrong = self.task.await.expect("no panic");
        assert_eq!(wrong, Vec::<String>::new());
    }
}

async fn read(url: String, good: fn(&Value) -> bool, stop: CancellationToken) -> Vec<String> {
    let client = portolan::crypto::http_client().no_proxy().timeout(LONGEST).build().expect("a client");
    let (started, mut wrong) = (Instant::now(), Vec::new());
    while !stop.is_cancelled() {
        match ask(&client, &url).await {
            Ok((200, answer)) if good(&answer["data"]) => {}
            other => wrong.push(format!("after {:?}: {other:?}", started.elapsed())),
        }
        tokio::time::sleep(PAUSE).await;
    }
    wrong
}

async fn ask(client: &reqwest::Client, url: &str) -> reqwest::Result<(u16, Value)> {
    let answer = client.get(url).send().await?;
    Ok((answer.status().as_u16(), answer.json().await?))
}
