//! What an annotated object should say. Pure.

use serde_json::{Value, json};

use super::find::Target;
use super::kind::Kind;
use super::object::{Content, Held};
use super::{condition, records};
use crate::model::time::UnixMs;

/// Whether the object has a condition or a note of the kind that is written here.
pub(super) fn says_anything(kind: Kind, held: &Held) -> bool {
    match &held.content {
        Content::Workload(workload) => condition::is_present(kind, workload),
        Content::Records(records) => records.note.is_some(),
    }
}

/// The operations of a JSON patch of the object, or of its status; none if it is as it should be. They touch nothing else, and are refused
/// if somebody has changed the object meanwhile.
pub(super) fn patch(kind: Kind, held: &Held, target: Target<'_>, now: UnixMs) -> Option<Vec<Value>> {
    let mut operations = match &held.content {
        Content::Workload(workload) => condition::patch(kind, held, workload, target, now),
        Content::Records(records) => records::patch(held, records, target),
    };
    if operations.is_empty() {
        return None;
    }
    // With a revision in it, the API server answers 409 if that is not the present one.
    let revision = held.revision.to_string();
    operations.insert(0, json!({ "op": "replace", "path": "/metadata/resourceVersion", "value": revision }));
    Some(operations)
}
