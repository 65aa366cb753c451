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
//! Read the files in this order: `kind` (each kind's settings, bounds and target), `identity` (who must answer), `named` (further checks of an instance), `tls` (which certificates count), `timing` (the numbers), `json` (the form in a registration, an answer and
//! the store, with its schema).

mod identity;
mod json;
mod kind;
mod named;
mod timing;
mod tls;
mod tls_json;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::identity::{Demands, Identity, MAX_DEMANDED_HEADER, MAX_DEMANDED_VALUE, MAX_DEMANDS, MAX_POINTER, Words};
use self::json::CheckJson;
pub use self::json::{CheckJson as CheckSchema, HttpJson as HttpSchema};
pub use self::kind::{
    CheckError, CheckKind, GrpcCheck, HTTP_STATUSES, HeartbeatCheck, HttpCheck, TTL, Target, wanted_statuses,
};
pub use self::named::{AnyCheck, MAX_NAMED_CHECKS, NamedCheck, NamedCheckJson as NamedCheckSchema};
pub use self::timing::{CheckTiming, INTERVAL, ON_DEMAND_TIMEOUT, RETRY_INTERVAL, THRESHOLD, TIMEOUT, Timing};
pub use self::tls::{CaFrom, DEFAULT_CA_KEY, MAX_OBJECT_NAME, TlsCheck};
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
#[expect(clippy::large_enum_variant, reason = "a plan is taken apart at once, and never kept")]
pub enum Plan {
    /// Probed.
    Probe(Target, Timing),
    /// The program reports by itself, at least once within `ttl`.
    Heartbeat {
        /// The time within which it reports again.
        ttl: Duration,
        /// How many reports count.
        timing: Timing,
    },
    /// No check, on purpose: counts as usable, shown as unknown, `NotChecked`.
    Unchecked,
}

impl Check {
    /// Whether the program reports by itself.
    pub fn is_heartbeat(&self) -> bool {
        matches!(self.kind, Some(CheckKind::Heartbeat(_)))
    }

    /// Whether Kubernetes reports the health of the instance, and no probe decides it.
    pub fn is_readiness(&self) -> bool {
        self.kind == Some(CheckKind::Readiness)
    }

    /// Bytes of its texts, for estimates of memory.
    pub fn text_len(&self) -> usize {
        match &self.kind {
            Some(CheckKind::Http(http)) => {
                let demanded = http.identity.json.iter().chain(&http.identity.header);
                let headers = demanded.chain(&http.request_options.headers);
                let headers: usize = headers.map(|(name, value)| name.len() + value.len()).sum();
                let texts = [&http.path, &http.version_from, &http.identity.tls_san, &http.request_options.host];
                headers + texts.into_iter().flatten().map(String::len).sum::<usize>()
            }
            Some(CheckKind::Grpc(grpc)) => grpc.service.len(),
            Some(CheckKind::Tcp | CheckKind::Heartbeat(_) | CheckKind::Readiness | CheckKind::None) | None => 0,
        }
    }

    /// Checks every part against its bounds.
    ///
    /// # Errors
    /// A sentence that names the first field that is wrong, and what it may hold.
    pub fn accept(&self) -> Result<(), String> {
        self.timing.accept()?;
        self.kind.as_ref().map_or(Ok(()), CheckKind::accept)
    }

    /// Whether it probes a path of its own on the base URL's host and port.
    pub fn has_path(&self) -> bool {
        matches!(&self.kind, Some(CheckKind::Http(http)) if http.path.is_some())
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
        let timing = self.timing.resolve(interval);
        let target = match (&self.kind, health) {
            (Some(CheckKind::Heartbeat(heartbeat)), _) => return Ok(Plan::Heartbeat { ttl: heartbeat.ttl(), timing }),
            (Some(kind), _) => kind.target(base, health)?,
            (None, Some(url)) => Some(Target::by_scheme(url)),
            (None, None) => None,
        };
        Ok(target.map_or(Plan::Unchecked, |target| Plan::Probe(target, timing)))
    }
}
