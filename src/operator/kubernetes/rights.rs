//! Whether a refusal is for lack of rights, or because the namespace is being deleted.

use kube::core::Status;

/// Whether a 403 is by the authorizer (`User "a" cannot create resource "b" …`), not by an admission policy or a quota.
pub(in crate::operator) fn lacks_rights(message: &str) -> bool {
    message.contains(" cannot ") && message.contains(" resource ")
}

/// Whether a 403 is because the namespace in which an object should be created is being deleted.
pub(in crate::operator) fn is_namespace_ending(status: &Status) -> bool {
    status.details.iter().flat_map(|details| &details.causes).any(|cause| cause.reason == "NamespaceTerminating")
}
