//! The http check: one request on a connection of its own; the status decides.
//!
//! The verdict stands once the head is read. Of the body at most 4 KiB are then taken, for at most 50 ms, so that an ordinary server
//! finishes its answer undisturbed; a body that drips or never ends changes nothing.

use std::fmt::Write as _;
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use http::header::{ACCEPT, HOST, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use http::uri::PathAndQuery;
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use super::evidence::{Ending, Redacted, Trace};
use super::wire::{Single, broken, drive};
use crate::model::manner::{Manner, Method};
use crate::model::outcome::{Reason, Stage};
use crate::model::url::Host;

/// Who asks.
pub(super) const AGENT: HeaderValue = HeaderValue::from_static(concat!("portolan/", env!("CARGO_PKG_VERSION")));
const ANYTHING: HeaderValue = HeaderValue::from_static("*/*");
/// Most bytes of a head.
const MAX_HEAD: usize = 16 * 1024;
/// Most bytes of a body that are taken.
const MAX_BODY: usize = 4 * 1024;
/// Longest time that a body is waited for.
const DRAIN: Duration = Duration::from_millis(50);

/// What is asked, and what passes.
pub(super) struct Question<'a> {
    pub(super) host: &'a Host,
    pub(super) port: u16,
    pub(super) target: &'a str,
    pub(super) manner: Option<&'a Manner>,
    pub(super) secure: bool,
    pub(super) expected: &'a [u16],
}

/// Asks on an open connection and leaves the judgement in the trace.
pub(super) async fn ask<S>(stream: S, question: &Question<'_>, trace: &mut Trace)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    trace.enter(Stage::Request);
    let Some(request) = question.request() else {
        let message = "the health URL's path cannot be written into an HTTP request; percent-encode it";
        return trace.judge(Ending::fail(Reason::ProtocolError, message));
    };
    let mut builder = http1::Builder::new();
    builder.max_buf_size(MAX_HEAD);
    let (mut sender, connection) = match builder.handshake(TokioIo::new(stream)).await {
        Ok(opened) => opened,
        Err(error) => return trace.judge(broken(&error, "HTTP/1.1")),
    };
    let mut connection = Single::new(connection);
    match drive(&mut connection, sender.send_request(request)).await {
        Ok(response) => {
            trace.enter(Stage::Status);
            trace.judge(question.judge(response.status()));
            let body = response.into_body();
            if !body.is_end_stream() {
                // the verdict stands, however this ends
                drop(timeout(DRAIN, drive(&mut connection, drain(body))).await);
            }
        }
        Err(error) => trace.judge(broken(&error, "HTTP/1.1")),
    }
}

async fn drain(mut body: Incoming) {
    let mut taken = 0;
    while let Some(Ok(frame)) = body.frame().await {
        taken += frame.data_ref().map_or(0, Bytes::len);
        if taken >= MAX_BODY {
            return;
        }
    }
}

impl Question<'_> {
    fn request(&self) -> Option<Request<Empty<Bytes>>> {
        let mut headers = HeaderMap::with_capacity(3);
        headers.insert(HOST, self.authority()?);
        headers.insert(USER_AGENT, AGENT);
        headers.insert(ACCEPT, ANYTHING);
        for (name, value) in self.manner.iter().flat_map(|manner| &manner.headers) {
            headers.insert(HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?);
        }
        let mut request = Request::new(Empty::new());
        *request.method_mut() = match self.method() {
            Method::Get => http::Method::GET,
            Method::Head => http::Method::HEAD,
        };
        *request.uri_mut() = Uri::from(self.target.parse::<PathAndQuery>().ok()?);
        *request.headers_mut() = headers;
        Some(request)
    }

    fn method(&self) -> Method {
        self.manner.map_or_else(Method::default, |manner| manner.method)
    }

    /// The Host header: the manifest's, else the URL's host, with the port only where it is not the scheme's own.
    fn authority(&self) -> Option<HeaderValue> {
        if let Some(host) = self.manner.and_then(|manner| manner.host.as_ref()) {
            return HeaderValue::try_from(host).ok();
        }
        let usual = if self.secure { 443 } else { 80 };
        let mut text = BytesMut::with_capacity(64);
        match self.host {
            Host::Name(name) => text.put_slice(name.as_bytes()),
            Host::Ip(_) => write!(text, "{}", self.host).ok()?,
        }
        if self.port != usual {
            text.put_u8(b':');
            text.put_slice(itoa::Buffer::new().format(self.port).as_bytes());
        }
        HeaderValue::from_maybe_shared(text.freeze()).ok()
    }

    fn judge(&self, status: StatusCode) -> Ending {
        let code = status.as_u16();
        let passes = if self.expected.is_empty() { status.is_success() } else { self.expected.contains(&code) };
        if passes {
            return Ending::pass(Some(code), ["status ", status.as_str()].concat());
        }
        let wanted = if self.expected.is_empty() {
            "200 to 299".to_owned()
        } else {
            let list: Vec<_> = self.expected.iter().map(u16::to_string).collect();
            list.join(", ")
        };
        let hint = if status.is_redirection() { " (redirects are not followed; name the page itself)" } else { "" };
        let message = format!("status {code}, expected {wanted}{hint}: {self}");
        Ending::fail(Reason::UnexpectedStatus, message).with_code(code)
    }
}

impl std::fmt::Display for Question<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        let method = self.method().as_str();
        write!(f, "{method} {scheme}://{}:{}{}", self.host, self.port, Redacted(self.target))
    }
}
