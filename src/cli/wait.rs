//! `portolan wait`: waits until a service is in a given state.

use std::collections::HashSet;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::Serialize;
use tokio::time::{Instant, sleep, timeout_at};

use super::args::ServerArgs;
use super::changes::Changes;
use super::client::Client;
use super::completion;
use super::exit::{Exit, Failure};
use super::lookup;
use super::output::Streams;
use super::plugin::program;
use crate::console::data::{Instance, Service};
use crate::console::source::api::Reach;
use crate::model::backoff::Backoff;
use crate::model::name::ServiceName;
use crate::model::outcome::{Health, Reason};
use crate::model::text::escape;
use crate::model::version::VersionRange;

/// Pauses between attempts to reach the server.
const RETRY: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));

/// Most instances that a hint names.
const MAX_NAMED: usize = 10;

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
enum Condition {
    /// Instances are healthy, and not drained.
    Healthy,
    /// No instance is left.
    Gone,
    /// Instances are registered, whatever their health.
    Registered,
    /// Instances are drained.
    Drained,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum OutputFormat {
    #[default]
    Text,
    Json,
}

/// Flags of `wait`.
#[derive(Debug, Args)]
#[command(mut_arg("timeout", |arg| arg.default_value("60s").help("Longest time to wait, such as 30s or 5m")))]
pub(super) struct WaitArgs {
    /// The service's name
    #[arg(add = completion::of_services())]
    name: ServiceName,
    /// healthy, gone, registered or drained
    #[arg(long = "for", value_enum, value_name = "STATE", hide_possible_values = true)]
    condition: Condition,
    /// How many instances must be in that state [default: 1, or as many as --instance names; for drained, all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    min: Option<u16>,
    /// Only instances with a version in this range, such as ^1.4 or ">=2, <3"
    #[arg(long, value_name = "RANGE", value_parser = parse_range)]
    version: Option<VersionRange>,
    /// Only this instance; may be repeated, for all of them
    #[arg(short, long, value_name = "NAME")]
    instance: Vec<String>,
    /// The service's namespace; the server's default one unless given
    #[arg(short, long, value_name = "NAME")]
    namespace: Option<String>,
    /// How to show the result: text or json
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t, hide_possible_values = true)]
    output: OutputFormat,
    #[command(flatten)]
    server: ServerArgs,
}

fn parse_range(text: &str) -> Result<VersionRange, String> {
    VersionRange::parse(text).map_err(|error| error.to_string())
}

/// The result as a line of JSON.
#[derive(Debug, Serialize)]
struct Line<'a> {
    name: &'a str,
    #[serde(rename = "for")]
    condition: Condition,
    met: bool,
    /// The instances that are so; of `gone`, those that are left.
    instances: Vec<&'a str>,
    /// The service as it is now; null when there is none.
    service: Option<&'a Service>,
}

