//! The form of every answer: `{"success":true,"message":…,"data":…}` or `{"success":false,"error":…,"code":…}`.

use std::borrow::Cow;

use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use serde::Serialize;

use crate::api::http::body::Body;
use crate::model::value_error::ValueError;

/// The content type of every JSON answer, spelled as the legacy gateway does.
pub(in crate::api) const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident $word:literal $status:ident,)+) => {
        /// The stable values of `code`, each with its HTTP status.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[$doc])* $variant,)+ }

        impl Code {
            /// Every code, by status.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The value in the answer.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            /// The answer's status.
            pub const fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status),+ }
            }
        }
    };
}

codes! {
    /// The body is not JSON, or a field of it is missing, unknown or wrong; `details` name it.
    InvalidPayload "invalid_payload" BAD_REQUEST,
    /// A query parameter, header or path part is wrong; `details` name it.
    InvalidParameter "invalid_parameter" BAD_REQUEST,
    /// `name` is missing.
    NameRequired "name_required" BAD_REQUEST,
    /// The request is not HTTP that Portolan reads.
    BadRequest "bad_request" BAD_REQUEST,
    /// The address policy refuses a URL of the registration.
    AddressDenied "address_denied" BAD_REQUEST,
    /// The request has no token and needs one.
    TokenRequired "token_required" UNAUTHORIZED,
    /// The token is forged, malformed or not for Portolan.
    TokenInvalid "token_invalid" UNAUTHORIZED,
    /// The token has expired.
    TokenExpired "token_expired" UNAUTHORIZED,
    /// The token's `scope` does not cover the request.
    InsufficientScope "insufficient_scope" FORBIDDEN,
    /// The token's `namespaces` do not cover the request, or the namespace takes no registrations here.
    NamespaceForbidden "namespace_forbidden" FORBIDDEN,
    /// Another owner's instance.
    NotOwner "not_owner" FORBIDDEN,
    /// A foreign web page asked for a change.
    CrossOrigin "cross_origin" FORBIDDEN,
    /// No service of that id or name.
    ServiceNotFound "service_not_found" NOT_FOUND,
    /// The service exists, the instance does not.
    InstanceNotFound "instance_not_found" NOT_FOUND,
    /// No such route.
    UnknownRoute "unknown_route" NOT_FOUND,
    /// No such namespace in the cluster.
    NamespaceNotFound "namespace_not_found" NOT_FOUND,
    /// The path exists for other methods; `Allow` lists them.
    MethodNotAllowed "method_not_allowed" METHOD_NOT_ALLOWED,
    /// The request's head or body did not arrive in time.
    RequestTimeout "request_timeout" REQUEST_TIMEOUT,
    /// The service belongs to a custom resource.
    ManifestOwned "manifest_owned" CONFLICT,
    /// The service is being deleted in the cluster; `Retry-After` says when to ask again.
    Terminating "terminating" CONFLICT,
    /// The service has several instances and the request names none.
    HasInstances "has_instances" CONFLICT,
    /// `If-Match` names an older generation.
    StaleGeneration "stale_generation" PRECONDITION_FAILED,
    /// The body is over its limit.
    BodyTooLarge "body_too_large" PAYLOAD_TOO_LARGE,
    /// The request target is over its limit.
    TargetTooLong "target_too_long" URI_TOO_LONG,
    /// The body's `Content-Type` is not JSON.
    NotJson "not_json" UNSUPPORTED_MEDIA_TYPE,
    /// `Host` is not a name of this server.
    MisdirectedRequest "misdirected_request" MISDIRECTED_REQUEST,
    /// `MAX_SERVICES` is reached.
    TooManyServices "too_many_services" UNPROCESSABLE_ENTITY,
    /// `PORTOLAN_MAX_INSTANCES` is reached.
    TooManyInstances "too_many_instances" UNPROCESSABLE_ENTITY,
    /// The service has the most instances that one may have.
    ServiceFull "service_full" UNPROCESSABLE_ENTITY,
    /// The client sends too many requests; `Retry-After` says when to ask again.
    RateLimited "rate_limited" TOO_MANY_REQUESTS,
    /// The address's probe budget is spent.
    ProbeBudget "probe_budget" TOO_MANY_REQUESTS,
    /// The server or the client has as many watches open as it may.
    TooManyWatches "too_many_watches" TOO_MANY_REQUESTS,
    /// The client does not read the large answers that it requested.
    TooManyAnswers "too_many_answers" TOO_MANY_REQUESTS,
    /// The client has as many connections open as it may.
    TooManyConnections "too_many_connections" TOO_MANY_REQUESTS,
    /// The request's head is over its limit.
    HeadTooLarge "head_too_large" REQUEST_HEADER_FIELDS_TOO_LARGE,
    /// A bug in Portolan; the log has the detail.
    Internal "internal" INTERNAL_SERVER_ERROR,
    /// The store could not be written or read; the log has the detail.
    StoreFailed "store_failed" INTERNAL_SERVER_ERROR,
    /// The body's `Transfer-Encoding` is something other than `chunked`.
    TransferCoding "transfer_coding" NOT_IMPLEMENTED,
    /// The request asks for a healthy instance and none is.
    NoHealthyInstance "no_healthy_instance" SERVICE_UNAVAILABLE,
    /// The store's file cannot be written now; reads go on.
    ReadOnly "read_only" SERVICE_UNAVAILABLE,
    /// A queue is full, or another program has the store's file locked; `Retry-After` says when to ask again.
    Busy "busy" SERVICE_UNAVAILABLE,
    /// The server is stopping.
    ShuttingDown "shutting_down" SERVICE_UNAVAILABLE,
    /// Not ready, or a component does not run or answer; in a cluster that may be the Kubernetes API.
    Unavailable "unavailable" SERVICE_UNAVAILABLE,
    /// The store's disk or the cluster's etcd is full.
    DiskFull "disk_full" INSUFFICIENT_STORAGE,
}

