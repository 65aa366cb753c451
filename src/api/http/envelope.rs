//! The form of every answer: `{"success":true,"message":…,"data":…}` or `{"success":false,"error":…,"code":…}`.

use std::borrow::Cow;

use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use serde::Serialize;

use super::body::Body;
use super::in_flight::{BodiesFull, Full};
pub(crate) use crate::wire::{Code, Detail};
use crate::wire::{Done, Refusal};

/// The content type of every JSON answer, spelled as the legacy gateway does.
pub(in crate::api) const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");

/// A refusal, as an answer in the envelope.
#[derive(Debug, Clone, PartialEq)]
pub struct ApiError {
    /// The stable code; it decides the status.
    pub code: Code,
    /// One sentence for a person.
    pub message: Cow<'static, str>,
    more: Option<Box<More>>,
}

#[derive(Debug, Clone, PartialEq, Default)]
struct More {
    hint: Option<String>,
    details: Vec<Detail>,
    headers: HeaderMap,
}

impl ApiError {
    /// 400: a request by name has none. The message is the legacy gateway's.
    pub fn name_required() -> Self {
        Self::new(Code::NameRequired, "Service name is required")
    }

    /// 404: no service has this id or name. The message is the legacy gateway's.
    pub fn service_not_found() -> Self {
        Self::new(Code::ServiceNotFound, "Service not found")
    }

    /// 429: the client's quota is spent.
    pub fn rate_limited() -> Self {
        Self::new(Code::RateLimited, "Rate limit exceeded")
    }

    /// A refusal with the status of its code.
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), more: None }
    }

    /// Adds a problem.
    #[must_use]
    pub fn detail(mut self, detail: Detail) -> Self {
        self.more().details.push(detail);
        self
    }

    /// Adds a hint beside the message, which is a contract with clients.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.more().hint = Some(hint.into());
        self
    }

    /// Sets a header of the answer (`Allow`, `WWW-Authenticate`, …).
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.more().headers.insert(name, value);
        self
    }

    /// Sets `Retry-After`, in seconds.
    #[must_use]
    pub fn retry_after(self, seconds: u64) -> Self {
        self.header(RETRY_AFTER, seconds.into())
    }

    /// The code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// The answer's status.
    pub fn status(&self) -> StatusCode {
        self.code.status()
    }

    /// The problems that were added.
    pub fn details(&self) -> &[Detail] {
        self.more.as_ref().map_or(&[], |more| &more.details)
    }

    /// The hint beside the message.
    pub fn hinted(&self) -> Option<&str> {
        self.more.as_ref().and_then(|more| more.hint.as_deref())
    }

    /// The headers of the answer besides `Content-Type`.
    pub fn headers_mut(&mut self) -> &mut HeaderMap {
        &mut self.more().headers
    }

    fn more(&mut self) -> &mut More {
        self.more.get_or_insert_default()
    }

    /// The answer, with the code in its extensions.
    pub fn into_reply(self) -> Response<Body> {
        let status = self.status();
        let More { hint, details, headers } = self.more.map(|more| *more).unwrap_or_default();
        let error = self.message.into_owned();
        let refusal = Refusal { success: false, error, code: self.code.as_str().into(), hint, details };
        let mut response = json_reply(status, to_bytes(&refusal));
        response.extensions_mut().insert(self.code);
        response.headers_mut().extend(headers);
        response
    }
}

/// 200 with an answer in its envelope.
pub(in crate::api) fn ok<T: Serialize>(answer: &T) -> Response<Body> {
    json_reply(StatusCode::OK, to_bytes(answer))
}

/// 200 with a message alone.
pub(in crate::api) fn ok_message(message: &str) -> Response<Body> {
    ok(&Done { success: true, message: message.into() })
}

/// Any status with ready JSON.
pub(in crate::api) fn json_reply(status: StatusCode, json: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(json.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}

/// `value` as JSON. Our own types always serialise; a failure is a bug that the client sees as `null`.
fn to_bytes<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_else(|error| {
        tracing::error!(%error, "an answer could not be written as JSON");
        b"null".to_vec()
    })
}

impl From<Full> for ApiError {
    fn from(full: Full) -> Self {
        let code = match full {
            Full::Server => Code::Busy,
            Full::Client => Code::TooManyAnswers,
        };
        Self::new(code, full.to_string()).retry_after(1)
    }
}

impl From<BodiesFull> for ApiError {
    fn from(full: BodiesFull) -> Self {
        let code = match full {
            BodiesFull::Server => Code::Busy,
            BodiesFull::Client => Code::RateLimited,
        };
        Self::new(code, full.to_string()).retry_after(1)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;
    use crate::model::value_error::ValueError;

    async fn text(response: Response<Body>) -> String {
        let bytes = response.into_body().collect().await.expect("a body").to_bytes();
        String::from_utf8(bytes.to_vec()).expect("UTF-8")
    }

    #[tokio::test]
    async fn an_error_is_an_envelope_with_its_headers() {
        let error = ApiError::new(Code::InvalidPayload, "Invalid request payload")
            .detail(Detail::new("base_url", "is missing"))
            .detail(Detail::new("limit", ValueError::is_not("a number")))
            .header(http::header::ALLOW, HeaderValue::from_static("GET"))
            .retry_after(7);
        let reply = error.into_reply();
        assert_eq!(reply.status(), 400);
        assert_eq!(reply.headers()["content-type"], "application/json; charset=utf-8");
        assert_eq!(reply.headers()["allow"], "GET");
        assert_eq!(reply.headers()["retry-after"], "7");
        let expected = r#"{"success":false,"error":"Invalid request payload","code":"invalid_payload","details":[{"field":"base_url","problem":"is missing"},{"field":"limit","problem":"is not a number","expected":"a number"}]}"#;
        assert_eq!(text(reply).await, expected);
    }

    #[tokio::test]
    async fn success_without_data_is_a_message_alone() {
        assert_eq!(text(ok_message("done")).await, r#"{"success":true,"message":"done"}"#);
    }

    #[test]
    fn codes_are_distinct_snake_case_words() {
        let words: std::collections::HashSet<_> = Code::ALL.iter().map(|c| c.as_str()).collect();
        assert_eq!(words.len(), Code::ALL.len());
        assert!(words.iter().all(|w| w.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')));
    }
}
