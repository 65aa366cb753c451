//! Objects that adopt the endpoints of a core Service: the condition `Adopted`, and the status of one that has nothing to adopt now.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::conditions::UntimedCondition;
use super::{Parts, StatusInput};
use crate::operator::crd::State;
use crate::operator::endpoints::Adoption;

/// The condition's type.
pub(super) const ADOPTED: &str = "Adopted";

/// The condition.
pub(super) fn condition(input: &StatusInput<'_>) -> Option<Condition> {
    let Adoption { adopted, reason, message } = input.parsed.adoption.as_ref()?;
    let untimed = UntimedCondition::new(ADOPTED, if *adopted { "True" } else { "False" }, reason, message.clone());
    Some(untimed.written(input.before, input.generation, input.now))
}

/// Everything that the state follows from, where there is no instance.
pub(super) fn nothing(adoption: &Adoption) -> Parts {
    let Adoption { reason, message, .. } = adoption;
    let condition = |kind, status| UntimedCondition::new(kind, status, reason, message.clone());
    let fine = |kind, status, reason, message: &str| UntimedCondition::new(kind, status, reason, message.to_owned());
    Parts {
        state: State::Down,
        reason: (*reason).to_owned(),
        healthy: 0,
        conditions: [
            fine("Accepted", "True", "Accepted", "Portolan has accepted the service, which has no instances now"),
            condition("Ready", "False"),
            fine("Degraded", "False", "NoInstanceDown", "no instance is down"),
            fine("Stalled", "False", "NotBlocked", "nothing blocks it"),
        ],
        instances: Vec::new(),
    }
}
