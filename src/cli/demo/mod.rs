//! `portolan demo`: a registry, sample backends of every kind, and what happens to them.
//!
//! In: a port and a duration. Out: the console of that registry, or without a terminal one line per change. In order:
//!
//! - this file: the run, from the temporary folder to its removal
//! - [`backends`], [`grpc`]: the sample services
//! - [`cast`]: which instances there are, and their incidents
//! - [`guide`], [`mod@watch`], [`plain`]: the output without a terminal

mod backends;
mod cast;
mod grpc;
mod guide;
mod plain;
mod watch;

use std::fs::Permissions;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use clap::Args;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::client::Client;
use super::console;
use super::exit::{Exit, Failure};
use super::output::Streams;
use super::signals;
use crate::app::{self, AppError, RunOptions};
use crate::config::{ServeArgs, Settings};
use crate::wire::Service;
use cast::Stage;
use guide::Guide;
use watch::Watcher;

/// How often the registry is polled without a terminal.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// Flags of `demo`.
#[derive(Debug, Args)]
pub(in crate::cli) struct DemoArgs {
    /// TCP port of the registry; any free one unless given
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    port: u16,
    /// Exit after this many seconds
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=604_800))]
    seconds: Option<u64>,
}

/// Runs it.
///
/// # Errors
/// The registry or a backend could not start.
pub(in crate::cli) async fn run(args: DemoArgs, streams: &mut Streams) -> Result<Exit, Failure> {
    // Before the folder is there, so that Ctrl-C at any moment removes it.
    let (stop_signal, reload) = (signals::stop_signal(), signals::hangups());
    let folder = tempfile::Builder::new()
        .prefix("portolan-demo-")
        .permissions(Permissions::from_mode(0o700))
        .tempdir()
        .map_err(|error| failed(format!("no temporary folder could be made: {error}")))?;
    let shutdown = CancellationToken::new();
    let (ready, address) = oneshot::channel();
    let on_ready = move |at: SocketAddr| {
        // Nobody waits for it any more: the demo is ending.
        let _ = ready.send(at);
    };
    let options = RunOptions { reload, ..RunOptions::without_log(shutdown.clone()) };
    let registry = app::run(settings(&args, folder.path())?, options, on_ready);
    let show = async {
        let shown = match address.await {
            Ok(address) => {
                let lasts = until(args.seconds.map(Duration::from_secs));
                let end = async {
                    tokio::select! { () = stop_signal => {}, () = lasts => {} }
                };
                perform(address, end, folder.path(), streams).await
            }
            // The registry did not start; it says why itself.
            Err(_) => Ok(()),
        };
        shutdown.cancel();
        shown
    };
    let (ended, shown) = tokio::join!(registry, show);
    ended.map_err(not_run)?;
    shown?;
    folder.close().map_err(|error| failed(format!("the temporary folder could not be removed: {error}")))?;
    Ok(Exit::Ok)
}

fn failed(message: String) -> Failure {
    Failure::new(Exit::Unmet, message)
}

/// The server's own message names settings that a demo does not read.
fn not_run(error: AppError) -> Failure {
    match error {
        AppError::Listen { address, why, .. } => failed(format!("cannot listen on {address}: {why}"))
            .hint("give another --port, or none to take any that is free"),
        other => failed(other.to_string()),
    }
}

/// Set here, so that no environment variable changes the demo.
fn settings(args: &DemoArgs, folder: &Path) -> Result<Settings, Failure> {
    let flags = ServeArgs {
        server_port: Some(args.port.to_string().into()),
        db_path: Some(folder.join("services.db").into()),
        rate_limit_per_minute: Some("0".into()),
        shutdown_seconds: Some("5".into()),
        ..ServeArgs::default()
    };
    Settings::load(&flags, |_| None).map_err(|error| Failure::usage(error.to_string()))
}

async fn perform(
    address: SocketAddr,
    end: impl Future<Output = ()>,
    folder: &Path,
    streams: &mut Streams,
) -> Result<(), Failure> {
    let mut tasks = JoinSet::new();
    let opened = Stage::open(&mut tasks).await;
    let stage = opened.map_err(|error| failed(format!("a sample backend could not be opened: {error}")))?;
    let url = format!("http://{address}");
    let client = Client::plain(&url)?;
    let mut worker = Uuid::nil();
    for (n, body) in stage.registrations().into_iter().enumerate() {
        let reply = client.post(&["services", "register"], Some(body.to_string())).await?;
        if n == Stage::WORKER {
            worker = reply.read::<Service>()?.id;
        }
    }
    tasks.spawn(stage.play(client.clone(), worker));
    let seen = if std::io::stdin().is_terminal() && streams.screen() {
        let stop = CancellationToken::new();
        let shown = console::show(client, stop.clone());
        tokio::pin!(shown);
        tokio::select! {
            seen = &mut shown => seen,
            () = end => {
                stop.cancel();
                shown.await
            }
        }
    } else {
        plain::open(&Guide::new(&url, folder), streams)?;
        tokio::select! {
            result = watch(&client, streams) => result,
            () = end => Ok(()),
        }
    };
    streams.line("the demo is over; its folder is removed")?;
    streams.flush()?;
    seen
}

async fn until(lasts: Option<Duration>) {
    match lasts {
        Some(lasts) => sleep(lasts).await,
        None => std::future::pending().await,
    }
}

/// Polls the registry and prints what changed.
async fn watch(client: &Client, streams: &mut Streams) -> Result<(), Failure> {
    let mut watcher = Watcher::default();
    let mut ticks = interval(POLL_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        plain::show(&watcher.poll(client).await?, streams)?;
    }
}
