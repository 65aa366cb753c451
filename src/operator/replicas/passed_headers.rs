//! The headers of requests that are passed on, and of their answers.

use http::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, IF_MATCH, ORIGIN, RETRY_AFTER, USER_AGENT,
};

use crate::model::ports::CERTIFICATE_SUBJECT;

/// Headers that are forwarded. `X-Forwarded-For` counts only if the leader trusts this replica as a proxy.
pub(super) const REQUEST_HEADERS: [HeaderName; 9] = [
    AUTHORIZATION,
    CERTIFICATE_SUBJECT,
    ACCEPT,
    CONTENT_TYPE,
    IF_MATCH,
    ORIGIN,
    USER_AGENT,
    HeaderName::from_static("sec-fetch-site"),
    HeaderName::from_static("x-forwarded-for"),
];
/// Headers that come back.
pub(super) const ANSWER_HEADERS: [HeaderName; 2] = [CONTENT_TYPE, RETRY_AFTER];

/// The headers with these names.
pub(super) fn picked(from: &HeaderMap, names: &[HeaderName]) -> HeaderMap {
    let lines = names.iter().flat_map(|name| from.get_all(name).iter().map(move |value| (name.clone(), value.clone())));
    lines.fold(HeaderMap::new(), |mut all, (name, value)| {
        all.append(name, value);
        all
    })
}
