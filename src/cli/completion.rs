//! Completion in the shell. The script calls the program at each Tab, which completes commands and flags by itself and names of services by
//! asking the server.
//!
//! Somebody waits at a prompt: a server that is slow, away or refuses yields no names, and no message.

use std::ffi::OsStr;
use std::time::Duration;

use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use clap_complete::env::{CompleteEnv, Shells};
use serde::Deserialize;
use tokio::time::timeout;

use super::args::ServerArgs;
use super::client::{Client, read};
use super::exit::{Exit, Failure};
use super::pages::Pages;
use super::plugin;
use crate::model::name::ServiceName;
use crate::model::outcome::Health;

/// Set by the script when it wants completions.
const VARIABLE: &str = "PORTOLAN_COMPLETE";
/// Longest time to ask the server.
const TIMEOUT: Duration = Duration::from_secs(1);
/// Most names that are offered.
const MAX_NAMES: usize = 10_000;

/// The flags with a value that say which server is asked, and how.
const FLAGS: [&str; 7] =
    ["--server", "--context", "--context-namespace", "--token-file", "--ca-file", "--client-cert", "--client-key"];

/// What is shown of a service.
#[derive(Debug, Deserialize)]
struct Listed {
    name: String,
    #[serde(default, rename = "status")]
    health: Health,
}

/// Completes names of services.
pub(super) fn of_services() -> ArgValueCompleter {
    ArgValueCompleter::new(services)
}

/// Answers the shell's script; false where this is an ordinary call.
pub(super) fn answer(command: impl Fn() -> clap::Command) -> bool {
    let folder = std::env::current_dir().ok();
    let complete = CompleteEnv::with_factory(command).var(VARIABLE).bin("portolan").completer("portolan");
    // What cannot be completed is not completed; a message would end up in the command line.
    complete.try_complete(std::env::args_os(), folder.as_deref()).unwrap_or(true)
}

/// The script of a shell.
///
/// # Errors
/// A shell without dynamic completion.
pub(super) fn script(shell: &str) -> Result<Vec<u8>, Failure> {
    let unknown = || Failure::usage(format!("no completions for {shell}"));
    let shells = Shells::builtins();
    let mut script = Vec::new();
    let writer = shells.completer(shell).ok_or_else(unknown)?;
    writer.write_registration(VARIABLE, "portolan", "portolan", "portolan", &mut script).map_err(Failure::from)?;
    Ok(script)
}

fn services(typed: &OsStr) -> Vec<CompletionCandidate> {
    let Some(typed) = typed.to_str() else { return Vec::new() };
    let Ok(runtime) = super::plain_runtime() else { return Vec::new() };
    let words: Vec<String> = std::env::args_os().filter_map(|word| word.into_string().ok()).collect();
    let mut found = Vec::new();
    // What came until then is offered.
    let _ = runtime.block_on(async { timeout(TIMEOUT, list(&words, typed, &mut found)).await });
    runtime.shutdown_background();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    let candidate = |service: Listed| CompletionCandidate::new(service.name).help(Some(service.health.as_str().into()));
    found.into_iter().map(candidate).collect()
}

/// The services whose names begin with what is typed.
async fn list(words: &[String], typed: &str, found: &mut Vec<Listed>) -> Result<(), Failure> {
    let client = Client::new(&server(words)?).await?;
    let query = namespace(words).map(|name| ("namespace".to_owned(), name.to_owned()));
    let mut pages = Pages::of(&client, query.into_iter().collect());
    while let Some(page) = pages.next().await?.filter(|_| found.len() < MAX_NAMES) {
        let services: Vec<Listed> = read(page.raw())?;
        // A shell would obey what is not a name.
        let is_offered =
            |service: &Listed| service.name.starts_with(typed) && service.name.parse::<ServiceName>().is_ok();
        found.extend(services.into_iter().filter(is_offered));
    }
    Ok(())
}

/// The server of the command line that is being typed.
fn server(words: &[String]) -> Result<ServerArgs, Failure> {
    #[derive(clap::Parser)]
    struct Flags {
        #[command(flatten)]
        server: ServerArgs,
    }
    let mut flags = vec!["portolan".to_owned(), "--timeout=1s".to_owned()];
    for name in FLAGS {
        flags.extend(value(words, &[name]).map(|value| format!("{name}={value}")));
    }
    flags.extend(words.iter().filter(|word| *word == "--insecure").cloned());
    let names_a_server = flags.iter().any(|flag| flag.starts_with("--server=") || flag.starts_with("--context="));
    if !names_a_server {
        flags.extend(plugin::context().map(|context| format!("--context={context}")));
    }
    let parsed = <Flags as clap::Parser>::try_parse_from(flags);
    parsed.map(|flags| flags.server).map_err(|error| Failure::new(Exit::Usage, error.to_string()))
}

fn namespace(words: &[String]) -> Option<&str> {
    let all = words.iter().any(|word| matches!(word.as_str(), "-A" | "--all-namespaces"));
    if all { Some("*") } else { value(words, &["-n", "--namespace"]) }
}

/// The value of a flag, after it or after `=`.
fn value<'a>(words: &'a [String], names: &[&str]) -> Option<&'a str> {
    words.iter().enumerate().find_map(|(n, word)| {
        if names.contains(&word.as_str()) {
            return words.get(n + 1).map(String::as_str);
        }
        names.iter().find_map(|name| word.strip_prefix(name)?.strip_prefix('='))
    })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn flags_on_the_line_count() {
        let line = words("portolan get us -n shop --server=http://127.0.0.1:1 --insecure");
        assert_eq!(namespace(&line), Some("shop"));
        let server = server(&line).expect("flags");
        assert_eq!(
            (server.server.as_deref(), server.insecure, server.timeout),
            (Some("http://127.0.0.1:1"), true, TIMEOUT)
        );
        let line = words("get us --server=https://h --ca-file ca.pem --client-cert=me.pem --client-key me.key");
        let server = super::server(&line).expect("flags");
        let files = [server.ca_file, server.client_cert, server.client_key];
        assert_eq!(files.map(|file| file.expect("a file")), ["ca.pem", "me.pem", "me.key"].map(PathBuf::from));
        assert_eq!(namespace(&words("watch -A --namespace=x")), Some("*"));
        assert_eq!(namespace(&words("get us")), None);
        assert_eq!(namespace(&words("get us -n")), None, "not typed yet");
    }

    #[test]
    fn every_shell_has_a_script() {
        for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
            let script = String::from_utf8(script(shell).expect(shell)).expect("UTF-8");
            assert!(script.contains(VARIABLE) && script.contains("portolan"), "{script}");
        }
    }
}
