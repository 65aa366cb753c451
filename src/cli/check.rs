//! `portolan check`: probes now and shows where the time went.

use clap::Args;

use super::args::{Format, NamespaceArg, OutputArg, ServerArgs};
use super::client::{Client, read};
use super::completion;
use super::exit::{Exit, Failure};
use super::lookup;
use super::output::Streams;
use super::output::paint::{Cell, Tone};
use super::output::time::millis;
use crate::model::check::ON_DEMAND_TIMEOUT;
use crate::model::outcome::{Health, Stage};
use crate::model::text::escape;
use crate::wire::{Checked, Outcome, Service, Timings};

/// Width of the longest bar, in terminal cells.
const BAR_WIDTH: u64 = 32;

/// Flags of `check`. The default timeout is longer than that of other commands.
#[derive(Debug, Args)]
#[command(mut_arg("timeout", |arg| arg.default_value(format!("{}s", ON_DEMAND_TIMEOUT.as_secs()))))]
pub(super) struct CheckArgs {
    /// The service's name or id
    #[arg(value_name = "NAME|ID", add = completion::of_services())]
    service: String,
    #[command(flatten)]
    namespace: NamespaceArg,
    /// Only this instance
    #[arg(short, long, value_name = "NAME")]
    instance: Option<String>,
    #[command(flatten)]
    output: OutputArg,
    #[command(flatten)]
    server: ServerArgs,
}

pub(super) async fn run(args: CheckArgs, streams: &mut Streams) -> Result<Exit, Failure> {
    let client = Client::new(&args.server).await?;
    let (found, _) = lookup::service(&client, &args.service, args.namespace.namespace.as_deref()).await?;
    let query: Vec<(&str, &str)> = args.instance.as_deref().map(|name| ("instance", name)).into_iter().collect();
    let reply = client.post_query(&["services", &found.id.to_string(), "health-check"], &query).await?;
    let checks: Vec<Checked> = read(reply.raw_checks())?;
    let mut service: Service = reply.read()?;
    if let Some(name) = &args.instance {
        service.instances.retain(|known| *known.name == **name);
        service.health = service.instances.first().map(|known| known.health).unwrap_or_default();
    }
    if args.output.output == Format::Json {
        let raw = format!("{{\"service\":{},\"checks\":{}}}", reply.raw(), reply.raw_checks());
        streams.json(&raw)?;
    } else {
        show(&service, &checks, streams)?;
    }
    Ok(verdict(&service, &checks))
}

/// Success for a healthy service, or one without checks.
fn verdict(service: &Service, checks: &[Checked]) -> Exit {
    let unchecked = service.health == Health::Unknown && checks.iter().all(|c| c.outcome.is_none());
    if service.health == Health::Healthy || unchecked { Exit::Ok } else { Exit::Unmet }
}

fn show(service: &Service, checks: &[Checked], streams: &mut Streams) -> Result<(), Failure> {
    let paint = streams.paint();
    let name = Cell::new(escape(&service.name, 100), Tone::Strong).render(paint);
    let health = Cell::health(service.health.as_str()).render(paint);
    streams.line(&format!("{name}  {health}  {} of {} healthy", healthy(service), service.instances.len()))?;
    for check in checks {
        instance(check, streams)?;
    }
    Ok(())
}

fn healthy(service: &Service) -> usize {
    service.instances.iter().filter(|i| i.health == Health::Healthy).count()
}

fn instance(checked: &Checked, streams: &mut Streams) -> Result<(), Failure> {
    let name = escape(&checked.instance, 100);
    let Some(outcome) = &checked.outcome else {
        return streams.line(&format!("\n{name}  not probed: it was registered without a check"));
    };
    if checked.checks.is_empty() {
        probe(&name, outcome, streams)?;
    }
    for one in &checked.checks {
        let advisory = if one.advisory { ", advisory" } else { "" };
        probe(&format!("{name}  check {}{advisory}", escape(&one.check, 100)), &one.outcome, streams)?;
    }
    if checked.held {
        streams.line("  held: it flaps, and stays unhealthy until it passes steadily")?;
    }
    Ok(())
}

/// One outcome, under a title of plain text.
fn probe(title: &str, outcome: &Outcome, streams: &mut Streams) -> Result<(), Failure> {
    let verdict = Cell::health(outcome.verdict.as_str()).render(streams.paint());
    let reason = escape(&outcome.reason, 40);
    let address = outcome.address.map(|a| format!("  {a}")).unwrap_or_default();
    streams.line(&format!("\n{title}  {verdict}  {reason}{address}"))?;
    if let Some(message) = outcome.message.as_deref().filter(|message| !message.is_empty()) {
        streams.line(&format!("  {}", escape(message, 300)))?;
    }
    bars(outcome, streams)
}

fn bars(outcome: &Outcome, streams: &mut Streams) -> Result<(), Failure> {
    let Some(timings) = &outcome.timings else { return Ok(()) };
    let stages = stages(timings);
    let longest = stages.iter().map(|(_, us)| *us).max().unwrap_or(0).max(1);
    for (name, us) in &stages {
        let bar = Cell::new(bar(*us, longest), Tone::of_health(outcome.verdict.as_str()));
        let line = format!("  {name:<8} {:>10}  {}", millis(*us), bar.render(streams.paint()));
        streams.line(line.trim_end())?;
    }
    if stages.len() > 1 {
        streams.line(&format!("  {:<8} {:>10}", "total", millis(timings.total_us())))?;
    }
    Ok(())
}

fn stages(t: &Timings) -> Vec<(&'static str, u64)> {
    Stage::ALL.iter().filter_map(|stage| Some((stage.as_str(), u64::from(t.of(*stage)?)))).collect()
}

/// A bar in eighths of a cell; anything above zero is visible.
fn bar(us: u64, longest: u64) -> String {
    const PARTS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (us * BAR_WIDTH * 8).div_ceil(longest);
    let full = usize::try_from(eighths / 8).unwrap_or(0);
    let part = usize::try_from(eighths % 8).unwrap_or(0);
    "█".repeat(full) + PARTS[part]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_in_proportion() {
        assert_eq!(bar(100, 100), "█".repeat(32));
        assert_eq!(bar(50, 100), "█".repeat(16));
        assert_eq!(bar(1, 100_000), "▏");
        assert_eq!(bar(0, 100), "");
    }

    #[test]
    fn only_healthy_and_unchecked_services_succeed() {
        let service = |health| Service { health, ..Service::default() };
        let probed = [Checked { outcome: Some(Outcome::default()), ..Checked::default() }];
        assert_eq!(verdict(&service(Health::Healthy), &probed), Exit::Ok);
        assert_eq!(verdict(&service(Health::Unhealthy), &probed), Exit::Unmet);
        assert_eq!(verdict(&service(Health::Unknown), &probed), Exit::Unmet);
        assert_eq!(verdict(&service(Health::Unknown), &[Checked::default()]), Exit::Ok);
    }
}
