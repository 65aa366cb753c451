//! Nearly valid inputs: valid ones with some bytes changed, cut, doubled or replaced by tokens of the format.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

#[derive(Debug, Clone)]
enum Damage {
    Byte(Index, u8),
    Cut(Index),
    Drop(Index, Index),
    Double(Index, Index),
    Put(Index, Vec<u8>),
}

fn damage(words: &[&'static [u8]]) -> impl Strategy<Value = Damage> + use<> {
    let at = any::<Index>;
    let words: Vec<Vec<u8>> = words.iter().map(|word| word.to_vec()).collect();
    prop_oneof![
        3 => (at(), any::<u8>()).prop_map(|(at, byte)| Damage::Byte(at, byte)),
        1 => at().prop_map(Damage::Cut),
        2 => (at(), any::<Index>()).prop_map(|(from, to)| Damage::Drop(from, to)),
        1 => (at(), any::<Index>()).prop_map(|(from, to)| Damage::Double(from, to)),
        3 => (at(), select(words)).prop_map(|(at, word)| Damage::Put(at, word)),
        1 => (at(), vec(any::<u8>(), 1..20)).prop_map(|(at, bytes)| Damage::Put(at, bytes)),
    ]
}

fn apply(bytes: &mut Vec<u8>, damage: Damage) {
    let span = |from: Index, to: Index, length: usize| {
        let (from, to) = (from.index(length), to.index(length));
        (from.min(to), from.max(to).min(from.min(to) + 64))
    };
    if bytes.is_empty() {
        return;
    }
    match damage {
        Damage::Byte(at, byte) => *at.get_mut(bytes) = byte,
        Damage::Cut(at) => bytes.truncate(at.index(bytes.len())),
        Damage::Drop(from, to) => {
            let (from, to) = span(from, to, bytes.len());
            bytes.drain(from..to);
        }
        Damage::Double(from, to) => {
            let (from, to) = span(from, to, bytes.len());
            bytes.extend_from_within(from..to);
        }
        Damage::Put(at, word) => {
            let at = at.index(bytes.len());
            bytes.splice(at..at, word);
        }
    }
}

/// A valid input with a few changes, or arbitrary bytes.
fn near(whole: Vec<Vec<u8>>, words: &[&'static [u8]]) -> impl Strategy<Value = Vec<u8>> + use<> {
    let near = (select(whole), vec(damage(words), 0..5)).prop_map(|(mut bytes, damages)| {
        for damage in damages {
            apply(&mut bytes, damage);
        }
        bytes
    });
    prop_oneof![12 => near, 1 => vec(any::<u8>(), 0..300)]
}

/// Prepends bytes that say how the rest is used.
fn led(lead: usize, rest: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    (vec(any::<u8>(), lead), rest).prop_map(|(lead, rest)| [lead, rest].concat())
}

fn texts(all: &[&str]) -> Vec<Vec<u8>> {
    all.iter().map(|text| text.as_bytes().to_vec()).collect()
}

pub(crate) fn requests() -> impl Strategy<Value = Vec<u8>> {
    let body = r#"{"name":"b","base_url":"http://127.0.0.1:9"}"#;
    let post = format!(
        "POST /api/v1/services/register HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let chunked = format!(
        "POST /api/v1/services/register HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    );
    let whole = [
        "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        "GET /api/v1/services/discover?name=a HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\nIf-None-Match: W/\"x.1\"\r\n\r\n",
        "OPTIONS /api/v1/services HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://localhost\r\nAccess-Control-Request-Method: GET\r\n\r\n",
        "GET http://127.0.0.1/api/v1/services HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        "GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/plain\r\n\r\nGET /readyz?verbose HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        "PUT /api/v1/services/01890a5d-ac96-774b-bcce-b302099a8057/instances/a/heartbeat HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 28\r\n\r\n{\"status\":\"warn\",\"note\":\"n\"}",
        "PUT /api/v1/services/01890a5d-ac96-774b-bcce-b302099a8057/acknowledgement?instance=a HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 30\r\n\r\n{\"note\":\"n\",\"for_seconds\":60}",
        "PUT /api/v1/services/01890a5d-ac96-774b-bcce-b302099a8057/instances/a/drain HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 32\r\n\r\n{\"reason\":\"r\",\"for_seconds\":60}",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        &post,
        &chunked,
    ];
    let words: &[&[u8]] = &[
        b"\r\n",
        b"\r\n\r\n",
        b"\n",
        b"\r",
        b"\0",
        b" ",
        b"Content-Length: 5\r\n",
        b"Content-Length: -1\r\n",
        b"Content-Length: 99999999999999999999\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n",
        b"transfer-encoding:\tchunked\r\n",
        b"Expect: 100-continue\r\n",
        b"Host: a\r\n",
        b"Host: \r\n",
        b"Connection: close\r\n",
        b"Upgrade: h2c\r\n",
        b"HTTP/1.1",
        b"HTTP/9.9",
        b"%",
        b"%00",
        b"?",
        b"#",
        b"//",
        b"/../",
        b"0\r\n\r\n",
        b"ffffffffffffffff\r\n",
        b"1;ext=1\r\n",
        b"Authorization: Bearer x\r\n",
        b"X-Forwarded-For: 1.1.1.1\r\n",
        b"\xff\xfe",
        b"*",
    ];
    led(1, near(texts(&whole), words))
}

pub(crate) fn registrations() -> impl Strategy<Value = Vec<u8>> {
    let whole = [
        r#"{"name":"b","base_url":"http://127.0.0.1:9"}"#,
        r#"{"name":"c","namespace":"default","instance":"i","base_url":"https://127.0.0.1:9/x","health_url":"http://127.0.0.1:9/h?k=v","version":"1.2.3","description":"d","metadata":{"k":"v"},"weight":7,"zone":"z","check":{"http":{"expected_statuses":[200,204]},"interval_seconds":5,"timeout_seconds":2,"retry_interval_seconds":1,"unhealthy_threshold":3,"healthy_threshold":2}}"#,
        r#"{"name":"d","base_url":"tcp://[::1]:5432","check":{"tcp":{}}}"#,
        r#"{"name":"e","base_url":"grpcs://127.0.0.1:1","check":{"grpc":{"service":"a.B"}}}"#,
        r#"{"name":"f","base_url":"postgres://127.0.0.1:5432","check":{"none":{}}}"#,
        r#"{"name":"g","base_url":"http://127.0.0.1:9","external_id":"a:b","tags":["x=y","z"],"ttl_seconds":30,"deregister_after_seconds":60,"check":{"tcp":{}},"checks":[{"name":"admin","advisory":true,"url":"http://127.0.0.1:8/r","interval_seconds":5},{"name":"disk","http":{"path":"/d","identity":{"json":{"/a~1b":"$service"},"header":{"x-a":"b"}},"version_from":"/v"}}]}"#,
        r#"{"name":"h","base_url":"http://127.0.0.1:9","check":{"heartbeat":{"ttl_seconds":9}}}"#,
    ];
    let words: &[&[u8]] = &[
        b"null",
        b"true",
        b"-1",
        b"1e999",
        b"18446744073709551616",
        b"\"\\u0000\"",
        b"\"\\ud800\"",
        b"[[[[[[[[",
        b"{}",
        b"[]",
        b"\"",
        b"\\",
        b",",
        b":",
        b"}",
        b"\"name\":\"x\",",
        b"\"check\":{\"tcp\":{}},",
        b"http://user:pass@",
        b"http://169.254.169.254",
        b"http://0x7f.1",
        b"\xe2\x80\xae",
        b"\x1b[2J",
        b"\xff",
    ];
    near(texts(&whole), words)
}

pub(crate) fn tokens() -> impl Strategy<Value = Vec<u8>> {
    let whole = [
        "",
        ".",
        "..",
        "eyJhbGciOiJub25lIn0.e30.",
        "eyJhbGciOiJIUzI1NiJ9.e30.AAAA",
        "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9",
        "=",
        "A",
        "eyJhbGciOiJIUzI1NiIsImNyaXQiOlsiYiJdfQ.eyJzdWIiOiJhIiwiZXhwIjo5OTk5OTk5OTk5fQ.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    ];
    let words: &[&[u8]] = &[b".", b"..", b"=", b"-", b"_", b"A", b"AAAA", b",", b"Bearer", b"+", b"/"];
    led(1, near(texts(&whole), words))
}

pub(crate) fn queries() -> impl Strategy<Value = Vec<u8>> {
    let whole = [
        "name=a&namespace=*&status=healthy&version=%5E1.2&zone=eu&meta.team=a&limit=5",
        "name=a&healthy=true&pick=weighted",
        "cursor=0000018bcfe568000190a5dac96774bbcceb302099a80570000&limit=1",
        "before=12&limit=100&instance=default",
        "version=%3E%3D1.0.0%20%3C2.0.0-rc.1%2Bbuild",
    ];
    let words: &[&[u8]] = &[
        b"&",
        b"=",
        b"%",
        b"%00",
        b"%ff",
        b"%F0%9F%98%80",
        b"+",
        b"name=",
        b"limit=0",
        b"limit=-1",
        b"limit=99999999999999999999",
        b"meta.=x",
        b"meta.%00=",
        b"status=",
        b"version=*",
        b"version=%5E",
        b"version=999999999999999999999.0.0",
        b"healthy=1",
        b"pick=",
        b"namespace=%2A",
        b"?",
        b"#",
        b";",
    ];
    led(1, near(texts(&whole), words))
}

pub(crate) fn cursors() -> impl Strategy<Value = Vec<u8>> {
    let whole = [
        "0000018bcfe568000190a5dac96774bbcceb302099a80570",
        "0123456789abcdef.1",
        "0123456789abcdef.18446744073709551615",
        "0123456789abcdef.0+12345678.9",
        "ffffffffffffffffffffffffffffffffffffffffffffffff",
        "0.0",
        "",
    ];
    let words: &[&[u8]] =
        &[b".", b"+", b"-", b"0", b"ffff", b"%30", b"99999999999999999999", b"&limit=2", b"%", b"\xff"];
    led(1, near(texts(&whole), words))
}

pub(crate) fn streams() -> impl Strategy<Value = Vec<u8>> {
    let service = r#"{"id":"01890a5d-ac96-774b-bcce-b302099a8057","name":"a","version":"1","description":"","base_url":"http://127.0.0.1:9","health_url":null,"status":"healthy","metadata":{},"last_health_check":null,"registered_at":"2026-01-02T03:04:05.678Z","updated_at":"2026-01-02T03:04:05.678Z","namespace":"default","source":"rest","revision":1,"reason":"Passed","instances":[]}"#;
    let whole = [
        format!("retry: 1000\n\nevent: snapshot\nid: 0123456789abcdef.1\ndata: {{\"services\":[{service}],\"first\":true,\"last\":true}}\n\n"),
        format!("event: change\nid: 0123456789abcdef.2\ndata: {{\"upserts\":[{service}],\"removed\":[{{\"id\":\"01890a5d-ac96-774b-bcce-b302099a8057\"}}]}}\n\n:\n\n"),
        "event: snapshot\r\nid: x\r\ndata: {\"services\":[],\r\ndata: \"first\":true,\"last\":false}\r\n\r\n".to_owned(),
        "event: server\ndata: [{\"at\":\"2026-01-02T03:04:05.678Z\",\"part\":\"store\",\"good\":false,\"message\":\"x\"}]\n\n".to_owned(),
    ];
    let words: &[&[u8]] = &[
        b"\n",
        b"\n\n",
        b"\r",
        b"\0",
        b"data:",
        b"data: {}\n\n",
        b"event: reset\n",
        b"event: snapshot\n",
        b"id:\n",
        b":",
        b"\xff",
        b"\xef\xbb\xbf",
        b"null",
        b"[",
        b"{",
        b"\x1b[2J",
        b"\"first\":true,",
        b"retry: 0\n",
        b"9999-12-31T23:59:59.999Z",
        b"-0001-01-01T00:00:00Z",
    ];
    near(whole.into_iter().map(String::into_bytes).collect(), words)
}

pub(crate) fn answers() -> impl Strategy<Value = Vec<u8>> {
    // A SETTINGS frame, its acknowledgement, and HEADERS of status 200 with grpc-status 0 in trailers.
    let frames: &[u8] = b"\0\0\0\x04\0\0\0\0\0\0\0\0\x04\x01\0\0\0\0\0\0\x01\x01\x04\0\0\0\x01\x88\0\0\x07\0\0\0\0\0\x01\0\0\0\0\x02\x08\x01";
    // The head of a ServerHello record, and an alert.
    let hello: &[u8] = b"\x16\x03\x03\0\x5a\x02\0\0\x56\x03\x03AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\x20BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB\x13\x01\0\0\x0e\0\x2b\0\x02\x03\x04\0\x33\0\x04\0\x1d\0\0";
    let whole = vec![
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec(),
        b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n".to_vec(),
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n".to_vec(),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n".to_vec(),
        b"HTTP/1.1 200 OK\r\nX-Service: user\r\nTransfer-Encoding: chunked\r\n\r\n2a\r\n{\"build\":{\"name\":\"user\",\"version\":\"1.2.3\"}}\r\n0\r\n\r\n".to_vec(),
        frames.to_vec(),
        hello.to_vec(),
        b"\x15\x03\x03\0\x02\x02\x28".to_vec(),
    ];
    let words: &[&[u8]] = &[
        b"\r\n",
        b"\r\n\r\n",
        b"\0",
        b"HTTP/1.1 200 OK\r\n",
        b"Content-Length: 99999999999\r\n",
        b"Location: http://169.254.169.254/\r\n",
        b"\xff",
        b"\0\0\x04\x03\0\0\0\0\x01\0\0\0\0",
        b"\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\0",
        b"\0\0\0\x04\0\0\0\0\0",
        b"\x16\x03\x03\xff\xff",
        b"HTTP/2 200\r\n",
        b"\x1b[2J",
        b"X-Service: billing\x1b[2J\r\n",
        b"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
        b"\\u001b\\u202e",
    ];
    // Nine of ten answers reach the right caller.
    let lead = prop_oneof![9 => select(vec![[0_u8, 3], [1, 2], [2, 3], [3, 2], [6, 3], [8, 3]]).prop_map(|lead| lead.to_vec()), 1 => vec(any::<u8>(), 2)];
    (lead, near(whole, words)).prop_map(|(lead, rest)| [lead, rest].concat())
}

pub(crate) fn rows() -> impl Strategy<Value = Vec<u8>> {
    let whole = [
        "healthy",
        "default/s1",
        "rest",
        "anonymous",
        "token:a\nb",
        "{\"interval_seconds\":7}",
        "{\"interval_seconds\":7,\"new_in_a_later_version\":1}",
        "http://127.0.0.1:9/",
        "ftp://x",
        "",
        "s0",
        "{\"h\":\"healthy\",\"r\":\"Passed\",\"s\":1,\"n\":1,\"b\":1,\"p\":1}",
        "[{\"name\":\"disk\",\"advisory\":true,\"tcp\":{}}]",
        "{\"check\":\"disk\",\"reason\":\"Timeout\",\"message\":\"m\"}",
        "{\"reason\":\"r\",\"by\":\"b\",\"since\":\"2026-01-02T03:04:05.678Z\"}",
        "[\"tag\"]",
        "drained",
        "\0\0\0\0\0\0\0\x01",
        "7fffffffffffffff",
    ];
    let words: &[&[u8]] =
        &[b"\xff", b"\0", b"{", b"}", b"\"", b"9", b"/", b"\n", b"\x1b", b"\x7f\xff\xff\xff\xff\xff\xff\xff"];
    led(2, near(texts(&whole), words))
}
