//! The program as a plugin of kubectl: installed as `kubectl-portolan`, it runs as `kubectl portolan` and asks the cluster that kubectl asks.

use std::ffi::OsStr;
use std::path::Path;

use clap::builder::ArgPredicate;

use crate::operator::kubernetes::client::current_context;

/// The name of the file that kubectl looks for.
const FILE: &str = "kubectl-portolan";
/// What its user types.
const NAME: &str = "kubectl portolan";

/// What kubectl runs to complete the words of `kubectl portolan`: a program called `kubectl_complete-portolan`.
pub(super) const COMPLETE: &str = "\
#!/bin/sh
# Completes `kubectl portolan`: kubectl runs this with the words that follow. :4 means that no files are offered beside them.
PORTOLAN_COMPLETE=fish kubectl-portolan -- kubectl-portolan \"$@\"
echo :4
";

/// How the program is called: `portolan`, or as kubectl's plugin.
pub(super) fn program() -> &'static str {
    let called = std::env::args_os().next();
    let file = called.as_deref().map(Path::new).and_then(Path::file_stem);
    if file == Some(OsStr::new(FILE)) { NAME } else { "portolan" }
}

/// The context that a command uses when neither flags nor environment name a server: kubectl's current one, for a plugin alone.
pub(super) fn context() -> Option<String> {
    let is_named = std::env::var_os("PORTOLAN_SERVER").is_some_and(|server| !server.is_empty());
    if program() == NAME && !is_named { current_context() } else { None }
}

/// The command line under the name of the plugin, and with its context; unchanged for the program itself.
pub(super) fn adapted(command: clap::Command) -> clap::Command {
    if program() != NAME {
        return command;
    }
    let context = context();
    let names: Vec<String> = command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
    let command = names.into_iter().fold(command, |command, name| {
        command.mut_subcommand(name, |sub| with_context(with_examples(sub), context.as_deref()))
    });
    command.bin_name(NAME)
}

/// The same command whose examples can be typed as they are.
fn with_examples(command: clap::Command) -> clap::Command {
    match command.get_after_help().map(ToString::to_string) {
        Some(text) => command.after_help(as_typed(&text)),
        None => command,
    }
}

/// A help text as it is true for the plugin; unchanged for the program itself.
pub(super) fn as_typed(text: &str) -> String {
    if program() != NAME {
        return text.to_owned();
    }
    let text = text.replace("else http://127.0.0.1:8080", "else the one of the current context");
    text.replace("`portolan ", "`kubectl portolan ").replace("\n  portolan ", "\n  kubectl portolan ")
}

/// The same command with a default for `--context`, which gives way to every flag that names something else to ask.
fn with_context(command: clap::Command, context: Option<&str>) -> clap::Command {
    let has = |id: &str| command.get_arguments().any(|arg| arg.get_id() == id);
    let (Some(context), true) = (context, has("context") && has("server")) else { return command };
    // The file of `console` is read instead of a server; `register` sends its file to one.
    let others: &[&str] = if command.get_name() == "console" { &["server", "file"] } else { &["server"] };
    let unless: Vec<_> = others.iter().map(|id| (*id, ArgPredicate::IsPresent, None::<&str>)).collect();
    let context = context.to_owned();
    command.mut_arg("context", |arg| arg.default_value_ifs(unless).default_value(context))
}
