//! A service that changes ten times a second, and a watcher that measures its own delay.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio_util::sync::CancellationToken;

const EVERY: Duration = Duration::from_millis(100);
/// Longest wait for the first change.
const PATIENCE: Duration = Duration::from_mins(1);
/// The text before the number of a change in its event.
const MARK: &str = "\"version\":\"9.9.";

#[derive(Debug, Default)]
struct Log {
    /// When each change was requested.
    asked: Vec<Instant>,
    /// How many of them the watcher has received, directly or in a later one.
    seen: usize,
    /// Their delays in milliseconds.
    delays: Vec<f64>,
}

/// Runs until stopped.
pub(super) struct Beat {
    log: Arc<Mutex<Log>>,
    stop: CancellationToken,
    thread: JoinHandle<Result<()>>,
}

impl Beat {
    /// Watches everything on the server at `url`, and waits for the first change.
    pub(super) fn start(url: &str) -> Result<Self> {
        let (log, stop) = (Arc::<Mutex<Log>>::default(), CancellationToken::new());
        let (url, kept, ended) = (url.to_owned(), log.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                tokio::select! {
                    ended = both(&url, &kept) => ended,
                    () = ended.cancelled() => Ok(()),
                }
            })
        });
        let beat = Self { log, stop, thread };
        let began = Instant::now();
        while lock(&beat.log).seen == 0 {
            if beat.thread.is_finished() || began.elapsed() > PATIENCE {
                beat.stop()?;
                bail!("a watcher saw no change within {PATIENCE:?}");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        // The first change had to wait for the initial list.
        lock(&beat.log).delays.clear();
        Ok(beat)
    }

    /// Delays so far, in milliseconds.
    pub(super) fn delays(&self) -> Vec<f64> {
        lock(&self.log).delays.clone()
    }

    /// All delays; a change that has not arrived yet counts with its current delay.
    pub(super) fn stop(self) -> Result<Vec<f64>> {
        let now = Instant::now();
        self.stop.cancel();
        self.thread.join().map_err(|_| anyhow::anyhow!("the watcher panicked"))??;
        let log = lock(&self.log);
        let open = log.asked.iter().skip(log.seen).map(|at| millis(now.saturating_duration_since(*at)));
        Ok(log.delays.iter().copied().chain(open).collect())
    }
}

fn lock(log: &Mutex<Log>) -> MutexGuard<'_, Log> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

async fn both(url: &str, log: &Mutex<Log>) -> Result<()> {
    let client = portolan::crypto::http_client().no_proxy().build()?;
    let mut watch = client.get(format!("{url}/api/v1/watch")).send().await?.error_for_status()?;
    let register = format!("{url}/api/v1/services/register");
    let change = async {
        let mut ticks = tokio::time::interval(EVERY);
        // Numbers continue after those of an earlier turn: repeating one would be no change.
        let first = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_millis() % 1_000_000_000;
        loop {
            ticks.tick().await;
            let n = {
                let mut log = lock(log);
                log.asked.push(Instant::now());
                log.asked.len() - 1
            };
            let body = serde_json::json!({
                "name": "beat", "version": format!("9.9.{n}"), "base_url": "http://127.0.0.1:9",
                "check": {"tcp": {}, "interval_seconds": 86_400}, "metadata": {"turn": first.to_string()},
            });
            client.post(&register).json(&body).send().await?.error_for_status()?;
        }
        #[expect(unreachable_code, reason = "gives the block its type")]
        anyhow::Ok(())
    };
    let look = async {
        let mut kept = Vec::new();
        while let Some(piece) = watch.chunk().await? {
            kept.extend_from_slice(&piece);
            let Some(end) = kept.iter().rposition(|byte| *byte == b'\n') else { continue };
            let lines: Vec<u8> = kept.drain(..=end).collect();
            let text = std::str::from_utf8(&lines).context("a watch is text")?;
            let newest = text.rsplit_once(MARK).map(|(_, rest)| rest);
            if let Some(n) = newest.and_then(|rest| rest.split('"').next()?.parse::<usize>().ok()) {
                note(&mut lock(log), n);
            }
        }
        bail!("the watch ended")
    };
    tokio::select! {
        ended = change => ended,
        ended = look => ended,
    }
}

/// The `n`th change has arrived, and with it all before it.
fn note(log: &mut Log, n: usize) {
    let now = Instant::now();
    // A change of an earlier turn does not count.
    if n >= log.asked.len() {
        return;
    }
    for k in log.seen..=n {
        let delay = millis(now - log.asked[k]);
        log.delays.push(delay);
    }
    log.seen = log.seen.max(n + 1);
}
