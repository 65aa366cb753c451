//! The grpc check, against a real health server.

use bytes::Bytes;
use http_body_util::Full;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use portolan::model::check::{Target, TlsCheck};
use portolan::model::outcome::{Outcome, Reason, Stage};
use portolan::prober::{DialSettings, Dialer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};
use tower::util::MapRequest;
use tower::{Service, ServiceExt as _};

use super::harness::*;
use super::tls::{Ca, acceptor};

fn asking(port: u16, service: &str, tls: Option<TlsCheck>) -> Target {
    Target::Grpc { host: loopback(), port, service: service.to_owned(), tls }
}

async fn ask(server: &Server, service: &str) -> Outcome {
    probe(&asking(server.port(), service, None)).await
}

/// `shop.Orders` serves, `shop.Carts` does not.
async fn reporter() -> HealthServer<HealthService> {
    let reporter = HealthReporter::new();
    reporter.set_service_status("shop.Orders", ServingStatus::Serving).await;
    reporter.set_service_status("shop.Carts", ServingStatus::NotServing).await;
    reporter.set_service_status("shop.New", ServingStatus::Unknown).await;
    HealthServer::new(HealthService::from_health_reporter(reporter))
}

async fn serve<T>(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, service: T)
where
    T: Service<http::Request<hyper::body::Incoming>, Response = http::Response<tonic::body::Body>>
        + Clone
        + Send
        + 'static,
    T::Future: Send + 'static,
    T::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let connection = http2::Builder::new(TokioExecutor::new());
    drop(connection.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service)).await);
}

async fn health() -> Server {
    let service = reporter().await;
    Server::start(move |stream| serve(stream, service.clone())).await
}

#[tokio::test]
async fn serving_passes_and_nothing_stays_open() {
    let server = health().await;
    for service in ["", "shop.Orders"] {
        let outcome = ask(&server, service).await;
        assert_pass(&outcome);
        assert_eq!((outcome.code, outcome.stage), (Some(0), Stage::Status));
        assert!(outcome.timings.request_us.is_some(), "{outcome:?}");
    }
    server.quiet().await;
}

#[tokio::test]
async fn anything_but_serving_fails() {
    let server = health().await;
    for service in ["shop.Carts", "shop.New"] {
        let outcome = ask(&server, service).await;
        assert_fail(&outcome, Reason::NotServing);
        assert!(outcome.message.contains(service), "{outcome:?}");
    }
}

#[tokio::test]
async fn an_unknown_service_has_its_own_outcome() {
    let outcome = ask(&health().await, "shop.Typo").await;
    assert_fail(&outcome, Reason::GrpcError);
    assert_eq!(outcome.code, Some(5));
    assert!(outcome.message.contains("NOT_FOUND") && outcome.message.contains("shop.Typo"), "{outcome:?}");
    assert!(!outcome.message.contains("not registered"), "the peer's text is not repeated: {outcome:?}");
}

#[tokio::test]
async fn a_server_without_a_health_service_says_what_to_add() {
    let service = reporter().await;
    let server = Server::start(move |stream| {
        let elsewhere = |mut request: http::Request<hyper::body::Incoming>| {
            *request.uri_mut() = http::Uri::from_static("http://any/shop.Orders/List");
            request
        };
        let service: MapRequest<_, _> = service.clone().map_request(elsewhere);
        serve(stream, service)
    })
    .await;
    let outcome = ask(&server, "").await;
    assert_fail(&outcome, Reason::GrpcError);
    assert_eq!(outcome.code, Some(12));
    assert!(outcome.message.contains("UNIMPLEMENTED") && outcome.message.contains("health service"), "{outcome:?}");
}

#[tokio::test]
async fn tls_works_too() {
    let ca = Ca::new();
    let folder = tempfile::tempdir().expect("a folder");
    ca.write(folder.path(), "corp.pem");
    let (service, acceptor) = (reporter().await, acceptor(ca.issue(&["127.0.0.1"]), b"h2"));
    let server = Server::start(move |stream| {
        let (service, acceptor) = (service.clone(), acceptor.clone());
        async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                serve(stream, service).await;
            }
        }
    })
    .await;
    let dialer = Dialer::new(DialSettings { ca_dir: Some(folder.path().to_owned()), ..settings() });
    let corp = TlsCheck { ca: Some("corp.pem".to_owned()), ..TlsCheck::default() };
    let outcome = probe_with(&dialer, &asking(server.port(), "shop.Orders", Some(corp)), AMPLE).await;
    assert_pass(&outcome);
    assert!(outcome.timings.tls_us.is_some(), "{outcome:?}");
    let outcome = probe_with(&dialer, &asking(server.port(), "", Some(TlsCheck::default())), AMPLE).await;
    assert!([Reason::CertificateInvalid, Reason::CaUnavailable].contains(&outcome.reason), "{outcome:?}");
    server.quiet().await;
}

