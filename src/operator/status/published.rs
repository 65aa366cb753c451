//! The condition `Published`, which only objects with `spec.publish` have. The publisher decides what it says.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::StatusInput;
use super::conditions::UntimedCondition;

/// Its type.
pub(super) const PUBLISHED: &str = "Published";

/// What became of publishing an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// Whether its endpoints are what they should be.
    pub published: bool,
    /// Why, in one CamelCase word.
    pub reason: &'static str,
    /// Why, in a sentence, and what to do. It says nothing that changes with health, so that a transition needs no second status.
    pub message: String,
}

/// The condition. Until the publisher has looked at the object, the old one stands.
pub(super) fn condition(input: &StatusInput<'_>) -> Option<Condition> {
    input.parsed.publish.as_ref()?;
    let before = input.before.and_then(|before| before.conditions.iter().find(|c| c.type_ == PUBLISHED));
    let (status, reason, message) = match (input.publication, before) {
        (Some(Publication { published, reason, message }), _) => {
            (if *published { "True" } else { "False" }, *reason, message.clone())
        }
        (None, Some(before)) => return Some(before.clone()),
        (None, None) => ("Unknown", "Pending", "the endpoints have not been written yet".to_owned()),
    };
    let untimed = UntimedCondition::new(PUBLISHED, status, reason, message);
    Some(untimed.written(input.before, input.generation, input.now))
}
