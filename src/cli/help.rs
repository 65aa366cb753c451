//! Groups and examples of `--help`.

use std::fmt::Write;

use super::plugin::as_typed;

/// The groups of commands.
const GROUPS: [(&str, &[&str]); 5] = [
    ("Run", &["serve", "demo", "token"]),
    ("Register", &["run", "register", "deregister", "drain", "undrain", "ack", "unack"]),
    ("Query", &["console", "list", "get", "discover", "check", "history", "availability", "watch", "wait"]),
    ("Import, export and back up", &["import", "export", "backup", "quarantine"]),
    ("Set up", &["crd", "completions", "openapi", "help"]),
];

const ENDING: &str = "\
Exit codes: 0 done, 1 unhealthy or not met (`serve`: could not start), 2 usage, 3 server unreachable or
failing, or the output could not be written, 4 not found, 5 refused, 6 timed out waiting; `run` returns
its program's exit code

The server is --server or PORTOLAN_SERVER, else http://127.0.0.1:8080; --context reaches one in a cluster.
The token is PORTOLAN_TOKEN, or the content of the file PORTOLAN_TOKEN_FILE.
Start with `portolan demo`; `portolan COMMAND --help` has examples.";

/// The groups of the flags of `serve`.
const SERVE_GROUPS: [(&str, &[&str]); 6] = [
    (
        "Listening",
        &["server_port", "bind_address", "allowed_hosts", "trusted_proxies", "shutdown_seconds", "drain_seconds"],
    ),
    (
        "Access",
        &[
            "enable_auth",
            "jwt_secret_file",
            "read_auth",
            "token_max_days",
            "token_audiences",
            "token_issuers",
            "tls_cert",
            "tls_key",
            "tls_client_ca",
            "tls_client_auth",
            "cors_origins",
            "rate_limit_per_minute",
            "read_rate_limit_per_minute",
        ],
    ),
    (
        "Store",
        &[
            "db_path",
            "max_services",
            "max_instances",
            "default_namespace",
            "deregister_after_seconds",
            "history_days",
            "start_empty",
            "accept_loss",
        ],
    ),
    (
        "Probes",
        &["health_check_interval", "probe_allow", "probe_deny", "probe_concurrency", "probe_per_address", "ca_dir"],
    ),
    (
        "Kubernetes",
        &[
            "mode",
            "watch_namespaces",
            "watch_selector",
            "policies",
            "rest_namespaces",
            "publish",
            "publish_deny",
            "adopt",
            "workload_entries",
            "external_workloads",
            "dns_endpoints",
            "context",
            "tls_peer_ca",
            "pod_name",
            "pod_namespace",
            "pod_ip",
        ],
    ),
    ("Logs and metrics", &["log_level", "log_format", "audit_file", "service_metrics", "metrics_address"]),
];

fn group_of_flag(id: &str) -> Option<&'static str> {
    SERVE_GROUPS.iter().find(|(_, ids)| ids.contains(&id)).map(|(heading, _)| *heading)
}

/// The command with its commands and the flags of `serve` listed in groups.
pub(super) fn grouped(command: clap::Command) -> clap::Command {
    let headed = |flag: clap::Arg| {
        let group = group_of_flag(flag.get_id().as_str());
        if group.is_some() { flag.help_heading(group) } else { flag }
    };
    let command = command.mut_subcommand("serve", |serve| serve.mut_args(headed));
    let mut listed = String::new();
    for (heading, names) in GROUPS {
        // Writing to a String cannot fail.
        let _ = writeln!(listed, "{heading}:");
        for name in names {
            let about = command.find_subcommand(name).and_then(|sub| sub.get_about()).map(ToString::to_string);
            let about = about.unwrap_or_else(|| "Print the help of a command".to_owned());
            let _ = writeln!(listed, "  {name:<13} {about}");
        }
        listed.push('\n');
    }
    let ending = as_typed(ENDING);
    let template = format!("{{about}}\n\n{{usage-heading}} {{usage}}\n\n{listed}Options:\n{{options}}\n\n{ending}\n");
    command.help_template(template)
}

pub(super) const SERVE: &str = "\
Examples:
  portolan serve                                    on loopback, data in ./services.db
  portolan serve --db-path /var/lib/portolan/services.db --health-check-interval 10
  ENABLE_AUTH=true JWT_SECRET_FILE=/etc/portolan/secret portolan serve";

pub(super) const QUARANTINE: &str = "\
Each line is a JSON object, oldest first: when, table, row, name, reason, and the columns in content. Bytes that are not text appear as \
{\"hex\": …}. The server has taken each of these rows out of its table and serves the rest; register their content again.

Examples:
  portolan quarantine --file /var/lib/portolan/services.db
  portolan quarantine | jq -r 'select(.table == \"instance\") | .name, .content.base_url'";

pub(super) const IMPORT: &str = "\
All rows are imported in one transaction, or none. A row that does not fit is reported with a value that would. Importing the same \
file again changes nothing. Health is not imported: the server probes everything when it starts. The server's settings apply \
(PORTOLAN_PROBE_ALLOW, PORTOLAN_BIND_ADDRESS, HEALTH_CHECK_INTERVAL, …), so run both with the same environment.
Exit code 2 if rows do not fit, 5 while a server has the store open.

