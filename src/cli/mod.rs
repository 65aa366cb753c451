//! The command line: one file per subcommand.
//!
//! In: arguments, environment variables and stdin. Out: data on stdout, messages on stderr, and an exit code that says how the command ended
//! ([`exit::Exit`]). In reading order:
//!
//! - this file: the subcommands and their runtimes
//! - `args`, `help`: flags that several commands share, and the text of `--help`
//! - [`exit`], `output`, `signals`: exit codes and failures, printing, and signals
//! - `client`, `tunnel`: requests to a server, if need be through a port-forward into a cluster
//! - `lookup`, `changes`, `pages`, `completion`: one service by name or id, changes as they happen, long lists, and names at a Tab
//! - `serve`, `demo`: the registry itself, and a demonstration of it
//! - `registration`: flags of an instance, for `register` and `run`
//! - `run`: keeps a program registered while it runs
//! - `register`, `deregister`, `drain`, `ack`, `wait`, `list`, `get`, `discover`, `check`, `history`, `availability`, `watch`, `console`: the client's commands
//! - `import`, `export`, `backup`: the store's content, out of a file and into one
//! - `token`, `quarantine`, `crd`, `reference`: commands that need no server

mod acknowledge;
mod args;
mod availability;
mod backup;
mod changes;
mod check;
mod client;
mod completion;
mod console;
mod crd;
mod demo;
mod deregister;
mod discover;
mod drain;
pub mod exit;
mod export;
mod get;
mod help;
mod history;
mod import;
mod list;
mod lookup;
mod noted;
mod output;
mod pages;
mod plugin;
mod quarantine;
mod reference;
mod register;
mod registration;
mod run;
mod serve;
mod signals;
mod token;
mod tunnel;
mod wait;
mod watch;

use std::process::ExitCode;
use std::time::Duration;

use clap::{FromArgMatches, Parser, Subcommand};

use crate::telemetry::log;
use exit::{Exit, Failure};
use output::Streams;

/// Longest wait for files at the end of a server.
const FILES_TIMEOUT: Duration = Duration::from_secs(1);

/// A service registry that proves what it lists.
#[derive(Debug, Parser)]
#[command(name = "portolan", version, about, arg_required_else_help = true, max_term_width = 120)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the registry
    #[command(after_help = help::SERVE)]
    Serve(Box<serve::ServeCommand>),
    /// Watch a registry with sample services that fail and recover
    #[command(after_help = help::DEMO)]
    Demo(demo::DemoArgs),
    /// Make a bearer token with the server's secret
    #[command(after_help = help::TOKEN)]
    Token(token::TokenArgs),
    /// Register an instance of a service, or renew it
    #[command(after_help = help::REGISTER)]
    Register(Box<register::RegisterArgs>),
    /// Run a program and keep it registered while it runs
    #[command(after_help = help::RUN)]
    Run(Box<run::RunArgs>),
    /// Remove a service or one of its instances
    #[command(after_help = help::DEREGISTER)]
    Deregister(deregister::DeregisterArgs),
    /// Take instances out of selection on purpose; they are still probed and shown
    #[command(after_help = help::DRAIN)]
    Drain(drain::DrainArgs),
    /// Bring drained instances back into selection
    #[command(after_help = help::UNDRAIN)]
    Undrain(drain::UndrainArgs),
    /// Acknowledge a failure with a note, for as long as it lasts
    #[command(after_help = help::ACK)]
    Ack(acknowledge::AckArgs),
    /// Withdraw an acknowledgement
    #[command(after_help = help::UNACK)]
    Unack(acknowledge::UnackArgs),
    /// List services with their health
    #[command(after_help = help::LIST)]
    List(list::ListArgs),
    /// Show one service with its instances
    #[command(after_help = help::GET)]
    Get(get::GetArgs),
    /// Find a service, as a program would
    #[command(after_help = help::DISCOVER)]
    Discover(discover::DiscoverArgs),
    /// Probe a service now and show where the time went
    #[command(after_help = help::CHECK)]
    Check(check::CheckArgs),
    /// Show how a service's health changed, and why
    #[command(after_help = help::HISTORY)]
    History(history::HistoryArgs),
    /// Show how available services were, and their outages
    #[command(after_help = help::AVAILABILITY)]
    Availability(availability::AvailabilityArgs),
    /// Print a line for each change as it happens
    #[command(after_help = help::WATCH)]
    Watch(watch::WatchArgs),
    /// Wait until a service is healthy, registered, drained or gone
    #[command(after_help = help::WAIT)]
    Wait(wait::WaitArgs),
    /// Show on this terminal what is down, since when, and why
    #[command(after_help = help::CONSOLE)]
    Console(Box<console::ConsoleArgs>),
    /// Import services from the legacy gateway or from an export
    #[command(after_help = help::IMPORT)]
    Import(import::ImportArgs),
    /// Print each instance as a line of JSON that can be registered again
    #[command(after_help = help::EXPORT)]
    Export(Box<export::ExportArgs>),
    /// Copy the store's file, even while a server runs
    #[command(after_help = help::BACKUP)]
    Backup(backup::BackupArgs),
    /// Print the rows of the store's file that could not be read
    #[command(after_help = help::QUARANTINE)]
    Quarantine(quarantine::QuarantineArgs),
    /// Print a completion script for a shell
    #[command(after_help = help::COMPLETIONS)]
    Completions(reference::CompletionsArgs),
    /// Print the API's OpenAPI document
    Openapi,
    /// Print the definitions of the Kubernetes custom resources
    #[command(after_help = help::CRD)]
    Crd,
    /// Print the table of settings as Markdown
    #[command(hide = true)]
    Settings,
    /// Print every command's help as Markdown
    #[command(hide = true)]
    CliReference,
}

