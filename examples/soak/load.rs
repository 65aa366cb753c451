//! Clients: some register and deregister, some query, some watch, and some of the watchers do not read.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::backends::Backends;
use crate::server::Server;

/// Services of one registering client.
const NAMES: u32 = 60;
const REGISTERING: u32 = 4;
const ASKING: u32 = 4;
const WATCHING: u32 = 20;

/// The known state of a name: acknowledged with this version, or as removed; `None` if an answer never came.
type Known = Option<Option<String>>;

pub(crate) struct Load {
    server: Arc<Server>,
    backends: Arc<Backends>,
    client: reqwest::Client,
    known: Mutex<BTreeMap<String, Known>>,
    requests: AtomicU64,
    registered: AtomicU64,
    watched: AtomicU64,
    refused: AtomicU64,
    unexplained: Mutex<Vec<String>>,
}

impl Load {
    pub(crate) fn new(server: Arc<Server>, backends: Arc<Backends>) -> Result<Self> {
        let client = portolan::crypto::http_client().no_proxy().timeout(Duration::from_secs(20)).build()?;
        Ok(Self {
            server,
            backends,
            client,
            known: Mutex::default(),
            requests: AtomicU64::new(0),
            registered: AtomicU64::new(0),
            watched: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            unexplained: Mutex::default(),
        })
    }

    pub(crate) fn row(&self) -> String {
        let [requests, registered, watched, refused] =
            [&self.requests, &self.registered, &self.watched, &self.refused].map(|count| count.load(Ordering::Relaxed));
        let unexplained = self.unexplained.lock().unwrap_or_else(PoisonError::into_inner).len();
        format!("{requests:>8}  {registered:>10}  {watched:>7}  {refused:>7}  {unexplained:>11}")
    }

