//! Every setting, declared once: its variable, flag, default and help, and how it is read.
//!
//! In: flags and environment. Out: [`Settings`], or the problems. Read the files in this order: this one (the settings), `reader` (reads
//! values and collects problems), `parse` (one value), `cluster` (the mode), `tls` (the files of TLS). A test holds each default's text and its value equal.
//!
//! To add a setting, add an entry here and use its field. `make generate` updates the README and docs/cli.md.

mod cluster;
mod parse;
mod reader;
mod tls;

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use crate::model::label_selector::LabelSelector;
use crate::model::name::Namespace;

pub use cluster::{Mode, NotWatched};
pub use parse::LogFormat;
use reader::Reader;
pub use reader::{Problem, Secrets, SettingsError};
pub use tls::TlsFiles;

const DAY: Duration = Duration::from_hours(24);
/// Reads that a client may make for each write, unless reads have a limit of their own.
const READS_PER_WRITE: u32 = 100;

/// A setting as it is documented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// The environment variable.
    pub env: &'static str,
    /// The flag's name with `_` for `-`; `None` for a secret, which the command line would show to other users.
    pub(super) field: Option<&'static str>,
    /// The default, as a person would write it.
    pub default: &'static str,
    /// The default of cluster mode where it differs; else empty.
    pub in_cluster: &'static str,
    /// What it does, in a sentence.
    pub help: &'static str,
}

impl Setting {
    /// The flag with its dashes.
    pub fn flag(&self) -> Option<String> {
        self.field.map(|field| format!("--{}", field.replace('_', "-")))
    }
}

/// How many values a flag takes: a switch may be given without one.
fn values(value: &str) -> RangeInclusive<usize> {
    if value == "BOOL" { 0..=1 } else { 1..=1 }
}

