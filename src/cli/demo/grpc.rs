//! Just enough of gRPC to answer `grpc.health.v1.Health/Check`
//! ([framing](https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md),
//! [health](https://github.com/grpc/grpc/blob/master/doc/health-checking.md)).

use std::convert::Infallible;

use bytes::{BufMut, Bytes, BytesMut};
use futures::stream;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Limited, StreamBody};
use hyper::body::{Body, Frame, Incoming};
use prost::Message;

const CHECK: &str = "/grpc.health.v1.Health/Check";
const STATUS: HeaderName = HeaderName::from_static("grpc-status");
/// Largest request that is read, in bytes.
const MAX_REQUEST: usize = 4096;

#[derive(Clone, PartialEq, Message)]
struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, PartialEq, Message)]
struct HealthCheckResponse {
    /// 1 is SERVING, 2 is NOT_SERVING.
    #[prost(int32, tag = "1")]
    status: i32,
}

/// Answers for the whole server; a named service is unknown, and any other method unimplemented.
pub(super) async fn answer(
    request: Request<Incoming>,
    serving: bool,
) -> Result<Response<impl Body<Data = Bytes, Error = Infallible>>, Infallible> {
    let known = request.uri().path() == CHECK;
    let asked = read(request.into_body()).await;
    let reply = HealthCheckResponse { status: if serving { 1 } else { 2 } };
    let (message, status) = match asked {
        _ if !known => (None, "12"),
        None => (None, "3"),
        Some(asked) if !asked.service.is_empty() => (None, "5"),
        Some(_) => (Some(frame(&reply)), "0"),
    };
    let mut trailers = HeaderMap::new();
    trailers.insert(STATUS, HeaderValue::from_static(status));
    let frames = message.map(Frame::data).into_iter().chain([Frame::trailers(trailers)]).map(Ok);
    let mut response = Response::new(StreamBody::new(stream::iter(frames)));
    let grpc = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(http::header::CONTENT_TYPE, grpc);
    Ok(response)
}

/// One message, uncompressed, after its five bytes of prefix.
async fn read(body: Incoming) -> Option<HealthCheckRequest> {
    let bytes = Limited::new(body, MAX_REQUEST).collect().await.ok()?.to_bytes();
    let message = bytes.strip_prefix(&[0])?;
    let (length, message) = message.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    (message.len() == length).then(|| HealthCheckRequest::decode(message).ok())?
}

fn frame(reply: &HealthCheckResponse) -> Bytes {
    let message = reply.encode_to_vec();
    let mut framed = BytesMut::with_capacity(message.len() + 5);
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap_or(0));
    framed.put_slice(&message);
    framed.freeze()
}
