//! A client that writes as fast as it gets answers, and remembers what was acknowledged.

use std::collections::BTreeMap;

use rand::{RngExt, SeedableRng};

use crate::server::Found;

/// Names that one writer plays with.
const NAMES: u64 = 12;
/// How many of these have their services probed.
const PROBED: u64 = 4;

/// How a name looks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum There {
    #[default]
    No,
    Version(String),
}

/// How a name must look after a restart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Promise {
    /// As acknowledged.
    kept: There,
    /// What writes that were cut off or failed since would have made of it: the effect of one may be there.
    in_flight: Vec<There>,
    /// Whether somebody has read that it is healthy: its target stays up, so it must stay so until it is removed.
    healthy: bool,
}

pub(crate) struct Writer {
    number: u64,
    backend: String,
    random: rand::rngs::StdRng,
    next: u64,
    promises: BTreeMap<String, Promise>,
    acknowledged: u64,
    newest_revision: u64,
    kept_healthy: u64,
    failed: u64,
}

impl Writer {
    pub(crate) fn new(number: u64, seed: u64, backend: &str) -> Self {
        let random = rand::rngs::StdRng::seed_from_u64(seed ^ (number + 1));
        let (backend, promises) = (backend.to_owned(), BTreeMap::new());
        Self {
            number,
            backend,
            random,
            next: 0,
            promises,
            acknowledged: 0,
            newest_revision: 0,
            kept_healthy: 0,
            failed: 0,
        }
    }

    pub(crate) fn take_acknowledged(&mut self) -> u64 {
        std::mem::take(&mut self.acknowledged)
    }

    /// How often a service that was healthy before a kill was so after it.
    pub(crate) fn kept_healthy(&self) -> u64 {
        self.kept_healthy
    }

    pub(crate) fn unanswered(&self) -> usize {
        self.promises.values().filter(|promise| !promise.in_flight.is_empty()).count()
    }

    /// How many writes the server said had failed.
    pub(crate) fn take_failed(&mut self) -> u64 {
        std::mem::take(&mut self.failed)
    }

    /// Compares what is there with what was promised, and returns how many of its services there are.
    pub(crate) fn verify(&mut self, found: &BTreeMap<String, Found>, round: u64) -> usize {
        let mut there = 0;
        for (name, promise) in &mut self.promises {
            let now = found.get(name).map_or(There::No, |f| There::Version(f.version.clone()));
            there += usize::from(now != There::No);
            let cut_off_took_effect = promise.in_flight.contains(&now);
            assert!(
                now == promise.kept || cut_off_took_effect,
                "round {round}: {name} is {now:?}, promised {promise:?}"
            );
            let status = found.get(name).map(|f| f.status.as_str());
            assert_ne!(status, Some("unhealthy"), "round {round}: {name}");
            if promise.healthy && status.is_some() {
                assert_eq!(status, Some("healthy"), "round {round}: {name} was");
                self.kept_healthy += 1;
            }
            *promise = Promise { kept: now, in_flight: Vec::new(), healthy: status == Some("healthy") };
        }
        there
    }

    async fn write_one(&mut self, client: &reqwest::Client, url: &str) -> Result<(), reqwest::Error> {
        let place = self.random.random_range(0..NAMES);
        let name = format!("w{}-{place}", self.number);
        let remove = self.random.random_bool(0.3);
        self.next += 1;
        let wanted = if remove { There::No } else { There::Version(format!("1.0.{}", self.next)) };
        self.promises.entry(name.clone()).or_default().in_flight.push(wanted.clone());
        let request = match &wanted {
            There::Version(version) => {
                let mut body =
                    serde_json::json!({"name": name, "version": version, "tags": [version], "external_id": name});
                body["checks"] =
                    serde_json::json!([{"name": "heartbeat", "advisory": true, "heartbeat": {"ttl_seconds": 86_400}}]);
                body["instance"] = "default".into();
                if place < PROBED {
                    body["base_url"] = self.backend.clone().into();
                    body["health_url"] = format!("{}/health", self.backend).into();
                } else {
                    body["base_url"] = format!("http://10.0.0.1:{}", 1000 + self.next % 60000).into();
                }
                client.post(format!("{url}/api/v1/services/register")).json(&body)
            }
            There::No => client.delete(format!("{url}/api/v1/services/deregister?name={name}")),
        };
        let reply = request.send().await?;
        let status = reply.status().as_u16();
        let body: serde_json::Value = reply.json().await?;
        if status >= 500 {
            self.failed += 1;
            return Ok(());
        }
        assert!(status == 200 || (remove && status == 404), "{status}: {body}");
        if let Some(revision) = body["data"]["revision"].as_u64() {
            assert!(revision > self.newest_revision, "revision {revision} after {}", self.newest_revision);
            self.newest_revision = revision;
        }
        let healthy = body["data"]["status"] == "healthy";
        self.promises.insert(name, Promise { kept: wanted, in_flight: Vec::new(), healthy });
        self.acknowledged += 1;
        Ok(())
    }
}

/// Every writer writes that often.
pub(crate) async fn write_some(writers: Vec<Writer>, client: reqwest::Client, url: String, times: u64) -> Vec<Writer> {
    let write = |mut writer: Writer| {
        let (client, url) = (client.clone(), url.clone());
        async move {
            for _ in 0..times {
                writer.write_one(&client, &url).await.expect("an answer");
            }
            writer
        }
    };
    futures::future::join_all(writers.into_iter().map(write)).await
}

/// Every writer writes until its connection breaks.
pub(crate) async fn write_until_cut(writers: Vec<Writer>, client: reqwest::Client, url: String) -> Vec<Writer> {
    let mut tasks = tokio::task::JoinSet::new();
    for mut writer in writers {
        let (client, url) = (client.clone(), url.clone());
        tasks.spawn(async move {
            while writer.write_one(&client, &url).await.is_ok() {}
            writer
        });
    }
    tasks.join_all().await
}
