//! `portolan availability`: how long services were proved up or down, and their outages.

use clap::{Args, ValueEnum};
use uuid::Uuid;

use super::args::ServerArgs;
use super::client::{Client, Reply};
use super::completion;
use super::exit::{Exit, Failure};
use super::lookup;
use super::output::Streams;
use super::output::paint::Cell;
use super::output::table::{MAX_CELL, Table, foreign};
use super::output::time::since;
use super::pages::{Pages, join};
use crate::model::availability::{Window, percent_text};
use crate::model::text::escape;
use crate::model::time::{UnixMs, age};
use crate::wire::{Availability, Outage};

/// Flags of `availability`.
#[derive(Debug, Args)]
pub(super) struct AvailabilityArgs {
    /// The service's name or id; every service unless given
    #[arg(value_name = "NAME|ID", add = completion::of_services())]
    service: Option<String>,
    /// The namespace; the server's default one unless given
    #[arg(short, long, value_name = "NAME", conflicts_with = "all_namespaces")]
    namespace: Option<String>,
    /// Every namespace that you may see
    #[arg(short = 'A', long, conflicts_with_all = ["service", "instance"])]
    all_namespaces: bool,
    /// Only this instance of the service
    #[arg(short, long, value_name = "NAME", requires = "service")]
    instance: Option<String>,
    /// How far back, such as 90m, 24h or 7d; at most 30d
    #[arg(long, value_name = "TIME", default_value_t, value_parser = window)]
    window: Window,
    /// How to show the result: table, json or csv
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t, hide_possible_values = true)]
    output: Output,
    #[command(flatten)]
    server: ServerArgs,
}

/// How the result is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    #[default]
    Table,
    /// The server's data as it came.
    Json,
    /// For spreadsheets.
    Csv,
}

fn window(text: &str) -> Result<Window, String> {
    text.parse().map_err(|error: crate::model::value_error::ValueError| error.problem)
}

pub(super) async fn run(args: AvailabilityArgs, streams: &mut Streams) -> Result<Exit, Failure> {
    let client = Client::new(&args.server).await?;
    let window = args.window.to_string();
    let (raw, all) = match &args.service {
        Some(service) => {
            let id = match service.parse::<Uuid>() {
                Ok(id) => id,
                Err(_) => lookup::service(&client, service, args.namespace.as_deref()).await?.0.id,
            };
            let mut query = vec![("window", window.as_str())];
            query.extend(args.instance.as_deref().map(|name| ("instance", name)));
            let reply = client.get(&["services", &id.to_string(), "availability"], &query).await?;
            (reply.raw().to_owned(), vec![reply.read::<Availability>()?])
        }
        None => every(&client, &args, window).await?,
    };
    match args.output {
        Output::Json => streams.json(&raw)?,
        Output::Csv => csv(&all, streams)?,
        Output::Table => {
            let now = UnixMs::wall();
            streams.table(&table(&all, args.all_namespaces, now))?;
            let outages: Vec<&Outage> = all.iter().filter_map(|one| one.outages.as_ref()).flatten().collect();
            if !outages.is_empty() {
                streams.line("")?;
                streams.table(&outage_table(&outages, now))?;
            }
            note(&all, outages.len(), args.service.is_some(), streams);
            if outages.iter().any(|outage| outage.is_longer_than(outage.seconds, now)) {
                streams.note("≥: at least; a time in which no server ran is left out");
            }
        }
    }
    Ok(Exit::Ok)
}

async fn every(
    client: &Client,
    args: &AvailabilityArgs,
    window: String,
) -> Result<(String, Vec<Availability>), Failure> {
    let mut query = vec![("window".to_owned(), window)];
    let namespace = if args.all_namespaces { Some("*".to_owned()) } else { args.namespace.clone() };
    query.extend(namespace.map(|namespace| ("namespace".to_owned(), namespace)));
    let pages = Pages::at(client, &["availability"], query).all().await?;
    let all = pages.iter().map(Reply::read::<Vec<Availability>>).collect::<Result<Vec<_>, _>>()?;
    Ok((join(&pages), all.into_iter().flatten().collect()))
}

/// What the table does not say.
fn note(all: &[Availability], shown: usize, one: bool, streams: &mut Streams) {
    let Some(first) = all.first() else { return streams.note("no service matches") };
    if one && first.since > first.from {
        streams.note(&format!("it is recorded since {}", first.since));
    }
    if one && first.outage_count > shown {
        streams.note(&format!("the newest {shown} of {} outages are shown", first.outage_count));
    }
}

