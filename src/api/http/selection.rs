//! The query parameters that select services and instances.

use super::envelope::ApiError;
use super::query::{Query, bad_parameter};
use crate::model::outcome::Health;
use crate::model::selection::{MAX_META_TERMS, MAX_TAG_TERMS, Selection};
use crate::model::value_error::ValueError;
use crate::model::version::{VersionRange, VersionRangeError};

/// The parameters that [`take`] reads, for the message about an unknown one.
pub(in crate::api) const PARAMETERS: [&str; 6] = ["status", "version", "zone", "meta.KEY", TAG, "warning"];

/// The parameter that may come several times.
pub(in crate::api) const TAG: &str = "tag";

/// Takes `status`, `version`, `zone`, `warning`, and every `tag` and `meta.KEY`.
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
    let tags: Vec<String> = query.take_all(TAG).map(std::borrow::Cow::into_owned).collect();
    if tags.len() > MAX_TAG_TERMS {
        return Err(bad_parameter(TAG, format!("is given more than {MAX_TAG_TERMS} times")));
    }
    let warning = query.given_flag("warning")?;
    Ok(Selection { status: status.transpose()?, version: version.transpose()?, zone, meta, tags, warning })
}

fn unknown_health() -> ApiError {
    let words: Vec<_> = Health::ALL.iter().map(|health| health.as_str()).collect();
    bad_parameter("status", ValueError::is_not(format!("one of {}", words.join(", "))))
}

fn bad_range(error: &VersionRangeError) -> ApiError {
    bad_parameter("version", ValueError::from(error).expecting("a version range"))
}
