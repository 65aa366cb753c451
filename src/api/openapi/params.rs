//! Query parameters that routes share, as `/openapi.json` describes them.

use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

/// Parameters that select services and instances.
#[derive(Debug, Serialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Selection {
    /// The health of the instance, or in a list of the service.
    #[param(schema_with = crate::wire::words::health)]
    pub status: Option<String>,
    /// A version range, as Cargo and npm write it: `^1.2`, `>=1.4 <2`, `1.x`.
    pub version: Option<String>,
    /// The exact zone.
    pub zone: Option<String>,
    /// The exact value of a metadata key: `meta.team=backend`; at most 16 of them.
    #[serde(rename = "meta.KEY")]
    pub meta: Option<String>,
    /// A tag that must be there; may come 16 times.
    #[param(explode, max_items = 16)]
    pub tag: Option<Vec<String>>,
    /// `false`: only instances without a warning.
    pub warning: Option<bool>,
}

/// How one instance is drawn.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Pick {
    /// In proportion to `weight`.
    Weighted,
}

/// Which entries of a history are shown.
#[derive(Debug, Serialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Entries {
    /// Only this instance
    pub instance: Option<String>,
    /// Most entries of this page; 100 when absent
    #[param(minimum = 1, maximum = 500)]
    pub limit: Option<u16>,
    /// `next_cursor` of the previous page
    #[param(pattern = "^[0-9]{1,18}$")]
    pub cursor: Option<String>,
}
