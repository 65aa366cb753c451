//! When a service can be found: Portolan's watch tells of it, and discovery answers 200. And when the watch tells of a change.

use std::collections::HashSet;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use reqwest::Client;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::PATIENCE;
use crate::environment::NAMESPACE;
use crate::replica::Replica;

#[derive(Deserialize)]
struct Change {
    upserts: Vec<Upsert>,
}

#[derive(Deserialize)]
struct Upsert {
    name: String,
}

/// Notes when each new service was found first. It ends when it is dropped.
pub(crate) struct Finder {
    found: mpsc::UnboundedReceiver<(String, Instant)>,
    task: JoinSet<Result<()>>,
}

impl Finder {
    /// Looks from now on.
    pub(crate) async fn start(replica: &Replica) -> Result<Self> {
        let (sender, found) = mpsc::unbounded_channel();
        let (client, url, mut task) = (replica.client.clone(), replica.url.clone(), JoinSet::new());
        let mut events = Events::open(replica).await?;
        task.spawn(async move {
            let mut known = HashSet::new();
            loop {
                for name in events.next().await?.into_iter().filter(|name| known.insert(name.clone())) {
                    let at = discover(&client, &url, &name).await?;
                    sender.send((name, at))?;
                }
            }
        });
        Ok(Self { found, task })
    }

    /// When `name`, which is the next that is made, was found.
    pub(crate) async fn until(&mut self, name: &str) -> Result<Instant> {
        let next = tokio::time::timeout(PATIENCE, self.found.recv()).await;
        let Some((found, at)) = next.context("a service is not found")? else {
            bail!("nothing more is found: {:?}", self.task.join_next().await);
        };
        ensure!(found == name, "{found} was found instead of {name}");
        Ok(at)
    }
}

/// Portolan's watch.
pub(crate) struct Events {
    stream: reqwest::Response,
    text: Vec<u8>,
}

impl Events {
    /// From now on.
    pub(crate) async fn open(replica: &Replica) -> Result<Self> {
        let url = format!("{}/api/v1/watch?namespace={NAMESPACE}", replica.url);
        let stream = replica.client.get(url).send().await?;
        ensure!(stream.status().is_success(), "no watch: {}", stream.status());
        Ok(Self { stream, text: Vec::new() })
    }

    /// The names of the services that the next event tells of; none if it tells of something else.
    pub(crate) async fn next(&mut self) -> Result<Vec<String>> {
        loop {
            if let Some(end) = self.text.windows(2).position(|two| two == b"\n\n") {
                let event: Vec<u8> = self.text.drain(..end + 2).collect();
                return names(&event);
            }
            let piece = self.stream.chunk().await?.context("Portolan's watch ended")?;
            self.text.extend_from_slice(&piece);
        }
    }

    /// When the watch tells of a change of `name`, of those that were not read yet.
    pub(crate) async fn until(&mut self, name: &str) -> Result<Instant> {
        let find = async {
            while !self.next().await?.iter().any(|changed| changed == name) {}
            anyhow::Ok(Instant::now())
        };
        tokio::time::timeout(PATIENCE, find).await.with_context(|| format!("no change of {name}"))?
    }
}

fn names(event: &[u8]) -> Result<Vec<String>> {
    let text = std::str::from_utf8(event)?;
    if !text.contains("event: change\n") {
        return Ok(Vec::new());
    }
    let data = text.lines().find_map(|line| line.strip_prefix("data: ")).context("a change without data")?;
    let change: Change = serde_json::from_str(data)?;
    Ok(change.upserts.into_iter().map(|upsert| upsert.name).collect())
}

/// Asks until the answer is 200.
async fn discover(client: &Client, url: &str, name: &str) -> Result<Instant> {
    let target = format!("{url}/api/v1/services/discover?namespace={NAMESPACE}&name={name}");
    loop {
        let answer = client.get(&target).send().await?;
        let (status, at) = (answer.status(), Instant::now());
        // Read to its end, so that the connection is kept.
        answer.bytes().await?;
        match status.as_u16() {
            200 => return Ok(at),
            404 => {}
            other => bail!("discovery answers {other}"),
        }
    }
}
