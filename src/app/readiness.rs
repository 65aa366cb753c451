//! What `/readyz` answers: the status of each component, with its detail.

use std::sync::Arc;

use super::component_status::{ComponentStatus, StatusSource};
use crate::api::{Part, PartState, Readiness};

pub(super) struct StatusReadiness(pub(super) Arc<dyn StatusSource>);

impl Readiness for StatusReadiness {
    fn parts(&self) -> Vec<Part> {
        let statuses = self.0.statuses().into_iter();
        statuses.map(|(component, status)| Part { name: component.as_str(), state: state(status) }).collect()
    }
}

fn state(status: ComponentStatus) -> PartState {
    if status.is_ready() { PartState::Ready(status.in_full()) } else { PartState::NotReady(status.in_full()) }
}
