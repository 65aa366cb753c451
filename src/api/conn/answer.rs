//! Answers that no handler gives: to what never became a request.

use bytes::Bytes;
use http::StatusCode;
use http_body_util::BodyExt;

use crate::api::envelope::{ApiError, Code};

/// The whole bytes of an answer after which the connection closes.
pub(super) fn last_words(error: ApiError) -> Bytes {
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

/// What replaces hyper's own empty refusal of a head; `None` for bytes that are none.
pub(super) fn for_refusal(head: &[u8]) -> Option<ApiError> {
    let status = head.strip_prefix(b"HTTP/1.1 ")?.get(..3)?;
    let error = match StatusCode::from_bytes(status).ok()? {
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => {
            ApiError::new(Code::HeadTooLarge, "the request's head is over 100 headers or 16 KiB; send less of it")
        }
        StatusCode::URI_TOO_LONG => ApiError::new(Code::TargetTooLong, "the request's target is too long"),
        StatusCode::BAD_REQUEST => {
            ApiError::new(Code::BadRequest, "this is no HTTP/1.1 request; TLS and HTTP/2 are not spoken here")
        }
        _ => return None,
    };
    Some(error)
}

/// To what cannot be read.
pub(super) fn no_http() -> ApiError {
    ApiError::new(Code::BadRequest, "this is no HTTP/1.1 request; TLS and HTTP/2 are not spoken here")
}

/// To a head that did not come in time.
pub(super) fn too_slow() -> ApiError {
    ApiError::new(Code::RequestTimeout, "the request's head did not arrive in time")
}

/// To a client that holds its share of connections.
pub(super) fn client_share(most: usize) -> ApiError {
    let message = format!("this client holds {most} connections, as many as one may; reuse them (keep-alive)");
    ApiError::new(Code::TooManyConnections, message).retry_after(1)
}

/// To anyone while all connections are taken.
pub(super) fn server_full() -> ApiError {
    ApiError::new(Code::Busy, "this server holds as many connections as it may; try again").retry_after(1)
}

/// To a request that was not whole when its place was needed.
pub(super) fn unfinished() -> ApiError {
    let message = "this server holds as many connections as it may, and this request was not whole; send it in one go";
    ApiError::new(Code::Busy, message).retry_after(1)
}

/// In place of a handler that panicked.
pub(super) fn panicked() -> ApiError {
    ApiError::new(Code::Internal, "Portolan failed to answer this; its log says why")
}