/// An entry is `flag "VARIABLE" "VALUE" "default" / "default of cluster mode" "help" => field: Type = how to read it`. An entry without a field
/// is read by another one's.
macro_rules! settings {
    (
        |$reader:ident|
        Settings { $($arg:ident $env:literal $value:literal $default:literal $(/ $cluster:literal)? $help:literal
            $(=> $(#[$doc:meta])* $field:ident: $type:ty = $read:expr)?;)+ }
        ClusterSettings { $($c_arg:ident $c_env:literal $c_value:literal $c_default:literal $c_help:literal
            => $(#[$c_doc:meta])* $c_type:ty = $c_read:expr;)+ }
    ) => {
        /// The flags of `portolan serve`, unread: [`Settings::load`] joins them with the environment.
        #[derive(Debug, Clone, Default, clap::Args)]
        pub struct ServeArgs {
            $(
                #[doc = $help]
                #[arg(
                    long,
                    value_name = $value,
                    help = concat!($help, " [env: ", $env, "] [default: ", $default, "]"),
                    num_args = values($value),
                    default_missing_value = "true",
                )]
                pub $arg: Option<OsString>,
            )+
            $(
                #[doc = $c_help]
                #[arg(
                    long,
                    value_name = $c_value,
                    help = concat!($c_help, " [env: ", $c_env, "] [default: ", $c_default, "]"),
                    num_args = values($c_value),
                    default_missing_value = "true",
                )]
                pub $c_arg: Option<OsString>,
            )+
        }

        impl ServeArgs {
            /// The value of the flag with this field name.
            pub(super) fn given(&self, field: &str) -> Option<&OsString> {
                match field {
                    $(stringify!($arg) => self.$arg.as_ref(),)+
                    $(stringify!($c_arg) => self.$c_arg.as_ref(),)+
                    _ => None,
                }
            }
        }

        /// Every setting that has a flag, in the order of the README's table.
        pub const SETTINGS: &[Setting] = &[
            $(Setting {
                env: $env,
                field: Some(stringify!($arg)),
                default: $default,
                in_cluster: concat!($($cluster)?),
                help: $help,
            },)+
            $(Setting { env: $c_env, field: Some(stringify!($c_arg)), default: $c_default, in_cluster: "", help: $c_help },)+
        ];

        /// The settings of `portolan serve`, checked.
        #[derive(Debug, Clone)]
        pub struct Settings {
            $($(
                #[doc = $help]
                $(#[$doc])*
                pub $field: $type,
            )?)+
            /// Whether a person chose [`Self::bind_address`]; else it follows from [`Self::auth`].
            pub bind_address_given: bool,
            /// Whether to set a store aside that is damaged as a whole, or missing, and start with an empty one. Given at a start, never by a
            /// variable.
            pub start_empty: bool,
            /// Whether the store may have lost its last commits. Given at a start, never by a variable.
            pub accept_loss: bool,
        }

        impl Settings {
            /// Reads all of them; the reader collects the problems.
            fn read($reader: &Reader<'_>) -> Self {
                Self {
                    $($($field: $read,)?)+
                    bind_address_given: $reader.is_given("bind_address"),
                    start_empty: false,
                    accept_loss: false,
                }
            }
        }

        /// The settings of cluster mode. What is absent is taken from the pod or the kubeconfig file.
        #[derive(Debug, Clone, PartialEq, Eq, Default)]
        pub struct ClusterSettings {
            $(
                #[doc = $c_help]
                $(#[$c_doc])*
                pub $c_arg: $c_type,
            )+
        }

        impl ClusterSettings {
            /// Reads all of them; the reader collects the problems.
            fn read($reader: &Reader<'_>) -> Self {
                Self { $($c_arg: $c_read,)+ }
            }
        }
    };
}

settings! { |reader|
Settings {
    server_port "SERVER_PORT" "PORT" "8080"
        "TCP port to listen on; 0 takes any free one"
        => server_port: u16 = reader.text("server_port", parse::port).unwrap_or(8080);
    bind_address "PORTOLAN_BIND_ADDRESS" "ADDRESS" "127.0.0.1 with auth off, 0.0.0.0 with auth on"
        "Address to listen on"
        => bind_address: IpAddr = reader.text("bind_address", parse::address).unwrap_or_else(|| {
            IpAddr::V4(if reader.auth_is_on() { Ipv4Addr::UNSPECIFIED } else { Ipv4Addr::LOCALHOST })
        });
    db_path "DB_PATH" "FILE" "./services.db" / "./mirror.db"
        "The SQLite file that holds everything; created when absent. In cluster mode only a mirror, which is rebuilt if it is lost"
        => db_path: PathBuf = reader
            .path("db_path", parse::database)
            .unwrap_or_else(|| PathBuf::from(reader.by_mode("./services.db", "./mirror.db")));
    enable_auth "ENABLE_AUTH" "BOOL" "false"
        "Require a bearer token on every route that writes, and on those that show a service by id, its history or probes; in cluster mode, ServiceAccount tokens are accepted, too"
        => /// The secrets; `None` while auth is off.
        auth: Option<Secrets> = reader.auth();
    jwt_secret_file "JWT_SECRET_FILE" "FILE" "none"
        "File with one signing secret per line: the first signs, all verify; read again when it changes. In cluster mode it need not exist";
    read_auth "PORTOLAN_READ_AUTH" "BOOL" "false"
        "Require a token on reads too, and show only the token's namespaces"
        => read_auth: bool = reader.read_auth();
    token_max_days "PORTOLAN_TOKEN_MAX_DAYS" "DAYS" "30"
        "Longest lifetime of a token, in days"
        => token_max: Duration = DAY * reader.number("token_max_days", 30, 1..=3650, "days");
    tls_cert "PORTOLAN_TLS_CERT" "FILE" "none"
        "PEM file with the server's certificate and its chain; with it the server speaks HTTPS only. Read again when it changes"
        => /// `None` where the server speaks plain HTTP.
        tls: Option<TlsFiles> = reader.tls();
    tls_key "PORTOLAN_TLS_KEY" "FILE" "none"
        "PEM file with the private key of PORTOLAN_TLS_CERT, without a passphrase; read again when it changes";
    tls_client_ca "PORTOLAN_TLS_CLIENT_CA" "FILE" "none"
        "PEM file with the CAs whose certificates identify clients (mutual TLS); needs auth to be on";
    tls_client_auth "PORTOLAN_TLS_CLIENT_AUTH" "WHEN" "required with PORTOLAN_TLS_CLIENT_CA, else off"
        "Whether clients must present a certificate: off, optional or required; /healthz, /readyz, /openapi.json and CORS preflight requests \
            never need one";
    log_level "LOG_LEVEL" "LEVEL" "info"
        "trace, debug, info, warn, error or off; or directives such as info,portolan::prober=debug"
        => log_level: String = reader.text("log_level", parse::log_level).unwrap_or_else(|| "info".to_owned());
    log_format "PORTOLAN_LOG_FORMAT" "FORMAT" "text"
        "Log lines as text or json"
        => log_format: LogFormat = reader.text("log_format", parse::log_format).unwrap_or(LogFormat::Text);
    audit_file "PORTOLAN_AUDIT_FILE" "FILE" "none"
        "File to which each write appends a line of JSON, whether accepted or refused, except refused requests that a client could send endlessly to fill the disk; reopened after it is renamed"
        => audit_file: Option<PathBuf> = reader.path("audit_file", parse::file);
    max_services "MAX_SERVICES" "COUNT" "100" / "0"
        "Maximum number of services registered over REST; 0 is unlimited"
        => max_services: Option<u32> = Some(
            reader.number("max_services", reader.by_mode(100, 0), 0..=u32::MAX, "a count, 0 for unlimited"),
        ).filter(|n| *n > 0);
    max_instances "PORTOLAN_MAX_INSTANCES" "COUNT" "25600"
        "Maximum number of instances, over all services"
        => max_instances: u32 = reader.number("max_instances", 25_600, 1..=1_000_000, "a count");
    health_check_interval "HEALTH_CHECK_INTERVAL" "SECONDS" "30"
        "Seconds between the probes of an instance whose check specifies no interval"
        => health_check_interval: Duration = reader.seconds("health_check_interval", 30, 1..=86_400);
    default_namespace "PORTOLAN_DEFAULT_NAMESPACE" "NAME" "default" / "the first of PORTOLAN_REST_NAMESPACES"
        "Namespace of a request that specifies none"
        => /// `None` where it was not given.
        default_namespace: Option<Namespace> = reader.text("default_namespace", parse::namespace);
    rate_limit_per_minute "PORTOLAN_RATE_LIMIT_PER_MINUTE" "COUNT" "60" / "0"
        "Registrations and checks per minute that each client may request, 20 times as many other writes, and 200 times as many heartbeats; 0 is no limit"
        => rate_limit_per_minute: Option<u32> = Some(reader.writes_per_minute()).filter(|n| *n > 0);
    read_rate_limit_per_minute "PORTOLAN_READ_RATE_LIMIT_PER_MINUTE" "COUNT" "100 times PORTOLAN_RATE_LIMIT_PER_MINUTE"
        "Reads per minute that each client may make; each 32 KiB of a response counts as one; 0 is no limit"
        => read_rate_limit_per_minute: Option<u32> = {
            let default = reader.writes_per_minute().saturating_mul(READS_PER_WRITE);
            Some(reader.rate("read_rate_limit_per_minute", default)).filter(|n| *n > 0)
        };
    trusted_proxies "PORTOLAN_TRUSTED_PROXIES" "CIDRS" "none"
        "Networks of the proxies whose X-Forwarded-For is trusted, separated by commas"
        => trusted_proxies: Vec<IpNet> = reader.text("trusted_proxies", parse::networks).unwrap_or_default();
    allowed_hosts "PORTOLAN_ALLOWED_HOSTS" "HOSTS" "none"
        "Host names, besides loopback's, that a server bound to loopback answers to, separated by commas"
        => /// Lower case, without port.
        allowed_hosts: Vec<String> = reader.text("allowed_hosts", parse::hosts).unwrap_or_default();
    cors_origins "PORTOLAN_CORS_ORIGINS" "ORIGINS" "none"
        "Origins, besides loopback, whose pages may write while auth is off and read from a server bound to loopback, separated by commas"
        => cors_origins: Vec<String> = reader.text("cors_origins", parse::origins).unwrap_or_default();
    probe_allow "PORTOLAN_PROBE_ALLOW" "CIDRS" "none"
        "Networks that may be probed although the default policy forbids them, separated by commas"
        => probe_allow: Vec<IpNet> = reader.text("probe_allow", parse::networks).unwrap_or_default();
    probe_deny "PORTOLAN_PROBE_DENY" "CIDRS" "none"
        "Networks that are never probed, even if PORTOLAN_PROBE_ALLOW contains them, separated by commas"
        => probe_deny: Vec<IpNet> = reader.text("probe_deny", parse::networks).unwrap_or_default();
    probe_concurrency "PORTOLAN_PROBE_CONCURRENCY" "COUNT" "1024"
        "Maximum number of probes in flight; fewer if the system allows too few file descriptors"
        => probe_concurrency: usize = reader.number("probe_concurrency", 1024, 1..=60_000, "a count") as usize;
    probe_per_address "PORTOLAN_PROBE_PER_ADDRESS" "COUNT" "20"
        "Maximum number of probes per second to one address, except loopback; further ones are delayed"
        => probe_per_address: u32 = reader.number("probe_per_address", 20, 1..=100_000, "probes a second");
    deregister_after_seconds "PORTOLAN_DEREGISTER_AFTER_SECONDS" "SECONDS" "0"
        "Remove an instance registered over REST once it has been unhealthy for this many seconds without interruption, unless it has its own deregister_after_seconds or a heartbeat; never a service's last instance; 0 turns this off"
        => deregister_after: Option<Duration> = reader.deregister_after();
    ca_dir "PORTOLAN_CA_DIR" "FOLDER" "none"
        "Folder with the files that a check's tls.ca and tls.client_cert may name"
        => ca_dir: Option<PathBuf> = reader.path("ca_dir", parse::folder);
    service_metrics "PORTOLAN_SERVICE_METRICS" "BOOL" "true"
        "Show each service's series in /metrics: instances by health, known and unhealthy time, and portolan_certificate_expiry_seconds"
        => service_metrics: bool = reader.flag("service_metrics", true);
    metrics_address "PORTOLAN_METRICS_ADDRESS" "ADDRESS:PORT" "none"
        "Address and port that serve /metrics alone, to everyone and without a token, for a scraper while PORTOLAN_READ_AUTH is on"
        => metrics_address: Option<SocketAddr> = reader.text("metrics_address", parse::socket);
    history_days "PORTOLAN_HISTORY_DAYS" "DAYS" "30"
        "Days for which changes of health are kept"
        => history: Duration = DAY * reader.number("history_days", 30, 1..=3650, "days");
    shutdown_seconds "PORTOLAN_SHUTDOWN_SECONDS" "SECONDS" "10"
        "Seconds that a shutdown may take before open requests are cut off"
        => shutdown: Duration = reader.shutdown();
    drain_seconds "PORTOLAN_DRAIN_SECONDS" "SECONDS" "0"
        "Seconds of the shutdown in which /readyz fails but requests are still served, so that a load balancer can stop sending them"
        => drain: Duration = reader.drain();
    mode "PORTOLAN_MODE" "MODE" "standalone"
        "standalone: the SQLite file holds the registry. cluster: the Kubernetes API holds it, as services.portolan.dev objects"
        => mode: Mode = reader.mode();
}
ClusterSettings {
    watch_namespaces "PORTOLAN_WATCH_NAMESPACES" "NAMES" "all"
        "Cluster mode: namespaces whose services are watched, separated by commas"
        => /// Empty for all.
        Vec<Namespace> = reader.text("watch_namespaces", parse::namespaces).unwrap_or_default();
    watch_selector "PORTOLAN_WATCH_SELECTOR" "SELECTOR" "none"
        "Cluster mode: label selector, such as tenant,stage!=dev; only services in matching namespaces are watched, and \
            PORTOLAN_WATCH_NAMESPACES applies, too"
        => Option<LabelSelector> = reader.text("watch_selector", parse::label_selector);
    policies "PORTOLAN_POLICIES" "BOOL" "false"
        "Cluster mode: follow the NamespacePolicy objects; nothing is probed or registered before they are listed"
        => bool = reader.flag("policies", false);
    rest_namespaces "PORTOLAN_REST_NAMESPACES" "NAMES" "the server's own"
        "Cluster mode: namespaces that REST registrations may write to, separated by commas"
        => /// Empty for the server's own: see the method of the same name.
        Vec<Namespace> = reader.text("rest_namespaces", parse::namespaces).unwrap_or_default();
    token_audiences "PORTOLAN_TOKEN_AUDIENCES" "NAMES" "none"
        "Cluster mode: audiences besides portolan for which tokens of ServiceAccounts are accepted, separated by commas"
        => Vec<String> = reader.text("token_audiences", parse::audiences).unwrap_or_default();
    token_issuers "PORTOLAN_TOKEN_ISSUERS" "NAMES" "none"
        "Cluster mode: issuers of ServiceAccounts' tokens besides the first --service-account-issuer of the API server, separated by commas"
        => Vec<String> = reader.text("token_issuers", parse::issuers).unwrap_or_default();
    publish "PORTOLAN_PUBLISH" "BOOL" "false"
        "Cluster mode: publish instances as endpoints of the core Services that spec.publish names"
        => bool = reader.flag("publish", false);
    publish_deny "PORTOLAN_PUBLISH_DENY" "CIDRS" "those that the Kubernetes API lists"
        "Cluster mode: networks whose addresses are never published, in addition to those that the Kubernetes API lists, separated by commas: name the networks of pods, Services and nodes that Portolan cannot learn from the cluster; `none` if there are none"
        => /// None if nothing is published before the networks were learned.
        Option<Vec<IpNet>> = reader.text("publish_deny", parse::networks_or_none);
    adopt "PORTOLAN_ADOPT" "BOOL" "false"
        "Cluster mode: adopt the endpoints of the core Services that spec.from names or the label portolan.dev/adopt marks"
        => bool = reader.flag("adopt", false);
    workload_entries "PORTOLAN_WORKLOAD_ENTRIES" "BOOL" "false"
        "Cluster mode: write the health of instances into Istio's WorkloadEntry objects with the annotation portolan.dev/service"
        => bool = reader.flag("workload_entries", false);
    external_workloads "PORTOLAN_EXTERNAL_WORKLOADS" "BOOL" "false"
        "Cluster mode: write the health of instances into Linkerd's ExternalWorkload objects with the annotation portolan.dev/service"
        => bool = reader.flag("external_workloads", false);
    dns_endpoints "PORTOLAN_DNS_ENDPOINTS" "BOOL" "false"
        "Cluster mode: write the addresses of healthy instances into external-dns' DNSEndpoint objects with the annotation portolan.dev/service"
        => bool = reader.flag("dns_endpoints", false);
    context "PORTOLAN_CONTEXT" "NAME" "the current one"
        "Cluster mode outside a cluster: the context of the kubeconfig file (KUBECONFIG, else ~/.kube/config)"
        => Option<String> = reader.text("context", parse::kubernetes_name);
    tls_peer_ca "PORTOLAN_TLS_PEER_CA" "FILE" "none"
        "Cluster mode: PEM file with the CA that issues the replicas' own certificates, so that they trust each other while a renewal spreads"
        => Option<PathBuf> = reader.path("tls_peer_ca", parse::file);
    pod_name "POD_NAME" "NAME" "the host's name"
        "Cluster mode: the name of this replica in the Lease and in events"
        => Option<String> = reader.text("pod_name", parse::kubernetes_name);
    pod_namespace "POD_NAMESPACE" "NAME" "the ServiceAccount's, else the kubeconfig context's"
        "Cluster mode: the server's own namespace, where its Lease is"
        => Option<Namespace> = reader.text("pod_namespace", parse::namespace);
    pod_ip "POD_IP" "ADDRESS" "PORTOLAN_BIND_ADDRESS"
        "Cluster mode: the address at which the other replicas reach this one"
        => Option<IpAddr> = reader.text("pod_ip", parse::address);
}
}

/// The variables that have no flag.
pub(super) const SECRETS: &[Setting] = &[Setting {
    env: "JWT_SECRET",
    field: None,
    default: "none",
    in_cluster: "",
    help: "Secret that signs and verifies tokens, at least 32 bytes; with auth on, required in standalone mode unless JWT_SECRET_FILE is set",
}];

/// The variables that the client commands read.
pub(super) const CLIENT: &[Setting] = &[
    Setting {
        env: "PORTOLAN_SERVER",
        field: Some("server"),
        default: "http://127.0.0.1:8080",
        in_cluster: "",
        help: "The server that client commands connect to",
    },
    Setting {
        env: "PORTOLAN_TOKEN",
        field: None,
        default: "none",
        in_cluster: "",
        help: "The token that client commands send",
    },
    Setting {
        env: "PORTOLAN_TOKEN_FILE",
        field: Some("token_file"),
        default: "none",
        in_cluster: "",
        help: "File with that token, read for every request",
    },
    Setting {
        env: "PORTOLAN_CA_FILE",
        field: Some("ca_file"),
        default: "the system's CAs",
        in_cluster: "",
        help: "PEM file with the CAs that client commands trust instead of the system's",
    },
    Setting {
        env: "PORTOLAN_CLIENT_CERT",
        field: Some("client_cert"),
        default: "none",
        in_cluster: "",
        help: "PEM file with the certificate that client commands present, with its chain",
    },
    Setting {
        env: "PORTOLAN_CLIENT_KEY",
        field: Some("client_key"),
        default: "that of PORTOLAN_CLIENT_CERT",
        in_cluster: "",
        help: "PEM file with the private key of that certificate",
    },
];