#[tokio::test]
async fn what_is_not_grpc_is_a_protocol_error() {
    let http1 = Server::start(|mut stream| async move {
        drop(stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await);
        until_closed(&mut stream).await;
    })
    .await;
    assert_fail(&ask(&http1, "").await, Reason::ProtocolError);
    let web = Server::start(|stream| async move {
        let page = hyper::service::service_fn(|_| async {
            let mut page = http::Response::new(Full::new(Bytes::from_static(b"page")));
            *page.status_mut() = http::StatusCode::NOT_FOUND;
            Ok::<_, std::convert::Infallible>(page)
        });
        drop(http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), page).await);
    })
    .await;
    let outcome = ask(&web, "").await;
    assert_fail(&outcome, Reason::ProtocolError);
    assert_eq!(outcome.code, Some(404));
    web.quiet().await;
}

/// A gRPC-like server with a body of its own making and no trailers.
async fn answering(body: Vec<u8>) -> Server {
    let body = Bytes::from(body);
    Server::start(move |stream| {
        let body = body.clone();
        async move {
            let odd = hyper::service::service_fn(move |_| {
                let mut answer = http::Response::new(Full::new(body.clone()));
                answer.headers_mut().insert("content-type", http::HeaderValue::from_static("application/grpc"));
                answer.headers_mut().insert("grpc-status", http::HeaderValue::from_static("0"));
                async { Ok::<_, std::convert::Infallible>(answer) }
            });
            drop(http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), odd).await);
        }
    })
    .await
}

#[tokio::test]
async fn an_answer_too_long_or_without_trailers_is_a_protocol_error() {
    for (body, words) in [
        (vec![0, 0, 0, 0, 2, 8, 1], "without a grpc-status"),
        (vec![0; 10_000], "longer than a health answer"),
        (vec![7; 3], "without a grpc-status"),
    ] {
        let server = answering(body).await;
        let outcome = ask(&server, "").await;
        assert_fail(&outcome, Reason::ProtocolError);
        assert!(outcome.message.contains(words), "{outcome:?}");
        server.quiet().await;
    }
}

#[tokio::test]
async fn silence_and_closing_are_distinguished() {
    let hung = Server::start(|mut stream| async move { until_closed(&mut stream).await }).await;
    let outcome = probe_briefly(&asking(hung.port(), "", None)).await;
    assert_fail(&outcome, Reason::Timeout);
    hung.quiet().await;
    let closing = Server::start(|mut stream| async move { drop(read_head(&mut stream).await) }).await;
    assert_fail(&ask(&closing, "").await, Reason::ConnectionReset);
}

/// An HTTP/2 frame without flags ([RFC 9113 §4.1](https://www.rfc-editor.org/rfc/rfc9113#section-4.1)).
fn frame(kind: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).expect("short").to_be_bytes();
    [&[0], &length[..], &[kind, 0], &stream.to_be_bytes(), payload].concat()
}

/// A server that answers a call with this frame.
async fn framing(answer: Vec<u8>) -> Server {
    const HEADERS: u8 = 1;
    const SETTINGS: u8 = 4;
    let answer = [frame(SETTINGS, 0, &[]), answer].concat();
    Server::start(move |mut stream| {
        let answer = answer.clone();
        async move {
            let (mut preface, mut head) = ([0; 24], [0; 9]);
            stream.read_exact(&mut preface).await.expect("a preface");
            while head[3] != HEADERS {
                stream.read_exact(&mut head).await.expect("a frame");
                let mut payload = vec![0; u16::from_be_bytes([head[1], head[2]]).into()];
                stream.read_exact(&mut payload).await.expect("all of the frame");
            }
            drop(stream.write_all(&answer).await);
            until_closed(&mut stream).await;
        }
    })
    .await
}

#[tokio::test]
async fn a_refused_call_is_not_another_protocol() {
    let reset = |why: u32| frame(3, 1, &why.to_be_bytes());
    // No call was begun.
    let go_away = |why: u32| frame(7, 0, &[[0; 4], why.to_be_bytes()].concat());
    for (answer, words) in [
        (reset(7), "(RST_STREAM, REFUSED_STREAM)"),
        (reset(11), "(RST_STREAM, ENHANCE_YOUR_CALM)"),
        (go_away(0), "(GOAWAY, NO_ERROR)"),
        (go_away(11), "(GOAWAY, ENHANCE_YOUR_CALM)"),
    ] {
        let outcome = ask(&framing(answer).await, "").await;
        assert_fail(&outcome, Reason::GrpcError);
        let said = format!("the server refused the call {words}; is it overloaded or shutting down?");
        assert_eq!(outcome.message, said);
    }
    for answer in [reset(1), reset(13), go_away(13)] {
        let outcome = ask(&framing(answer).await, "").await;
        assert_fail(&outcome, Reason::ProtocolError);
        assert!(outcome.message.contains("HTTP/1.1"), "{outcome:?}");
    }
}
