//! The shapes of requests and answers, as `/openapi.json` describes them. A test holds every answer against them.

use std::collections::BTreeMap;

use serde::Deserialize;
use utoipa::ToSchema;
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType, Type};
use uuid::Uuid;

use crate::api::http::envelope::Code;
use crate::model::check::CheckSchema as Check;
use crate::model::outcome;

fn words(words: impl Iterator<Item = &'static str>, description: &str) -> Schema {
    let builder = ObjectBuilder::new().schema_type(SchemaType::new(Type::String)).description(Some(description));
    Schema::Object(builder.enum_values(Some(words)).build())
}

pub(super) fn health() -> Schema {
    words(outcome::Health::ALL.iter().map(|h| h.as_str()), "What the outcomes of the check add up to.")
}

fn verdict() -> Schema {
    words(outcome::Verdict::ALL.iter().map(|v| v.as_str()), "How the probe counts; `inconclusive` never does.")
}

fn stage() -> Schema {
    words(outcome::Stage::ALL.iter().map(|s| s.as_str()), "How far the probe came.")
}

fn reason() -> Schema {
    words(outcome::Reason::ALL.iter().map(|r| r.as_str()), "Why: one of a closed set of words.")
}

fn code() -> Schema {
    words(Code::ALL.iter().map(|c| c.as_str()), "A stable word for programs; each belongs to one status.")
}

/// What a register call sends. Fields that are not listed here are refused.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Registration {
    /// The service's name, an RFC 1123 label.
    #[schema(example = "user-service")]
    pub name: String,
    /// Where it is reached. Any scheme; an explicit port unless it is http or https.
    #[schema(example = "http://localhost:8081", max_length = 512)]
    pub base_url: String,
    /// Where it is probed; without one, and without `check`, its health stays unknown.
    #[schema(example = "http://localhost:8081/health", max_length = 512)]
    pub health_url: Option<String>,
    /// Any text; selected by range where it is a semantic version.
    #[schema(example = "1.0.0", max_length = 64)]
    pub version: Option<String>,
    /// A sentence for people.
    #[schema(max_length = 1024)]
    pub description: Option<String>,
    /// At most 64 entries, for selection by `meta.KEY=value`.
    pub metadata: Option<BTreeMap<String, String>>,
    /// The namespace; the server's default one when absent.
    pub namespace: Option<String>,
    /// The instance's name; `default` when absent, so that a service has one address unless you name several.
    pub instance: Option<String>,
    /// Its share under `pick=weighted`; 100 when absent. 0 drains: probed and shown, never selected.
    #[schema(minimum = 0, maximum = 1000)]
    pub weight: Option<u16>,
    /// Failure domain.
    #[schema(max_length = 63)]
    pub zone: Option<String>,
    /// How it is probed.
    pub check: Option<Check>,
}

/// A named thing in a namespace, with its instances. `base_url` and `health_url` are those of its first healthy instance;
/// `version`, `description` and `metadata` those of its newest one.
#[derive(Debug, ToSchema)]
pub struct Service {
    /// Stable as long as the service is registered.
    pub id: Uuid,
    /// Its name, unique in its namespace.
    pub name: String,
    /// Its newest instance's version.
    pub version: String,
    /// Its newest instance's description.
    pub description: String,
    /// Where it is reached.
    pub base_url: String,
    /// Where it is probed; empty when it is not.
    pub health_url: String,
    /// Healthy if any instance is, unhealthy if none is and one is unhealthy, else unknown.
    #[schema(schema_with = health)]
    pub status: String,
    /// Its newest instance's metadata.
    pub metadata: BTreeMap<String, String>,
    /// The newest probe; null before the first, and in a cluster on every replica but the one that leads (see `Portolan-Probed-Elsewhere`).
    #[schema(required, format = DateTime)]
    pub last_health_check: Option<String>,
    /// First registered.
    #[schema(format = DateTime)]
    pub registered_at: String,
    /// Last change that a reader could notice.
    #[schema(format = DateTime)]
    pub updated_at: String,
    /// The boundary of names and of who may see them.
    pub namespace: String,
    /// `rest` or `manifest`.
    #[schema(example = "rest")]
    pub source: String,
    /// Grows with each change that a reader could notice.
    pub revision: u64,
    /// Why it has its status.
    #[schema(schema_with = reason)]
    pub reason: String,
    /// With `pick=weighted`, the instance that was drawn: the answer holds no other.
    pub picked: Option<String>,
    /// Healthy ones first.
    pub instances: Vec<Instance>,
}