Examples:
  portolan import gateway.db --db portolan.db --dry-run       what would happen to each row
  portolan import gateway.db --db portolan.db
  portolan export --server http://old:8080 | portolan import - --db portolan.db";

pub(super) const EXPORT: &str = "\
Each line is a JSON object as a register call takes it, in order of namespace, service and instance. Health and history are \
left out, and so are ids unless --for-import is given. Without --db it asks the server; --db reads a file, even while a server has it \
open.

Examples:
  portolan export > services.jsonl
  portolan export --db /var/lib/portolan/services.db --for-import > services.jsonl
  portolan export -n shop | while read -r line; do
    printf '%s\\n' \"$line\" | portolan register -f - --server http://new:8080; done";

pub(super) const BACKUP: &str = "\
The copy is complete and consistent, and the command reads it back before it reports success. To restore it while no server runs, move the \
store's file and its -wal and -shm away, and put the copy in its place; after the next `portolan serve`, clients cannot resume their watches \
    and read everything again.

Examples:
  portolan backup /backups/portolan-$(date +%F).db
  portolan backup --force latest.db --db /var/lib/portolan/services.db";

pub(super) const DEMO: &str = "\
The demo needs nothing and leaves nothing behind: its file is in a private temporary folder, and its backends are on loopback.

Examples:
  portolan demo                                     in the console; q quits
  portolan demo --seconds 60 | cat                  plain lines for a minute";

pub(super) const TOKEN: &str = "\
The secret is JWT_SECRET, or the first line of the file JWT_SECRET_FILE, as for the server. Only the token is printed.

Examples:
  export PORTOLAN_TOKEN=$(portolan token --subject ci)
  portolan token --subject ops --scope admin --namespaces '*' --ttl 8h";

pub(super) const REGISTER: &str = "\
Repeating a registration renews it and changes nothing else.

Examples:
  portolan register --name user-service --base-url http://10.0.0.5:8080 --check-http /health
  portolan register --name user-service -i b --base-url http://10.0.0.6:8080 --weight 20
  portolan register --name ledger-db --base-url postgres://db.corp:5432 --check-tcp
  portolan register --name user-service --base-url http://10.0.0.5:8080 --ttl 30s --retry
  portolan register --name mail --base-url http://10.0.0.7 --check-http --identity '/app=$service'
  portolan register --name mail --base-url http://10.0.0.7 --add-check admin=http://10.0.0.7:90/ok
  portolan register -f user-service.json
  echo '{\"name\":\"mail\",\"base_url\":\"http://10.0.0.7\"}' | portolan register -f -";

pub(super) const RUN: &str = "\
`portolan run` starts CMD and registers it once its port answers. It renews the lease while CMD runs, registers again if the server has lost \
the registration, and deregisters when CMD ends or is asked to stop. It forwards SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1 and SIGUSR2. Its \
exit code is that of CMD, 128 + N after signal N, and 127 or 126 if CMD cannot be started. CMD keeps running, whatever happens to the server.

CMD gets this environment unchanged, including PORTOLAN_TOKEN if it is set; --token-file keeps the token from CMD. CMD should stay in the \
foreground: what it starts in the background is no longer supervised once CMD ends. As process 1 of a container, `portolan run` reaps orphans.

Examples:
  portolan run --name user-service --port 8081 -- python3 app.py --port 8081
  portolan run --name user-service --port 8081 --check-http /healthz -- ./user-service
  portolan run --name ledger-db --base-url postgres://10.0.0.5:5432 --ttl 1m -- ./db";

pub(super) const DEREGISTER: &str = "\
Examples:
  portolan deregister user-service                  if it has one instance
  portolan deregister user-service --instance b
  portolan deregister user-service -n shop --all";

pub(super) const DRAIN: &str = "\
A drained instance is not selected, and keeps its weight. It comes back with `portolan undrain`, or when the time in --for is up. Draining it again \
replaces the reason and the time.

A drain ends with the registration: a program that deregisters when it stops, as under `portolan run`, comes back undrained. To keep it out \
of selection after a restart, start it with --weight 0.

Examples:
  portolan drain user-service --reason \"new kernel\" --for 30m
  portolan drain user-service -i b --reason \"rolling back 1.5.0\"
  portolan drain user-service --all --reason maintenance -n shop";

pub(super) const UNDRAIN: &str = "\
Examples:
  portolan undrain user-service                     if one instance is drained
  portolan undrain user-service -i b";

pub(super) const ACK: &str = "\
Lists and the console show the note, and the console lists acknowledged failures below all others. An acknowledgement ends when the failure \
    does, after --for, \
or with `portolan unack`. So that it never hides a new failure, it also ends when another check of the instance fails or, without -i, when \
another instance does.

Examples:
  portolan ack user-service --note \"disk ordered, OPS-4711\" --for 2h
  portolan ack user-service -i b --note \"the vendor knows\"";

