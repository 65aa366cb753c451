//! `portolan list`: the services that match.

use std::collections::HashMap;

use clap::Args;
use uuid::Uuid;

use super::args::{Format, OutputArg, SelectArgs, ServerArgs};
use super::availability;
use super::changes::{Change, Changes};
use super::client::{Client, Reply, read};
use super::exit::{Exit, Failure};
use super::output::service::Row;
use super::output::{Streams, service};
use super::pages::{Pages, join};
use super::plugin::program;
use crate::console::data;
use crate::console::source::api::Reach;
use crate::model::outcome::Health;
use crate::model::time::UnixMs;
use crate::wire::Service;

/// Flags of `list`.
#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Only this namespace; the server's default one unless given
    #[arg(short, long, value_name = "NAME", conflicts_with = "all_namespaces")]
    namespace: Option<String>,
    /// Every namespace that you may see
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Then print each changed row again, until interrupted
    #[arg(short = 'w', long, conflicts_with_all = ["version", "zone", "meta", "tag", "no_warning"])]
    watch: bool,
    #[command(flatten)]
    output: OutputArg,
    /// Only services of this health: healthy, unhealthy or unknown
    #[arg(long, value_name = "HEALTH", help_heading = "Selection")]
    status: Option<Health>,
    #[command(flatten)]
    select: SelectArgs,
    #[command(flatten)]
    server: ServerArgs,
}

impl ListArgs {
    fn query(&self) -> Vec<(String, String)> {
        let namespace = if self.all_namespaces { Some("*".to_owned()) } else { self.namespace.clone() };
        self.select.query([("namespace", namespace), ("status", self.status.map(|status| status.to_string()))])
    }
}

pub(super) async fn run(args: ListArgs, streams: &mut Streams) -> Result<Exit, Failure> {
    let client = Client::new(&args.server).await?;
    if args.watch {
        return follow(&args, client, streams).await;
    }
    let pages = Pages::of(&client, args.query()).all().await?;
    if args.output.output == Format::Json {
        streams.json(&join(&pages))?;
        return Ok(Exit::Ok);
    }
    let mut services: Vec<Service> = Vec::new();
    for page in &pages {
        services.extend(page.read::<Vec<Service>>()?);
    }
    if services.is_empty() {
        let hint = pages.first().and_then(Reply::hint);
        streams.note(hint.as_deref().unwrap_or("no service matches"));
    }
    let wide = args.output.output == Format::Wide;
    let known = if wide { available(&client, &services).await } else { HashMap::new() };
    let available = |service: &Service| known.get(&service.id).copied();
    let rows = services.iter().map(|service| Row { available: available(service), ..Row::from(service) });
    streams.table(&service::services(rows, args.all_namespaces, wide, UnixMs::wall()))?;
    Ok(Exit::Ok)
}

/// The availability of each over the last day in percent. A column is not worth a failure: an older server has none.
async fn available(client: &Client, services: &[Service]) -> HashMap<Uuid, f64> {
    let ids: Vec<Uuid> = services.iter().map(|service| service.id).collect();
    let known = availability::of_services(client, &ids).await;
    known.into_iter().filter_map(|one| Some((one.id, one.percent?))).collect()
}

/// Prints the table, then the changed rows.
async fn follow(args: &ListArgs, client: Client, streams: &mut Streams) -> Result<Exit, Failure> {
    if args.output.output == Format::Json {
        let hint = format!("{} watch -o json prints changes as JSON", program());
        return Err(Failure::usage("--watch prints rows for people").hint(hint));
    }
    let reach = match (&args.namespace, args.all_namespaces) {
        (Some(name), _) => Reach::One(name.as_str().into()),
        (None, true) => Reach::All,
        (None, false) => Reach::Default,
    };
    let is_selected = |service: &data::Service| args.status.is_none_or(|status| service.health == status);
    let wide = args.output.output == Format::Wide;
    let table = |rows: &[(Service, bool)]| {
        let rows = rows.iter().map(|(service, removed)| Row { removed: *removed, ..Row::from(service) });
        service::services(rows, args.all_namespaces, wide, UnixMs::wall())
    };
    let mut changes = Changes::follow(client, reach, None).await?;
    let known = changes.known().filter(|service| is_selected(service));
    let mut rows = known.map(|service| Ok((full(service)?, false))).collect::<Result<Vec<_>, Failure>>()?;
    rows.sort_by(|(a, _), (b, _)| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
    let first = table(&rows);
    let widths = first.widths(streams.paint());
    streams.table(&first)?;
    streams.flush()?;
    loop {
        let mut rows = Vec::new();
        for Change { from, to } in changes.next(streams).await? {
            // A service that left the selection is printed once more, as it is now.
            if !to.as_ref().is_some_and(is_selected) && !from.as_ref().is_some_and(is_selected) {
                continue;
            }
            match (from, to) {
                (_, Some(to)) => rows.push((full(&to)?, false)),
                (Some(from), None) => rows.push((removed(&from)?, true)),
                (None, None) => {}
            }
        }
        for line in table(&rows).rows(&widths, streams.paint()) {
            streams.line(&line)?;
        }
        streams.flush()?;
    }
}

/// A service as the tables take it, from what the watch keeps of it.
fn full(service: &data::Service) -> Result<Service, Failure> {
    let json = serde_json::to_string(service).map_err(|error| Failure::new(Exit::Unreachable, error.to_string()))?;
    let mut full: Service = read(&json)?;
    full.base_url = full.instances.first().map(|first| first.base_url.clone()).unwrap_or_default();
    full.reason = service.why().into();
    Ok(full)
}

fn removed(service: &data::Service) -> Result<Service, Failure> {
    Ok(Service { reason: "Removed".into(), instances: Vec::new(), ..full(service)? })
}

/// Every service of every namespace.
pub(super) async fn everything(client: &Client) -> Result<Vec<Service>, Failure> {
    let query = vec![("namespace".to_owned(), "*".to_owned())];
    let pages = Pages::of(client, query).all().await?;
    read(&join(&pages))
}
