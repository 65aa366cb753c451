//! What a verdict was about.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use crate::model::service::InstanceSpec;

/// 16 hex digits that change with what is probed, and with nothing else: the first 8 bytes of the SHA-256 of the base URL, the
/// health URL (empty where there is none) and the check in the JSON of the REST API, without its defaults, each ended by a line break.
///
/// Every replica, also one of another version, must come to the same: a test holds known values. The interval that
/// `HEALTH_CHECK_INTERVAL` gives is a replica's own setting and not part of it.
pub fn probe_hash(spec: &InstanceSpec) -> String {
    let mut hasher = Sha256::new();
    hasher.update(spec.base_url.as_str());
    hasher.update("\n");
    hasher.update(spec.health_url.as_ref().map_or("", |url| url.as_str()));
    hasher.update("\n");
    // Strings, numbers and string-keyed maps: serde_json has no way to fail on these.
    hasher.update(serde_json::to_vec(&spec.check).unwrap_or_default());
    hasher.update("\n");
    hasher.finalize().iter().take(8).fold(String::with_capacity(16), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
