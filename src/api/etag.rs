//! Weak entity tags ([RFC 9110 §8.8.3](https://www.rfc-editor.org/rfc/rfc9110#section-8.8.3)) from epoch and revision: equal
//! tags mean that nothing but `last_health_check` can differ.

use std::io::Write;

use bytes::Bytes;
use http::header::{ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH};
use http::{Response, StatusCode};

use super::Body;
use crate::catalog::Epoch;

/// One tag, in quotes and with its `W/`.
#[derive(Debug, Clone)]
pub(super) struct EntityTag(HeaderValue);

impl EntityTag {
    /// `W/"<epoch>.<revision>"`.
    pub(super) fn new(epoch: &Epoch, revision: u64) -> Self {
        let mut text = Vec::with_capacity(44);
        // Writing to a Vec cannot fail.
        drop(write!(text, "W/\"{epoch}.{revision}\""));
        // Hex digits, a dot and quotes are always a header's value.
        Self(HeaderValue::from_maybe_shared(Bytes::from(text)).unwrap_or(HeaderValue::from_static("W/\"\"")))
    }

    /// Sets the `ETag` header.
    pub(super) fn put(self, response: &mut Response<Body>) {
        response.headers_mut().insert(ETAG, self.0);
    }

    /// The 304, when the client says that it holds this very state.
    pub(super) fn not_modified(&self, request: &HeaderMap) -> Option<Response<Body>> {
        let known = request.get_all(IF_NONE_MATCH).iter().any(|field| names(field.as_bytes(), self.0.as_bytes()));
        known.then(|| {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            self.clone().put(&mut response);
            response
        })
    }
}

/// Whether `If-None-Match` holds the tag, by weak comparison: `W/` does not matter.
fn names(field: &[u8], tag: &[u8]) -> bool {
    let field = field.trim_ascii();
    field == b"*" || field.split(|b| *b == b',').any(|one| opaque(one.trim_ascii()) == opaque(tag))
}

fn opaque(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weak_comparison_of_a_list() {
        let epoch: Epoch = "0123456789abcdef".parse().expect("an epoch");
        let tag = EntityTag::new(&epoch, 7);
        assert_eq!(tag.0, "W/\"0123456789abcdef.7\"");
        for (field, hit) in [
            ("*", true),
            ("W/\"0123456789abcdef.7\"", true),
            ("\"0123456789abcdef.7\"", true),
            ("\"x\" , W/\"0123456789abcdef.7\"", true),
            ("\"0123456789abcdef.8\"", false),
            ("0123456789abcdef.7", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(IF_NONE_MATCH, field.parse().expect("a value"))]);
            assert_eq!(tag.not_modified(&headers).is_some(), hit, "{field}");
        }
    }
}
