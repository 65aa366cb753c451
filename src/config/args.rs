//! The one declaration of every setting.

use std::ffi::OsString;

/// A setting as it is documented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// The environment variable.
    pub env: &'static str,
    /// The flag's words with `_` for `-`; `None` for a secret, which the command line would show to other users.
    pub(super) field: Option<&'static str>,
    /// The default, as a person would write it.
    pub default: &'static str,
    /// The default of cluster mode where it is another; else empty.
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

macro_rules! settings {
    ($($field:ident $env:literal $value:literal $default:literal $(/ $cluster:literal)? $help:literal [$($extra:tt)*])+) => {
        /// The flags of `portolan serve`, unread: [`Settings::load`](super::Settings::load) joins them with the environment.
        #[derive(Debug, Clone, Default, clap::Args)]
        pub struct ServeArgs {
            $(
                #[doc = $help]
                #[arg(
                    long,
                    value_name = $value,
                    help = concat!($help, " [env: ", $env, "] [default: ", $default, "]"),
                    $($extra)*
                )]
                pub $field: Option<OsString>,
            )+
        }

        impl ServeArgs {
            /// What the flag was given, by its field's name.
            pub(super) fn given(&self, field: &str) -> Option<&OsString> {
                match field {
                    $(stringify!($field) => self.$field.as_ref(),)+
                    _ => None,
                }
            }
        }

        /// Every setting that has a flag, in the order of the README's table.
        pub const SETTINGS: &[Setting] = &[
            $(Setting {
                env: $env,
                field: Some(stringify!($field)),
                default: $default,
                in_cluster: concat!($($cluster)?),
                help: $help,
            },)+
        ];
    };
}

