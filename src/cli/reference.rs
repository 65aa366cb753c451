//! What the program prints about itself: completions, the API's document, settings and commands.

use std::fmt::Write;

use clap::{Args, ValueEnum};
use clap_complete::Shell;

use super::completion;
use super::exit::{Exit, Failure};
use super::output::Streams;
use super::plugin;
use crate::{api, config};

/// Flags of `completions`.
#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// The shell, or kubectl
    #[arg(value_enum)]
    shell: Caller,
}

/// Who completes words by the script.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Caller {
    Bash,
    Elvish,
    Fish,
    Powershell,
    Zsh,
    Kubectl,
}

impl Caller {
    fn shell(self) -> Option<Shell> {
        Some(match self {
            Self::Bash => Shell::Bash,
            Self::Elvish => Shell::Elvish,
            Self::Fish => Shell::Fish,
            Self::Powershell => Shell::PowerShell,
            Self::Zsh => Shell::Zsh,
            Self::Kubectl => return None,
        })
    }
}

/// The shell's completion script.
pub(super) fn completions(args: &CompletionsArgs, streams: &mut Streams) -> Result<Exit, Failure> {
    match args.shell.shell() {
        Some(shell) => streams.text(&String::from_utf8_lossy(&completion::script(&shell.to_string())?))?,
        None => streams.text(plugin::COMPLETE)?,
    }
    Ok(Exit::Ok)
}

/// The API's document.
pub(super) fn openapi(streams: &mut Streams) -> Result<Exit, Failure> {
    streams.text(&api::openapi_json())?;
    Ok(Exit::Ok)
}

/// The settings' table.
pub(super) fn settings(streams: &mut Streams) -> Result<Exit, Failure> {
    streams.text(&config::markdown_table())?;
    Ok(Exit::Ok)
}

/// Each command's help, as Markdown.
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
