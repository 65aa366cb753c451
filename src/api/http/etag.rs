//! Weak entity tags ([RFC 9110 §8.8.3](https://www.rfc-editor.org/rfc/rfc9110#section-8.8.3)) and conditional requests.

use http::header::{ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH};
use http::{Response, StatusCode};

use crate::api::http::body::Body;
use crate::catalog::WeakTag;

/// Sets the `ETag` header.
pub(in crate::api) fn put(tag: &WeakTag, response: &mut Response<Body>) {
    // Hex digits, a dot and quotes are always a header's value.
    if let Ok(value) = HeaderValue::from_bytes(tag.as_bytes()) {
        response.headers_mut().insert(ETAG, value);
    }
}

/// The 304, when the client names this state.
pub(in crate::api) fn not_modified(tag: &WeakTag, request: &HeaderMap) -> Option<Response<Body>> {
    let known = request.get_all(IF_NONE_MATCH).iter().any(|field| names(field.as_bytes(), tag.as_bytes()));
    known.then(|| {
        let mut response = Response::new(Body::default());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        put(tag, &mut response);
        response
    })
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
        let tag = WeakTag::new(&"0123456789abcdef".parse().expect("an epoch"), 7, None, "");
        assert_eq!(tag.as_bytes(), b"W/\"0123456789abcdef.7\"");
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
            assert_eq!(not_modified(&tag, &headers).is_some(), hit, "{field}");
        }
    }
}