/// The whole command line, with its commands grouped in the help.
fn command_line() -> clap::Command {
    plugin::adapted(help::grouped(<Cli as clap::CommandFactory>::command()))
}

/// Parses the command line and runs its command; the exit code says how it ended.
pub fn main() -> ExitCode {
    if completion::answer(command_line) {
        return ExitCode::SUCCESS;
    }
    let parsed = command_line().try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => {
            // A reader that is gone needs no help text.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage.into() } else { Exit::Ok.into() };
        }
    };
    let mut streams = Streams::process();
    let ended = run(cli.command, &mut streams).and_then(|exit| streams.flush().map(|()| exit));
    let code = match ended {
        Ok(exit) => exit.into(),
        Err(failure) => {
            if !failure.closed_pipe && !log::last_words(&failure.to_lines()) {
                streams.failure(&failure);
            }
            failure.exit.into()
        }
    };
    log::finish();
    code
}

fn run(command: Command, streams: &mut Streams) -> Result<Exit, Failure> {
    match command {
        Command::Serve(args) => on_many_threads(serve::run(*args)),
        Command::Demo(args) => on_many_threads(demo::run(args, streams)),
        Command::Token(args) => token::run(args, streams),
        Command::Register(args) => on_one_thread(register::run(*args, streams)),
        Command::Run(args) => run::run(&args),
        Command::Deregister(args) => on_one_thread(deregister::run(args, streams)),
        Command::Drain(args) => on_one_thread(drain::drain(args, streams)),
        Command::Undrain(args) => on_one_thread(drain::undrain(args, streams)),
        Command::Ack(args) => on_one_thread(acknowledge::ack(args, streams)),
        Command::Unack(args) => on_one_thread(acknowledge::unack(args, streams)),
        Command::List(args) => on_one_thread(list::run(args, streams)),
        Command::Get(args) => on_one_thread(get::run(args, streams)),
        Command::Discover(args) => on_one_thread(discover::run(args, streams)),
        Command::Check(args) => on_one_thread(check::run(args, streams)),
        Command::History(args) => on_one_thread(history::run(args, streams)),
        Command::Availability(args) => on_one_thread(availability::run(args, streams)),
        Command::Watch(args) => on_one_thread(watch::run(args, streams)),
        Command::Wait(args) => on_one_thread(wait::run(args, streams)),
        Command::Console(args) => on_one_thread(console::run(*args, streams)),
        Command::Import(args) => import::run(&args, streams),
        Command::Export(args) => on_one_thread(export::run(*args, streams)),
        Command::Backup(args) => backup::run(&args, streams),
        Command::Quarantine(args) => quarantine::run(&args, streams),
        Command::Completions(args) => reference::completions(&args, streams),
        Command::Openapi => reference::openapi(streams),
        Command::Crd => crd::run(streams),
        Command::Settings => reference::settings(streams),
        Command::CliReference => reference::commands(command_line(), streams),
    }
}

/// Runs a server; probing has a runtime of its own, which the server starts. At its end, little time is spent on waiting for files: a folder
/// that does not answer would keep the process.
fn on_many_threads<T>(server: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    small_pages();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_name("serving")
        .enable_all()
        .build()
        .map_err(|error| no_runtime(&error))?;
    let ended = runtime.block_on(server);
    runtime.shutdown_timeout(FILES_TIMEOUT);
    ended
}

/// Runs a command that is a client. At its end, nothing waits for what may run on beside it: a credential plugin of a kubeconfig can hang.
fn on_one_thread<T>(command: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    small_pages();
    let runtime = plain_runtime()?;
    let ended = runtime.block_on(command);
    runtime.shutdown_background();
    ended
}

/// The same without [`small_pages`].
fn plain_runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| no_runtime(&error))
}

/// Uses only the smallest memory pages. A client touches a little of many huge pages, and each would be resident as a whole; a server's
/// connections fill half of their buffers, so that each takes 16 KB instead of 25. Discovery is as fast as before.
fn small_pages() {
    // A kernel without this setting only uses more memory.
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}

fn no_runtime(error: &std::io::Error) -> Failure {
    Failure::new(Exit::Unmet, format!("no threads can be started: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        command_line().debug_assert();
    }

    #[test]
    fn a_file_that_does_not_answer_does_not_keep_a_server_that_has_ended() {
        let (answer, hanging) = std::sync::mpsc::channel::<()>();
        let (done, ended) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let server = async {
                drop(tokio::task::spawn_blocking(move || hanging.recv()));
                Ok(())
            };
            let _ = done.send(on_many_threads(server).is_ok());
        });
        let ended = ended.recv_timeout(Duration::from_secs(30));
        drop(answer);
        assert_eq!(ended, Ok(true));
    }
}
