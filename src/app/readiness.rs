//! What `/readyz` says: how the parts stand, with what only who asks is told.

use std::sync::Arc;

use super::component_status::{Word, Words};
use crate::api::{Part, PartState, Readiness};

/// Of all parts.
pub(super) struct PartsReadiness(pub(super) Arc<dyn Words>);

impl Readiness for PartsReadiness {
    fn parts(&self) -> Vec<Part> {
        let words = self.0.words().into_iter();
        words.map(|(part, word)| Part { name: part.as_str(), state: state(word) }).collect()
    }
}

fn state(word: Word) -> PartState {
    if word.is_ready() { PartState::Ready(word.in_full()) } else { PartState::NotReady(word.in_full()) }
}
