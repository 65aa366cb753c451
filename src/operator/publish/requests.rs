//! The requests that turn slices into what was planned.

use super::apply::Request;
use super::object::{Owner, object};
use super::pack::Change;
use super::view::{Owned, View};
use crate::model::name::ServiceKey;

/// The requests for `changes` of the slices of `owner`, for the core Service and port `target`.
pub(super) fn of_changes(view: &View, owner: &Owner, target: (&str, &str), changes: &[Change]) -> Vec<Request> {
    let held = |name: &str| view.held(owner.key.namespace(), name);
    let request = |change: &Change| {
        Some(match change {
            Change::Create(name, group, endpoints) => {
                Request::Create(Box::new(object(owner, target, (name, *group, endpoints), None)))
            }
            Change::Update(name, group, endpoints) => {
                Request::Update(Box::new(object(owner, target, (name, *group, endpoints), Some(held(name)?))))
            }
            Change::Delete(name) => Request::Delete(name.clone(), held(name)?.uid.clone()),
        })
    };
    changes.iter().filter_map(request).collect()
}

/// Removes all of these slices of the object `key`.
pub(super) fn deletions(view: &View, key: &ServiceKey, owned: &[Owned]) -> Vec<Request> {
    let delete = |(name, uid, _)| Request::Delete(name, uid);
    identified(view, key, owned).map(delete).collect()
}

/// Removes those whose object does not exist. The object `key` is not known: it was deleted, or it is so new that only another install
/// knows it.
pub(super) fn orphans(view: &View, key: &ServiceKey, owned: &[Owned]) -> Vec<Request> {
    let delete = |(name, uid, owner)| Request::DeleteWithout(owner, name, uid);
    identified(view, key, owned).map(delete).collect()
}

/// The name, uid and owner of each.
fn identified<'a>(
    view: &'a View,
    key: &'a ServiceKey,
    owned: &'a [Owned],
) -> impl Iterator<Item = (String, String, Owner)> {
    owned.iter().filter_map(|owned| {
        let held = view.held(key.namespace(), &owned.slice.name)?;
        Some((owned.slice.name.clone(), held.uid.clone(), owned.owner.clone()))
    })
}
