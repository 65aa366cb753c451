//! `portolan discover`: the answer that a program would get.

use clap::{Args, ValueEnum};

use super::args::{NamespaceArg, SelectArgs, ServerArgs};
use super::client::Client;
use super::completion;
use super::exit::{Exit, Failure};
use super::output::{Streams, service};
use crate::model::text::escape;
use crate::model::time::UnixMs;
use crate::wire::Service;

/// How the answer is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum OutputFormat {
    /// The instances that match.
    #[default]
    Table,
    /// The same with more columns.
    Wide,
    /// The server's data as it came.
    Json,
    /// The base URL of a healthy instance and nothing else.
    Url,
}

/// How one instance is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Pick {
    /// At random, in proportion to the weights, among the healthy ones.
    Weighted,
}

/// Flags of `discover`.
#[derive(Debug, Args)]
pub(super) struct DiscoverArgs {
    /// The service's name
    #[arg(add = completion::of_services())]
    name: String,
    #[command(flatten)]
    namespace: NamespaceArg,
    /// Only healthy instances; exit code 1 when there is none
    #[arg(long)]
    healthy: bool,
    /// With -o url, print the URL of an unhealthy or drained instance if there is no better one
    #[arg(long, conflicts_with = "healthy")]
    any: bool,
    /// Let the server choose one instance; `weighted` picks at random, in proportion to the weights
    #[arg(long, value_enum, value_name = "HOW", hide_possible_values = true)]
    pick: Option<Pick>,
    /// How to show the answer: table, wide, json, or url for a healthy instance's base URL alone; exit code 1 when none is healthy
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t, hide_possible_values = true)]
    output: OutputFormat,
    #[command(flatten)]
    select: SelectArgs,
    #[command(flatten)]
    server: ServerArgs,
}

impl DiscoverArgs {
    /// A script that calls what `-o url` prints must not be sent to a dead instance.
    fn only_healthy(&self) -> bool {
        self.healthy || (self.output == OutputFormat::Url && !self.any)
    }

    fn query(&self) -> Vec<(String, String)> {
        self.select.query([
            ("name", Some(self.name.clone())),
            ("namespace", self.namespace.namespace.clone()),
            ("healthy", self.only_healthy().then(|| "true".to_owned())),
            ("pick", self.pick.map(|Pick::Weighted| "weighted".to_owned())),
        ])
    }
}

pub(super) async fn run(args: DiscoverArgs, streams: &mut Streams) -> Result<Exit, Failure> {
    let client = Client::new(&args.server).await?;
    let query = args.query();
    let pairs: Vec<(&str, &str)> = query.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let reply = client.get(&["services", "discover"], &pairs).await.map_err(|failure| {
        let may_take_any = args.only_healthy() && !args.healthy && failure.exit == Exit::Unmet;
        if may_take_any { failure.hint("--any prints the URL of one that is not healthy, or drained") } else { failure }
    })?;
    if args.output == OutputFormat::Json {
        streams.json(reply.raw())?;
        return Ok(Exit::Ok);
    }
    let found: Service = reply.read()?;
    if args.output == OutputFormat::Url {
        streams.line(&escape(&found.base_url, usize::MAX))?;
        return Ok(Exit::Ok);
    }
    let now = UnixMs::wall();
    let wide = args.output == OutputFormat::Wide;
    streams.table(&service::services([(&found).into()], false, wide, now))?;
    streams.line("")?;
    streams.table(&service::instances(&found.instances, wide, now))?;
    Ok(Exit::Ok)
}
