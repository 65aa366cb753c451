//! Whether each kind that is switched on can be written, for `/readyz` and the log.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::kind::Kind;

/// How it goes with a kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KindState {
    /// It is being listed for the first time.
    Listing,
    /// Its objects are known, and no write fails.
    Good,
    /// The API server does not serve it.
    NotServed,
    /// 403 for a list or a watch, in the API server's words.
    MayNotWatch(String),
    /// 403 for a write, in the API server's words.
    MayNotWrite(String),
    /// Other writes that the API server refuses.
    Refused(String),
}

impl KindState {
    /// What is wrong and what to do, in short; none while nothing is wrong.
    pub fn problem(&self, kind: Kind) -> Option<String> {
        let (name, component) = (kind.resource().plural, kind.component());
        Some(match self {
            Self::Listing | Self::Good => return None,
            Self::NotServed => {
                format!("{} is not served: install its definition, or switch this kind off", kind.api_name())
            }
            Self::MayNotWatch(_) => format!("{name}: no right to list and watch; apply {component}"),
            Self::MayNotWrite(_) => format!("{name}: no right to patch; apply {component}"),
            Self::Refused(_) => format!("{name}: the Kubernetes API refuses writes; the log says why"),
        })
    }

    /// The same with the reason, for the log.
    fn in_full(&self, kind: Kind) -> Option<String> {
        let problem = self.problem(kind)?;
        Some(match self {
            Self::Listing | Self::Good | Self::NotServed => format!("{problem}; this is tried again"),
            Self::MayNotWatch(why) | Self::MayNotWrite(why) => format!("{problem}; this is tried again: {why}"),
            Self::Refused(why) => {
                format!("the Kubernetes API refuses writes of {}; this is tried again: {why}", kind.api_name())
            }
        })
    }
}

/// The state of each kind that is switched on; cloning shares it.
#[derive(Debug, Clone)]
pub struct KindStates(Arc<Mutex<BTreeMap<Kind, KindState>>>);

impl KindStates {
    pub(super) fn new(kinds: &[Kind]) -> Self {
        Self(Arc::new(Mutex::new(kinds.iter().map(|kind| (*kind, KindState::Listing)).collect())))
    }

    /// All of them.
    pub fn all(&self) -> BTreeMap<Kind, KindState> {
        self.lock().clone()
    }

    pub(super) fn is_listed(&self, kind: Kind) -> bool {
        !matches!(
            self.lock().get(&kind),
            None | Some(KindState::Listing | KindState::NotServed | KindState::MayNotWatch(_))
        )
    }

    /// Sets it, and logs what is new.
    pub(super) fn set(&self, kind: Kind, state: KindState) {
        let (line, is_like) = (state.in_full(kind), std::mem::discriminant(&state));
        let Some(before) = self.lock().insert(kind, state) else { return };
        if std::mem::discriminant(&before) == is_like {
            return;
        }
        match (line, before.problem(kind)) {
            (Some(problem), _) => tracing::warn!("{problem}"),
            (None, Some(_)) => tracing::info!("health is written into {} again", kind.api_name()),
            (None, None) => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Kind, KindState>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
