//! How an instance is probed: what a registration says, and the plan that follows from it.
//!
//! In: a check's JSON, and the instance's URLs. Out: a [`Plan`]: the target and the timing, or that the instance is not probed.
//!
//! ```
//! use std::time::Duration;
//!
//! use portolan::model::check::{Check, Plan};
//! use portolan::model::url::EndpointUrl;
//!
//! let check: Check = serde_json::from_str(r#"{"http":{"path":"/healthz"},"interval_seconds":10}"#)?;
//! let base = EndpointUrl::base("http://10.0.0.5:8080").expect("a URL");
//! let Plan::Probe(target, timing) = check.plan(&base, None, Duration::from_secs(30))? else { panic!("it is probed") };
//! assert_eq!((target.kind(), target.port(), timing.interval), ("http", 8080, Duration::from_secs(10)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Read the files in this order: `kind` (each kind's settings, bounds and target), `timing` (the numbers), `json` (the form in a registration, an answer and
//! the store, with its schema).

mod json;
mod kind;
mod timing;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::json::CheckJson;
pub use self::json::{CheckJson as CheckSchema, HttpJson as HttpSchema};
pub use self::kind::{CheckError, CheckKind, GrpcCheck, HttpCheck, Target, TlsCheck};
pub use self::timing::{CheckTiming, INTERVAL, RETRY_INTERVAL, THRESHOLD, TIMEOUT, Timing};
use super::url::EndpointUrl;

/// A check as a registration gives it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "CheckJson", into = "CheckJson")]
pub struct Check {
    /// What is done; absent, it follows from the health URL's scheme.
    pub kind: Option<CheckKind>,
    /// How often, and how many outcomes count.
    pub timing: CheckTiming,
}

/// What an instance's URLs and check add up to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "nearly every plan is a probe, and none is kept twice")]
pub enum Plan {
    /// Probed.
    Probe(Target, Timing),
    /// No check, on purpose: counts as usable, shown as unknown, `NotChecked`.
    Unchecked,
}

impl Check {
    /// Checks every part against its bounds.
    ///
    /// # Errors
    /// A sentence that names the first field that is wrong, and what it may hold.
    pub fn accept(&self) -> Result<(), String> {
        self.timing.accept()?;
        self.kind.as_ref().map_or(Ok(()), CheckKind::accept)
    }

    /// What to do, given the two URLs and the interval where the check has none.
    ///
    /// # Errors
    /// [`CheckError`] when kind and URLs do not fit.
    pub fn plan(
        &self,
        base: &EndpointUrl,
        health: Option<&EndpointUrl>,
        interval: Duration,
    ) -> Result<Plan, CheckError> {
        let target = match (&self.kind, health) {
            (Some(kind), _) => kind.target(base, health)?,
            (None, Some(url)) => Some(Target::by_scheme(url)),
            (None, None) => None,
        };
        Ok(target.map_or(Plan::Unchecked, |target| Plan::Probe(target, self.timing.resolve(interval))))
    }
}
