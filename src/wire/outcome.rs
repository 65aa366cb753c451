//! What a probe found.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::words::{known, known_or_default, reason, stage, verdict};
use crate::model::outcome::{self, Stage, Verdict};
use crate::model::ports::OnDemandResult;
use crate::model::time::UnixMs;

/// A probe's result with its evidence; without a token, where auth is on, only `verdict`, `reason` and `at`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
pub struct Outcome {
    /// How it counts.
    #[serde(default, deserialize_with = "known_or_default")]
    #[schema(required = true, schema_with = verdict)]
    pub verdict: Verdict,
    /// Why.
    #[serde(default)]
    #[schema(required = true, schema_with = reason)]
    pub reason: Box<str>,
    /// How far it came.
    #[serde(default, deserialize_with = "known", skip_serializing_if = "Option::is_none")]
    #[schema(required = false, schema_with = stage)]
    pub stage: Option<Stage>,
    /// When it started.
    #[serde(default)]
    #[schema(required = true, value_type = String, format = DateTime)]
    pub at: UnixMs,
    /// The address that was dialled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub address: Option<SocketAddr>,
    /// HTTP or gRPC status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<u16>,
    /// When the certificate that the server showed expires; absent where it showed none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub certificate_expires_at: Option<UnixMs>,
    /// One sentence, built by Portolan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<Box<str>>,
    /// Microseconds spent in each stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timings: Option<Timings>,
}

/// Microseconds spent in each stage; absent where it was not entered.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, ToSchema)]
pub struct Timings {
    /// Name to addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolve_us: Option<u32>,
    /// TCP handshake.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect_us: Option<u32>,
    /// TLS handshake.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_us: Option<u32>,
    /// From the request's first byte to the answer's head.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_us: Option<u32>,
    /// Reading and judging the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_us: Option<u32>,
}

/// What a check on request gave for one instance.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
pub struct Checked {
    /// The instance.
    #[serde(default)]
    #[schema(required = true)]
    pub instance: Box<str>,
    /// Its probe, the worst of its required checks; null when it has no check.
    #[serde(default)]
    #[schema(required = true)]
    pub outcome: Option<Outcome>,
    /// Whether a hold for flapping kept a pass from showing.
    #[serde(default)]
    #[schema(required = true)]
    pub held: bool,
    /// Each check that was probed, the required ones first, and of each kind the worst first; left out where only the plain check was.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<CheckedBy>,
}

/// What one check of an instance gave.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
pub struct CheckedBy {
    /// The check's name, `default` for the plain one.
    #[serde(default)]
    #[schema(required = true)]
    pub check: Box<str>,
    /// Whether its failure only sets a warning.
    #[serde(default)]
    #[schema(required = true)]
    pub advisory: bool,
    /// Its probe.
    #[serde(default)]
    #[schema(required = true)]
    pub outcome: Outcome,
}

impl Outcome {
    /// What a caller sees who may not see addresses and timings.
    pub fn without_evidence(outcome: &outcome::Outcome) -> Self {
        Self { verdict: outcome.verdict, reason: outcome.reason.as_str().into(), at: outcome.at, ..Self::default() }
    }
}

impl From<outcome::Outcome> for Outcome {
    fn from(outcome: outcome::Outcome) -> Self {
        Self {
            verdict: outcome.verdict,
            reason: outcome.reason.as_str().into(),
            stage: Some(outcome.stage),
            at: outcome.at,
            address: outcome.address,
            code: outcome.code,
            certificate_expires_at: outcome.certificate_expires_at,
            message: Some(outcome.message.into()),
            timings: Some(outcome.timings.into()),
        }
    }
}

impl From<outcome::Timings> for Timings {
    fn from(timings: outcome::Timings) -> Self {
        let outcome::Timings { resolve_us, connect_us, tls_us, request_us, status_us } = timings;
        Self { resolve_us, connect_us, tls_us, request_us, status_us }
    }
}

impl Timings {
    /// Time spent in a stage, in microseconds; none where it was not entered.
    pub fn of(&self, stage: Stage) -> Option<u32> {
        match stage {
            Stage::Resolve => self.resolve_us,
            Stage::Connect => self.connect_us,
            Stage::Tls => self.tls_us,
            Stage::Request => self.request_us,
            Stage::Status => self.status_us,
        }
    }

    /// The whole probe, in microseconds.
    pub fn total_us(&self) -> u64 {
        Stage::ALL.iter().filter_map(|stage| self.of(*stage)).map(u64::from).sum()
    }
}

impl Checked {
    /// The result of one instance, with its evidence or without.
    pub fn new(result: OnDemandResult, evidence: bool) -> Self {
        let shown = |outcome| if evidence { Outcome::from(outcome) } else { Outcome::without_evidence(&outcome) };
        let plain_alone = matches!(&result.checks[..], [only] if only.check.is_default());
        let checks = if plain_alone { Vec::new() } else { result.checks };
        let checks = checks.into_iter().map(|one| CheckedBy {
            check: one.check.as_str().into(),
            advisory: one.advisory,
            outcome: shown(one.outcome),
        });
        Self {
            instance: result.instance.as_str().into(),
            held: result.held,
            checks: checks.collect(),
            outcome: result.outcome.map(shown),
        }
    }
}
