//! What the program prints about itself: completions, the API's document, settings and commands.

use std::fmt::Write;

use clap::Args;
use clap_complete::Shell;

use super::exit::{Exit, Failure};
use super::output::Streams;
use crate::{api, config};

/// Flags of `completions`.
#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// The shell's completion script.
///
/// # Errors
/// The output stream's.
pub(super) fn completions(
    args: &CompletionsArgs,
    mut command: clap::Command,
    streams: &mut Streams,
) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "portolan", &mut script);
    streams.text(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Ok)
}

/// The API's document.
///
/// # Errors
/// The output stream's.
pub(super) fn openapi(streams: &mut Streams) -> Result<Exit, Failure> {
    streams.text(&api::openapi_json())?;
    Ok(Exit::Ok)
}

/// The settings' table.
///
/// # Errors
/// The output stream's.
pub(super) fn settings(streams: &mut Streams) -> Result<Exit, Failure> {
    streams.text(&config::markdown_table())?;
    Ok(Exit::Ok)
}

/// Each command's help, as Markdown.
///
/// # Errors
/// The output stream's.
pub(super) fn commands(mut command: clap::Command, streams: &mut Streams) -> Result<Exit, Failure> {
    command.build();
    let mut out = format!("# Commands\n\n```text\n{}\n```\n", command.render_help().to_string().trim_end());
    for sub in command.get_subcommands_mut().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help") {
        let help = sub.render_help().to_string();
        // Writing to a String cannot fail.
        let _ = write!(out, "\n## portolan {}\n\n```text\n{}\n```\n", sub.get_name(), help.trim_end());
    }
    streams.text(&out)?;
    Ok(Exit::Ok)
}
