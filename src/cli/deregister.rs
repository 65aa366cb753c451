//! `portolan deregister`: removes a service or an instance.

use clap::Args;
use uuid::Uuid;

use super::args::{NamespaceArg, ServerArgs};
use super::client::Client;
use super::exit::{Exit, Failure};
use super::output::Streams;

/// Flags of `deregister`.
#[derive(Debug, Args)]
pub(super) struct DeregisterArgs {
    /// The service's name or id
    #[arg(value_name = "NAME|ID")]
    service: String,
    #[command(flatten)]
    namespace: NamespaceArg,
    /// Only this instance
    #[arg(short, long, value_name = "NAME", conflicts_with = "all")]
    instance: Option<String>,
    /// Remove the service even if it has several instances
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// Runs it.
///
/// # Errors
/// See [`Failure`].
pub(super) async fn run(args: DeregisterArgs, streams: &mut Streams) -> Result<Exit, Failure> {
    let client = Client::new(&args.server).await?;
    let service = args.service.as_str();
    let all = args.all.then_some(("all", "true"));
    let reply = match (&args.instance, service.parse::<Uuid>().is_ok()) {
        (Some(instance), true) => client.delete(&["services", service, "instances", instance], &[]).await?,
        (None, true) => client.delete(&["services", service], all.as_slice()).await?,
        (instance, false) => {
            let mut query = vec![("name", service)];
            query.extend(args.namespace.namespace.as_deref().map(|ns| ("namespace", ns)));
            query.extend(instance.as_deref().map(|i| ("instance", i)));
            query.extend(all);
            client.delete(&["services", "deregister"], &query).await?
        }
    };
    streams.warnings(&reply.warnings);
    streams.note(&match &args.instance {
        Some(instance) => format!("deregistered instance {instance} of {service}"),
        None => format!("deregistered {service}"),
    });
    Ok(Exit::Ok)
}
