//! Which objects changed since the last look: each once, so it is bounded by their number.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::model::name::ServiceKey;

/// Marked by many, taken by one. Cloning shares it.
#[derive(Debug, Clone, Default)]
pub struct Changed(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    keys: Mutex<HashSet<ServiceKey>>,
    wake: Notify,
}

impl Changed {
    /// Adds keys, and wakes the waiter.
    pub fn mark(&self, keys: impl IntoIterator<Item = ServiceKey>) {
        let mut marked = self.0.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let before = marked.len();
        marked.extend(keys);
        if marked.len() > before {
            self.0.wake.notify_one();
        }
    }

    /// Takes what is marked.
    pub fn take(&self) -> HashSet<ServiceKey> {
        std::mem::take(&mut self.0.keys.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Resolves when something was marked since the last call. Cancel safe; for one waiter.
    pub async fn marked(&self) {
        self.0.wake.notified().await;
    }
}
