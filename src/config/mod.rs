//! The settings of `portolan serve`: flags and environment, checked once at the start.
//!
//! Each setting is declared once, in `args.rs`: that gives its flag, its help text and its row in the README's table.
//! A flag wins over the environment, an empty variable counts as unset, and every bad value is reported in one go.

mod args;
mod cluster;
mod load;
mod parse;
mod table;
#[cfg(test)]
mod tests;
mod unknown;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use secrecy::SecretString;

use crate::model::name::Namespace;

pub use args::{SETTINGS, ServeArgs, Setting};
pub use cluster::{ClusterSettings, Mode, NotWatched};
pub use load::{Problem, SettingsError};
pub use table::markdown_table;
pub use unknown::unknown_variables;

/// What a log line looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Where the secrets that sign and verify tokens come from.
#[derive(Debug, Clone)]
pub enum Secrets {
    /// `JWT_SECRET`, [strong](crate::model::secret::strong).
    Inline(SecretString),
    /// `JWT_SECRET_FILE`: one secret a line; its reader checks the content, now and on every change.
    File(PathBuf),
}

/// Everything that `portolan serve` can be told, checked. The fields are named after the settings.
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
#[derive(Debug, Clone)]
pub struct Settings {
    /// TCP port; 0 lets the system choose.
    pub server_port: u16,
    /// Address to listen on.
    pub bind_address: IpAddr,
    /// Whether a store that is damaged as a whole, or gone, is set aside for an empty one; said at a start, never by a variable.
    pub start_empty: bool,
    /// Whether the store may have lost its last commits; likewise.
    pub accept_loss: bool,
    /// Whether a person chose [`Self::bind_address`]; else it follows from [`Self::auth`].
    pub bind_address_given: bool,
    /// The SQLite file.
    pub db_path: PathBuf,
    /// The secrets when `ENABLE_AUTH` is on; `None` means that nobody needs a token.
    pub auth: Option<Secrets>,
    /// Whether reads need a token too; only with [`Self::auth`].
    pub read_auth: bool,
    /// Furthest expiry of a token, counted from now.
    pub token_max: Duration,
    /// Directives for the log filter.
    pub log_level: String,
    /// What a log line looks like.
    pub log_format: LogFormat,
    /// Most services registered over REST; `None` is unlimited.
    pub max_services: Option<u32>,
    /// Most instances, over all services.
    pub max_instances: u32,
    /// Time between probes where a check names none, 1 s to a day.
    pub health_check_interval: Duration,
    /// The namespace of a request that names none, when one was given; else `default`, in cluster mode the first one that REST may
    /// write to.
    pub default_namespace: Option<Namespace>,
    /// Host names, lower case and without port, that a request may carry besides loopback's.
    pub allowed_hosts: Vec<String>,
    /// Origins (`https://ops.example.com`) whose pages may write while auth is off.
    pub cors_origins: Vec<String>,
    /// Writes and checks per client and minute; `None` is no limit.
    pub rate_limit_per_minute: Option<u32>,
    /// Reads per client and minute, a large answer counting as several; `None` is no limit.
    pub read_rate_limit_per_minute: Option<u32>,
    /// Peers whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Networks that may be probed although the defaults forbid them.
    pub probe_allow: Vec<IpNet>,
    /// Networks that are never probed.
    pub probe_deny: Vec<IpNet>,
    /// Most probes under way at once.
    pub probe_concurrency: usize,
    /// Most probes a second to one address, loopback exempt.
    pub probe_per_address: u32,
    /// Folder of the CA files that a check may name.
    pub ca_dir: Option<PathBuf>,
    /// Whether `/metrics` carries a series per service.
    pub service_metrics: bool,
    /// How long transitions are kept.
    pub history: Duration,
    /// Time that a shutdown may take.
    pub shutdown: Duration,
    /// Its first part, in which all is still answered; shorter than the whole.
    pub drain: Duration,
    /// How the registry runs.
    pub mode: Mode,
}

impl Settings {
    /// Where to listen.
    pub fn listen(&self) -> SocketAddr {
        SocketAddr::new(self.bind_address, self.server_port)
    }

    /// Loads from the flags and from the process's environment.
    ///
    /// # Errors
    /// [`SettingsError`] with every bad value.
    pub fn from_process(args: &ServeArgs) -> Result<Self, SettingsError> {
        Self::load(args, |name| std::env::var_os(name))
    }
}