/// One problem of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Detail {
    /// The field, as a path (`check.http.path`), or the parameter's name.
    pub field: String,
    /// One sentence about what is wrong with it; the field is its subject and may be left out.
    pub problem: String,
    /// The values that it takes, where they are a type, a range or a choice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
}

impl Detail {
    /// What is wrong with `field`.
    pub fn new(field: impl Into<String>, wrong: impl Into<ValueError>) -> Self {
        let ValueError { problem, expected } = wrong.into();
        Self { field: field.into(), problem, expected }
    }
}

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

#[derive(Serialize)]
struct ErrorJson<'a> {
    success: bool,
    error: &'a str,
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    details: &'a [Detail],
}

#[derive(Serialize)]
struct OkJson<'a, T> {
    success: bool,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a T>,
}

#[derive(Serialize)]
struct OkWithJson<'a, T, U> {
    success: bool,
    message: &'a str,
    data: &'a T,
    #[serde(flatten)]
    extra: &'a U,
}

impl ApiError {
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

    /// The answer.
    pub fn into_reply(self) -> Response<Body> {
        let json = ErrorJson {
            success: false,
            error: &self.message,
            code: self.code.as_str(),
            hint: self.hinted(),
            details: self.details(),
        };
        let mut response = json_reply(self.status(), to_bytes(&json));
        if let Some(more) = self.more {
            response.headers_mut().extend(more.headers);
        }
        response
    }
}

/// 200 with `data`.
pub(in crate::api) fn ok<T: Serialize>(message: &str, data: &T) -> Response<Body> {
    json_reply(StatusCode::OK, to_bytes(&OkJson { success: true, message, data: Some(data) }))
}

/// 200 with a message alone.
pub(in crate::api) fn ok_message(message: &str) -> Response<Body> {
    json_reply(StatusCode::OK, to_bytes(&OkJson::<()> { success: true, message, data: None }))
}

/// 200 with `data` and, beside it, the fields of `extra`.
pub(in crate::api) fn ok_with<T: Serialize, U: Serialize>(message: &str, data: &T, extra: &U) -> Response<Body> {
    json_reply(StatusCode::OK, to_bytes(&OkWithJson { success: true, message, data, extra }))
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

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

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
    async fn success_leaves_out_absent_fields() {
        assert_eq!(text(ok_message("done")).await, r#"{"success":true,"message":"done"}"#);
        assert_eq!(text(ok("x", &[1])).await, r#"{"success":true,"message":"x","data":[1]}"#);
    }

    #[test]
    fn codes_are_distinct_snake_case_words() {
        let words: std::collections::HashSet<_> = Code::ALL.iter().map(|c| c.as_str()).collect();
        assert_eq!(words.len(), Code::ALL.len());
        assert!(words.iter().all(|w| w.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')));
    }
}
