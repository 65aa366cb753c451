//! Answers without a handler, to anything that never became a request.

use bytes::Bytes;
use http::StatusCode;
use http::uri::PathAndQuery;
use http_body_util::BodyExt;

use crate::api::http::envelope::{ApiError, Code};
use crate::model::url::Unescaped;

/// All bytes of an answer after which the connection closes.
pub(super) fn raw_response(error: ApiError) -> Bytes {
    let (parts, body) = error.into_reply().into_parts();
    // The envelope is one ready frame.
    let body = futures::FutureExt::now_or_never(body.collect())
        .and_then(Result::ok)
        .map(http_body_util::Collected::to_bytes)
        .unwrap_or_default();
    let date = jiff::Timestamp::now().strftime("%a, %d %b %Y %H:%M:%S GMT");
    let mut out =
        format!("HTTP/1.1 {}\r\ndate: {date}\r\nconnection: close\r\ncontent-length: {}\r\n", parts.status, body.len())
            .into_bytes();
    for (name, value) in &parts.headers {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(&body);
    out.into()
}

/// The replacement for hyper's own empty refusal of a head; `None` for other bytes. `request` is the start of the refused request.
pub(super) fn for_refusal(head: &[u8], request: &[u8]) -> Option<ApiError> {
    let status = head.strip_prefix(b"HTTP/1.1 ")?.get(..3)?;
    let error = match StatusCode::from_bytes(status).ok()? {
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => {
            ApiError::new(Code::HeadTooLarge, "the request's head is over 100 headers or 16 KiB; send less of it")
        }
        StatusCode::URI_TOO_LONG => ApiError::new(Code::TargetTooLong, "the request's target is too long"),
        StatusCode::BAD_REQUEST => bad_character(request).map_or_else(not_http, bad_target),
        _ => return None,
    };
    Some(error)
}

/// The character that makes the target of a request unreadable, judged by its first line.
fn bad_character(request: &[u8]) -> Option<Unescaped> {
    let line = std::str::from_utf8(request.split(|byte| *byte == b'\n').next()?).ok()?;
    let (method, rest) = line.split_once(' ')?;
    let target = rest.rsplit_once(" HTTP/").map_or(rest, |(target, _)| target);
    let reads = |end: usize| target.get(..end).is_some_and(|start| start.parse::<PathAndQuery>().is_ok());
    let mut characters = target.char_indices().zip(1..);
    let ((_, character), at) = characters.find(|((start, c), _)| !reads(start + c.len_utf8()))?;
    let http = method.bytes().all(|byte| byte.is_ascii_uppercase()) && target.starts_with('/');
    (http && !character.is_control()).then_some(Unescaped { character, at })
}

fn bad_target(unescaped: Unescaped) -> ApiError {
    let message = format!("the request's /path?query {unescaped}");
    ApiError::new(Code::BadRequest, message).hint("curl -G --data-urlencode 'PARAMETER=VALUE' escapes a value for you")
}

/// To bytes that cannot be parsed.
pub(super) fn not_http() -> ApiError {
    ApiError::new(
        Code::BadRequest,
        "this is not an HTTP/1.1 request; the server does not speak HTTP/2, and speaks TLS only if it has a certificate",
    )
}

/// To plain HTTP where the server speaks TLS.
pub(super) fn plain_http() -> ApiError {
    ApiError::new(Code::BadRequest, "this port speaks HTTPS, and the request came as plain HTTP; send it to https://")
}

/// To a head that did not arrive in time.
pub(super) fn too_slow() -> ApiError {
    ApiError::new(Code::RequestTimeout, "the request's head did not arrive in time")
}

/// To a client that has its share of connections.
pub(super) fn client_share(most: usize) -> ApiError {
    let message = format!("this client has {most} connections open, the most that one may; reuse them (keep-alive)");
    ApiError::new(Code::TooManyConnections, message).retry_after(1)
}

/// To any client while all connections are in use.
pub(super) fn server_full() -> ApiError {
    ApiError::new(Code::Busy, "all connections of this server are in use; try again").retry_after(1)
}

/// To an unfinished request whose place was needed.
pub(super) fn unfinished() -> ApiError {
    let message =
        "all connections of this server are in use, and this request was unfinished; send it again, without pauses";
    ApiError::new(Code::Busy, message).retry_after(1)
}

/// In place of a handler that panicked.
pub(super) fn panicked() -> ApiError {
    ApiError::new(
        Code::Internal,
        "an internal error kept Portolan from answering this request; the server's log says why",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bad_character_of_a_target_is_named() {
        for (request, expected) in [
            ("GET /a?version=>=1.4 HTTP/1.1\r\n", Some(("contains '>' unescaped (character 12)", "%3E"))),
            ("GET /a?version=^1&x=\"y\" HTTP/1.1\r\n", Some(("contains '\"' unescaped (character 17)", "%22"))),
            ("GET /a?name=b c HTTP/1.1\r\n", Some(("contains a space unescaped (character 10)", "%20"))),
            ("GET /a<b", Some(("contains '<' unescaped (character 3)", "%3C"))),
            ("GET /a?b HTTP/1.1\r\n", None),
            ("GET * HTTP/1.1\r\n", None),
            ("GET http://a/b>c HTTP/1.1\r\n", None),
            ("\u{16}\u{3}\u{1} /a<b", None),
            ("PRI * HTTP/2.0\r\n", None),
            ("", None),
        ] {
            let found = bad_character(request.as_bytes()).map(|unescaped| unescaped.to_string());
            let expected = expected.map(|(problem, escape)| format!("{problem}; write it as {escape}"));
            assert_eq!(found, expected, "{request}");
        }
        assert_eq!(bad_character(b"GET /\xff>"), None);
    }
}
