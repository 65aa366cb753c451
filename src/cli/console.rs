//! `portolan console`: what is down, since when, and why.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use reqwest::{Method, RequestBuilder};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::args::ServerArgs;
use super::client::Client;
use super::exit::{Exit, Failure};
use super::output::Streams;
use crate::console::config::{self, Settings};
use crate::console::filter::Filter;
use crate::console::once;
use crate::console::run::{self, ConsoleError, Start};
use crate::console::source::Source;
use crate::console::source::api::{ApiSource, ServerClient};
use crate::console::source::file::FileSource;
use crate::console::state::{Options, ThemeName};

/// Longest wait for the default server before the file is shown instead.
const UNNAMED_SERVER_TIMEOUT: Duration = Duration::from_millis(300);
/// Columns and rows of a plain frame without a terminal, or with one that does not say how large it is.
const DEFAULT_SIZE: (u16, u16) = (120, 40);

/// Flags of `console`.
#[derive(Debug, Args)]
pub(super) struct ConsoleArgs {
    /// Start with only this namespace; all unless given
    #[arg(short, long, value_name = "NAME")]
    namespace: Option<String>,
    /// Start with this filter, such as "status=down !canary"
    #[arg(long, value_name = "FILTER", allow_hyphen_values = true)]
    filter: Option<String>,
    /// Refuse every operation that changes something
    #[arg(long)]
    read_only: bool,
    /// Draw with ASCII characters only
    #[arg(long)]
    ascii: bool,
    /// Colours: normal, light, colour-blind or plain; plain when NO_COLOR is set
    #[arg(long, value_name = "THEME", value_enum, hide_possible_values = true)]
    theme: Option<Theme>,
    /// Print one plain frame and exit; wait for the services at most --timeout
    #[arg(long)]
    once: bool,
    /// Columns and rows of that frame; default: the terminal's, else 120x40
    #[arg(long, value_name = "WxH", requires = "once", value_parser = parse_size)]
    size: Option<(u16, u16)>,
    /// Read the store's file on this machine instead of asking a server
    #[arg(long, value_name = "PATH", conflicts_with_all = ["server", "context"])]
    file: Option<PathBuf>,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Theme {
    Normal,
    Light,
    ColourBlind,
    Plain,
}

impl ConsoleArgs {
    /// From the flags, else from the user's file.
    fn options(&self, settings: Settings) -> Options {
        let theme = match self.theme {
            Some(Theme::Normal) => ThemeName::Normal,
            Some(Theme::Light) => ThemeName::Light,
            Some(Theme::ColourBlind) => ThemeName::ColourBlind,
            Some(Theme::Plain) => ThemeName::Plain,
            None if env_var("NO_COLOR").is_some() => ThemeName::Plain,
            None => settings.theme.unwrap_or_default(),
        };
        Options { read_only: self.read_only, ascii: self.ascii || settings.ascii, theme, custom: settings.custom }
    }
}

/// A file of the user: below the folder that `variable` names, else below a folder of the home folder.
fn user_file(variable: &str, home_folder: &str, name: &str) -> Option<PathBuf> {
    let base = env_var(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = base.or_else(|| Some(PathBuf::from(env_var("HOME")?).join(home_folder)))?;
    Some(base.join("portolan").join(name))
}

/// The user's settings; the default where there is no file.
fn settings() -> Result<Settings, Failure> {
    let Some(path) = user_file("XDG_CONFIG_HOME", ".config", "console.toml") else { return Ok(Settings::default()) };
    let wrong = |what: &dyn std::fmt::Display| Failure::usage(format!("{}: {what}", path.display()));
    match std::fs::metadata(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Settings::default()),
        Ok(about) if about.len() > config::MAX_FILE => return Err(wrong(&"larger than 64 KiB")),
        _ => {}
    }
    let text = std::fs::read_to_string(&path).map_err(|error| wrong(&error))?;
    config::parse(&text).map_err(|error| wrong(&error))
}

fn usual_theme() -> ThemeName {
    if env_var("NO_COLOR").is_some() { ThemeName::Plain } else { ThemeName::Normal }
}

fn env_var(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// The file or the server that is named; else the default server if it answers, else the file if it exists.
async fn source(args: &ConsoleArgs) -> Result<Box<dyn Source>, Failure> {
    if let Some(path) = &args.file {
        return Ok(Box::new(FileSource::new(path)));
    }
    let client = Client::new(&args.server).await?;
    if !client.named() && !answers(&client).await {
        let path = env_var("DB_PATH").map_or_else(|| PathBuf::from("./services.db"), PathBuf::from);
        if path.exists() {
            return Ok(Box::new(FileSource::new(path)));
        }
    }
    Ok(Box::new(ApiSource::new(Arc::new(client))))
}

/// Whether a registry answers.
async fn answers(client: &Client) -> bool {
    let Ok(request) = client.request(Method::GET, &["health"], &[]) else { return false };
    let sent = timeout(UNNAMED_SERVER_TIMEOUT, request.send()).await;
    sent.is_ok_and(|sent| sent.is_ok_and(|answer| answer.status().is_success()))
}

/// Shows the console of one server on this terminal until the user quits or `end` is cancelled.
pub(super) async fn show(client: Client, end: CancellationToken) -> Result<(), Failure> {
    let options = Options { theme: usual_theme(), ..Options::default() };
    let source = Box::new(ApiSource::new(Arc::new(client)));
    let start = Start { source, options, namespace: None, filter: None, memory: None };
    run::run(start, end).await.map_err(|error| failed(&error))
}

pub(super) async fn run(args: ConsoleArgs, streams: &mut Streams) -> Result<Exit, Failure> {
    if let Some(filter) = &args.filter {
        Filter::parse(filter).map_err(|error| Failure::usage(format!("--filter: {error}")))?;
    }
    let timeout = args.server.timeout;
    let start = Start {
        source: source(&args).await?,
        options: args.options(settings()?),
        namespace: args.namespace.as_deref().map(Into::into),
        filter: args.filter.as_deref().map(Into::into),
        memory: user_file("XDG_STATE_HOME", ".local/state", "console.json").filter(|_| !args.once),
    };
    if args.once {
        let terminal = || crossterm::terminal::size().ok().filter(|(columns, rows)| *columns > 0 && *rows > 0);
        let size = args.size.or_else(terminal).unwrap_or(DEFAULT_SIZE);
        let frame = once::frame(start, size, timeout).await;
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

impl ServerClient for Client {
    fn location(&self) -> String {
        Client::location(self)
    }

    fn connection_error(&self, error: &reqwest::Error) -> Option<String> {
        let failure = self.known_failure(error)?;
        Some(std::iter::once(failure.message).chain(failure.hints).collect::<Vec<_>>().join("; "))
    }

    fn request(&self, method: Method, path: &[&str], query: &[(&str, &str)]) -> Result<RequestBuilder, String> {
        Client::request(self, method, path, query).map_err(|failure| failure.to_string())
    }
}
