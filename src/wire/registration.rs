//! What a client sends to register.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Check, NamedCheck};

/// What a register call sends. Fields that are not listed here are refused.
// The server reads it field by field (`api::routes::registration`), to name every problem at once.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Registration {
    /// The service's name, an RFC 1123 label.
    #[schema(example = "user-service")]
    pub name: String,
    /// Where it is reached. Any scheme; an explicit port unless it is http or https.
    #[schema(example = "http://localhost:8081", max_length = 512)]
    pub base_url: String,
    /// Where it is probed; without one, and without `check`, its health stays unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "http://localhost:8081/health", max_length = 512)]
    pub health_url: Option<String>,
    /// Any text; selected by range where it is a semantic version.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "1.0.0", max_length = 64)]
    pub version: Option<String>,
    /// A sentence for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 1024)]
    pub description: Option<String>,
    /// At most 64 entries, for selection by `meta.KEY=value`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<BTreeMap<String, String>>,
    /// The namespace; the server's default one when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The instance's name; when absent, derived from `external_id`, else `default`, so that a service has one address unless you name several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// Its share under `pick=weighted`; 100 when absent. With 0 it is probed and shown, but never selected.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 1000)]
    pub weight: Option<u16>,
    /// Failure domain.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 63)]
    pub zone: Option<String>,
    /// How it is probed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub check: Option<Check>,
    /// Checks beside `check`, at most 7. An instance is unhealthy when any of its checks is that is not `advisory`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_items = 7)]
    pub checks: Option<Vec<NamedCheck>>,
    /// Short for a heartbeat check: the program sends a heartbeat, or registers again, at least this often. It is the only check where neither
    /// `check` nor `health_url` is given, else a further one called `heartbeat`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 86400)]
    pub ttl_seconds: Option<u32>,
    /// Removes the instance after it was unhealthy for so long without a break. With a heartbeat check, 10 times its TTL and at least 300
    /// when absent, but then never a service's last instance; else it stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 60, maximum = 31_536_000)]
    pub deregister_after_seconds: Option<u32>,
    /// At most 64 free texts, for selection by `tag`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_items = 64)]
    pub tags: Option<Vec<String>>,
    /// Its name in another system, kept verbatim. Without `instance`, the instance's name is derived from it, and the same id at another
    /// address is another instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 512)]
    pub external_id: Option<String>,
}
