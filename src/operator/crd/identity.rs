//! `check.http.identity`: what proves that the right program answers.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules;
use crate::model::check::{Identity, MAX_DEMANDED_VALUE};

/// Demands on an answer, at most 8 in all; all must be met.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::identity()))]
pub struct IdentitySpec {
    /// What the answer's JSON must hold: JSON pointers, each with its text, such as /build/name: user-service. A text may
    /// contain $service, $instance, $namespace and $version.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "rules::identity_json")]
    pub json: BTreeMap<String, String>,
    /// Headers that the answer must have, each with its value, such as X-Service: user-service. A value may contain
    /// $service, $instance, $namespace and $version.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "rules::identity_header")]
    pub header: BTreeMap<String, String>,
    /// A name that the certificate of an https server must be for. It may contain $service, $instance, $namespace and $version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = MAX_DEMANDED_VALUE), regex(pattern = rules::PLAIN))]
    pub tls_san: Option<String>,
}

/// Reads it. The model bounds it.
///
/// # Errors
/// A header that is given twice.
pub(super) fn read_identity(spec: &IdentitySpec) -> Result<Identity, String> {
    let mut header = BTreeMap::new();
    for (name, value) in &spec.header {
        if header.insert(name.to_ascii_lowercase(), value.clone()).is_some() {
            return Err(format!("http.identity.header: {} is given twice", name.escape_default()));
        }
    }
    Ok(Identity { json: spec.json.clone(), header, tls_san: spec.tls_san.clone() })
}

/// Writes it; none if it demands nothing.
pub(super) fn identity_spec(identity: &Identity) -> Option<IdentitySpec> {
    let Identity { json, header, tls_san } = identity;
    (!identity.is_empty()).then(|| IdentitySpec {
        json: json.clone(),
        header: header.clone(),
        tls_san: tls_san.clone(),
    })
}
