//! What a line of an event looks like. Differs from the formats of `tracing_subscriber` in one thing: it shows the promised target.

use std::fmt;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::{self, Format, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::targets;

/// `TIME LEVEL target: message key=value`, coloured on a terminal.
pub(super) struct Text;

impl<S, N> FormatEvent<S, N> for Text
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, ctx: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let (level, target) = (*event.metadata().level(), targets::shown(event.metadata().target()));
        if out.has_ansi_escapes() {
            write!(out, "\u{1b}[2m")?;
            SystemTime.format_time(&mut out)?;
            write!(out, "\u{1b}[0m \u{1b}[{}m{level:>5}\u{1b}[0m \u{1b}[2m{target}:\u{1b}[0m ", colour(level))?;
        } else {
            SystemTime.format_time(&mut out)?;
            write!(out, " {level:>5} {target}: ")?;
        }
        ctx.format_fields(out.by_ref(), event)?;
        writeln!(out)
    }
}

/// The number of a level's colour in [ECMA-48](https://ecma-international.org/publications-and-standards/standards/ecma-48/).
fn colour(level: Level) -> u8 {
    match level {
        Level::ERROR => 31,
        Level::WARN => 33,
        Level::INFO => 32,
        Level::DEBUG => 34,
        Level::TRACE => 35,
    }
}

/// One flat JSON object: `timestamp`, `level`, the fields, `target`.
pub(super) struct Json(Format<format::Json>);

impl Json {
    pub(super) fn of(format: Format<format::Json>) -> Self {
        Self(format.flatten_event(true).with_current_span(false).with_span_list(false).with_target(false))
    }
}

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, ctx: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut line = String::new();
        self.0.format_event(ctx, Writer::new(&mut line), event)?;
        // Targets are module paths, which need no escape.
        let target = targets::shown(event.metadata().target());
        let open = line.trim_end().strip_suffix('}').ok_or(fmt::Error)?;
        writeln!(out, "{open},\"target\":\"{target}\"}}")
    }
}
