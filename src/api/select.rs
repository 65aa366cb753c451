//! The query parameters that select services and instances.

use super::envelope::ApiError;
use super::query::{Query, bad_parameter};
use crate::model::selection::{MAX_META_TERMS, Selection};
use crate::model::version::VersionRange;

/// The parameters that [`take`] reads, for the message about an unknown one.
pub(super) const PARAMETERS: [&str; 4] = ["status", "version", "zone", "meta.KEY"];

/// Takes `status`, `version`, `zone` and every `meta.KEY`.
///
/// # Errors
/// 400 naming the parameter that is wrong.
pub(super) fn take(query: &mut Query<'_>) -> Result<Selection, ApiError> {
    let status = query.parse("status")?;
    let version = query
        .take("version")
        .map(|text| VersionRange::parse(&text).map_err(|error| bad_parameter("version", error.to_string())));
    let zone = query.take("zone").map(std::borrow::Cow::into_owned);
    let meta = query.take_prefixed("meta.");
    if meta.len() > MAX_META_TERMS {
        return Err(bad_parameter("meta.KEY", format!("expected at most {MAX_META_TERMS} of them")));
    }
    Ok(Selection { status, version: version.transpose()?, zone, meta })
}
