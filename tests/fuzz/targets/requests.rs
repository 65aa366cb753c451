//! Bytes to a server's connection: never a panic, never a hang, and each answer is well-formed HTTP in the envelope.

use std::sync::OnceLock;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::app::{Options, TestApp, token};
use super::http::{Answer, answers, show};
use super::{AMPLE, runtime};

/// Two servers: one open, one that requires tokens.
fn server(auth: bool) -> &'static TestApp {
    static OPEN: OnceLock<TestApp> = OnceLock::new();
    static CLOSED: OnceLock<TestApp> = OnceLock::new();
    let start = || {
        runtime().block_on(async {
            // Without limits of rate: every answer is about the request.
            let app = TestApp::with(Options { auth, ..Options::default() }).await;
            if !auth {
                app.add("a").await;
            }
            app
        })
    };
    if auth { CLOSED.get_or_init(start) } else { OPEN.get_or_init(start) }
}

/// Sends the pieces and reads until the server closes.
fn exchange(auth: bool, pieces: &[&[u8]]) -> Vec<u8> {
    let address = server(auth).address;
    runtime().block_on(async {
        let exchange = async {
            let mut stream = TcpStream::connect(address).await.expect("a connection");
            let mut answer = Vec::new();
            for piece in pieces {
                // The server may have closed already, having said why.
                if stream.write_all(piece).await.is_err() {
                    break;
                }
                tokio::task::yield_now().await;
            }
            // A reset comes where we still sent when it closed.
            drop(stream.read_to_end(&mut answer).await);
            answer
        };
        timeout(AMPLE, exchange).await.unwrap_or_else(|_| panic!("the server neither answers nor closes: {pieces:?}"))
    })
}

/// A request that ends its connection.
const LAST: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";

/// Not a 500, and in the envelope.
fn well(answer: &Answer, what: &[u8]) {
    let text = String::from_utf8_lossy(&answer.body);
    let allowed = [501, 503].contains(&answer.status) || answer.status < 500;
    assert!(allowed, "{} {text} to {}", answer.status, show(what));
    let json = answer.header("content-type").is_some_and(|kind| kind.starts_with("application/json"));
    if answer.cut || answer.body.is_empty() || !json {
        assert!(answer.status < 400 || answer.cut || answer.body.is_empty() || !json || !text.is_empty());
        return;
    }
    let value: Value = serde_json::from_slice(&answer.body).unwrap_or_else(|error| panic!("{error}: {text}"));
    let enveloped = value["success"].as_bool() == Some(answer.status < 400);
    let bare = answer.status == 200
        && (value["message"].is_string() || value["status"].is_string() || value["openapi"].is_string());
    assert!(enveloped || bare, "{} {text} to {}", answer.status, show(what));
    if answer.status >= 400 {
        assert!(value["error"].is_string() && value["code"].is_string(), "{text}");
    }
}

/// Raw bytes, in two pieces: the first byte says where they are cut.
pub(crate) fn raw(data: &[u8]) {
    let Some((cut, bytes)) = data.split_first() else { return };
    let (first, second) = bytes.split_at(usize::from(*cut) * bytes.len() / 256);
    let answer = exchange(false, &[first, second, LAST]);
    // Which requests the server made of it is not known here, so neither is which answer has no body.
    if !bytes.windows(4).any(|at| at.eq_ignore_ascii_case(b"HEAD")) {
        for answer in &answers(&answer, |_| false) {
            well(answer, bytes);
        }
    }
}

fn one(auth: bool, request: &[u8]) -> Answer {
    let mut answers = answers(&exchange(auth, &[request, LAST]), |_| false);
    assert!(!answers.is_empty(), "no answer to {}", show(request));
    let answer = answers.remove(0);
    well(&answer, request);
    answer
}

