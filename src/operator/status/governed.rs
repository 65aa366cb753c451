//! The condition `PolicyApplied`, which only objects in a namespace with policies have.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::StatusInput;
use super::conditions::{UntimedCondition, listed};
use crate::operator::read::Governed;

/// Its type.
pub(super) const POLICY_APPLIED: &str = "PolicyApplied";

/// The condition. What a policy refuses is a problem of the object, so `Accepted` says that.
pub(super) fn condition(input: &StatusInput<'_>) -> Option<Condition> {
    let Governed { names, limited, .. } = input.parsed.governed.as_ref()?;
    let mut message = match &names[..] {
        [one] => format!("the NamespacePolicy {one} applies here"),
        all => format!("the NamespacePolicies {} apply here", all.join(", ")),
    };
    let reason = if limited.is_empty() { "InForce" } else { "Limited" };
    if !limited.is_empty() {
        message.push_str("; ");
        message.push_str(&listed(limited, Clone::clone, "; "));
    }
    let untimed = UntimedCondition::new(POLICY_APPLIED, "True", reason, message);
    Some(untimed.written(input.before, input.generation, input.now))
}
