//! `portolan serve`: the registry itself.

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::exit::{Exit, Failure};
use super::signals;
use crate::app::{self, AppError, RunOptions};
use crate::config::{LogFormat, ServeArgs, Settings};
use crate::telemetry::log::{self, LogSettings};

/// Flags of `serve`: the settings, and consents for one start.
#[derive(Debug, Args)]
pub(super) struct ServeCommand {
    #[command(flatten)]
    settings: ServeArgs,
    /// If the store's file is damaged as a whole or missing, set aside what is there under a dated name and start without services
    #[arg(long)]
    start_empty: bool,
    /// Start although the store's file has lost its last writes, as after restoring an older copy
    #[arg(long)]
    accept_loss: bool,
}

/// Runs it until a signal or a fault ends it.
///
/// # Errors
/// Invalid settings are usage errors; any other failure is exit code 1.
pub(super) async fn run(args: ServeCommand) -> Result<Exit, Failure> {
    // Before anything else: a terminal that closes must not end the server.
    let reload = signals::hangups();
    let mut settings = Settings::from_process(&args.settings).map_err(|error| Failure::usage(error.to_string()))?;
    (settings.start_empty, settings.accept_loss) = (args.start_empty, args.accept_loss);
    let log = LogSettings { directives: settings.log_level.clone(), json: settings.log_format == LogFormat::Json };
    let log = log::start(&log).map_err(|error| Failure::usage(error.to_string()))?;
    warn_of_unknown_variables();
    let shutdown = CancellationToken::new();
    let options = RunOptions {
        shutdown: shutdown.clone(),
        reload,
        access_log: log::access_lines(&log),
        log_dropped: log.dropped(),
    };
    signals::until_stopped(app::run(settings, options, |_| {}), &shutdown).await.map_err(|error| failure(&error))?;
    Ok(Exit::Ok)
}

fn warn_of_unknown_variables() {
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    for name in crate::config::unknown_variables(names) {
        tracing::warn!("{name} is set, and no setting has that name; `portolan serve --help` lists them");
    }
}

fn failure(error: &AppError) -> Failure {
    let usage = matches!(error, AppError::Secrets(_) | AppError::Tls(_) | AppError::NotWatched(_));
    let exit = if usage { Exit::Usage } else { Exit::Unmet };
    Failure::new(exit, error.to_string())
}
