//! `portolan ack` and `portolan unack`: say that a failure is known, and take that back.

use clap::Args;

use super::args::{Format, NamespaceArg, OutputArg, ServerArgs};
use super::client::{Client, Reply};
use super::completion;
use super::exit::{Exit, Failure};
use super::lookup;
use super::noted::{body, end, until};
use super::output::Streams;
use super::registration::whole_seconds;
use crate::model::text::escape;
use crate::wire::{Instance, Service};

/// Which failures.
#[derive(Debug, Args)]
struct Which {
    /// The service's name or id
    #[arg(value_name = "NAME|ID", add = completion::of_services())]
    service: String,
    #[command(flatten)]
    namespace: NamespaceArg,
    /// Only this instance; every instance that fails or warns unless given
    #[arg(short, long, value_name = "NAME")]
    instance: Option<String>,
}

/// Flags of `ack`.
#[derive(Debug, Args)]
pub(super) struct AckArgs {
    #[command(flatten)]
    which: Which,
    /// What is known about the failure, which lists and the console show
    #[arg(long, value_name = "TEXT")]
    note: String,
    /// How long at most, up to 30d; as long as the failure lasts unless given
    #[arg(long = "for", value_name = "TIME", value_parser = whole_seconds)]
    time: Option<u64>,
    #[command(flatten)]
    output: OutputArg,
    #[command(flatten)]
    server: ServerArgs,
}

/// Flags of `unack`.
#[derive(Debug, Args)]
pub(super) struct UnackArgs {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    output: OutputArg,
    #[command(flatten)]
    server: ServerArgs,
}

impl Which {
    async fn find(&self, client: &Client) -> Result<Service, Failure> {
        let (service, _) = lookup::service(client, &self.service, self.namespace.namespace.as_deref()).await?;
        Ok(service)
    }

    fn query(&self) -> Vec<(&str, &str)> {
        self.instance.iter().map(|name| ("instance", name.as_str())).collect()
    }

    /// The instances that the flags mean and that are acknowledged.
    fn acknowledged<'a>(&'a self, service: &'a Service) -> impl Iterator<Item = &'a Instance> {
        let is_meant = |instance: &&Instance| self.instance.as_ref().is_none_or(|name| *instance.name == **name);
        service.instances.iter().filter(is_meant).filter(|instance| instance.acknowledged.is_some())
    }
}

/// Runs `ack`.
pub(super) async fn ack(args: AckArgs, streams: &mut Streams) -> Result<Exit, Failure> {
    let client = Client::new(&args.server).await?;
    let service = args.which.find(&client).await?;
    let body = body("note", &args.note, args.time);
    let id = service.id.to_string();
    let reply = client.put(&path(&id), &args.which.query(), Some(body)).await?;
    if args.output.output != Format::Json {
        let service: Service = reply.read()?;
        for instance in args.which.acknowledged(&service) {
            let Some(known) = &instance.acknowledged else { continue };
            say("acknowledged", &service, instance, &format!("{}: {}", until(known.until), known.note), streams)?;
        }
    }
    end(&reply, args.output.output, streams)
}

/// Runs `unack`.
pub(super) async fn unack(args: UnackArgs, streams: &mut Streams) -> Result<Exit, Failure> {
    let client = Client::new(&args.server).await?;
    let service = args.which.find(&client).await?;
    let id = service.id.to_string();
    let reply: Reply = client.delete(&path(&id), &args.which.query()).await?;
    if args.which.acknowledged(&service).next().is_none() {
        streams.note(&format!("nothing of {} is acknowledged", escape(&service.name, 100)));
    } else if args.output.output != Format::Json {
        for instance in args.which.acknowledged(&service) {
            say("no longer acknowledged:", &service, instance, "", streams)?;
        }
    }
    end(&reply, args.output.output, streams)
}

fn path(id: &str) -> [&str; 3] {
    ["services", id, "acknowledgement"]
}

fn say(what: &str, service: &Service, instance: &Instance, more: &str, streams: &mut Streams) -> Result<(), Failure> {
    let line = format!("{what} {}/{}/{}{more}", service.namespace, service.name, instance.name);
    streams.line(&escape(&line, 1000))
}