settings! {
    server_port "SERVER_PORT" "PORT" "8080"
        "TCP port to listen on; 0 takes any free one" []
    bind_address "PORTOLAN_BIND_ADDRESS" "ADDRESS" "127.0.0.1 with auth off, 0.0.0.0 with auth on"
        "Address to listen on" []
    db_path "DB_PATH" "FILE" "./services.db" / "./mirror.db"
        "The SQLite file that holds everything; made when absent. In cluster mode a mirror, which may be lost" []
    enable_auth "ENABLE_AUTH" "BOOL" "false"
        "Ask for a bearer token on every route that writes" [num_args = 0..=1, default_missing_value = "true"]
    jwt_secret_file "JWT_SECRET_FILE" "FILE" "none"
        "File with one signing secret a line: the first signs, all verify; read again when it changes" []
    read_auth "PORTOLAN_READ_AUTH" "BOOL" "false"
        "Ask for a token on reads too, and show only the token's namespaces" [num_args = 0..=1, default_missing_value = "true"]
    token_max_days "PORTOLAN_TOKEN_MAX_DAYS" "DAYS" "30"
        "Furthest expiry that a token may have, in days" []
    log_level "LOG_LEVEL" "LEVEL" "info"
        "trace, debug, info, warn, error or off; or directives such as info,portolan::prober=debug" []
    log_format "PORTOLAN_LOG_FORMAT" "FORMAT" "text"
        "Log lines as text or json" []
    max_services "MAX_SERVICES" "COUNT" "100" / "0"
        "Most services registered over REST; 0 is unlimited" []
    max_instances "PORTOLAN_MAX_INSTANCES" "COUNT" "25600"
        "Most instances over all services" []
    health_check_interval "HEALTH_CHECK_INTERVAL" "SECONDS" "30"
        "Seconds between the probes of an instance whose check names no interval" []
    default_namespace "PORTOLAN_DEFAULT_NAMESPACE" "NAME" "default" / "the first of PORTOLAN_REST_NAMESPACES"
        "Namespace of a request that names none" []
    rate_limit_per_minute "PORTOLAN_RATE_LIMIT_PER_MINUTE" "COUNT" "60" / "0"
        "Writes and checks a minute that each client may ask for; 0 is no limit" []
    read_rate_limit_per_minute "PORTOLAN_READ_RATE_LIMIT_PER_MINUTE" "COUNT" "100 times PORTOLAN_RATE_LIMIT_PER_MINUTE"
        "Reads a minute that each client may make, each 32 KiB of an answer counting as one; 0 is no limit" []
    trusted_proxies "PORTOLAN_TRUSTED_PROXIES" "CIDRS" "none"
        "Networks of the proxies whose X-Forwarded-For is believed, separated by commas" []
    allowed_hosts "PORTOLAN_ALLOWED_HOSTS" "HOSTS" "none"
        "Host names besides loopback's under which a server bound to loopback may be asked, separated by commas" []
    cors_origins "PORTOLAN_CORS_ORIGINS" "ORIGINS" "none"
        "Origins besides loopback's whose web pages may write while auth is off, and read a server on loopback, separated by commas" []
    probe_allow "PORTOLAN_PROBE_ALLOW" "CIDRS" "none"
        "Networks that may be probed although the default policy forbids them, separated by commas" []
    probe_deny "PORTOLAN_PROBE_DENY" "CIDRS" "none"
        "Networks that are never probed; wins over the allowed ones" []
    probe_concurrency "PORTOLAN_PROBE_CONCURRENCY" "COUNT" "1024"
        "Most probes under way at once; fewer when the system gives fewer file descriptors" []
    probe_per_address "PORTOLAN_PROBE_PER_ADDRESS" "COUNT" "20"
        "Most probes a second to one address, loopback exempt; the rest is delayed" []
    ca_dir "PORTOLAN_CA_DIR" "FOLDER" "none"
        "Folder of the files that a check's tls.ca and tls.client_cert may name" []
    service_metrics "PORTOLAN_SERVICE_METRICS" "BOOL" "true"
        "Show portolan_service_instances, a series per service and health, in /metrics" [num_args = 0..=1, default_missing_value = "true"]
    history_days "PORTOLAN_HISTORY_DAYS" "DAYS" "30"
        "Days that transitions are kept" []
    shutdown_seconds "PORTOLAN_SHUTDOWN_SECONDS" "SECONDS" "10"
        "Seconds that a shutdown may take before what is left is cut off" []
    drain_seconds "PORTOLAN_DRAIN_SECONDS" "SECONDS" "0"
        "Seconds of that time in which /readyz is not ready and all is still answered, so that a load balancer can turn away first" []
    mode "PORTOLAN_MODE" "MODE" "standalone"
        "standalone: the SQLite file is the registry. cluster: Kubernetes is, by services.portolan.dev objects" []
    watch_namespaces "PORTOLAN_WATCH_NAMESPACES" "NAMES" "all"
        "Cluster mode: namespaces whose services are taken in, separated by commas" []
    rest_namespaces "PORTOLAN_REST_NAMESPACES" "NAMES" "the server's own"
        "Cluster mode: namespaces that REST registrations may write to, separated by commas" []
    context "PORTOLAN_CONTEXT" "NAME" "the current one"
        "Cluster mode outside a cluster: the context of the kubeconfig file (KUBECONFIG, else ~/.kube/config)" []
    pod_name "POD_NAME" "NAME" "the host's name"
        "Cluster mode: what this replica calls itself in the Lease and in events" []
    pod_namespace "POD_NAMESPACE" "NAME" "the ServiceAccount's, else the kubeconfig context's"
        "Cluster mode: the server's own namespace, where its Lease is" []
    pod_ip "POD_IP" "ADDRESS" "PORTOLAN_BIND_ADDRESS"
        "Cluster mode: the address at which the other replicas reach this one" []
}

/// The variables that have no flag.
pub(super) const SECRETS: &[Setting] = &[Setting {
    env: "JWT_SECRET",
    field: None,
    default: "none",
    in_cluster: "",
    help: "Secret that signs and verifies tokens, at least 32 bytes; needed with auth on unless JWT_SECRET_FILE is set",
}];

/// The variables that the client commands read.
pub(super) const CLIENT: &[Setting] = &[
    Setting {
        env: "PORTOLAN_SERVER",
        field: Some("server"),
        default: "http://127.0.0.1:8080",
        in_cluster: "",
        help: "The server that a client command asks",
    },
    Setting {
        env: "PORTOLAN_TOKEN",
        field: None,
        default: "none",
        in_cluster: "",
        help: "The token that a client command sends",
    },
    Setting {
        env: "PORTOLAN_TOKEN_FILE",
        field: Some("token_file"),
        default: "none",
        in_cluster: "",
        help: "File with that token, read anew for every request",
    },
];
