//! `portolan console`: what is down, since when, and why.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use reqwest::{Method, RequestBuilder};
use tokio_util::sync::CancellationToken;

use super::args::ServerArgs;
use super::client::Client;
use super::exit::{Exit, Failure};
use super::output::Streams;
use crate::console::app::{Options, ThemeName};
use crate::console::filter::Filter;
use crate::console::once;
use crate::console::run::{self, ConsoleError, Start};
use crate::console::source::api::{ApiSource, Requests};

/// Longest wait for `--once`.
const ONCE: Duration = Duration::from_secs(10);
/// Size of a plain frame where no terminal says another.
const PLAIN: (u16, u16) = (120, 40);

/// Flags of `console`.
#[derive(Debug, Args)]
pub(super) struct ConsoleArgs {
    /// Only this namespace at first; all unless given
    #[arg(short, long, value_name = "NAME")]
    namespace: Option<String>,
    /// Filter at first, such as "status=down !canary"
    #[arg(long, value_name = "FILTER")]
    filter: Option<String>,
    /// Refuse every action that changes something
    #[arg(long)]
    read_only: bool,
    /// Draw with ASCII characters alone
    #[arg(long)]
    ascii: bool,
    /// Colours: normal, colour-blind or plain; plain when NO_COLOR is set
    #[arg(long, value_name = "THEME", value_enum, hide_possible_values = true)]
    theme: Option<Theme>,
    /// Print one plain frame and end
    #[arg(long)]
    once: bool,
    /// Columns and rows of that frame; the terminal's, else 120x40
    #[arg(long, value_name = "WxH", requires = "once", value_parser = parse_size)]
    size: Option<(u16, u16)>,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Theme {
    Normal,
    ColourBlind,
    Plain,
}

impl ConsoleArgs {
    fn options(&self) -> Options {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let theme = match self.theme {
            Some(Theme::ColourBlind) => ThemeName::ColourBlind,
            Some(Theme::Plain) => ThemeName::Plain,
            None if set("NO_COLOR") => ThemeName::Plain,
            Some(Theme::Normal) | None => ThemeName::Normal,
        };
        Options { read_only: self.read_only, ascii: self.ascii, theme }
    }
}

/// Runs it.
///
/// # Errors
/// See [`Failure`].
pub(super) async fn run(args: ConsoleArgs, streams: &mut Streams) -> Result<Exit, Failure> {
    if let Some(filter) = &args.filter {
        Filter::parse(filter).map_err(|error| Failure::usage(format!("--filter: {error}")))?;
    }
    let source = Box::new(ApiSource::new(Arc::new(Client::new(&args.server)?)));
    let start = Start {
        source,
        options: args.options(),
        namespace: args.namespace.as_deref().map(Into::into),
        filter: args.filter.as_deref().map(Into::into),
    };
    if args.once {
        let size = args.size.or_else(|| crossterm::terminal::size().ok()).unwrap_or(PLAIN);
        let frame = once::frame(start, size, ONCE).await;
        let frame = frame.map_err(|error| Failure::new(Exit::Unreachable, error.to_string()))?;
        streams.text(&frame)?;
        return Ok(Exit::Ok);
    }
    if !std::io::stdin().is_terminal() || !streams.screen() {
        return Err(Failure::usage("the console needs a terminal; --once prints one frame without it"));
    }
    run::run(start, CancellationToken::new()).await.map_err(|error| failed(&error))?;
    Ok(Exit::Ok)
}

fn failed(error: &ConsoleError) -> Failure {
    Failure::new(Exit::Unmet, error.to_string())
}

/// Reads `80x24`.
fn parse_size(text: &str) -> Result<(u16, u16), String> {
    let parts = text.split_once('x').and_then(|(w, h)| Some((w.parse().ok()?, h.parse().ok()?)));
    parts
        .filter(|(w, h)| (1..=500).contains(w) && (1..=500).contains(h))
        .ok_or_else(|| "expected a size such as 80x24".to_owned())
}

impl Requests for Client {
    fn server(&self) -> String {
        self.address()
    }

    fn request(&self, method: Method, path: &[&str], query: &[(&str, &str)]) -> Result<RequestBuilder, String> {
        Client::request(self, method, path, query).map_err(|failure| failure.to_string())
    }
}
