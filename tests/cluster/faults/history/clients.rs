//! Clients of one replica, and one of both.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use reqwest::{Client, Response};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::check::What;
use super::sessions::Sessions;
use super::watcher::Watcher;

/// The names that all clients use.
pub(crate) const NAMES: [&str; 3] = ["h0", "h1", "h2"];
/// Time for anything that must happen.
pub(crate) const AMPLE: Duration = Duration::from_mins(1);
/// How long to wait for an answer that must not come.
pub(crate) const SILENCE: Duration = Duration::from_millis(300);
/// How long a watch stays at one replica.
const STAY: Duration = Duration::from_millis(150);

pub(crate) fn client() -> Client {
    portolan::crypto::http_client().no_proxy().build().expect("a client")
}

/// Somebody at a replica.
#[derive(Clone)]
pub(crate) struct Visitor {
    replica: usize,
    url: String,
    client: Client,
    sessions: Arc<Sessions>,
}

impl Visitor {
    pub(crate) fn new(replica: usize, url: &str, sessions: &Arc<Sessions>) -> Self {
        Self { replica, url: url.to_owned(), client: client(), sessions: Arc::clone(sessions) }
    }

    /// Registers and removes, until it was answered `times` or the replica is gone.
    pub(crate) async fn write(self, label: String, seed: u64, times: u32) {
        let mut random = StdRng::seed_from_u64(seed);
        for n in 0..times {
            let name = NAMES[random.random_range(0..NAMES.len())];
            let what = if random.random_bool(0.25) { What::Removed } else { What::Put(format!("{label}-{n}")) };
            if !self.write_one(name, what).await {
                return;
            }
        }
    }

    /// Whether the replica runs.
    async fn write_one(&self, name: &str, what: What) -> bool {
        let services = format!("{}/api/v1/services", self.url);
        let request = match &what {
            What::Put(value) => {
                let body = json!({"name": name, "description": value, "base_url": "http://10.0.0.1:80"});
                self.client.post(format!("{services}/register")).json(&body)
            }
            _ => self.client.delete(format!("{services}/deregister?name={name}")),
        };
        let called = self.sessions.call(self.replica);
        let Some((status, answer)) = answer(request.send().await).await else {
            self.sessions.in_doubt(called, name, what);
            return false;
        };
        match (status, &what) {
            (200, _) => {
                // The answer to a registration shows the service as it is by then: another client's write may have come in between.
                let (now, revision) = (text(&answer["data"], "description"), answer["data"]["revision"].as_u64());
                if now.is_some() {
                    self.sessions.saw(called, name, now, revision);
                }
                self.sessions.wrote(called, name, what, revision);
            }
            (404, What::Removed) => self.sessions.wrote(called, name, What::Saw(None), None),
            // Refused for now: it may have reached the API server all the same.
            (503, _) => self.sessions.in_doubt(called, name, what),
            _ => panic!("{what:?}: {status}: {answer}"),
        }
        true
    }

    /// Reads one name after the other.
    pub(crate) async fn read(self, end: CancellationToken) {
        for name in NAMES.iter().cycle() {
            let called = self.sessions.call(self.replica);
            let sent = self.client.get(format!("{}/api/v1/services/discover?name={name}", self.url)).send();
            let Some((status, answer)) = answer(sent.await).await else { return };
            assert!(status == 200 || status == 404, "{status}: {answer}");
            let service = &answer["data"];
            self.sessions.saw(called, name, text(service, "description"), service["revision"].as_u64());
            if end.is_cancelled() {
                return;
            }
        }
    }

    pub(crate) async fn keep_listing(self, end: CancellationToken) {
        while self.list().await.is_some() && !end.is_cancelled() {}
    }

    /// Everything, and at which revision; none once the replica is gone.
    pub(crate) async fn list(&self) -> Option<(u64, BTreeMap<String, String>)> {
        let called = self.sessions.call(self.replica);
        let sent = self.client.get(format!("{}/api/v1/services", self.url)).send().await.ok()?;
        let revision = revision(&sent);
        let (_, answer) = answer(Ok(sent)).await?;
        assert!(revision >= called.floor, "a list of {revision} after {} had been shown here", called.floor);
        self.sessions.shown(self.replica, revision);
        let all = answer["data"].as_array().expect("a list");
        for name in NAMES {
            let found = all.iter().find(|service| service["name"] == name);
            let (there, at) = (found.and_then(|s| text(s, "description")), found.and_then(|s| s["revision"].as_u64()));
            self.sessions.saw(called, name, there, at);
        }
        let pair = |service| Some((text(service, "name")?, text(service, "description")?));
        Some((revision, all.iter().filter_map(pair).collect()))
    }
}

/// Watches at one replica for a while, then goes on with its cursor at the next, or there again where it is the only one.
pub(crate) async fn watch_in_turn(watcher: &mut Watcher, urls: &[String], end: &CancellationToken) {
    let client = client();
    for url in urls.iter().cycle() {
        let watch = async {
            watcher.watch(&client, url, |_| false).await;
            // The replica is gone: another try comes no sooner.
            std::future::pending::<()>().await;
        };
        let stay = tokio::time::timeout(STAY, watch);
        if end.run_until_cancelled(stay).await.is_none() {
            return;
        }
    }
}

fn text(service: &Value, field: &str) -> Option<String> {
    service[field].as_str().map(str::to_owned)
}

/// That of `W/"epoch.revision"`, behind which there may be the replica's own mark.
fn revision(answer: &Response) -> u64 {
    let tag = answer.headers()["etag"].to_str().expect("ASCII").trim_matches('"');
    let (_, rest) = tag.split_once('.').expect("two parts");
    rest.split(['+', '~']).next().and_then(|digits| digits.parse().ok()).expect("a number")
}

/// Status and JSON; none where the connection broke.
async fn answer(sent: reqwest::Result<Response>) -> Option<(u16, Value)> {
    let answer = sent.ok()?;
    let status = answer.status().as_u16();
    Some((status, answer.json().await.ok()?))
}