fn table(all: &[Availability], namespaces: bool, now: UnixMs) -> Table {
    let mut head = vec!["NAME", "STATUS", "AVAILABLE", "KNOWN", "DOWN", "DEGRADED", "OUTAGES", "LONGEST", "RECOVERY"];
    if namespaces {
        head.insert(0, "NAMESPACE");
    }
    head.push("SINCE");
    let mut table = Table::new(&head);
    for one in all {
        let name = match &one.instance {
            Some(instance) => format!("{}/{instance}", one.name),
            None => one.name.to_string(),
        };
        let mut row = if namespaces { vec![foreign(&one.namespace)] } else { Vec::new() };
        row.extend([foreign(&name), Cell::health(&one.status), percent_text(one.percent).into()]);
        row.extend([one.known_seconds, one.unhealthy_seconds, one.degraded_seconds].map(|time| length(time).into()));
        row.push(one.outage_count.to_string().into());
        let longest = (one.outage_count > 0).then_some(one.longest_outage_seconds);
        row.extend(
            [longest, one.recovery_seconds].map(|time| time.map_or_else(|| "–".into(), |time| length(time).into())),
        );
        row.push(since(Some(one.since), now).into());
        table.row(row);
    }
    table
}

fn outage_table(outages: &[&Outage], now: UnixMs) -> Table {
    let mut table = Table::new(&["AT", "AGE", "LASTED", "REASON", "INSTANCES"]);
    for outage in outages {
        let at_least = if outage.is_longer_than(outage.seconds, now) { "≥ " } else { "" };
        let lasted = format!("{at_least}{}", length(outage.seconds));
        let lasted = if outage.until.is_some() { lasted } else { format!("{lasted}, lasts") };
        let reason =
            outage.check.as_ref().map_or_else(|| outage.reason.to_string(), |c| format!("{} ({c})", outage.reason));
        let mut names = outage.instances.join(", ");
        if outage.instance_count > outage.instances.len() {
            names = format!("{names} and {} more", outage.instance_count - outage.instances.len());
        }
        let at = outage.from.to_string();
        table.row(vec![
            at.into(),
            since(Some(outage.from), now).into(),
            lasted.into(),
            foreign(&reason),
            foreign(&names),
        ]);
    }
    table
}

/// Seconds for people. A server's nonsense shows as nothing.
fn length(seconds: f64) -> String {
    age(std::time::Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

/// [RFC 4180](https://www.rfc-editor.org/rfc/rfc4180), with a head. What is not known is empty.
fn csv(all: &[Availability], streams: &mut Streams) -> Result<(), Failure> {
    streams.line(
        "namespace,name,instance,id,from,until,since,status,percent,known_seconds,unhealthy_seconds,degraded_seconds,\
         unknown_seconds,drained_seconds,outages,longest_outage_seconds,recovery_seconds",
    )?;
    for one in all {
        let number = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
        let texts = [&*one.namespace, &*one.name, one.instance.as_deref().unwrap_or("")].map(field);
        let times = [one.from, one.until, one.since].map(|time| time.to_string());
        let seconds =
            [one.known_seconds, one.unhealthy_seconds, one.degraded_seconds, one.unknown_seconds, one.drained_seconds];
        let row = texts.into_iter().chain([one.id.to_string()]).chain(times);
        let row = row.chain([field(&one.status), number(one.percent)]).chain(seconds.map(|value| value.to_string()));
        let outages =
            [one.outage_count.to_string(), one.longest_outage_seconds.to_string(), number(one.recovery_seconds)];
        streams.line(&row.chain(outages).collect::<Vec<_>>().join(","))?;
    }
    Ok(())
}

/// A field, escaped as in a table, and quoted where it must be; the server's names need neither.
fn field(text: &str) -> String {
    let text = escape(text, MAX_CELL);
    let plain = !text.contains([',', '"', '\n', '\r']) && !text.starts_with(['=', '+', '-', '@']);
    if plain { text } else { format!("\"{}\"", text.replace('"', "\"\"")) }
}

/// The availability of services over the last day, by id; without those that the server does not answer for. A refusal ends the requests, and
/// what arrived before it is kept.
pub(super) async fn of_services(client: &Client, ids: &[Uuid]) -> Vec<Availability> {
    let mut all = Vec::with_capacity(ids.len());
    for ids in ids.chunks(MAX_IDS) {
        let ids: Vec<String> = ids.iter().map(Uuid::to_string).collect();
        let query: Vec<(&str, &str)> = ids.iter().map(|id| ("id", id.as_str())).collect();
        let reply = client.get(&["availability"], &query).await;
        let Ok(some) = reply.and_then(|reply| reply.read::<Vec<Availability>>()) else { break };
        all.extend(some);
    }
    all
}

/// Ids of one request.
const MAX_IDS: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_cannot_break_out_of_its_cell() {
        for (text, written) in [
            ("a", "a"),
            ("a,b", "\"a,b\""),
            ("a\"b", "\"a\"\"b\""),
            ("=1+1", "\"=1+1\""),
            ("a\u{1b}[2J\n", r"a\u{1b}[2J\u{a}"),
        ] {
            assert_eq!(field(text), written);
        }
    }
}
