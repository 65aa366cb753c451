//! `portolan drain` and `portolan undrain`: take instances out of selection on purpose, and bring them back.

use clap::Args;

use super::args::{Format, NamespaceArg, OutputArg, ServerArgs};
use super::client::{Client, Reply};
use super::completion;
use super::exit::{Exit, Failure};
use super::lookup;
use super::noted::{body, end, until};
use super::output::Streams;
use super::plugin::program;
use super::registration::whole_seconds;
use crate::model::text::escape;
use crate::wire::{Instance, Service};

/// Which instances.
#[derive(Debug, Args)]
struct Which {
    /// The service's name or id
    #[arg(value_name = "NAME|ID", add = completion::of_services())]
    service: String,
    #[command(flatten)]
    namespace: NamespaceArg,
    /// This instance; may be repeated
    #[arg(short, long, value_name = "NAME", conflicts_with = "all")]
    instance: Vec<String>,
    /// Every instance
    #[arg(long)]
    all: bool,
}

/// Flags of `drain`.
#[derive(Debug, Args)]
pub(super) struct DrainArgs {
    #[command(flatten)]
    which: Which,
    /// The reason, which lists and the console show
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// How long, up to 30d; until `portolan undrain` unless given
    #[arg(long = "for", value_name = "TIME", value_parser = whole_seconds)]
    time: Option<u64>,
    #[command(flatten)]
    output: OutputArg,
    #[command(flatten)]
    server: ServerArgs,
}

/// Flags of `undrain`.
#[derive(Debug, Args)]
pub(super) struct UndrainArgs {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    output: OutputArg,
    #[command(flatten)]
    server: ServerArgs,
}

impl Which {
    /// The instances among `candidates` that the flags name; without any, the only one.
    fn of<'a>(
        &self,
        service: &'a Service,
        candidates: &[&'a Instance],
        doing: &str,
    ) -> Result<Vec<&'a Instance>, Failure> {
        let name = escape(&service.name, 100);
        if !self.instance.is_empty() {
            let find = |wanted: &String| {
                let missing = || {
                    Failure::new(Exit::NotFound, format!("{name} has no instance {}", escape(wanted, 100))).hint(
                        format!("{} get {name} -n {} shows those it has", program(), escape(&service.namespace, 100)),
                    )
                };
                service.instances.iter().find(|known| *known.name == **wanted).ok_or_else(missing)
            };
            return self.instance.iter().map(find).collect();
        }
        if candidates.len() > 1 && !self.all {
            let names: Vec<String> = candidates.iter().take(10).map(|i| escape(&i.name, 100)).collect();
            return Err(Failure::new(Exit::Refused, format!("{name} has {} instances", candidates.len()))
                .hint(format!("--instance NAME {doing} one of them: {}", names.join(", ")))
                .hint(format!("--all {doing} every one")));
        }
        Ok(candidates.to_vec())
    }
}

/// Runs `drain`.
pub(super) async fn drain(args: DrainArgs, streams: &mut Streams) -> Result<Exit, Failure> {
    let client = Client::new(&args.server).await?;
    let (service, mut reply) = found(&client, &args.which).await?;
    let body = body("reason", &args.reason, args.time);
    for instance in args.which.of(&service, &service.instances.iter().collect::<Vec<_>>(), "drains")? {
        reply = client.put(&path(&service.id.to_string(), &instance.name), &[], Some(body.clone())).await?;
        show(&reply, &instance.name, args.output.output, streams)?;
    }
    end(&reply, args.output.output, streams)
}

/// Runs `undrain`.
pub(super) async fn undrain(args: UndrainArgs, streams: &mut Streams) -> Result<Exit, Failure> {
    let client = Client::new(&args.server).await?;
    let (service, mut reply) = found(&client, &args.which).await?;
    let drained: Vec<&Instance> = service.instances.iter().filter(|i| i.drain.is_some()).collect();
    let chosen = args.which.of(&service, &drained, "undrains")?;
    if chosen.is_empty() {
        streams.note(&format!("no instance of {} is drained", service.name));
    }
    for instance in chosen {
        // The server decides: what was read may be older than a drain.
        reply = client.delete(&path(&service.id.to_string(), &instance.name), &[]).await?;
        if instance.drain.is_none() {
            let weightless = if instance.weight == 0 { ", but has the weight 0 and so stays unselected" } else { "" };
            let place = format!("{}/{}/{}", service.namespace, service.name, instance.name);
            streams.note(&escape(&format!("{place} is not drained{weightless}"), 500));
            continue;
        }
        show(&reply, &instance.name, args.output.output, streams)?;
    }
    end(&reply, args.output.output, streams)
}

async fn found(client: &Client, which: &Which) -> Result<(Service, Reply), Failure> {
    lookup::service(client, &which.service, which.namespace.namespace.as_deref()).await
}

fn path<'a>(id: &'a str, instance: &'a str) -> [&'a str; 5] {
    ["services", id, "instances", instance, "drain"]
}

/// One line about an instance as it is now.
fn show(reply: &Reply, instance: &str, format: Format, streams: &mut Streams) -> Result<(), Failure> {
    if format == Format::Json {
        return Ok(());
    }
    let service: Service = reply.read()?;
    let place = format!("{}/{}/{instance}", service.namespace, service.name);
    let Some(now) = service.instances.iter().find(|known| *known.name == *instance) else {
        return streams.line(&escape(&format!("{place} is gone"), 500));
    };
    let line = match &now.drain {
        Some(drain) => {
            format!("drained {place}{}: {}", until(drain.until), drain.reason)
        }
        None if now.weight == 0 => format!("undrained {place}, which has the weight 0 and so stays unselected"),
        None => format!("undrained {place}: {} ({}), weight {}", now.health, now.reason, now.weight),
    };
    streams.line(&escape(&line, 1000))
}
