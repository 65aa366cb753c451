//! `portolan history`: what changed, newest first, and why.

use clap::Args;
use uuid::Uuid;

use super::args::{Format, NamespaceArg, OutputArg, ServerArgs};
use super::client::Client;
use super::completion;
use super::exit::{Exit, Failure};
use super::output::Streams;
use super::output::paint::{Cell, Tone};
use super::output::table::{Table, foreign};
use super::output::time::since;
use crate::model::outcome::Health;
use crate::model::text::escape;
use crate::model::time::UnixMs;
use crate::wire::HistoryEntry;

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
    /// Maximum number of transitions to show, 1 to 500
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=500))]
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
    let limit = args.limit.to_string();
    let mut query = vec![("limit", limit.as_str())];
    query.extend(args.instance.as_deref().map(|i| ("instance", i)));
    let reply = if args.service.parse::<Uuid>().is_ok() {
        client.get(&["services", &args.service, "history"], &query).await?
    } else {
        query.push(("name", args.service.as_str()));
        query.extend(args.namespace.namespace.as_deref().map(|ns| ("namespace", ns)));
        client.get(&["services", "history"], &query).await?
    };
    if reply.registered == Some(false) {
        streams.note(&format!("{} is no longer registered", escape(&args.service, 100)));
    }
    if args.output.output == Format::Json {
        streams.json(reply.raw())?;
        return Ok(Exit::Ok);
    }
    let changes: Vec<HistoryEntry> = reply.read()?;
    let since = reply.history_since;
    match since {
        None if changes.is_empty() => streams.note("nothing has changed since it was registered"),
        Some(since) if changes.is_empty() => {
            streams.note(&format!("nothing has changed since {since}, when this replica's history begins"));
        }
        _ => {}
    }
    streams.table(&table(&changes, args.output.output == Format::Wide, UnixMs::wall()))?;
    if reply.next_cursor.is_some() {
        streams.note("there are older ones: give a higher --limit");
    } else if let Some(since) = since.filter(|_| !changes.is_empty()) {
        streams.note(&format!("each replica has its own history; this one's begins at {since}"));
    }
    Ok(Exit::Ok)
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
