//! The demo without a terminal: one line per transition.

use super::guide::Guide;
use super::watch::Event;
use crate::cli::exit::Failure;
use crate::cli::output::Streams;
use crate::model::outcome::Health;
use crate::model::text::escape;

/// Prints the guide.
pub(super) fn open(guide: &Guide, streams: &mut Streams) -> Result<(), Failure> {
    streams.line(&format!("Portolan demo: {}", guide.place()))?;
    for line in guide.lines() {
        streams.line(&line)?;
    }
    streams.line("")?;
    streams.flush()
}

/// `2026-01-02T03:04:05.678Z  order-service/b  healthy -> unhealthy  ConnectRefused  message`.
pub(super) fn show(events: &[Event], streams: &mut Streams) -> Result<(), Failure> {
    for Event { service, change } in events {
        let at = change.at;
        let to = change.to.map_or("removed", Health::as_str);
        let reason = change.reason.as_deref().unwrap_or("");
        let from = change.from;
        let line = format!("{at}  {service}/{}  {from} -> {to}  {reason}  {}", change.instance, change.message);
        streams.line(&escape(&line, 600))?;
    }
    streams.flush()
}