/// One address of a service.
#[derive(Debug, ToSchema)]
pub struct Instance {
    /// Its name, unique in its service.
    pub name: String,
    /// Where it is reached.
    pub base_url: String,
    /// Where it is probed; empty when it is not.
    pub health_url: String,
    /// Its health.
    #[schema(schema_with = health)]
    pub status: String,
    /// Why.
    #[schema(schema_with = reason)]
    pub reason: String,
    /// Since when.
    #[schema(format = DateTime)]
    pub since: String,
    /// Its share under `pick=weighted`; 0 is drained.
    pub weight: u16,
    /// Failure domain; empty when unknown.
    pub zone: String,
    /// Its version.
    pub version: String,
    /// A sentence for people.
    pub description: String,
    /// For selection.
    pub metadata: BTreeMap<String, String>,
    /// How it is probed; absent when that follows from its URLs alone.
    pub check: Option<Check>,
    /// For `If-Match` on its removal: grows when its URL or check changes.
    pub generation: u64,
    /// First registered.
    #[schema(format = DateTime)]
    pub registered_at: String,
}

/// A probe's result with its evidence; without a token, where auth is on, only `verdict`, `reason` and `at`.
#[derive(Debug, ToSchema)]
pub struct Outcome {
    /// How it counts.
    #[schema(schema_with = verdict)]
    pub verdict: String,
    /// Why.
    #[schema(schema_with = reason)]
    pub reason: String,
    /// How far it came.
    #[schema(schema_with = stage, required = false)]
    pub stage: Option<String>,
    /// When it started.
    #[schema(format = DateTime)]
    pub at: String,
    /// The address that was dialled.
    pub address: Option<String>,
    /// HTTP or gRPC status.
    pub code: Option<u16>,
    /// One sentence, built by Portolan.
    pub message: Option<String>,
    /// Microseconds spent in each stage.
    pub timings: Option<Timings>,
}

/// Microseconds spent in each stage; absent where it was not entered.
#[derive(Debug, ToSchema)]
pub struct Timings {
    /// Name to addresses.
    pub resolve_us: Option<u32>,
    /// TCP handshake.
    pub connect_us: Option<u32>,
    /// TLS handshake.
    pub tls_us: Option<u32>,
    /// From the request's first byte to the answer's head.
    pub request_us: Option<u32>,
    /// Reading and judging the answer.
    pub status_us: Option<u32>,
}

/// What a check on request gave for one instance.
#[derive(Debug, ToSchema)]
pub struct Checked {
    /// The instance.
    pub instance: String,
    /// Its probe; null when it has no check.
    #[schema(required)]
    pub outcome: Option<Outcome>,
    /// Whether a flap hold kept a pass from showing.
    pub held: bool,
}

/// What happened to an instance.
#[derive(Debug, ToSchema)]
pub struct HistoryEntry {
    /// Its number, growing with time.
    pub id: i64,
    /// `health`: its health changed; `removed`: it was deregistered.
    #[schema(example = "health")]
    pub event: String,
    /// To which instance.
    pub instance: String,
    /// When.
    #[schema(format = DateTime)]
    pub at: String,
    /// Health before.
    #[schema(schema_with = health)]
    pub from: String,
    /// Health after; absent when it was removed.
    #[schema(schema_with = health, required = false)]
    pub to: Option<String>,
    /// Why; absent when it was removed.
    #[schema(schema_with = reason, required = false)]
    pub reason: Option<String>,
    /// One sentence, built by Portolan.
    pub message: String,
    /// The probe that decided it.
    pub evidence: Option<Outcome>,
}

