//! The least that a client of the API server can be: kube's own list and watch, and nothing done with what comes.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use control_plane::Kubeconfig;
use futures::StreamExt;
use kube::api::{Api, ListParams, WatchEvent, WatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig as Parsed};
use portolan::operator::crd::{ServiceResource, ServiceStatus};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::PATIENCE;
use crate::environment::{Environment, NAMESPACE};

/// The argument that makes this program list, and say how many there are.
pub(crate) const ROLE: &str = "--bare-list";
/// As many as Portolan asks for.
const PAGE: u32 = 500;
/// Seconds that a watch lasts at most.
const WATCH: u32 = 290;

/// The whole life of a process that lists all objects in pages, keeps them, and ends.
pub(crate) async fn time_of_list(account: &Kubeconfig, count: usize) -> Result<Duration> {
    let started = Instant::now();
    let process = tokio::process::Command::new(std::env::current_exe()?).arg(ROLE).arg(account.path()).output();
    let output = process.await?;
    let took = started.elapsed();
    let (listed, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(listed.trim().parse() == Ok(count), "the bare list found {listed} of {count} objects: {error}");
    Ok(took)
}

/// That process.
#[expect(clippy::print_stdout, reason = "its caller reads it")]
pub(crate) async fn list(args: &[String]) -> Result<()> {
    let parsed = Parsed::read_from(args.first().context("a kubeconfig")?)?;
    let config = kube::Config::from_custom_kubeconfig(parsed, &KubeConfigOptions::default()).await?;
    let api: Api<ServiceResource> = Api::namespaced(kube::Client::try_from(config)?, NAMESPACE);
    let (mut all, mut params) = (Vec::new(), ListParams::default().limit(PAGE));
    loop {
        let page = api.list(&params).await?;
        all.extend(page.items);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => break,
        }
    }
    println!("{}", all.len());
    Ok(())
}

/// One event of the watch.
pub(crate) struct Event {
    pub(crate) name: String,
    pub(crate) status: Option<ServiceStatus>,
    /// When it was read.
    pub(crate) at: Instant,
}

/// A watch that notes when each event came. It ends when it is dropped.
pub(crate) struct Watch {
    events: mpsc::UnboundedReceiver<Event>,
    passed: VecDeque<Event>,
    task: JoinSet<Result<()>>,
}

impl Watch {
    /// Watches from now on.
    pub(crate) async fn start(environment: &Environment) -> Result<Self> {
        let now = environment.objects.list(&ListParams::default().limit(1)).await?.metadata.resource_version;
        let (sender, events) = mpsc::unbounded_channel();
        let (objects, mut task) = (environment.objects.clone(), JoinSet::new());
        task.spawn(async move {
            let params = WatchParams::default().timeout(WATCH);
            let mut stream = objects.watch(&params, &now.context("a revision")?).await?.boxed();
            while let Some(event) = stream.next().await {
                let at = Instant::now();
                let (WatchEvent::Added(object) | WatchEvent::Modified(object)) = event? else { continue };
                let name = object.metadata.name.unwrap_or_default();
                sender.send(Event { name, status: object.status, at })?;
            }
            bail!("the watch ended")
        });
        Ok(Self { events, passed: VecDeque::new(), task })
    }

    /// The first event that is matches_event, of those that no call gave yet.
    pub(crate) async fn find(&mut self, matches_event: impl Fn(&Event) -> bool) -> Result<Event> {
        if let Some(position) = self.passed.iter().position(&matches_event) {
            return self.passed.remove(position).context("it was there");
        }
        let find = async {
            while let Some(event) = self.events.recv().await {
                if matches_event(&event) {
                    return Ok(event);
                }
                self.passed.push_back(event);
            }
            let ended = self.task.join_next().await;
            Err(anyhow::anyhow!("no more events: {ended:?}"))
        };
        tokio::time::timeout(PATIENCE, find).await.context("an event that is waited for does not come")?
    }

    /// Forgets the events that nobody matches_event.
    pub(crate) fn forget(&mut self) {
        self.passed.clear();
    }
}
