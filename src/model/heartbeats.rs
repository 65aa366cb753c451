//! What programs report of themselves, and who takes it in.

use uuid::Uuid;

use super::name::InstanceName;

/// What a program reports of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BeatStatus {
    /// It is well.
    Pass,
    /// It is usable, but something is wrong: counts as a pass, and sets the instance's warning.
    Warn,
    /// It fails: counts as a failed probe does, through thresholds and holds.
    Fail,
}

impl BeatStatus {
    /// Every status, in order of severity.
    pub const ALL: &[Self] = &[Self::Pass, Self::Warn, Self::Fail];

    /// Its name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// A heartbeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beat {
    /// How the program is.
    pub status: BeatStatus,
    /// What it says about that; cut to [`MAX_NOTE`] characters and escaped before anybody sees it.
    pub note: Option<String>,
}

/// Longest note of a heartbeat that is shown, in characters.
pub const MAX_NOTE: usize = 256;

/// The answer to a heartbeat that was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    /// The time within which the next one is due.
    pub ttl: std::time::Duration,
}

/// Why a heartbeat was not heard.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BeatError {
    /// There is no such instance.
    #[error("Instance not found: register again")]
    NotFound,
    /// The instance is being removed because its lease was not renewed. A registration is queued behind the removal.
    #[error("the instance is being removed because its lease was not renewed: register again")]
    Leaving,
    /// It has no heartbeat check.
    #[error("this instance has no heartbeat check: register it with ttl_seconds")]
    NoHeartbeatCheck,
    /// Too many reports that change something wait already. The lease is renewed all the same.
    #[error(
        "too many heartbeats with changes are waiting; the lease was renewed; report again in {retry_after_seconds} s"
    )]
    Busy {
        /// Seconds, ≥ 1.
        retry_after_seconds: u64,
    },
    /// The prober does not run here: in a cluster, ask the leader.
    #[error("the prober is not running; try again")]
    Unavailable,
}

/// Takes in what programs report of themselves. Synchronous, and for a plain `pass` of an instance that is healthy nearly free: it stores
/// one number. Moves no revision by itself. The caller has checked who may report.
pub trait Heartbeats: Send + Sync + 'static {
    /// Takes in a heartbeat: it renews the lease, and its status counts as a probe's outcome does.
    ///
    /// # Errors
    /// [`BeatError`].
    fn beat(&self, service: Uuid, instance: &InstanceName, beat: Beat) -> Result<Heard, BeatError>;

    /// Notes that the instance was registered, for the first time or again: call it after every successful register call. It renews the
    /// lease, if there is one, and proves an instance that is not proved or whose lease expired; it does not overrule a heartbeat that
    /// reports a failure.
    ///
    /// # Errors
    /// [`BeatError`]: there is no lease here. After [`BeatError::Leaving`] the call must not succeed, since the registration is about to end.
    fn registered(&self, service: Uuid, instance: &InstanceName) -> Result<Heard, BeatError>;
}
