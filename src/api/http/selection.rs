//! The query parameters that select services and instances.

use super::envelope::ApiError;
use super::query::{Query, bad_parameter};
use crate::model::outcome::Health;
use crate::model::selection::{MAX_META_TERMS, Selection};
use crate::model::value_error::ValueError;
use crate::model::version::{VersionRange, VersionRangeError};

/// The parameters that [`take`] reads, for the message about an unknown one.
pub(in crate::api) const PARAMETERS: [&str; 4] = ["status", "version", "zone", "meta.KEY"];

/// Takes `status`, `version`, `zone` and every `meta.KEY`.
///
/// # Errors
/// 400 naming the parameter that is wrong.
pub(in crate::api) fn take(query: &mut Query<'_>) -> Result<Selection, ApiError> {
    let status = query.take("status").map(|text| text.parse::<Health>().map_err(|_| unknown_health()));
    let version = query.take("version").map(|text| VersionRange::parse(&text).map_err(|error| bad_range(&error)));
    let zone = query.take("zone").map(std::borrow::Cow::into_owned);
    let meta = query.take_prefixed("meta.");
    if meta.len() > MAX_META_TERMS {
        return Err(bad_parameter("meta.KEY", format!("is given more than {MAX_META_TERMS} times")));
    }
    Ok(Selection { status: status.transpose()?, version: version.transpose()?, zone, meta })
}

fn unknown_health() -> ApiError {
    let words: Vec<_> = Health::ALL.iter().map(|health| health.as_str()).collect();
    bad_parameter("status", ValueError::is_not(format!("one of {}", words.join(", "))))
}

fn bad_range(error: &VersionRangeError) -> ApiError {
    bad_parameter("version", ValueError::from(error).expecting("a version range"))
}
