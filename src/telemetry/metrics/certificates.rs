//! When certificates expire, from the prober to `portolan_certificate_expiry_seconds`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::model::service::InstanceId;
use crate::model::time::UnixMs;

/// When the certificates of instances expire, as probes saw them last; clones share it. It has at most an entry for each instance that is
/// probed.
#[derive(Debug, Clone, Default)]
pub struct Certificates(Arc<Mutex<HashMap<InstanceId, UnixMs>>>);

impl Certificates {
    /// Notes when the first certificate of an instance expires.
    pub fn note(&self, instance: InstanceId, expires_at: UnixMs) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(instance, expires_at);
    }

    /// The instance is not probed any more.
    pub fn forget(&self, instance: InstanceId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&instance);
    }

    /// No instance is probed any more.
    pub fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// When the first certificate of each instance expires, where one is known.
    pub(super) fn known(&self) -> HashMap<InstanceId, UnixMs> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
