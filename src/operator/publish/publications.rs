//! The result of publishing each object, for its status.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::model::name::ServiceKey;
use crate::operator::status::Publication;

pub(super) const NO_RIGHT: &str = "this ServiceAccount may not publish endpoints; apply deploy/components/publish";

/// The result while the Kubernetes API refuses what publishing needs, in its words.
pub(super) fn forbidden(why: &str) -> Publication {
    Publication { published: false, reason: "Forbidden", message: format!("{NO_RIGHT}: {why}") }
}

/// Set by the publisher, read by the status writer. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Publications(Option<Arc<Mutex<HashMap<ServiceKey, Publication>>>>);

impl Publications {
    /// For an install that publishes.
    pub(super) fn on() -> Self {
        Self(Some(Arc::default()))
    }

    /// For an install that does not publish: the status of each object that asks for it says so.
    pub fn off() -> Self {
        Self(None)
    }

    /// What became of the object `key`; none before the publisher has looked at it.
    pub fn of(&self, key: &ServiceKey) -> Option<Publication> {
        match self.all() {
            Some(all) => all.get(key).cloned(),
            None => Some(Publication {
                published: false,
                reason: "Disabled",
                message: "publishing is off; a cluster administrator switches it on with deploy/components/publish"
                    .to_owned(),
            }),
        }
    }

    /// Whether it is another one than before.
    pub(super) fn set(&self, key: &ServiceKey, publication: Publication) -> bool {
        let Some(mut all) = self.all() else { return false };
        all.get(key) != Some(&publication) && {
            all.insert(key.clone(), publication);
            true
        }
    }

    pub(super) fn forget(&self, key: &ServiceKey) {
        if let Some(mut all) = self.all() {
            all.remove(key);
        }
    }

    /// Forgets all: another replica publishes.
    pub(super) fn clear(&self) {
        if let Some(mut all) = self.all() {
            all.clear();
        }
    }

    fn all(&self) -> Option<MutexGuard<'_, HashMap<ServiceKey, Publication>>> {
        self.0.as_ref().map(|all| all.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
