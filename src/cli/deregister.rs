//! `portolan deregister`: removes a service or an instance.

use clap::Args;
use uuid::Uuid;

use super::args::{NamespaceArg, ServerArgs};
use super::client::Client;
use super::client::error::ONE_OF_SEVERAL;
use super::completion;
use super::exit::{Exit, Failure};
use super::lookup;
use super::output::Streams;
use super::plugin::program;
use crate::model::text::escape;

/// Most instances that a hint names.
const MAX_NAMED: usize = 10;

/// Flags of `deregister`.
#[derive(Debug, Args)]
pub(super) struct DeregisterArgs {
    /// The service's name or id
    #[arg(value_name = "NAME|ID", add = completion::of_services())]
    service: String,
    #[command(flatten)]
    namespace: NamespaceArg,
    /// Only this instance
    #[arg(short, long, value_name = "NAME", conflicts_with = "all", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    instance: Option<String>,
    /// Only the instance with this external id
    #[arg(long, value_name = "ID", conflicts_with = "instance")]
    external_id: Option<String>,
    /// Remove the service even if it has several instances; with --external-id, all instances with that id
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    server: ServerArgs,
}

impl DeregisterArgs {
    /// Says where to look if the service is there and the instance is not.
    fn hinted(&self, failure: Failure) -> Failure {
        let named = self.instance.is_some() || self.external_id.is_some();
        if !named || failure.exit != Exit::NotFound || !failure.hints.is_empty() {
            return failure;
        }
        let namespace = self.namespace.namespace.as_ref().map_or_else(String::new, |name| format!(" -n {name}"));
        failure.hint(escape(&format!("{} get {}{namespace} shows those it has", program(), self.service), 300))
    }
}

impl DeregisterArgs {
    /// Names the instances of a service that has several.
    async fn several(&self, client: &Client, failure: Failure) -> Failure {
        let found = lookup::service(client, &self.service, self.namespace.namespace.as_deref()).await;
        let Ok((service, _)) = found else { return failure };
        let some =
            service.instances.iter().take(MAX_NAMED).map(|i| escape(&i.name, 100)).collect::<Vec<_>>().join(", ");
        let more = if service.instances.len() > MAX_NAMED { " and more" } else { "" };
        let message = format!("{} has {} instances", escape(&service.name, 100), service.instances.len());
        let hint = format!("--instance NAME removes one ({some}{more}); --all removes every one");
        Failure { message, hints: vec![hint], ..failure }
    }
}

pub(super) async fn run(args: DeregisterArgs, streams: &mut Streams) -> Result<Exit, Failure> {
    let client = Client::new(&args.server).await?;
    let service = args.service.as_str();
    if args.external_id.is_some() && service.parse::<Uuid>().is_ok() {
        return Err(Failure::usage("--external-id goes with the service's name, not with its id"));
    }
    let all = args.all.then_some(("all", "true"));
    let ended = match (&args.instance, service.parse::<Uuid>().is_ok()) {
        (Some(instance), true) => client.delete(&["services", service, "instances", instance], &[]).await,
        (None, true) => client.delete(&["services", service], all.as_slice()).await,
        (instance, false) => {
            let mut query = vec![("name", service)];
            query.extend(args.namespace.namespace.as_deref().map(|ns| ("namespace", ns)));
            query.extend(instance.as_deref().map(|i| ("instance", i)));
            query.extend(args.external_id.as_deref().map(|id| ("external_id", id)));
            query.extend(all);
            client.delete(&["services", "deregister"], &query).await
        }
    };
    let reply = match ended {
        Ok(reply) => reply,
        Err(failure) if failure.hints.iter().any(|hint| hint == ONE_OF_SEVERAL) && args.external_id.is_none() => {
            return Err(args.several(&client, failure).await);
        }
        Err(failure) => return Err(args.hinted(failure)),
    };
    streams.warnings(&reply.warnings);
    streams.note(&match args.instance.as_ref().or(args.external_id.as_ref()) {
        Some(instance) => format!("deregistered instance {instance} of {service}"),
        None => format!("deregistered {service}"),
    });
    Ok(Exit::Ok)
}
