//! The grpc check: [`grpc.health.v1.Health/Check`](https://github.com/grpc/grpc/blob/master/doc/health-checking.md) over a connection of its
//! own; SERVING passes.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::{BufMut as _, Bytes, BytesMut};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, TE, USER_AGENT};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::TokioIo;
use prost::Message as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::http::AGENT;
use super::tcp::CLOSE_TIMEOUT;
use super::tls::errors::broken;
use super::trace::{Ending, Trace};
use crate::model::outcome::{Reason, Stage, grpc_status_name};
use crate::model::text;
use crate::model::url::Host;

const PATH: &str = "/grpc.health.v1.Health/Check";
const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
const TRAILERS: HeaderValue = HeaderValue::from_static("trailers");
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
/// Most bytes of an answer; a health answer has two.
const MAX_ANSWER: usize = 4 * 1024;
/// Most bytes of an answer's headers.
const MAX_HEAD: u32 = 16 * 1024;

#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheckResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// What is asked.
pub(crate) struct Check<'a> {
    pub(crate) host: &'a Host,
    pub(crate) port: u16,
    pub(crate) service: &'a str,
    pub(crate) secure: bool,
}

/// Asks on an open connection and leaves the judgement in the trace.
pub(crate) async fn probe<S>(stream: S, check: &Check<'_>, trace: &mut Trace)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    trace.enter(Stage::Request);
    let Some(request) = check.request() else {
        let message = "the host cannot be written into an HTTP/2 request";
        return trace.judge(Ending::fail(Reason::ProtocolError, message));
    };
    let mut tasks = Tasks::default();
    let mut builder = http2::Builder::new(tasks.inbox.clone());
    builder.max_header_list_size(MAX_HEAD).initial_stream_window_size(16 * 1024).max_concurrent_streams(0);
    let opening = builder.handshake(TokioIo::new(stream));
    let (mut sender, connection) = match drive(&mut tasks, opening).await {
        Ok(opened) => opened,
        Err(error) => return trace.judge(broken(&error)),
    };
    let (ending, ended) = oneshot::channel::<()>();
    tasks.add(async move {
        // its reason to end reaches the exchange
        drop(connection.await);
        drop(ending);
    });
    let judged = match exchange(&mut tasks, sender.send_request(request), check, trace).await {
        Ok(ending) | Err(ending) => ending,
    };
    trace.judge(judged);
    if !check.secure {
        trace.amend(|mut ending| {
            if ending.reason == Reason::ConnectionReset {
                ending.message.push_str("; does it want TLS (grpcs)?");
            }
            ending
        });
    }
    // nobody asks any more, so the connection says goodbye
    drop(sender);
    drop(timeout(CLOSE_TIMEOUT, drive(&mut tasks, ended)).await);
}

async fn exchange(
    tasks: &mut Tasks,
    answer: impl Future<Output = hyper::Result<Response<Incoming>>>,
    check: &Check<'_>,
    trace: &mut Trace,
) -> Result<Ending, Ending> {
    let broken = |error: hyper::Error| broken(&error);
    let response = drive(tasks, answer).await.map_err(broken)?;
    trace.enter(Stage::Status);
    head(&response, check)?;
    let (message, status) = drive(tasks, body(response.into_body())).await.map_err(broken)??;
    match status {
        Some(0) => check.judge(&message),
        Some(code) => Err(check.refused(code)),
        None => Err(Ending::fail(Reason::ProtocolError, "the answer ends without a grpc-status")),
    }
}

/// Judges the head: it must be gRPC's, and may already carry the final status.
fn head(response: &Response<Incoming>, check: &Check<'_>) -> Result<(), Ending> {
    let status = response.status();
    let grpc = response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(GRPC.as_bytes()));
    if status != StatusCode::OK || !grpc {
        let message = format!("HTTP status {} without gRPC; is this a gRPC port?", status.as_u16());
        return Err(Ending::fail(Reason::ProtocolError, message).with_code(status.as_u16()));
    }
    match grpc_status(response.headers()) {
        Some(code) if code != 0 => Err(check.refused(code)),
        _ => Ok(()),
    }
}

/// The bounded body and the status of its trailers.
async fn body(mut body: Incoming) -> hyper::Result<Result<(BytesMut, Option<u16>), Ending>> {
    let mut message = BytesMut::new();
    while let Some(frame) = body.frame().await {
        match frame?.into_data() {
            Ok(data) if message.len() + data.len() > MAX_ANSWER => {
                let text = "the answer is longer than a health answer can be";
                return Ok(Err(Ending::fail(Reason::ProtocolError, text)));
            }
            Ok(data) => message.put(data),
            Err(frame) => return Ok(Ok((message, frame.trailers_ref().and_then(grpc_status)))),
        }
    }
    Ok(Ok((message, None)))
}

