//! `portolan history`: what changed, newest first, and why.

use clap::Args;
use uuid::Uuid;

use super::args::{Format, NamespaceArg, OutputArg, ServerArgs};
use super::client::{Client, Reply};
use super::completion;
use super::exit::{Exit, Failure};
use super::output::Streams;
use super::output::paint::{Cell, Tone};
use super::output::table::{Table, foreign};
use super::output::time::since;
use super::pages::{Pages, join};
use crate::model::outcome::Health;
use crate::model::text::escape;
use crate::model::time::UnixMs;
use crate::wire::HistoryEntry;

/// Most transitions to show.
const MAX_LIMIT: u16 = 10_000;

/// Flags of `history`.
#[derive(Debug, Args)]
pub(super) struct HistoryArgs {
    /// The service's name or id, also of one that was removed
    #[arg(value_name = "NAME|ID", add = completion::of_services())]
    service: String,
    #[command(flatten)]
    namespace: NamespaceArg,
    /// Only this instance
    #[arg(short, long, value_name = "NAME")]
    instance: Option<String>,
    /// Maximum number of transitions to show, 1 to 10,000
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=i64::from(MAX_LIMIT)))]
    limit: u16,
    #[command(flatten)]
    output: OutputArg,
    #[command(flatten)]
    server: ServerArgs,
}

/// Transitions of the service with that id, newest first.
pub(super) async fn transitions(client: &Client, id: Uuid) -> Result<Vec<HistoryEntry>, Failure> {
    client.get(&["services", &id.to_string(), "history"], &[("limit", "100")]).await?.read()
}

pub(super) async fn run(args: HistoryArgs, streams: &mut Streams) -> Result<Exit, Failure> {
    let client = Client::new(&args.server).await?;
    let pages = pages(&client, &args).await?;
    let last = pages.last();
    if last.is_some_and(|page| page.registered == Some(false)) {
        streams.note(&format!("{} is no longer registered", escape(&args.service, 100)));
    }
    if args.output.output == Format::Json {
        streams.json(&join(&pages))?;
        return Ok(Exit::Ok);
    }
    let changes = pages.iter().map(Reply::read::<Vec<HistoryEntry>>).collect::<Result<Vec<_>, _>>()?;
    let changes: Vec<_> = changes.into_iter().flatten().collect();
    let since = last.and_then(|page| page.history_since);
    match since {
        None if changes.is_empty() => streams.note("nothing has changed since it was registered"),
        Some(since) if changes.is_empty() => {
            streams.note(&format!("nothing has changed since {since}, when this replica's history begins"));
        }
        _ => {}
    }
    streams.table(&table(&changes, args.output.output == Format::Wide, UnixMs::wall()))?;
    match last.and_then(|page| page.next_cursor.as_deref()) {
        Some(_) if args.limit < MAX_LIMIT => streams.note("there are older ones: give a higher --limit"),
        Some(next) => {
            let next = escape(next, 100);
            streams.note(&format!("there are older ones: the history continues in the API with cursor={next}"));
        }
        None => {
            if let Some(since) = since.filter(|_| !changes.is_empty()) {
                streams.note(&format!("each replica has its own history; this one's begins at {since}"));
            }
        }
    }
    Ok(Exit::Ok)
}

/// The newest transitions, up to the limit.
async fn pages(client: &Client, args: &HistoryArgs) -> Result<Vec<Reply>, Failure> {
    let service = args.service.as_str();
    let is_id = service.parse::<Uuid>().is_ok();
    let by_id = ["services", service, "history"];
    let path = if is_id { &by_id[..] } else { &["services", "history"] };
    let named = [("name", Some(service)), ("namespace", args.namespace.namespace.as_deref())];
    let given = named.into_iter().filter(|_| !is_id).chain([("instance", args.instance.as_deref())]);
    let query = given.filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned()))).collect();
    Pages::first(client, path, query, args.limit.into()).all().await
}

fn table(changes: &[HistoryEntry], wide: bool, now: UnixMs) -> Table {
    let mut head = vec!["AGE", "INSTANCE", "FROM", "TO", "REASON", "MESSAGE"];
    if wide {
        head.insert(0, "AT");
    }
    let mut table = Table::new(&head);
    for change in changes {
        let to = change.to.map_or_else(|| Cell::new("removed", Tone::Faint), |to: Health| Cell::health(to.as_str()));
        let mut row =
            vec![since(Some(change.at), now).into(), foreign(&change.instance), Cell::health(change.from.as_str()), to];
        let reason = change.reason.as_deref().unwrap_or("");
        let of = change.check.as_deref().map_or_else(|| reason.to_owned(), |check| format!("{reason} ({check})"));
        row.extend([foreign(&of), foreign(&change.message)]);
        if wide {
            row.insert(0, change.at.to_string().into());
        }
        table.row(row);
    }
    table
}
