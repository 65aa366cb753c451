//! A hash of what a verdict was about.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use crate::model::service::InstanceSpec;

/// 16 hex digits that change only with what is probed: the first 8 bytes of the SHA-256 of the base URL, the health URL (empty if there is
/// none), the check and each named check as JSON of the REST API without their defaults, each followed by a line break.
///
/// Every replica of every version must compute the same value; a test holds known ones. The interval from `HEALTH_CHECK_INTERVAL` is a
/// replica's own setting and not part of it.
pub fn probe_hash(spec: &InstanceSpec) -> String {
    let mut hasher = Sha256::new();
    hasher.update(spec.base_url.as_str());
    hasher.update("\n");
    hasher.update(spec.health_url.as_ref().map_or("", |url| url.as_str()));
    hasher.update("\n");
    // Strings, numbers and string-keyed maps: serde_json has no way to fail on these.
    hasher.update(serde_json::to_vec(&spec.check).unwrap_or_default());
    hasher.update("\n");
    for named in &spec.checks {
        hasher.update(serde_json::to_vec(named).unwrap_or_default());
        hasher.update("\n");
    }
    hasher.finalize().iter().take(8).fold(String::with_capacity(16), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
