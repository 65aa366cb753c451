//! Reads flags and environment, and collects every problem.

use std::cell::RefCell;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use super::cluster::{Mode, ModeName};
use super::parse;
use super::{ClusterSettings, SETTINGS, ServeArgs, Settings};
use crate::model::secret::{MIN_SECRET_BYTES, strong};
use crate::model::service::DEREGISTER_AFTER;
use crate::model::text::escape;

/// The source of the secrets that sign and verify tokens.
#[derive(Debug, Clone)]
pub enum Secrets {
    /// `JWT_SECRET`, [strong].
    Inline(SecretString),
    /// `JWT_SECRET_FILE`: one secret a line; its reader checks the content, now and on every change.
    File(PathBuf),
    /// None, in cluster mode: only tokens of ServiceAccounts are accepted.
    Absent,
}

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

/// Reads one setting after the other. A setting that others depend on may be read several times; its problem is kept once.
pub(super) struct Reader<'a> {
    args: &'a ServeArgs,
    env: &'a dyn Fn(&str) -> Option<OsString>,
    problems: RefCell<Vec<Problem>>,
}

impl Reader<'_> {
    fn variable(&self, name: &str) -> Option<OsString> {
        (self.env)(name).filter(|value| !value.is_empty())
    }

    /// The value, and the flag or variable that gave it; the flag wins.
    fn raw(&self, field: &str) -> Option<(String, OsString)> {
        let setting = SETTINGS.iter().find(|s| s.field == Some(field))?;
        match self.args.given(field) {
            Some(value) => Some((setting.flag()?, value.clone())),
            None => Some((setting.env.to_owned(), self.variable(setting.env)?)),
        }
    }

    fn problem(&self, name: &str, message: String) {
        let problem = Problem { name: name.to_owned(), message };
        let mut problems = self.problems.borrow_mut();
        if !problems.contains(&problem) {
            problems.push(problem);
        }
    }

    /// A problem of a setting that was given; nothing if it was not.
    pub(super) fn problem_of(&self, field: &str, message: &str) {
        if let Some((name, _)) = self.raw(field) {
            self.problem(&name, message.to_owned());
        }
    }

    pub(super) fn is_given(&self, field: &str) -> bool {
        self.raw(field).is_some()
    }

    pub(super) fn path<T>(&self, field: &str, parse: impl Fn(&OsStr) -> Result<T, String>) -> Option<T> {
        let (name, value) = self.raw(field)?;
        parse(&value)
            .map_err(|expected| {
                let shown = escape(&value.to_string_lossy(), 200);
                self.problem(&name, format!("is \"{shown}\"; expected {expected}"));
            })
            .ok()
    }

    pub(super) fn text<T>(&self, field: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        self.path(field, |raw| parse(raw.to_str().ok_or("UTF-8 text")?))
    }

    pub(super) fn flag(&self, field: &str, default: bool) -> bool {
        self.text(field, parse::boolean).unwrap_or(default)
    }

    pub(super) fn number(&self, field: &str, default: u32, range: RangeInclusive<u32>, what: &str) -> u32 {
        self.text(field, |text| parse::number(text, range.clone(), what)).unwrap_or(default)
    }

    pub(super) fn seconds(&self, field: &str, default: u32, range: RangeInclusive<u32>) -> Duration {
        Duration::from_secs(self.number(field, default, range, "seconds").into())
    }

    pub(super) fn rate(&self, field: &str, default: u32) -> u32 {
        self.number(field, default, 0..=1_000_000_000, "a count, 0 for no limit")
    }

    /// 0 for no limit.
    pub(super) fn writes_per_minute(&self) -> u32 {
        self.rate("rate_limit_per_minute", self.by_mode(60, 0))
    }

    pub(super) fn auth_is_on(&self) -> bool {
        self.flag("enable_auth", false)
    }

    pub(super) fn auth(&self) -> Option<Secrets> {
        let file = self.path("jwt_secret_file", parse::file);
        if !self.auth_is_on() {
            return None;
        }
        match (self.variable("JWT_SECRET"), file) {
            (Some(_), Some(_)) => {
                self.problem("JWT_SECRET", "and JWT_SECRET_FILE are both set; give one of them".to_owned());
                None
            }
            (None, Some(path)) => Some(Secrets::File(path)),
            (Some(secret), None) => self.secret(&secret),
            (None, None) if self.mode_name() == ModeName::Cluster => Some(Secrets::Absent),
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

    /// Closed reads need auth: without tokens nobody could read.
    pub(super) fn read_auth(&self) -> bool {
        let read_auth = self.flag("read_auth", false);
        if read_auth
            && !self.auth_is_on()
            && let Some((name, _)) = self.raw("read_auth")
        {
            self.problem(&name, "needs ENABLE_AUTH=true: without tokens nobody could read".to_owned());
        }
        read_auth
    }

    pub(super) fn shutdown(&self) -> Duration {
        self.seconds("shutdown_seconds", 10, 1..=600)
    }

    /// Less than the whole shutdown takes, because requests in flight and the store need the rest.
    pub(super) fn drain(&self) -> Duration {
        let (drain, shutdown) = (self.seconds("drain_seconds", 0, 0..=600), self.shutdown());
        if drain >= shutdown
            && let Some((name, _)) = self.raw("drain_seconds")
        {
            let message =
                format!("is {}; expected less than PORTOLAN_SHUTDOWN_SECONDS, {}", drain.as_secs(), shutdown.as_secs());
            self.problem(&name, message);
        }
        drain
    }

    /// None for never; as long as a registration may ask for.
    pub(super) fn deregister_after(&self) -> Option<Duration> {
        let what = "0 for never, or seconds";
        let seconds = self.number("deregister_after_seconds", 0, 0..=*DEREGISTER_AFTER.end(), what);
        if (1..*DEREGISTER_AFTER.start()).contains(&seconds)
            && let Some((name, _)) = self.raw("deregister_after_seconds")
        {
            self.problem(
                &name,
                format!("is {seconds}; expected 0 for never, or at least {}", DEREGISTER_AFTER.start()),
            );
        }
        (seconds > 0).then(|| Duration::from_secs(seconds.into()))
    }

    fn mode_name(&self) -> ModeName {
        self.text("mode", parse::mode).unwrap_or_default()
    }

    /// A default that depends on the mode.
    pub(super) fn by_mode<T>(&self, standalone: T, cluster: T) -> T {
        match self.mode_name() {
            ModeName::Standalone => standalone,
            ModeName::Cluster => cluster,
        }
    }

    /// The settings of cluster mode are checked in both modes, so that a bad one is found before it is needed.
    pub(super) fn mode(&self) -> Mode {
        let cluster = ClusterSettings::read(self);
        match self.mode_name() {
            ModeName::Standalone => Mode::Standalone,
            ModeName::Cluster => {
                self.require_auth_or_loopback();
                Mode::Cluster(Box::new(cluster))
            }
        }
    }

    /// In a cluster every pod reaches the server, so without auth it only listens on loopback.
    fn require_auth_or_loopback(&self) {
        let Some((name, value)) = self.raw("bind_address") else { return };
        let address = value.to_str().and_then(|text| parse::address(text).ok());
        if !self.auth_is_on() && address.is_some_and(|address| !address.is_loopback()) {
            let why = "is not loopback, and auth is off, so everyone in the cluster could write; set ENABLE_AUTH=true";
            self.problem(&name, why.to_owned());
        }
    }
}

impl Settings {
    /// Joins flags and environment. `env` looks a variable up; a test passes a map's lookup.
    ///
    /// # Errors
    /// [`SettingsError`] with every bad value, its name and what was expected.
    pub fn load(args: &ServeArgs, env: impl Fn(&str) -> Option<OsString>) -> Result<Self, SettingsError> {
        let reader = Reader { args, env: &env, problems: RefCell::default() };
        let settings = Self::read(&reader);
        let problems = reader.problems.into_inner();
        if problems.is_empty() { Ok(settings) } else { Err(SettingsError { problems }) }
    }
}
