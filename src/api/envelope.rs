//! What every answer looks like: `{"success":true,"message":…,"data":…}` or `{"success":false,"error":…,"code":…}`.

use std::borrow::Cow;

use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use serde::Serialize;

use super::Body;
use crate::model::value_error::ValueError;

/// The content type of every JSON answer, spelled as the seed's framework does.
pub const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident $word:literal $status:ident,)+) => {
        /// The stable words of `code`, each with its one HTTP status.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[$doc])* $variant,)+ }

        impl Code {
            /// Every code, by status.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The word in the answer.
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
    /// The body is no JSON, or a field of it is missing, unknown or wrong; `details` name it.
    InvalidPayload "invalid_payload" BAD_REQUEST,
    /// A query parameter, header or path part is wrong; `details` name it.
    InvalidParameter "invalid_parameter" BAD_REQUEST,
    /// `name` is missing.
    NameRequired "name_required" BAD_REQUEST,
    /// The request is no HTTP that Portolan reads.
    BadRequest "bad_request" BAD_REQUEST,
    /// The address policy refuses a URL of the registration.
    AddressDenied "address_denied" BAD_REQUEST,
    /// No token came where one is needed.
    TokenRequired "token_required" UNAUTHORIZED,
    /// The token is forged, malformed or not for Portolan.
    TokenInvalid "token_invalid" UNAUTHORIZED,
    /// The token was good until it expired.
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
    /// The service is there, the instance is not.
    InstanceNotFound "instance_not_found" NOT_FOUND,
    /// No such route.
    UnknownRoute "unknown_route" NOT_FOUND,
    /// No such namespace in the cluster.
    NamespaceNotFound "namespace_not_found" NOT_FOUND,
    /// The route is there, the method is not; `Allow` lists those that are.
    MethodNotAllowed "method_not_allowed" METHOD_NOT_ALLOWED,
    /// The request's head or body did not arrive in time.
    RequestTimeout "request_timeout" REQUEST_TIMEOUT,
    /// A custom resource's service.
    ManifestOwned "manifest_owned" CONFLICT,
    /// The service is being deleted in the cluster; `Retry-After` says when to ask again.
    Terminating "terminating" CONFLICT,
    /// Several instances, none named.
    HasInstances "has_instances" CONFLICT,
    /// `If-Match` names an older generation.
    StaleGeneration "stale_generation" PRECONDITION_FAILED,
    /// The body is over its limit.
    BodyTooLarge "body_too_large" PAYLOAD_TOO_LARGE,
    /// The request target is over its limit.
    TargetTooLong "target_too_long" URI_TOO_LONG,
    /// The body's `Content-Type` is not JSON.
    NotJson "not_json" UNSUPPORTED_MEDIA_TYPE,
    /// `Host` is none of this server's names.
    MisdirectedRequest "misdirected_request" MISDIRECTED_REQUEST,
    /// `MAX_SERVICES` is reached.
    TooManyServices "too_many_services" UNPROCESSABLE_ENTITY,
    /// `MAX_INSTANCES` is reached.
    TooManyInstances "too_many_instances" UNPROCESSABLE_ENTITY,
    /// The service has as many instances as one may have.
    ServiceFull "service_full" UNPROCESSABLE_ENTITY,
    /// The client asked too often; `Retry-After` says when to ask again.
    RateLimited "rate_limited" TOO_MANY_REQUESTS,
    /// The address is probed as often as it may be.
    ProbeBudget "probe_budget" TOO_MANY_REQUESTS,
    /// The server or the client holds as many watches as it may.
    TooManyWatches "too_many_watches" TOO_MANY_REQUESTS,
    /// The client does not read the large answers that it asked for.
    TooManyAnswers "too_many_answers" TOO_MANY_REQUESTS,
    /// The client holds as many connections as it may.
    TooManyConnections "too_many_connections" TOO_MANY_REQUESTS,
    /// The request's head is over its limit.
    HeadTooLarge "head_too_large" REQUEST_HEADER_FIELDS_TOO_LARGE,
    /// A fault of Portolan's own; the log has the detail.
    Internal "internal" INTERNAL_SERVER_ERROR,
    /// The store could not be written or read; the log has the detail.
    StoreFailed "store_failed" INTERNAL_SERVER_ERROR,
    /// The body's `Transfer-Encoding` is not chunked alone.
    TransferCoding "transfer_coding" NOT_IMPLEMENTED,
    /// `healthy=true` was asked and no instance is.
    NoHealthyInstance "no_healthy_instance" SERVICE_UNAVAILABLE,
    /// The store's file cannot be written now; reads go on.
    ReadOnly "read_only" SERVICE_UNAVAILABLE,
    /// A queue is full, or another program has the store's file locked; `Retry-After` says when to ask again.
    Busy "busy" SERVICE_UNAVAILABLE,
    /// The server is stopping.
    ShuttingDown "shutting_down" SERVICE_UNAVAILABLE,
    /// Not ready, or a part of it does not run or answer; in a cluster that may be the Kubernetes API.
    Unavailable "unavailable" SERVICE_UNAVAILABLE,
    /// The store's disk is full, or the cluster's etcd.
    DiskFull "disk_full" INSUFFICIENT_STORAGE,
}

/// One thing that is wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Detail {
    /// The field, as a path (`check.http.path`), or the parameter's name.
    pub field: String,
    /// One sentence of what is wrong with it; its subject, the field, may be left out.
    pub problem: String,
    /// What may stand there, where that is a kind of value, a range or a choice.
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

/// A refusal: one answer in the envelope.
#[derive(Debug, Clone, PartialEq)]
pub struct ApiError {
    /// The stable word; gives the status.
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
struct BesideJson<'a, T, U> {
    success: bool,
    message: &'a str,
    data: &'a T,
    #[serde(flatten)]
    beside: &'a U,
}

impl ApiError {
    /// 429: the client's quota is spent.
    pub fn rate_limited() -> Self {
        Self::new(Code::RateLimited, "Rate limit exceeded")
    }

    /// A refusal with the status of its code.
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), more: None }
    }

    /// Adds one thing that is wrong.
    #[must_use]
    pub fn detail(mut self, detail: Detail) -> Self {
        self.more().details.push(detail);
        self
    }

    /// Says where else to look, besides the message, which is a contract.
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

    /// Says when to ask again, in whole seconds.
    #[must_use]
    pub fn retry_after(self, seconds: u64) -> Self {
        self.header(RETRY_AFTER, seconds.into())
    }

    /// Which refusal it is.
    pub fn code(&self) -> Code {
        self.code
    }

    /// The answer's status.
    pub fn status(&self) -> StatusCode {
        self.code.status()
    }

    /// The things that are wrong, as far as they were named.
    pub fn details(&self) -> &[Detail] {
        self.more.as_ref().map_or(&[], |more| &more.details)
    }

    /// What was said besides the message.
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
pub fn ok<T: Serialize>(message: &str, data: &T) -> Response<Body> {
    json_reply(StatusCode::OK, to_bytes(&OkJson { success: true, message, data: Some(data) }))
}

/// 200 with a message alone.
pub fn ok_message(message: &str) -> Response<Body> {
    json_reply(StatusCode::OK, to_bytes(&OkJson::<()> { success: true, message, data: None }))
}

/// 200 with `data` and, beside it, the fields of `beside`.
pub fn ok_beside<T: Serialize, U: Serialize>(message: &str, data: &T, beside: &U) -> Response<Body> {
    json_reply(StatusCode::OK, to_bytes(&BesideJson { success: true, message, data, beside }))
}

/// Any status with ready JSON.
pub fn json_reply(status: StatusCode, json: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(json.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}

/// `value` as JSON. Our own types always serialise; one that does not is a fault that the client sees as `null`.
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
    async fn success_leaves_out_what_there_is_not() {
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
