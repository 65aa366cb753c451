//! `portolan watch`: a line for each change, as it happens.

use clap::{Args, ValueEnum};
use serde::Serialize;
use uuid::Uuid;

use super::args::ServerArgs;
use super::changes::{Change, Changes};
use super::client::Client;
use super::completion;
use super::exit::{Exit, Failure};
use super::lookup;
use super::output::Streams;
use super::output::service::drained;
use crate::console::data::Service;
use crate::console::source::api::Reach;
use crate::model::outcome::Health;
use crate::model::text::escape;
use crate::model::time::UnixMs;

/// Flags of `watch`.
#[derive(Debug, Args)]
pub(super) struct WatchArgs {
    /// Only the service of this name; all unless given
    #[arg(add = completion::of_services())]
    name: Option<String>,
    /// Only this namespace; default: all that you may see; with a NAME, the server's default namespace
    #[arg(short, long, value_name = "NAME", conflicts_with = "all_namespaces")]
    namespace: Option<String>,
    /// Every namespace that you may see, also with a NAME
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// How to show a change: text or json
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t, hide_possible_values = true)]
    output: OutputFormat,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum OutputFormat {
    #[default]
    Text,
    Json,
}

/// A change as a line of JSON.
#[derive(Debug, Serialize)]
struct Line<'a> {
    at: UnixMs,
    id: Uuid,
    namespace: &'a str,
    name: &'a str,
    /// Null when it is new.
    from: Option<Health>,
    /// Null when it is gone.
    to: Option<Health>,
    healthy_instances: usize,
    instances: usize,
    reason: &'a str,
    revision: u64,
}

impl WatchArgs {
    fn reach(&self) -> Reach {
        match &self.namespace {
            Some(namespace) => Reach::One(namespace.as_str().into()),
            None if self.name.is_some() && !self.all_namespaces => Reach::Default,
            None => Reach::All,
        }
    }
}

/// Runs until it is interrupted.
pub(super) async fn run(args: WatchArgs, streams: &mut Streams) -> Result<Exit, Failure> {
    let (client, reach) = (Client::new(&args.server).await?, args.reach());
    let mut changes = Changes::follow(client.clone(), reach.clone(), args.name.as_deref()).await?;
    if let Some(name) = args.name.as_deref().filter(|_| changes.known().next().is_none()) {
        lookup::note_absence(&client, &reach, name, streams).await;
    }
    loop {
        for change in changes.next(streams).await? {
            if let Some(line) = line(&change, args.output) {
                streams.line(&line)?;
            }
        }
        streams.flush()?;
    }
}

fn line(change: &Change, form: OutputFormat) -> Option<String> {
    let service = change.to.as_ref().or(change.from.as_ref())?;
    let at = change.to.as_ref().and_then(|to| to.updated_at).unwrap_or_else(UnixMs::wall);
    let reason = if change.to.is_some() { service.why() } else { "Removed" };
    if form == OutputFormat::Text {
        let side = |side: &Option<Service>, none: &'static str| {
            let Some(s) = side else { return none.to_owned() };
            let drained = drained(s.instances.iter().filter(|i| i.is_drained()).count());
            format!("{} {}/{}{drained}", s.health, s.healthy(), s.instances.len())
        };
        let (from, to) = (side(&change.from, "new"), side(&change.to, "removed"));
        let place = format!("{}/{}", service.namespace, service.name);
        return Some(format!("{at}  {}  {from} -> {to}  {}", escape(&place, 140), escape(reason, 64)));
    }
    let now = change.to.as_ref();
    serde_json::to_string(&Line {
        at,
        id: service.id,
        namespace: &service.namespace,
        name: &service.name,
        from: change.from.as_ref().map(|from| from.health),
        to: now.map(|to| to.health),
        healthy_instances: now.map_or(0, Service::healthy),
        instances: now.map_or(0, |to| to.instances.len()),
        reason,
        revision: service.revision,
    })
    .ok()
}