fn grpc_status(headers: &HeaderMap) -> Option<u16> {
    headers.get(GRPC_STATUS)?.to_str().ok()?.parse().ok()
}

impl Check<'_> {
    fn request(&self) -> Option<Request<Full<Bytes>>> {
        let scheme = if self.secure { "https" } else { "http" };
        let uri = format!("{scheme}://{}:{}{PATH}", self.host, self.port).parse::<Uri>().ok()?;
        let mut headers = HeaderMap::with_capacity(3);
        headers.insert(CONTENT_TYPE, GRPC);
        headers.insert(TE, TRAILERS);
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        let mut request = Request::new(Full::new(self.message()?));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        Some(request)
    }

    /// The request in gRPC's framing: not compressed, its length, itself.
    fn message(&self) -> Option<Bytes> {
        let asked = HealthCheckRequest { service: self.service.to_owned() };
        let mut framed = BytesMut::with_capacity(5 + asked.encoded_len());
        framed.put_u8(0);
        framed.put_u32(u32::try_from(asked.encoded_len()).ok()?);
        asked.encode(&mut framed).ok()?;
        Some(framed.freeze())
    }

    fn judge(&self, framed: &[u8]) -> Result<Ending, Ending> {
        let garbled = || Ending::fail(Reason::ProtocolError, "the answer is not a health answer");
        let message = match framed.split_at_checked(5) {
            Some(([0, length @ ..], message)) if *length == (message.len() as u64).to_be_bytes()[4..] => message,
            _ => return Err(garbled()),
        };
        let answer = HealthCheckResponse::decode(message).map_err(|_| garbled())?;
        let word = match answer.status {
            1 => return Ok(Ending::pass(Some(0), format!("{} is SERVING", self.subject()))),
            2 => "NOT_SERVING",
            3 => "SERVICE_UNKNOWN",
            _ => "UNKNOWN",
        };
        Ok(Ending::fail(Reason::NotServing, format!("{} is {word}", self.subject())).with_code(0))
    }

    /// The call ended with an error status.
    fn refused(&self, code: u16) -> Ending {
        let name = grpc_status_name(code).unwrap_or("not a known code");
        let hint = match code {
            5 => format!(": the health service does not know {}", self.subject()),
            12 => ": the server has no health service (grpc.health.v1.Health); add one, or use a tcp check".to_owned(),
            _ => String::new(),
        };
        Ending::fail(Reason::GrpcError, format!("gRPC status {code}, {name}{hint}")).with_code(code)
    }

    fn subject(&self) -> String {
        if self.service.is_empty() { "the server".to_owned() } else { text::escape(self.service, 100) }
    }
}

/// Runs `work` to its end while the connection's futures run next to it, so no task is spawned and nothing outlives the probe.
async fn drive<F: Future>(tasks: &mut Tasks, work: F) -> F::Output {
    let mut work = pin!(work);
    poll_fn(|cx| {
        if let Poll::Ready(done) = work.as_mut().poll(cx) {
            return Poll::Ready(done);
        }
        tasks.poll(cx);
        // what this brought is handled now, which saves a wake-up
        work.as_mut().poll(cx)
    })
    .await
}

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Where hyper leaves the futures that it wants run.
#[derive(Clone, Default)]
struct Inbox(Arc<Mutex<Vec<Task>>>);

impl Inbox {
    fn take(&self) -> Vec<Task> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<F: Future + Send + 'static> hyper::rt::Executor<F> for Inbox {
    fn execute(&self, future: F) {
        let task = Box::pin(async {
            future.await;
        });
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(task);
    }
}

/// The futures of one HTTP/2 connection: run inside the probe, dropped with it.
#[derive(Default)]
struct Tasks {
    inbox: Inbox,
    running: FuturesUnordered<Task>,
}

impl Tasks {
    fn add(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.running.push(Box::pin(task));
    }
}

impl Tasks {
    /// Moves the connection on. Why it ended reaches the work through the exchange.
    fn poll(&mut self, cx: &mut Context<'_>) {
        loop {
            self.running.extend(self.inbox.take());
            while let Poll::Ready(Some(())) = self.running.poll_next_unpin(cx) {}
            let quiet = self.inbox.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty();
            if quiet {
                return;
            }
        }
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        // a task left here holds the inbox, which holds it
        drop(self.inbox.take());
    }
}