/// The envelope of history.
#[derive(Debug, ToSchema)]
pub struct History {
    /// True.
    pub success: bool,
    /// What was done.
    pub message: String,
    /// The entries, newest first.
    pub data: Vec<HistoryEntry>,
    /// The service's id: a name that was given again belongs to another service.
    pub id: Uuid,
    /// Whether the service is still registered.
    pub registered: bool,
    /// For `cursor`, when there is another page.
    pub next_cursor: Option<String>,
    /// In cluster mode, where each replica tells what it saw: since when.
    #[schema(format = DateTime)]
    pub history_since: Option<String>,
}

/// One thing that is wrong with a request.
#[derive(Debug, ToSchema)]
pub struct Detail {
    /// The field's path, or the parameter's or header's name.
    pub field: String,
    /// One sentence of what is wrong with it.
    pub problem: String,
    /// What may stand there, where that is a kind of value, a range or a choice.
    pub expected: Option<String>,
}

/// The envelope of every refusal.
#[derive(Debug, ToSchema)]
pub struct Refusal {
    /// False.
    pub success: bool,
    /// One sentence for a person.
    pub error: String,
    /// A stable word for programs.
    #[schema(schema_with = code)]
    pub code: String,
    /// Where else to look, or why a token does not do.
    pub hint: Option<String>,
    /// Everything that is wrong, as far as it has a name.
    pub details: Option<Vec<Detail>>,
}

/// The envelope of an answer without data.
#[derive(Debug, ToSchema)]
pub struct Done {
    /// True.
    pub success: bool,
    /// What was done.
    pub message: String,
}

/// The envelope of one service.
#[derive(Debug, ToSchema)]
pub struct OneService {
    /// True.
    pub success: bool,
    /// What was done.
    pub message: String,
    /// The service.
    pub data: Service,
    /// After a registration: what may not have been meant.
    pub warnings: Option<Vec<String>>,
    /// After a check on request: what it gave for each instance.
    pub checks: Option<Vec<Checked>>,
}

/// The envelope of a list.
#[derive(Debug, ToSchema)]
pub struct ManyServices {
    /// True.
    pub success: bool,
    /// What was done.
    pub message: String,
    /// The services, newest registration first.
    pub data: Vec<Service>,
    /// For `cursor`, when there is another page.
    pub next_cursor: Option<String>,
    /// Where else to look, when there is nothing here.
    pub hint: Option<String>,
}

/// How many services there are, by health.
#[derive(Debug, ToSchema)]
pub struct Stats {
    /// All of them.
    pub total_services: usize,
    /// With a healthy instance.
    pub healthy_services: usize,
    /// With none, and one that is unhealthy.
    pub unhealthy_services: usize,
    /// The rest: not proved yet, or no longer.
    pub unknown_services: usize,
    /// Those none of whose instances has a check: their health is unknown, and nobody asked.
    pub not_checked_services: usize,
}

/// The envelope of the counts.
#[derive(Debug, ToSchema)]
pub struct Counted {
    /// True.
    pub success: bool,
    /// What was done.
    pub message: String,
    /// The counts.
    pub data: Stats,
}

/// The seed's answer to `/`.
#[derive(Debug, ToSchema)]
pub struct Root {
    /// `Microservice Gateway API`.
    pub message: String,
    /// The version of the API, not of the program.
    pub version: String,
}

/// The seed's answer to `/api/v1/health`.
#[derive(Debug, ToSchema)]
pub struct Alive {
    /// `healthy`.
    pub status: String,
    /// Seconds since the Unix epoch.
    pub timestamp: i64,
}
