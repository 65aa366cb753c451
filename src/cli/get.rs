//! `portolan get`: one service with everything that is known about it.

use clap::Args;

use super::args::{Format, NamespaceArg, OutputArg, ServerArgs};
use super::client::Client;
use super::completion;
use super::exit::{Exit, Failure};
use super::lookup;
use super::output::{Streams, service};
use crate::model::time::UnixMs;
use crate::wire::Service;

/// Flags of `get`.
#[derive(Debug, Args)]
pub(super) struct GetArgs {
    /// The service's name or id
    #[arg(value_name = "NAME|ID", add = completion::of_services())]
    service: String,
    #[command(flatten)]
    namespace: NamespaceArg,
    #[command(flatten)]
    output: OutputArg,
    #[command(flatten)]
    server: ServerArgs,
}

pub(super) async fn run(args: GetArgs, streams: &mut Streams) -> Result<Exit, Failure> {
    let client = Client::new(&args.server).await?;
    let (found, reply) = lookup::service(&client, &args.service, args.namespace.namespace.as_deref()).await?;
    match args.output.output {
        Format::Json => streams.json(reply.raw())?,
        format => show(&found, reply.probed_elsewhere, format == Format::Wide, streams)?,
    }
    Ok(Exit::Ok)
}

fn show(found: &Service, probed_elsewhere: bool, wide: bool, streams: &mut Streams) -> Result<(), Failure> {
    let now = UnixMs::wall();
    for (name, value) in service::facts(found, probed_elsewhere, now) {
        let line = format!("{name:<12} {}", value.render(streams.paint()));
        streams.line(line.trim_end())?;
    }
    streams.line("")?;
    streams.table(&service::instances(&found.instances, wide, now))?;
    let remarks = service::remarks(&found.instances, now);
    if !remarks.is_empty() {
        streams.line("")?;
    }
    remarks.iter().try_for_each(|line| streams.line(line))
}
