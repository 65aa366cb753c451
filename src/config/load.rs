//! Flags and environment to [`Settings`], with every problem in one report.

use std::cell::RefCell;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use super::args::SETTINGS;
use super::{LogFormat, MIN_SECRET_BYTES, Secrets, ServeArgs, Settings, parse};
use crate::model::text::escape;

/// The secret that the seed shipped with: known to everyone.
const SEED_SECRET: &str = "your-secret-key";
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
            (Some(secret), None) => self.secret(secret),
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

    fn secret(&self, secret: OsString) -> Option<Secrets> {
        let wrong = match secret.into_string() {
            Err(_) => "is not UTF-8 text".to_owned(),
            Ok(text) if text == SEED_SECRET => "is the well-known default".to_owned(),
            Ok(text) if text.len() < MIN_SECRET_BYTES => format!("is only {} bytes long", text.len()),
            Ok(text) => return Some(Secrets::Inline(SecretString::from(text))),
        };
        let expected = format!("at least {MIN_SECRET_BYTES} random bytes, such as openssl rand -base64 48 prints");
        self.problem("JWT_SECRET", format!("{wrong}; expected {expected}"));
        None
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

    fn settings(&self) -> Settings {
        let auth = self.auth();
        let bind = self.text("bind_address", parse::address);
        let open = if self.flag_quietly("enable_auth") { Ipv4Addr::UNSPECIFIED } else { Ipv4Addr::LOCALHOST };
        let list = |field, parse: fn(&str) -> Result<Vec<_>, String>| self.text(field, parse).unwrap_or_default();
        let names = |field, parse: fn(&str) -> Result<Vec<String>, String>| self.text(field, parse).unwrap_or_default();
        let seconds = |n: u32| Duration::from_secs(n.into());
        let _: Option<()> = self.text("mode", parse::mode);
        let shutdown = seconds(self.number("shutdown_seconds", 10, 1..=600, "seconds"));
        Settings {
            server_port: self.text("server_port", parse::port).unwrap_or(8080),
            bind_address: bind.unwrap_or(IpAddr::V4(open)),
            bind_address_given: bind.is_some(),
            db_path: self.path("db_path", parse::database).unwrap_or_else(|| PathBuf::from("./services.db")),
            auth,
            read_auth: self.read_auth(),
            token_max: DAY * self.number("token_max_days", 30, 1..=3650, "days"),
            log_level: self.text("log_level", parse::log_level).unwrap_or_else(|| "info".to_owned()),
            log_format: self.text("log_format", parse::log_format).unwrap_or(LogFormat::Text),
            max_services: Some(self.number("max_services", 100, 0..=u32::MAX, "a count, 0 for unlimited"))
                .filter(|n| *n > 0),
            max_instances: self.number("max_instances", 25_600, 1..=1_000_000, "a count"),
            health_check_interval: seconds(self.number("health_check_interval", 30, 1..=86_400, "seconds")),
            default_namespace: self.text("default_namespace", parse::namespace).unwrap_or_default(),
            allowed_hosts: names("allowed_hosts", parse::hosts),
            cors_origins: names("cors_origins", parse::origins),
            rate_limit_per_minute: Some(self.number(
                "rate_limit_per_minute",
                60,
                0..=1_000_000_000,
                "a count, 0 for no limit",
            ))
            .filter(|n| *n > 0),
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

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use clap::Parser;
    use secrecy::ExposeSecret;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        serve: ServeArgs,
    }

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    fn load(flags: &[&str], env: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        let cli = Cli::try_parse_from(["portolan"].iter().chain(flags)).expect("the flags parse");
        let env: HashMap<String, OsString> = env.iter().map(|(k, v)| ((*k).to_owned(), v.into())).collect();
        Settings::load(&cli.serve, |name| env.get(name).cloned())
    }

    fn problem(flags: &[&str], env: &[(&str, &str)]) -> String {
        load(flags, env).expect_err("the setting is refused").to_string()
    }

    #[test]
    fn the_seeds_defaults_hold() {
        let settings = load(&[], &[]).expect("defaults load");
        assert_eq!(settings.listen().to_string(), "127.0.0.1:8080");
        assert!(!settings.bind_address_given);
        assert_eq!(settings.db_path, PathBuf::from("./services.db"));
        assert!(settings.auth.is_none());
        assert_eq!(settings.log_level, "info");
        assert_eq!(settings.max_services, Some(100));
        assert_eq!(settings.health_check_interval, Duration::from_secs(30));
        assert_eq!(settings.rate_limit_per_minute, Some(60));
    }

    #[test]
    fn every_documented_default_is_the_one_that_loads() {
        let plain: Vec<(&str, &str)> = SETTINGS
            .iter()
            .filter(|s| s.default != "none" && s.env != "PORTOLAN_BIND_ADDRESS")
            .map(|s| (s.env, s.default))
            .collect();
        let told = load(&[], &plain).expect("documented defaults are valid");
        assert_eq!(format!("{told:?}"), format!("{:?}", load(&[], &[]).expect("defaults load")));
    }

    #[test]
    fn a_flag_wins_over_the_environment_and_empty_means_unset() {
        let env = [("SERVER_PORT", "9000"), ("LOG_LEVEL", ""), ("DB_PATH", "")];
        assert_eq!(load(&[], &env).expect("loads").server_port, 9000);
        assert_eq!(load(&["--server-port", "9001"], &env).expect("loads").server_port, 9001);
    }

    #[test]
    fn every_setting_is_a_flag_and_a_variable() {
        for setting in SETTINGS {
            let flag = setting.flag().expect("has a flag");
            assert_eq!(problem(&[&format!("{flag}=\u{7}\u{7}")], &[]).matches(&flag).count(), 1, "{flag}");
            assert!(problem(&[], &[(setting.env, "\u{7}\u{7}")]).contains(setting.env), "{}", setting.env);
        }
    }

    #[test]
    fn gos_booleans_are_read_as_go_reads_them() {
        for word in ["1", "t", "T", "TRUE", "true", "True"] {
            let settings = load(&[], &[("ENABLE_AUTH", word), ("JWT_SECRET", SECRET)]).expect("loads");
            assert!(settings.auth.is_some(), "{word}");
            assert_eq!(settings.bind_address.to_string(), "0.0.0.0");
        }
        for word in ["0", "f", "F", "FALSE", "false", "False"] {
            assert!(load(&[], &[("ENABLE_AUTH", word)]).expect("loads").auth.is_none(), "{word}");
        }
        assert!(problem(&[], &[("ENABLE_AUTH", "yes")]).contains("ENABLE_AUTH is \"yes\"; expected true or false"));
        assert!(load(&["--service-metrics=false"], &[]).is_ok_and(|s| !s.service_metrics));
        assert!(load(&["--enable-auth"], &[("JWT_SECRET", SECRET)]).is_ok_and(|s| s.auth.is_some()));
    }

    #[test]
    fn all_bad_values_come_at_once() {
        let env = [("SERVER_PORT", "80a0"), ("HEALTH_CHECK_INTERVAL", "0"), ("MAX_SERVICES", "-1")];
        let text = problem(&["--log-level", "inof"], &env);
        assert!(text.starts_with("4 settings cannot be used:"), "{text}");
        assert!(text.contains("SERVER_PORT is \"80a0\"; expected a port from 0 to 65535"), "{text}");
        assert!(text.contains("HEALTH_CHECK_INTERVAL is \"0\"; expected seconds, a whole number from 1"), "{text}");
        assert!(text.contains("MAX_SERVICES is \"-1\""), "{text}");
        assert!(text.contains("--log-level is \"inof\"; expected trace, debug"), "{text}");
    }

    #[test]
    fn a_weak_secret_is_refused_and_never_shown() {
        let auth = ("ENABLE_AUTH", "true");
        assert!(problem(&[], &[auth]).contains("JWT_SECRET is not set"));
        for weak in ["your-secret-key", "hunter2-hunter2"] {
            let text = problem(&[], &[auth, ("JWT_SECRET", weak)]);
            assert!(text.contains("JWT_SECRET is") && !text.contains(weak), "{text}");
        }
        let both = [auth, ("JWT_SECRET", SECRET), ("JWT_SECRET_FILE", "/run/secret")];
        assert!(problem(&[], &both).contains("both set"));
        let settings = load(&[], &[auth, ("JWT_SECRET", SECRET)]).expect("loads");
        assert!(!format!("{settings:?}").contains(SECRET));
        assert!(matches!(settings.auth, Some(Secrets::Inline(s)) if s.expose_secret() == SECRET));
        assert!(load(&[], &[("JWT_SECRET", "short")]).is_ok(), "unused while auth is off");
    }

    #[test]
    fn draining_is_a_part_of_the_shutdown() {
        assert_eq!(load(&["--drain-seconds", "9"], &[]).expect("loads").drain, Duration::from_secs(9));
        let text = problem(&["--drain-seconds", "10"], &[]);
        assert!(text.contains("--drain-seconds is 10; expected less than PORTOLAN_SHUTDOWN_SECONDS, 10"), "{text}");
        assert!(load(&["--drain-seconds", "10"], &[("PORTOLAN_SHUTDOWN_SECONDS", "40")]).is_ok());
    }

    #[test]
    fn reads_cannot_be_closed_without_tokens() {
        assert!(problem(&["--read-auth"], &[]).contains("--read-auth needs ENABLE_AUTH=true"));
        assert!(load(&["--read-auth", "--enable-auth"], &[("JWT_SECRET", SECRET)]).is_ok_and(|s| s.read_auth));
    }

    #[test]
    fn addresses_networks_hosts_and_origins_are_normalised() {
        let settings = load(
            &["--bind-address", "[::1]", "--probe-allow", "10.0.0.0/8, 192.0.2.7", "--probe-deny", ""],
            &[
                ("PORTOLAN_ALLOWED_HOSTS", "Registry.Example.COM"),
                ("PORTOLAN_CORS_ORIGINS", "https://Ops.example.com:443/,http://10.0.0.1:3000"),
            ],
        )
        .expect("loads");
        assert_eq!(settings.listen().to_string(), "[::1]:8080");
        assert!(settings.bind_address_given);
        let allow: Vec<String> = settings.probe_allow.iter().map(ToString::to_string).collect();
        assert_eq!(allow, ["10.0.0.0/8", "192.0.2.7/32"]);
        assert_eq!(settings.allowed_hosts, ["registry.example.com"]);
        assert_eq!(settings.cors_origins, ["https://ops.example.com", "http://10.0.0.1:3000"]);
        assert!(problem(&["--probe-allow", "10.0.0.1/8"], &[]).contains("10.0.0.0/8 or 10.0.0.1/32"));
        assert!(problem(&["--cors-origins", "*"], &[]).contains("web origins"));
    }

    #[test]
    fn log_directives_are_accepted_and_the_mode_is_explained() {
        assert!(load(&["--log-level", "warn,portolan::prober=DEBUG"], &[]).is_ok());
        assert!(problem(&["--log-level", "portolan::prober=loud"], &[]).contains("expected trace"));
        assert!(problem(&[], &[("PORTOLAN_MODE", "cluster")]).contains("no cluster mode yet"));
        assert!(problem(&[], &[("SERVER_PORT", "tcp://10.0.0.1:80")]).contains("enableServiceLinks: false"));
    }
}
