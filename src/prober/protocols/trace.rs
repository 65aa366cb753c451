//! A running probe: its stages as they are timed, and the outcome that they end in.
//!
//! Messages are built from what Portolan knows; no text from a peer enters one, but what an answer says of its identity, escaped and cut.

use std::net::SocketAddr;

use tokio::time::Instant;

use crate::model::outcome::{Outcome, Reason, Stage, Timings, Verdict};
use crate::model::text;
use crate::model::time::UnixMs;

/// Longest message, in characters.
const MAX_MESSAGE: usize = 255;

/// A running probe. It outlives the work itself, so that every stage's time is known even if the deadline cuts the work.
#[derive(Debug)]
pub(crate) struct Trace {
    at: UnixMs,
    stage: Stage,
    entered: Instant,
    address: Option<SocketAddr>,
    certificate_expires_at: Option<UnixMs>,
    timings: Timings,
    judged: Option<Ending>,
    version: Option<String>,
}

/// The verdict on a probe, without its evidence.
#[derive(Debug, Clone)]
pub(crate) struct Ending {
    /// How the probe counts.
    pub(crate) verdict: Verdict,
    /// Why.
    pub(crate) reason: Reason,
    /// HTTP or gRPC status.
    pub(crate) code: Option<u16>,
    /// One sentence.
    pub(crate) message: String,
}

impl Ending {
    /// Up.
    pub(crate) fn pass(code: Option<u16>, message: impl Into<String>) -> Self {
        Self { verdict: Verdict::Pass, reason: Reason::Passed, code, message: message.into() }
    }

    /// Down.
    pub(crate) fn fail(reason: Reason, message: impl Into<String>) -> Self {
        Self { verdict: Verdict::Fail, reason, code: None, message: message.into() }
    }

    /// Our own fault.
    pub(crate) fn inconclusive(reason: Reason, message: impl Into<String>) -> Self {
        Self { verdict: Verdict::Inconclusive, reason, code: None, message: message.into() }
    }

    /// The same with the peer's status.
    #[must_use]
    pub(crate) fn with_code(mut self, code: u16) -> Self {
        self.code = Some(code);
        self
    }
}

impl Trace {
    /// A probe that starts now, in `stage`.
    pub(crate) fn begin(stage: Stage) -> Self {
        Self {
            at: UnixMs::wall(),
            stage,
            entered: Instant::now(),
            address: None,
            certificate_expires_at: None,
            timings: Timings::default(),
            judged: None,
            version: None,
        }
    }

    /// Notes how long the names took, for a probe whose address was pinned earlier.
    pub(crate) fn resolved_in(&mut self, micros: Option<u32>) {
        self.timings.resolve_us = micros;
    }

    /// Notes the address that is dialled.
    pub(crate) fn dialling(&mut self, address: SocketAddr) {
        self.address = Some(address);
    }

    /// Notes when the certificate that the server showed expires.
    pub(crate) fn shown_certificate(&mut self, expires_at: Option<UnixMs>) {
        self.certificate_expires_at = expires_at;
    }

    /// Ends the stage under way and starts the next one.
    pub(crate) fn enter(&mut self, stage: Stage) {
        let now = Instant::now();
        self.close(now);
        self.stage = stage;
        self.entered = now;
    }

    /// Time of the stage under way, in microseconds.
    pub(crate) fn elapsed_us(&self) -> u32 {
        micros(self.entered, Instant::now())
    }

    /// Notes the judgement, which stands whatever follows.
    pub(crate) fn judge(&mut self, ending: Ending) {
        self.judged = Some(ending);
    }

    /// Notes the version that the answer reports.
    pub(crate) fn report_version(&mut self, version: Option<String>) {
        self.version = version;
    }

    /// Takes the version that the answer reported.
    pub(crate) fn take_version(&mut self) -> Option<String> {
        self.version.take()
    }

    /// Adds to a failure that was judged.
    pub(crate) fn amend(&mut self, more: impl FnOnce(Ending) -> Ending) {
        self.judged =
            self.judged.take().map(|ending| if ending.verdict == Verdict::Fail { more(ending) } else { ending });
    }

    /// The outcome that was judged, else that of a probe that ran out of time in its present stage.
    pub(crate) fn end_judged(mut self, late: impl FnOnce(Stage) -> Ending) -> Outcome {
        let ending = self.judged.take().unwrap_or_else(|| late(self.stage));
        self.end(ending)
    }

    fn close(&mut self, now: Instant) {
        let spent = Some(micros(self.entered, now));
        match self.stage {
            Stage::Resolve => self.timings.resolve_us = spent,
            Stage::Connect => self.timings.connect_us = spent,
            Stage::Tls => self.timings.tls_us = spent,
            Stage::Request => self.timings.request_us = spent,
            Stage::Status => self.timings.status_us = spent,
        }
    }

    /// The outcome, with the evidence so far.
    pub(crate) fn end(mut self, ending: Ending) -> Outcome {
        self.close(Instant::now());
        let Ending { verdict, reason, code, message } = ending;
        let message = if message.len() > MAX_MESSAGE { text::escape(&message, MAX_MESSAGE) } else { message };
        Outcome {
            verdict,
            reason,
            stage: self.stage,
            at: self.at,
            address: self.address,
            code,
            certificate_expires_at: self.certificate_expires_at,
            message,
            timings: self.timings,
        }
    }
}

fn micros(from: Instant, to: Instant) -> u32 {
    u32::try_from(to.saturating_duration_since(from).as_micros()).unwrap_or(u32::MAX)
}