impl WaitArgs {
    /// The instances that are looked at.
    fn matching<'a>(&self, service: Option<&'a Service>) -> Vec<&'a Instance> {
        let instances = service.map(|service| service.instances.as_slice()).unwrap_or_default();
        let named = |i: &&Instance| self.instance.is_empty() || self.instance.iter().any(|name| **name == *i.name);
        let versioned = |i: &&Instance| self.version.as_ref().is_none_or(|range| range.matches(&i.version));
        instances.iter().filter(named).filter(versioned).collect()
    }

    /// Those that are as they should be; of `gone`, those that are left.
    fn counted<'a>(&self, service: Option<&'a Service>) -> Vec<&'a Instance> {
        let is_so = |i: &&Instance| match self.condition {
            Condition::Healthy => i.health == Health::Healthy && !i.is_drained(),
            Condition::Gone | Condition::Registered => true,
            Condition::Drained => i.is_drained(),
        };
        self.matching(service).into_iter().filter(is_so).collect()
    }

    fn is_met(&self, service: Option<&Service>) -> bool {
        let (all, counted) = (self.matching(service).len(), self.counted(service).len());
        match (self.condition, self.min) {
            (Condition::Gone, _) => all == 0,
            (Condition::Drained, None) if self.instance.is_empty() => all > 0 && counted == all,
            (_, least) => counted >= least.map_or_else(|| self.named(), usize::from),
        }
    }

    /// How many instances are named, at least 1: who names several waits for all of them.
    fn named(&self) -> usize {
        self.instance.iter().collect::<HashSet<_>>().len().max(1)
    }

    /// One sentence about how it is.
    fn summary(&self, service: Option<&Service>) -> String {
        let all = self.matching(service);
        let counted = self.counted(service).len();
        let sole = matches!(self.condition, Condition::Gone | Condition::Registered) && counted == 1;
        let what = match (&self.version, self.instance.is_empty()) {
            (Some(range), _) if sole => format!("instance of version {range}"),
            (Some(range), _) => format!("instances of version {range}"),
            (None, false) => "of these instances".to_owned(),
            (None, true) if sole => "instance".to_owned(),
            (None, true) => "instances".to_owned(),
        };
        match self.condition {
            Condition::Gone | Condition::Registered => format!("{counted} {what} registered"),
            Condition::Drained => format!("{counted} of {} {what} drained", all.len()),
            Condition::Healthy => {
                let drained = all.iter().filter(|i| i.is_drained()).count();
                let drained = if drained > 0 { format!(", {drained} drained") } else { String::new() };
                let fault = all.iter().find(|i| i.health != Health::Healthy);
                let fault = fault.map_or_else(String::new, |i| format!(", {}: {} ({})", i.name, i.health, i.reason));
                format!("{counted} of {} {what} healthy{drained}{fault}", all.len())
            }
        }
    }

    /// What to do when time ran out. `absence` has the server's hints about a service that it does not have.
    fn remedy(&self, service: Option<&Service>, absence: &[String]) -> String {
        let Some(service) = service else {
            let known = || format!("{} list -A shows what there is", program());
            let hint = if absence.is_empty() { known() } else { absence.join("; ") };
            return format!("no service is called {}; {hint}", self.name);
        };
        if let Some(nothing) = self.mistyped(service) {
            return nothing;
        }
        let never_probed = |i: &&Instance| *i.reason == *Reason::NotChecked.as_str();
        let unproved = self.matching(Some(service)).into_iter().find(never_probed);
        match unproved.filter(|_| self.condition == Condition::Healthy) {
            Some(one) => format!(
                "{} is not probed, so it never becomes healthy: register it with --health-url or --check-http, --check-tcp, --check-grpc",
                escape(&one.name, 100)
            ),
            None => format!("to wait longer, raise --timeout; {0} get and {0} history show more", program()),
        }
    }

    /// What the flags select that the service does not have.
    fn mistyped(&self, service: &Service) -> Option<String> {
        if self.condition == Condition::Gone {
            return None;
        }
        let known = |name: &String| service.instances.iter().any(|i| *i.name == **name);
        if let Some(missing) = self.instance.iter().find(|name| !known(name)) {
            let has: Vec<String> = service.instances.iter().take(MAX_NAMED).map(|i| escape(&i.name, 100)).collect();
            let more = if service.instances.len() > MAX_NAMED { " and more" } else { "" };
            let missing = escape(missing, 100);
            return Some(format!("{} has no instance {missing}; it has: {}{more}", self.name, has.join(", ")));
        }
        let range = self.version.as_ref().filter(|_| self.matching(Some(service)).is_empty())?;
        let which = if self.instance.is_empty() { "no instance has" } else { "none of these instances has" };
        Some(format!("{which} a version in {range}"))
    }

    fn show(&self, service: Option<&Service>, met: bool, streams: &mut Streams) -> Result<(), Failure> {
        if self.output == OutputFormat::Text {
            let line = format!("{}: {}", self.name, self.summary(service));
            return if met { streams.line(&escape(&line, 500)) } else { Ok(()) };
        }
        let instances = self.counted(service).into_iter().map(|i| &*i.name).collect();
        let line = Line { name: self.name.as_str(), condition: self.condition, met, instances, service };
        let json = serde_json::to_string(&line).map_err(|error| Failure::new(Exit::Unreachable, error.to_string()))?;
        streams.json(&json)
    }
}

