//! Flags and environment to [`Settings`], with every problem in one report.

use std::cell::RefCell;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use super::args::SETTINGS;
use super::cluster::ModeWord;
use super::{ClusterSettings, LogFormat, Mode, Secrets, ServeArgs, Settings, parse};
use crate::model::secret::{MIN_SECRET_BYTES, strong};
use crate::model::text::escape;

/// Reads that a client may make for each write, unless their own limit is given.
const READS_FOR_A_WRITE: u32 = 100;
const DAY: Duration = Duration::from_hours(24);

/// One setting that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The flag or the variable, whichever was given.
    pub name: String,
    /// What is wrong and what was expected; never a secret's value.
    pub message: String,
}

/// Settings that cannot be used, all of them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct SettingsError {
    /// At least one.
    pub problems: Vec<Problem>,
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.len() {
            1 => write!(f, "a setting cannot be used:")?,
            n => write!(f, "{n} settings cannot be used:")?,
        }
        self.problems.iter().try_for_each(|p| write!(f, "\n  {} {}", p.name, p.message))
    }
}

/// Reads one setting after the other and keeps what is wrong with them.
struct Reader<'a, E> {
    args: &'a ServeArgs,
    env: E,
    problems: RefCell<Vec<Problem>>,
}

impl<E: Fn(&str) -> Option<OsString>> Reader<'_, E> {
    fn variable(&self, name: &str) -> Option<OsString> {
        (self.env)(name).filter(|value| !value.is_empty())
    }

    /// The value and the name under which a person gave it; the flag wins.
    fn raw(&self, field: &str) -> Option<(String, OsString)> {
        let setting = SETTINGS.iter().find(|s| s.field == Some(field))?;
        match self.args.given(field) {
            Some(value) => Some((setting.flag()?, value.clone())),
            None => Some((setting.env.to_owned(), self.variable(setting.env)?)),
        }
    }

    fn problem(&self, name: &str, message: String) {
        self.problems.borrow_mut().push(Problem { name: name.to_owned(), message });
    }

    fn path<T>(&self, field: &str, parse: impl Fn(&OsStr) -> Result<T, String>) -> Option<T> {
        let (name, value) = self.raw(field)?;
        parse(&value)
            .map_err(|expected| {
                let shown = escape(&value.to_string_lossy(), 200);
                self.problem(&name, format!("is \"{shown}\"; expected {expected}"));
            })
            .ok()
    }

    fn text<T>(&self, field: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        self.path(field, |raw| parse(raw.to_str().ok_or("UTF-8 text")?))
    }

    fn flag(&self, field: &str, default: bool) -> bool {
        self.text(field, parse::boolean).unwrap_or(default)
    }

    fn number(&self, field: &str, default: u32, range: std::ops::RangeInclusive<u32>, what: &str) -> u32 {
        self.text(field, |text| parse::number(text, range.clone(), what)).unwrap_or(default)
    }

    fn auth(&self) -> Option<Secrets> {
        let file = self.path("jwt_secret_file", parse::file);
        if !self.flag("enable_auth", false) {
            return None;
        }
        match (self.variable("JWT_SECRET"), file) {
            (Some(_), Some(_)) => {
                self.problem("JWT_SECRET", "and JWT_SECRET_FILE are both set; give one of them".to_owned());
                None
            }
            (None, Some(path)) => Some(Secrets::File(path)),
            (Some(secret), None) => self.secret(&secret),
            (None, None) => {
                self.problem(
                    "JWT_SECRET",
                    format!(
                        "is not set, and auth is on; give a random secret of at least {MIN_SECRET_BYTES} bytes (openssl rand -base64 48), or JWT_SECRET_FILE"
                    ),
                );
                None
            }
        }
    }

    fn secret(&self, secret: &OsStr) -> Option<Secrets> {
        let found = secret.to_str().ok_or("is not UTF-8 text".to_owned());
        let found = found.and_then(|text| strong(text).map_err(|weak| weak.to_string()));
        let wrong = |wrong| self.problem("JWT_SECRET", format!("{wrong}; make one with: openssl rand -base64 48"));
        found.map(|secret| Secrets::Inline(SecretString::from(secret))).map_err(wrong).ok()
    }

    /// Whether reads are closed, which nobody could open without tokens.
    fn read_auth(&self) -> bool {
        let wanted = self.flag("read_auth", false);
        if wanted
            && !self.flag_quietly("enable_auth")
            && let Some((name, _)) = self.raw("read_auth")
        {
            self.problem(&name, "needs ENABLE_AUTH=true: without tokens nobody could read".to_owned());
        }
        wanted
    }

    fn flag_quietly(&self, field: &str) -> bool {
        self.raw(field).and_then(|(_, value)| parse::boolean(value.to_str()?).ok()).unwrap_or(false)
    }

    /// Less than the whole shutdown takes: requests under way and the store need the rest.
    fn drain(&self, shutdown: Duration) -> Duration {
        let drain = Duration::from_secs(self.number("drain_seconds", 0, 0..=600, "seconds").into());
        if drain >= shutdown
            && let Some((name, _)) = self.raw("drain_seconds")
        {
            let message =
                format!("is {}; expected less than PORTOLAN_SHUTDOWN_SECONDS, {}", drain.as_secs(), shutdown.as_secs());
            self.problem(&name, message);
        }
        drain
    }

    /// The mode. Its flags are looked at in either, so that a bad one is found before it is needed.
    fn mode(&self) -> Mode {
        let mode = self.text("mode", parse::mode).unwrap_or_default();
        let namespaces = |field| self.text(field, parse::namespaces).unwrap_or_default();
        let cluster = ClusterSettings {
            watch_namespaces: namespaces("watch_namespaces"),
            rest_namespaces: namespaces("rest_namespaces"),
            context: self.text("context", parse::word),
            pod_name: self.text("pod_name", parse::word),
            pod_namespace: self.text("pod_namespace", parse::namespace),
            pod_ip: self.text("pod_ip", parse::address),
        };
        match mode {
            ModeWord::Standalone => Mode::Standalone,
            ModeWord::Cluster => {
                self.closed_or_on_loopback();
                Mode::Cluster(cluster)
            }
        }
    }

    /// In a cluster every pod reaches the server, so it does not serve others without tokens.
    fn closed_or_on_loopback(&self) {
        let Some((name, value)) = self.raw("bind_address") else { return };
        let address = value.to_str().and_then(|text| parse::address(text).ok());
        if !self.flag_quietly("enable_auth") && address.is_some_and(|address| !address.is_loopback()) {
            let why = "is not loopback, and auth is off, so everyone in the cluster could write; set ENABLE_AUTH=true and JWT_SECRET_FILE";
            self.problem(&name, why.to_owned());
        }
    }

    fn rate(&self, field: &str, default: u32) -> u32 {
        self.number(field, default, 0..=1_000_000_000, "a count, 0 for no limit")
    }

    fn settings(&self) -> Settings {
        let auth = self.auth();
        let mode = self.mode();
        let by_mode = |standalone: u32, cluster: u32| if mode == Mode::Standalone { standalone } else { cluster };
        let file = if mode == Mode::Standalone { "./services.db" } else { "./mirror.db" };
        let bind = self.text("bind_address", parse::address);
        let open = if self.flag_quietly("enable_auth") { Ipv4Addr::UNSPECIFIED } else { Ipv4Addr::LOCALHOST };
        let list = |field, parse: fn(&str) -> Result<Vec<_>, String>| self.text(field, parse).unwrap_or_default();
        let names = |field, parse: fn(&str) -> Result<Vec<String>, String>| self.text(field, parse).unwrap_or_default();
        let seconds = |n: u32| Duration::from_secs(n.into());
        let shutdown = seconds(self.number("shutdown_seconds", 10, 1..=600, "seconds"));
        let writes = self.rate("rate_limit_per_minute", by_mode(60, 0));
        let reads = writes.saturating_mul(READS_FOR_A_WRITE);
        Settings {
            server_port: self.text("server_port", parse::port).unwrap_or(8080),
            bind_address: bind.unwrap_or(IpAddr::V4(open)),
            bind_address_given: bind.is_some(),
            db_path: self.path("db_path", parse::database).unwrap_or_else(|| PathBuf::from(file)),
            start_empty: false,
            accept_loss: false,
            auth,
            read_auth: self.read_auth(),
            token_max: DAY * self.number("token_max_days", 30, 1..=3650, "days"),
            log_level: self.text("log_level", parse::log_level).unwrap_or_else(|| "info".to_owned()),
            log_format: self.text("log_format", parse::log_format).unwrap_or(LogFormat::Text),
            max_services: Some(self.number("max_services", by_mode(100, 0), 0..=u32::MAX, "a count, 0 for unlimited"))
                .filter(|n| *n > 0),
            max_instances: self.number("max_instances", 25_600, 1..=1_000_000, "a count"),
            health_check_interval: seconds(self.number("health_check_interval", 30, 1..=86_400, "seconds")),
            default_namespace: self.text("default_namespace", parse::namespace),
            allowed_hosts: names("allowed_hosts", parse::hosts),
            cors_origins: names("cors_origins", parse::origins),
            rate_limit_per_minute: Some(writes).filter(|n| *n > 0),
            read_rate_limit_per_minute: Some(self.rate("read_rate_limit_per_minute", reads)).filter(|n| *n > 0),
            trusted_proxies: list("trusted_proxies", parse::networks),
            probe_allow: list("probe_allow", parse::networks),
            probe_deny: list("probe_deny", parse::networks),
            probe_concurrency: self.number("probe_concurrency", 1024, 1..=60_000, "a count") as usize,
            probe_per_address: self.number("probe_per_address", 20, 1..=100_000, "probes a second"),
            ca_dir: self.path("ca_dir", parse::folder),
            service_metrics: self.flag("service_metrics", true),
            history: DAY * self.number("history_days", 30, 1..=3650, "days"),
            shutdown,
            drain: self.drain(shutdown),
            mode,
        }
    }
}

impl Settings {
    /// Joins flags and environment. `env` looks a variable up; a test passes a map's lookup.
    ///
    /// # Errors
    /// [`SettingsError`] with every bad value, its name and what was expected.
    pub fn load(args: &ServeArgs, env: impl Fn(&str) -> Option<OsString>) -> Result<Self, SettingsError> {
        let reader = Reader { args, env, problems: RefCell::default() };
        let settings = reader.settings();
        let problems = reader.problems.into_inner();
        if problems.is_empty() { Ok(settings) } else { Err(SettingsError { problems }) }
    }
}
