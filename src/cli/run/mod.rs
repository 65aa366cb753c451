//! `portolan run`: starts a program, keeps it registered while it runs, and ends as it ends.
//!
//! In: a command line, and signals. Out: a registration that is renewed, lines on stderr, and the program's exit code. In order:
//!
//! - this file: the flags, and how the parts work together
//! - [`program`], [`signals`]: the program, and the signals that are passed on to it
//! - [`keeper`]: registers, renews and deregisters; [`plan`]: what is registered; [`address`]: where the program is reached;
//!   [`listener`]: whose a port is
//! - [`notes`]: lines on stderr that nobody waits for
//!
//! The registry never decides about the program: while the server is away, refuses or hangs, the program runs on.

mod address;
mod keeper;
mod listener;
mod notes;
mod plan;
mod program;
mod signals;

use std::ffi::OsString;
use std::time::Duration;

use clap::{Arg, Args};
use tokio::sync::watch;
use tokio::time::sleep;

use super::args::{ServerArgs, parse_duration};
use super::exit::{Exit, Failure};
use super::registration::InstanceArgs;
use super::registration::check::CheckArgs;
use crate::model::name::{Namespace, ServiceName};
use keeper::Keeper;
use notes::Notes;
use plan::Plan;
use program::Program;
use signals::Signals;

/// Longest time from the program's end to that of `run`: what deregistering may take.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(5);

/// What the program does, as far as its registration depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// It runs.
    Running,
    /// It was asked to stop.
    Stopping,
    /// It has ended.
    Ended,
}

/// Flags of `run`.
#[derive(Debug, Args)]
#[command(mut_args(for_run))]
pub(super) struct RunArgs {
    /// The service's name: a-z, 0-9 and -, at most 63 characters
    #[arg(long)]
    name: ServiceName,
    /// The port on which the program listens; it is registered once the port answers
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..), required_unless_present = "base_url")]
    port: Option<u16>,
    /// Host or address at which clients reach it, instead of the address from which this machine reaches the server
    #[arg(long, value_name = "HOST", conflicts_with = "base_url")]
    host: Option<String>,
    /// The whole URL at which clients reach it, such as `https://users.example.com` or `grpc://10.0.0.5:9090`
    #[arg(long, value_name = "URL")]
    base_url: Option<String>,
    /// Its namespace; the server's default one unless given
    #[arg(short, long, value_name = "NAME")]
    namespace: Option<Namespace>,
    /// Report when the port has not answered for this long; run keeps trying while the program runs
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_duration)]
    ready_within: Duration,
    /// Kill the program this long after it was asked to stop; never unless given
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    kill_after: Option<Duration>,
    #[command(flatten)]
    instance: InstanceArgs,
    #[command(flatten)]
    check: CheckArgs,
    #[command(flatten)]
    server: ServerArgs,
    /// The program and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<OsString>,
}

/// What shared flags mean here.
fn for_run(arg: Arg) -> Arg {
    match arg.get_id().as_str() {
        "instance" => {
            arg.help("Its name, if the service has several instances [default: this machine's name and the port]")
        }
        "ttl" => arg.default_value("30s").help(
            "Time after which it is unhealthy unless it is renewed, 1s to 24h; run renews it three times within it",
        ),
        "health_url" => arg.help("Where it is probed; without it and without --check… by opening a TCP connection"),
        "check_none" => arg.help("Never probe: it is healthy while it is renewed"),
        _ => arg,
    }
}

/// Runs the program to its end.
///
/// # Errors
/// The command line is wrong, or the program cannot be started. Nothing of the registry's ends it.
pub(super) fn run(args: &RunArgs) -> Result<Exit, Failure> {
    let plan = Plan::new(args)?;
    // Huge pages stay as they are until then: the program would inherit the setting.
    let runtime = super::plain_runtime()?;
    let ended = runtime.block_on(supervise(args, plan));
    // A name that is still being resolved must not delay the end.
    runtime.shutdown_background();
    ended
}

async fn supervise(args: &RunArgs, plan: Plan) -> Result<Exit, Failure> {
    // Before the program starts, so that no signal is lost between the two.
    let mut signals = Signals::handle()?;
    let notes = Notes::start()?;
    let (stage, stages) = watch::channel(Stage::Running);
    let mut keeper = Keeper::new(plan, args, &notes, stages)?;
    keeper.look_around().await;
    let program = Program::start(&args.command)?;
    super::small_pages();
    let (ended, given_up) = {
        let keeping = keeper.run();
        tokio::pin!(keeping);
        let ended = {
            let supervising = program.supervise(&mut signals, &stage, args.kill_after, &notes);
            tokio::pin!(supervising);
            tokio::select! {
                ended = &mut supervising => ended,
                // It ends only after the program.
                () = &mut keeping => supervising.await,
            }
        };
        stage.send_replace(Stage::Ended);
        let given_up = tokio::select! {
            () = keeping => None,
            () = sleep(LEAVE_TIMEOUT) => Some("the registry did not answer in time"),
            () = signals.stop() => Some("asked to stop once more"),
        };
        (ended, given_up)
    };
    match given_up {
        Some(why) => keeper.give_up(why),
        None => keeper.say_if_never_ready(),
    }
    notes.finish();
    Ok(ended.exit())
}
