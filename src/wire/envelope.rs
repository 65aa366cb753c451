//! What surrounds the data of an answer.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Checked, HeardBeat, HistoryEntry, ProbingOfService, Service};
use crate::model::time::UnixMs;

/// The envelope of history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct History {
    /// True.
    pub success: bool,
    /// What was done.
    pub message: Box<str>,
    /// The entries, newest first.
    pub data: Vec<HistoryEntry>,
    /// The service's id: a name that was given again belongs to another service.
    pub id: Uuid,
    /// Whether the service is still registered.
    pub registered: bool,
    /// For `cursor`, when there is another page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
    /// In cluster mode, where each replica has its own history: since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub history_since: Option<UnixMs>,
}

/// The envelope of an answer without data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Done {
    /// True.
    pub success: bool,
    /// What was done.
    pub message: Box<str>,
}

/// The envelope of a heartbeat that was heard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Heard {
    /// True.
    pub success: bool,
    /// What was done.
    pub message: Box<str>,
    /// What was heard.
    pub data: HeardBeat,
}

/// The envelope of one service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OneService {
    /// True.
    pub success: bool,
    /// What was done.
    pub message: Box<str>,
    /// The service.
    pub data: Service,
    /// After a registration: what may not have been meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warnings: Option<Vec<String>>,
    /// After a check on request: what it gave for each instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checks: Option<Vec<Checked>>,
}

/// The envelope of a service whose failures were acknowledged, or are no longer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AcknowledgedService {
    /// True.
    pub success: bool,
    /// What was done.
    pub message: Box<str>,
    /// The service. Where reads need a token, absent for a caller who owns none of its instances and whose token lacks the scope `read`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Service>,
}

/// The envelope of a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ManyServices {
    /// True.
    pub success: bool,
    /// What was done.
    pub message: Box<str>,
    /// The services, newest registration first.
    pub data: Vec<Service>,
    /// For `cursor`, when there is another page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
    /// Where else to look, when there is nothing here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// How many services there are, by health.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Stats {
    /// All of them.
    pub total_services: usize,
    /// With a healthy instance.
    pub healthy_services: usize,
    /// With none, and one that is unhealthy.
    pub unhealthy_services: usize,
    /// The rest: not proved yet, or no longer.
    pub unknown_services: usize,
    /// Those whose instances all have no check: their health is unknown on purpose.
    pub not_checked_services: usize,
}

/// The envelope of the counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Counted {
    /// True.
    pub success: bool,
    /// What was done.
    pub message: Box<str>,
    /// The counts.
    pub data: Stats,
}

/// The envelope of what the prober knows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Probing {
    /// True.
    pub success: bool,
    /// What was done.
    pub message: Box<str>,
    /// The services that there are and whose evidence you may see, in the order asked for.
    pub data: Vec<ProbingOfService>,
    /// Those that this answer had no room for: ask again with them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Option<Vec<Uuid>>)]
    pub left_out: Vec<Uuid>,
}

/// The legacy gateway's answer to `/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Root {
    /// `Microservice Gateway API`.
    pub message: Box<str>,
    /// The version of the API, not of the program.
    pub version: Box<str>,
}

/// The legacy gateway's answer to `/api/v1/health`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Alive {
    /// `healthy`.
    pub status: Box<str>,
    /// Seconds since the Unix epoch.
    pub timestamp: i64,
}
