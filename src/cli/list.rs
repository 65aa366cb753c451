//! `portolan list`: the services that match.

use std::collections::HashSet;

use clap::Args;

use super::args::{Format, OutputArg, ServerArgs, parse_pair};
use super::client::{Client, Reply, ServiceView, read};
use super::exit::{Exit, Failure};
use super::output::{Streams, service};
use crate::model::outcome::Health;
use crate::model::time::UnixMs;

/// Services asked for at once; the next page follows by its cursor.
const PAGE: &str = "500";
/// Most pages that are asked for: no server has more, so a server that goes on is not one.
const MAX_PAGES: usize = 2000;

/// Flags of `list`.
#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Only this namespace; the server's default one unless given
    #[arg(short, long, value_name = "NAME", conflicts_with = "all_namespaces")]
    namespace: Option<String>,
    /// Every namespace that you may see
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    #[command(flatten)]
    output: OutputArg,
    #[command(flatten)]
    select: Select,
    #[command(flatten)]
    server: ServerArgs,
}

/// Which services are listed.
#[derive(Debug, Args)]
#[command(next_help_heading = "Selection")]
struct Select {
    /// Only services of this health: healthy, unhealthy or unknown
    #[arg(long, value_name = "HEALTH")]
    status: Option<Health>,
    /// Only versions in this range, such as ^1.4 or ">=2, <3"
    #[arg(long, value_name = "RANGE")]
    version: Option<String>,
    /// Only this zone
    #[arg(long)]
    zone: Option<String>,
    /// Only where the metadata has this entry; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_pair)]
    meta: Vec<(String, String)>,
}

impl ListArgs {
    fn query(&self) -> Vec<(String, String)> {
        let namespace = if self.all_namespaces { Some("*".to_owned()) } else { self.namespace.clone() };
        let select = &self.select;
        let given = [
            ("namespace", namespace),
            ("status", select.status.map(|s| s.to_string())),
            ("version", select.version.clone()),
            ("zone", select.zone.clone()),
        ];
        let mut query: Vec<_> = given.into_iter().filter_map(|(k, v)| Some((k.to_owned(), v?))).collect();
        query.extend(select.meta.iter().map(|(k, v)| (format!("meta.{k}"), v.clone())));
        query.push(("limit".to_owned(), PAGE.to_owned()));
        query
    }
}

/// Runs it.
///
/// # Errors
/// See [`Failure`].
pub(super) async fn run(args: ListArgs, streams: &mut Streams) -> Result<Exit, Failure> {
    let client = Client::new(&args.server)?;
    let pages = pages(&client, args.query()).await?;
    if args.output.output == Format::Json {
        streams.json(&join(&pages))?;
        return Ok(Exit::Ok);
    }
    let mut services: Vec<ServiceView> = Vec::new();
    for page in &pages {
        services.extend(page.read::<Vec<ServiceView>>()?);
    }
    if services.is_empty() {
        let hint = pages.first().and_then(Reply::hint);
        streams.note(hint.as_deref().unwrap_or("no service matches"));
    }
    let wide = args.output.output == Format::Wide;
    streams.table(&service::services(&services, args.all_namespaces, wide, UnixMs::wall()))?;
    Ok(Exit::Ok)
}

async fn pages(client: &Client, mut query: Vec<(String, String)>) -> Result<Vec<Reply>, Failure> {
    let mut pages = Vec::new();
    let mut seen = HashSet::new();
    while pages.len() < MAX_PAGES {
        let pairs: Vec<(&str, &str)> = query.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let page = client.get(&["services"], &pairs).await?;
        let next = page.next_cursor.clone();
        pages.push(page);
        let Some(next) = next else { return Ok(pages) };
        if !seen.insert(next.clone()) {
            return Err(endless("its next_cursor repeats"));
        }
        query.retain(|(name, _)| name != "cursor");
        query.push(("cursor".to_owned(), next));
    }
    Err(endless("it has more pages than any server's"))
}

fn endless(why: &str) -> Failure {
    Failure::new(Exit::Unreachable, format!("the server's list does not end: {why}"))
        .hint("is --server or PORTOLAN_SERVER the registry's own address?")
}

/// One array of the pages' elements, each byte for byte.
fn join(pages: &[Reply]) -> String {
    let inside = pages.iter().filter_map(|page| {
        let inside = page.raw().trim().strip_prefix('[')?.strip_suffix(']')?.trim();
        (!inside.is_empty()).then_some(inside)
    });
    format!("[{}]", inside.collect::<Vec<_>>().join(","))
}

/// Every service of every namespace, read.
///
/// # Errors
/// See [`Failure`].
pub(super) async fn everything(client: &Client) -> Result<Vec<ServiceView>, Failure> {
    let query = vec![("namespace".to_owned(), "*".to_owned()), ("limit".to_owned(), PAGE.to_owned())];
    let pages = pages(client, query).await?;
    read(&join(&pages))
}