/// Where waiting has got to.
#[derive(Default)]
struct Progress {
    /// None before the server has answered.
    changes: Option<Changes>,
    /// Why it has not.
    unreachable: Option<Failure>,
    /// What the server says about a service that it does not have.
    absence: Vec<String>,
}

impl Progress {
    fn service(&self) -> Option<&Service> {
        self.changes.as_ref().and_then(|changes| changes.known().next())
    }

    async fn wait(&mut self, args: &WaitArgs, streams: &mut Streams) -> Result<(), Failure> {
        let reach = args.namespace.as_deref().map_or(Reach::Default, |name| Reach::One(name.into()));
        let client = self.connect(args, &reach, streams).await?;
        if self.service().is_none() && args.condition != Condition::Gone {
            self.absence = lookup::note_absence(&client, &reach, args.name.as_str(), streams).await;
        }
        while !args.is_met(self.service()) {
            let Some(changes) = &mut self.changes else { return Ok(()) };
            changes.next(streams).await?;
        }
        Ok(())
    }

    /// Opens the watch, also of a server that has not started yet.
    async fn connect(&mut self, args: &WaitArgs, reach: &Reach, streams: &mut Streams) -> Result<Client, Failure> {
        let mut pauses = RETRY;
        loop {
            let followed = match Client::new(&args.server).await {
                Ok(client) => Changes::follow(client.clone(), reach.clone(), Some(args.name.as_str()))
                    .await
                    .map(|changes| (client, changes)),
                Err(failure) => Err(failure),
            };
            match followed {
                Ok((client, changes)) => {
                    self.changes = Some(changes);
                    return Ok(client);
                }
                Err(failure) if failure.exit == Exit::Unreachable => {
                    if self.unreachable.is_none() {
                        streams.note(&format!("{failure}; trying again"));
                    }
                    self.unreachable = Some(failure);
                    sleep(pauses.next()).await;
                }
                Err(failure) => return Err(failure),
            }
        }
    }
}

/// Runs it.
///
/// # Errors
/// See [`Failure`]: it was not met in time, or the server was not reached.
pub(super) async fn run(args: WaitArgs, streams: &mut Streams) -> Result<Exit, Failure> {
    if args.condition == Condition::Gone && args.min.is_some() {
        return Err(Failure::usage(
            "--min says how many instances there must be, and --for gone waits until there are none",
        ));
    }
    let end = Instant::now() + args.server.timeout;
    let mut progress = Progress::default();
    let waited = timeout_at(end, progress.wait(&args, streams)).await;
    match waited {
        Ok(Ok(())) => {
            args.show(progress.service(), true, streams)?;
            Ok(Exit::Ok)
        }
        Ok(Err(failure)) => Err(failure),
        Err(_) if progress.changes.is_none() => Err(unreachable(progress.unreachable)),
        Err(_) => {
            args.show(progress.service(), false, streams)?;
            let summary = escape(&args.summary(progress.service()), 400);
            let time = humane(args.server.timeout);
            Err(Failure::new(Exit::TimedOut, format!("{} after {time}: {summary}", args.name))
                .hint(args.remedy(progress.service(), &progress.absence)))
        }
    }
}

fn unreachable(why: Option<Failure>) -> Failure {
    why.unwrap_or_else(|| Failure::new(Exit::Unreachable, "the server did not answer in time"))
}

fn humane(time: Duration) -> String {
    if time.subsec_millis() == 0 { format!("{} s", time.as_secs()) } else { format!("{} ms", time.as_millis()) }
}
