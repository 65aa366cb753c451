//! Page cursors: the position of the last row of a page, so that rows added or removed meanwhile do not shift the next one.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use uuid::Uuid;

use crate::catalog::Entry;
use crate::catalog::snapshot::Order;
use crate::model::time::UnixMs;

/// The problem of a text that is not a cursor.
pub(in crate::api) const NOT_A_CURSOR: &str = "is not the unchanged next_cursor of an earlier response";

/// Opaque to clients: 48 hex digits of (registered_at, id).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::api) struct PageCursor(pub(in crate::api) Order);

impl fmt::Display for PageCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (at, id) = self.0;
        write!(f, "{:016x}{:032x}", at.0, id.as_u128())
    }
}

impl FromStr for PageCursor {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() != 48 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(NOT_A_CURSOR);
        }
        let (at, id) = text.split_at(16);
        let at = u64::from_str_radix(at, 16).map_err(|_| NOT_A_CURSOR)?.cast_signed();
        let id = u128::from_str_radix(id, 16).map_err(|_| NOT_A_CURSOR)?;
        Ok(Self((UnixMs(at), Uuid::from_u128(id))))
    }
}

/// The first `limit` of the entries that are left, and the cursor of the next page when there is one.
pub(in crate::api) fn page<'a>(
    mut left: impl Iterator<Item = &'a Arc<Entry>>,
    limit: usize,
) -> (Vec<&'a Arc<Entry>>, Option<String>) {
    let page: Vec<_> = left.by_ref().take(limit).collect();
    let last = page.last().map(|entry| (entry.service().registered_at, entry.service().id));
    let next = last.filter(|_| left.next().is_some());
    (page, next.map(|last| PageCursor(last).to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn a_cursor_survives_the_trip(at: i64, id: u128) {
            let cursor = PageCursor((UnixMs(at), Uuid::from_u128(id)));
            proptest::prop_assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }

        #[test]
        fn anything_else_is_refused_without_a_panic(text in "\\PC{0,60}") {
            if let Ok(cursor) = text.parse::<PageCursor>() {
                proptest::prop_assert_eq!(cursor.to_string(), text.to_lowercase());
            }
        }
    }
}
