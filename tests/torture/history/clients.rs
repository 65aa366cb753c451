//! Those who write and those who read.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use reqwest::{Client, Response};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::check::{What, Written};
use super::record::Record;
use crate::shim::Shim;

/// The names that all of them play with.
pub(crate) const NAMES: [&str; 4] = ["h0", "h1", "h2", "h3"];
/// The farthest that the wall clock jumps: longer than history is kept.
const FARTHEST: u64 = 60 * 24 * 3600;

/// What every client has.
#[derive(Clone)]
pub(crate) struct Setting {
    pub(crate) record: Arc<Record>,
    pub(crate) shim: Arc<Shim>,
    pub(crate) url: String,
    pub(crate) client: Client,
}

/// Whoever sees the name of the line of revisions change has been shown another catalog.
pub(crate) struct Tag {
    pub(crate) epoch: String,
    pub(crate) revision: u64,
}

impl Tag {
    /// `W/"epoch.revision"`.
    pub(crate) fn of(answer: &Response) -> Self {
        let text = answer.headers()["etag"].to_str().expect("ASCII");
        let (epoch, revision) = text.trim_start_matches("W/").trim_matches('"').split_once('.').expect("two parts");
        Self { epoch: epoch.to_owned(), revision: revision.parse().expect("a number") }
    }
}

fn seen(service: &Value) -> What {
    for instance in service["instances"].as_array().into_iter().flatten() {
        let value = &instance["description"];
        assert_eq!((&instance["tags"][0], &instance["external_id"]), (value, value), "half a write: {service}");
    }
    What::Saw(service["description"].as_str().map(str::to_owned))
}

impl Setting {
    /// Registers, repeats and removes, until it was answered `times` or the server is gone.
    pub(crate) async fn write(self, number: usize, seed: u64, round: u64, times: u32) {
        let mut random = StdRng::seed_from_u64(seed);
        let mut last = None;
        for n in 0..times {
            if random.random_bool(0.05) {
                let by = Duration::from_secs(random.random_range(0..FARTHEST));
                self.shim.set_clock(random.random_bool(0.5), by);
            }
            let name = NAMES[random.random_range(0..NAMES.len())];
            let repeated = last.clone().filter(|_| random.random_bool(0.1));
            let (name, value) = repeated.unwrap_or_else(|| (name, format!("r{round}-w{number}-{n}")));
            let lives = if random.random_bool(0.3) {
                self.remove(number, name).await
            } else {
                last = Some((name, value.clone()));
                self.put(number, name, value).await
            };
            if !lives {
                return;
            }
        }
    }

    async fn put(&self, number: usize, name: &str, value: String) -> bool {
        // Every field that tells the value: whoever reads must find the same in all of them.
        let body = json!({
            "name": name, "description": value, "base_url": "http://10.0.0.1:80", "tags": [value], "external_id": value,
            "instance": "default", "deregister_after_seconds": 600, "checks": [{"name": "disk", "advisory": true, "tcp": {}}],
        });
        let called = self.record.call();
        let sent = self.client.post(format!("{}/api/v1/services/register", self.url)).json(&body).send();
        let Some((status, answer)) = answer(sent.await).await else {
            self.record.cut_off(number, name, What::Put(value), called);
            return false;
        };
        assert_eq!(status, 200, "{answer}");
        // The answer shows the service as it is by then: another client's write may have come in between.
        let (revision, now) = (answer["data"]["revision"].as_u64(), answer["data"]["description"].as_str());
        let now = Written {
            revision: revision.expect("a revision"),
            name: name.to_owned(),
            value: now.expect("a text").to_owned(),
        };
        self.record.written(number, value, now, called);
        true
    }

    async fn remove(&self, number: usize, name: &str) -> bool {
        let called = self.record.call();
        let sent = self.client.delete(format!("{}/api/v1/services/deregister?name={name}", self.url)).send();
        let Some((status, answer)) = answer(sent.await).await else {
            self.record.cut_off(number, name, What::Removed, called);
            return false;
        };
        assert!(status == 200 || status == 404, "{status}: {answer}");
        let what = if status == 200 { What::Removed } else { What::Saw(None) };
        self.record.answer(number, &[(name, what)], called, None);
        true
    }

    /// Asks for one name after the other.
    pub(crate) async fn read(self, number: usize, end: CancellationToken) {
        for name in NAMES.iter().cycle() {
            let called = self.record.call();
            let sent = self.client.get(format!("{}/api/v1/services/discover?name={name}", self.url)).send();
            let Some((status, answer)) = answer(sent.await).await else { return };
            assert!(status == 200 || status == 404, "{status}: {answer}");
            self.record.answer(number, &[(name, seen(&answer["data"]))], called, answer["data"]["revision"].as_u64());
            if end.is_cancelled() {
                return;
            }
        }
    }

    /// Asks for everything at once.
    pub(crate) async fn list(&self, number: usize) -> Option<Tag> {
        let called = self.record.call();
        let sent = self.client.get(format!("{}/api/v1/services", self.url)).send().await.ok()?;
        let tag = Tag::of(&sent);
        let (_, answer) = answer(Ok(sent)).await?;
        assert!(tag.revision >= called.floor, "a list of {} after {} had been shown", tag.revision, called.floor);
        let all = answer["data"].as_array().expect("a list");
        let of = |name: &str| all.iter().find(|service| service["name"] == name).map_or(What::Saw(None), seen);
        self.record.answer(number, &NAMES.map(|name| (name, of(name))), called, Some(tag.revision));
        Some(tag)
    }

    pub(crate) async fn keep_listing(self, number: usize, end: CancellationToken) {
        while self.list(number).await.is_some() && !end.is_cancelled() {}
    }
}

/// Status and JSON; none where the connection broke.
async fn answer(sent: reqwest::Result<Response>) -> Option<(u16, Value)> {
    let answer = sent.ok()?;
    let status = answer.status().as_u16();
    Some((status, answer.json().await.ok()?))
}
