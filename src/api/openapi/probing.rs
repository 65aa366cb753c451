//! What the prober knows, as the document shows it.

use utoipa::ToSchema;
use uuid::Uuid;

use super::schemas::Outcome;

/// Outcomes of one kind in a row.
#[derive(Debug, ToSchema)]
pub struct Streak {
    /// Whether they passed.
    pub passing: bool,
    /// How many.
    pub count: u32,
    /// How many change the health.
    pub of: u32,
}

/// One past probe, as a sparkline needs it.
#[derive(Debug, ToSchema)]
pub struct Sample {
    /// When it started.
    #[schema(format = DateTime)]
    pub at: String,
    /// The whole probe, in microseconds; null where it did not pass.
    #[schema(required)]
    pub total_us: Option<u32>,
    /// HTTP or gRPC status, where there was one.
    #[schema(required)]
    pub code: Option<u16>,
}

/// What the prober knows of one instance.
#[derive(Debug, ToSchema)]
pub struct ProbingOfInstance {
    /// Its name.
    pub instance: String,
    /// The newest conclusive outcomes of one kind.
    pub streak: Streak,
    /// When the next probe is due.
    #[schema(format = DateTime)]
    pub next_due: String,
    /// Why the health does not follow the outcomes now; null when it does.
    #[schema(required)]
    pub held: Option<String>,
    /// The newest outcome.
    #[schema(required)]
    pub last: Option<Outcome>,
    /// The newest passing one.
    #[schema(required)]
    pub last_pass: Option<Outcome>,
    /// The newest failing one since the server began to probe it.
    #[schema(required)]
    pub last_fail: Option<Outcome>,
    /// The newest probes, oldest first, at most 60.
    pub samples: Vec<Sample>,
}

/// What the prober knows of one service.
#[derive(Debug, ToSchema)]
pub struct ProbingOfService {
    /// Its id.
    pub id: Uuid,
    /// True: it is told by the prober itself.
    pub live: bool,
    /// Its instances that are probed.
    pub instances: Vec<ProbingOfInstance>,
}

/// The envelope of what the prober knows.
#[derive(Debug, ToSchema)]
pub struct Probing {
    /// True.
    pub success: bool,
    /// What was done.
    pub message: String,
    /// The services that there are and whose evidence you may see, in the order asked for.
    pub data: Vec<ProbingOfService>,
    /// Those that this answer had no room for: ask again with them.
    pub left_out: Option<Vec<Uuid>>,
}