/// A registration's body.
pub(crate) fn registration(body: &[u8]) {
    let head = format!(
        "POST /api/v1/services/register HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let answer = one(false, &[head.as_bytes(), body].concat());
    if answer.status == 200 {
        let data: Value = serde_json::from_slice(&answer.body).expect("JSON");
        let id = data["data"]["id"].as_str().expect("an id");
        let found = one(false, format!("GET /api/v1/services/{id} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").as_bytes());
        assert_eq!(found.status, 200, "what was acknowledged is there");
    }
}

/// Bytes that a header's value or a target may contain.
fn legal(data: &[u8]) -> Vec<u8> {
    data.iter().copied().filter(|byte| (0x21..0x7f).contains(byte)).collect()
}

/// A bearer token: only a minted one is accepted.
pub(crate) fn bearer(data: &[u8]) {
    static VALID: OnceLock<String> = OnceLock::new();
    let valid = VALID.get_or_init(|| token("fuzz", None, None));
    // The first byte says how much of a valid token comes first.
    let (keep, rest) = data.split_first().map_or((0, data), |(first, rest)| (usize::from(*first), rest));
    let mut text = valid.as_bytes()[..keep.min(valid.len())].to_vec();
    text.extend(legal(rest));
    let head = b"DELETE /api/v1/services/01890a5d-ac96-774b-bcce-b302099a8057 HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer ";
    let answer = one(true, &[head, text.as_slice(), b"\r\n\r\n"].concat());
    let expected = if text == valid.as_bytes() { 404 } else { 401 };
    // A head may be too long.
    assert!(answer.status == expected || answer.status == 431, "{} to the token {}", answer.status, show(&text));
}

/// A query, to each route that takes one.
pub(crate) fn query(data: &[u8]) {
    let (route, rest) = data.split_first().map_or((0, data), |(first, rest)| (usize::from(*first), rest));
    let routes = [
        "services",
        "services/discover",
        "services/stats",
        "probes",
        "services/01890a5d-ac96-774b-bcce-b302099a8057/history",
    ];
    let route = routes[route % routes.len()];
    let target = [format!("GET /api/v1/{route}?").as_bytes(), &legal(rest)].concat();
    one(false, &[&target, b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".as_slice()].concat());
}

/// A cursor: of a page, or of a watch, where it may come as a header too.
pub(crate) fn cursor(data: &[u8]) {
    let (transport, rest) = data.split_first().map_or((0, data), |(first, rest)| (first % 3, rest));
    let cursor = legal(rest);
    let request = match transport {
        0 => [b"GET /api/v1/services?limit=1&cursor=".as_slice(), &cursor, b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"]
            .concat(),
        1 => [b"GET /api/v1/watch?cursor=".as_slice(), &cursor, b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"].concat(),
        _ => [b"GET /api/v1/watch HTTP/1.1\r\nHost: 127.0.0.1\r\nLast-Event-ID: ".as_slice(), &cursor, b"\r\n\r\n"]
            .concat(),
    };
    if transport == 0 {
        one(false, &request);
        return;
    }
    // A watch that begins goes on: its head is enough.
    let address = server(false).address;
    runtime().block_on(async {
        let exchange = async {
            let mut stream = TcpStream::connect(address).await.expect("a connection");
            stream.write_all(&request).await.expect("sent");
            let mut answer = vec![0; 64 * 1024];
            let mut length = 0;
            while !answer[..length].windows(4).any(|at| at == b"\r\n\r\n") {
                let read = stream.read(&mut answer[length..]).await.expect("an answer");
                assert!(read > 0, "no answer to {}", show(&request));
                length += read;
            }
            let status = std::str::from_utf8(&answer[9..12]).ok().and_then(|text| text.parse::<u16>().ok());
            assert!(matches!(status, Some(200 | 400 | 431)), "{status:?} to {}", show(&request));
        };
        timeout(AMPLE, exchange).await.unwrap_or_else(|_| panic!("no head of an answer to {}", show(&request)));
    });
}