    fn know(&self, name: &str, what: Known) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), what);
    }

    fn unexplained(&self, what: String) {
        let mut all = self.unexplained.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() < 20 {
            all.push(what);
        }
    }

    /// Sends a request; the status, if there was an answer. Notes unexpected ones.
    async fn send(&self, request: reqwest::RequestBuilder, what: &str) -> Option<u16> {
        let began = Instant::now();
        self.requests.fetch_add(1, Ordering::Relaxed);
        let answer = async {
            let response = request.send().await?;
            let status = response.status().as_u16();
            response.bytes().await.map(|body| (status, body))
        };
        match answer.await {
            Ok((status, body)) => {
                if status >= 400 && status != 404 {
                    self.refused.fetch_add(1, Ordering::Relaxed);
                }
                // No healthy instance is a valid answer, and so is busy while the server was paused or starts.
                let text = String::from_utf8_lossy(&body);
                let explained = status < 500 || text.contains("no_healthy_instance") || self.server.was_troubled(began);
                if !explained {
                    self.unexplained(format!("{what}: {status} {text}"));
                }
                Some(status)
            }
            Err(error) => {
                if !self.server.was_troubled(began) {
                    self.unexplained(format!("{what}: {error:?}"));
                }
                None
            }
        }
    }

    async fn register(&self, name: &str) {
        let version = format!("1.0.{}", rand::random::<u32>());
        let address = self.backends.any();
        let body = json!({
            "name": name, "version": version, "base_url": format!("http://{address}"), "health_url": format!("http://{address}/health"),
            "check": {"timeout_seconds": 1}, "metadata": {"filler": "x".repeat(rand::random_range(0..500))},
        });
        let request = self.client.post(self.server.url("/api/v1/services/register")).json(&body);
        match self.send(request, "register").await {
            Some(200) => {
                self.registered.fetch_add(1, Ordering::Relaxed);
                self.know(name, Some(Some(version)));
            }
            _ => self.know(name, None),
        }
    }

    async fn deregister(&self, name: &str) {
        let url = self.server.url(&format!("/api/v1/services/deregister?name={name}"));
        match self.send(self.client.delete(url), "deregister").await {
            Some(200 | 404) => self.know(name, Some(None)),
            _ => self.know(name, None),
        }
    }

    async fn ask(&self) {
        let (who, which) = (rand::random_range(0..REGISTERING), rand::random_range(0..NAMES));
        let path = match rand::random_range(0..20) {
            0 => "/api/v1/services".to_owned(),
            1 => "/api/v1/services/stats".to_owned(),
            2 => "/metrics".to_owned(),
            3 => format!("/api/v1/services/discover?name=soak-{who}-{which}&healthy=true"),
            _ => format!("/api/v1/services/discover?name=soak-{who}-{which}"),
        };
        self.send(self.client.get(self.server.url(&path)), "a read").await;
    }

    /// Watches for a while; some clients read nothing.
    async fn watch(&self, reads: bool) {
        let address = self.server.url("").trim_start_matches("http://").to_owned();
        let Ok(mut stream) = TcpStream::connect(&address).await else { return };
        let request = format!("GET /api/v1/watch HTTP/1.1\r\nHost: {address}\r\n\r\n");
        if stream.write_all(request.as_bytes()).await.is_err() {
            return;
        }
        self.watched.fetch_add(1, Ordering::Relaxed);
        let lasts = Duration::from_millis(rand::random_range(500..20_000));
        let reading = async {
            let mut room = vec![0; 16 * 1024];
            while stream.read(&mut room).await.is_ok_and(|read| read > 0) {}
        };
        if reads { drop(timeout(lasts, reading).await) } else { sleep(lasts).await }
    }

    /// What is wrong at the end.
    pub(crate) async fn verify(&self) -> Result<Vec<String>> {
        let mut faults = self.unexplained.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut found = BTreeMap::new();
        let mut cursor = String::new();
        loop {
            let url = self.server.url(&format!("/api/v1/services?limit=100{cursor}"));
            let page: Value = self.client.get(url).send().await?.json().await?;
            for service in page["data"].as_array().context("a list")? {
                found.insert(
                    service["name"].as_str().unwrap_or_default().to_owned(),
                    service["version"].as_str().unwrap_or_default().to_owned(),
                );
            }
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, known) in known.iter() {
            if let Some(known) = known
                && found.get(name) != known.as_ref()
            {
                faults.push(format!("{name} was acknowledged as {known:?} and is {:?}", found.get(name)));
            }
        }
        println!("{} services are there, {} names were used", found.len(), known.len());
        Ok(faults)
    }
}

/// Starts all clients.
pub(crate) fn start(load: &Arc<Load>, tasks: &mut JoinSet<()>, stop: &CancellationToken) {
    for who in 0..REGISTERING {
        repeat(load, tasks, stop, 30, move |load| async move {
            let name = format!("soak-{who}-{}", rand::random_range(0..NAMES));
            if rand::random_range(0..4) == 0 { load.deregister(&name).await } else { load.register(&name).await }
        });
    }
    for _ in 0..ASKING {
        repeat(load, tasks, stop, 10, |load| async move { load.ask().await });
    }
    for watcher in 0..WATCHING {
        repeat(load, tasks, stop, 1_000, move |load| async move { load.watch(watcher % 5 != 0).await });
    }
}

/// Repeats a task, with pauses of up to twice this many milliseconds. A task that has begun is completed.
fn repeat<F: Future<Output = ()> + Send + 'static>(
    load: &Arc<Load>,
    tasks: &mut JoinSet<()>,
    stop: &CancellationToken,
    pause: u64,
    once: impl Fn(Arc<Load>) -> F + Send + 'static,
) {
    let (load, stop) = (Arc::clone(load), stop.clone());
    tasks.spawn(async move {
        while !stop.is_cancelled() {
            once(Arc::clone(&load)).await;
            sleep(Duration::from_millis(rand::random_range(0..2 * pause))).await;
        }
    });
}
