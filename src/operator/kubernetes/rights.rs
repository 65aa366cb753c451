//! Whether a refusal is for lack of rights.

/// Whether a 403 is by the authorizer (`User "a" cannot create resource "b" …`), not by an admission policy or a quota.
pub(in crate::operator) fn lacks_rights(message: &str) -> bool {
    message.contains(" cannot ") && message.contains(" resource ")
}