pub(super) const UNACK: &str = "\
Examples:
  portolan unack user-service
  portolan unack user-service -i b";

pub(super) const WAIT: &str = "\
It also waits for a server that has not started yet. A drained instance does not count as healthy here, since it is not selected.
Exit code 6 when time runs out, 3 if the server was never reached.
-o json prints {\"name\":…,\"for\":…,\"met\":true,\"instances\":[…],\"service\":…}, even when time runs out.

Examples:
  portolan wait user-service --for healthy && ./run-the-tests
  portolan wait user-service --for healthy --min 3 --version '^1.5' --timeout 5m
  portolan drain user-service -i b --reason deploy && portolan wait user-service -i b --for drained
  portolan wait user-service --for gone";

pub(super) const LIST: &str = "\
Examples:
  portolan list -A                                  every namespace
  portolan list --status unhealthy                  what is down, since when and why
  portolan list -A --watch                          then each changed row again
  portolan list --version '>=2, <3' --meta team=identity -o wide
  portolan list -o json | jq -r '.[].base_url'";

pub(super) const GET: &str = "\
Examples:
  portolan get user-service -n shop
  portolan get user-service -o json";

pub(super) const DISCOVER: &str = "\
Examples:
  curl $(portolan discover user-service -o url)/v1/users
  portolan discover user-service --version ^1.4 --zone eu-1a
  portolan discover user-service --pick weighted -o url || echo none is healthy";

pub(super) const CHECK: &str = "\
The outcome takes effect at once, whatever the thresholds, except that an instance held as flapping stays unhealthy.
Exit code 1 if a checked service is not healthy; 0 if it has no check.
-o json prints {\"service\":…,\"checks\":[…]} with each stage's time in microseconds.

Examples:
  portolan check user-service
  portolan check user-service -i b                  one instance; exit code 1 unless it is healthy
  portolan check user-service -o json | jq '.checks[].outcome.timings'";

pub(super) const WATCH: &str = "\
It prints changes from now on. If the server restarts, it reconnects and prints what it missed.
Events of the server itself, such as failing writes, go to stderr; stdout has one line per change.

Examples:
  portolan watch
  portolan watch user-service -n shop
  portolan watch -o json | jq -c 'select(.to == \"unhealthy\")'";

pub(super) const CONSOLE: &str = "\
Without --server, --context, PORTOLAN_SERVER or --file, it shows the local server if it answers, else the file that DB_PATH names, or \
./services.db; the header says which. A file can only be viewed: to probe, drain or deregister, connect to a server.

Examples:
  portolan console
  portolan console --file /var/lib/portolan/services.db
  portolan console --server https://registry.example.com --filter \"status=down !canary\"
  portolan console --context prod                   in a cluster, through its own port-forward
  portolan console --once --size 100x30

Inside, ? shows the keys and the filter language.";

pub(super) const HISTORY: &str = "\
Examples:
  portolan history user-service
  portolan history user-service -o wide             with exact times";

pub(super) const AVAILABILITY: &str = "\
Availability is 1 - unhealthy / known time. Time without proof or without a server is unknown; drained time is left out.

Examples:
  portolan availability -A --window 7d              every service over the last week
  portolan availability user-service --window 30d   with its outages
  portolan availability -A --window 30d -o csv > availability.csv";

pub(super) const CRD: &str = "\
Examples:
  portolan crd | kubectl apply -f -
  kubectl explain services.portolan.dev.spec        what the fields mean";

pub(super) const COMPLETIONS: &str = "\
At each Tab, the script runs this program, which asks the server for service names and waits for at most a second. Generate the script \
again after an upgrade.

Examples:
  portolan completions bash > ~/.local/share/bash-completion/completions/portolan
  portolan completions zsh > ~/.zfunc/_portolan
  portolan completions fish > ~/.config/fish/completions/portolan.fish
  portolan completions kubectl > ~/bin/kubectl_complete-portolan    make it executable";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn examples_are_not_broken_on_a_terminal_of_100_columns() {
        let command = crate::cli::Cli::command();
        let help: Vec<String> =
            command.get_subcommands().filter_map(|sub| Some(sub.get_after_help()?.to_string())).collect();
        assert!(help.len() > 20, "{help:?}");
        for line in help.iter().flat_map(|help| help.lines()).filter(|line| line.starts_with("  ")) {
            assert!(line.chars().count() <= 100, "{line}");
        }
    }

    #[test]
    fn every_setting_has_its_group() {
        for flag in crate::config::SETTINGS.iter().filter_map(crate::config::Setting::flag) {
            let id = flag.trim_start_matches('-').replace('-', "_");
            assert!(group_of_flag(&id).is_some(), "{flag} belongs in SERVE_GROUPS");
        }
        let listed: usize = SERVE_GROUPS.iter().map(|(_, ids)| ids.len()).sum();
        // Consents apply to one start and are not settings.
        let consents = ["start_empty", "accept_loss"];
        assert!(consents.iter().all(|id| group_of_flag(id) == Some("Store")));
        assert_eq!(listed, crate::config::SETTINGS.len() + consents.len());
    }
}
