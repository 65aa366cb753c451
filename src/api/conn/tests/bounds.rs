//! Readers that are too slow, and connections that are too many.

use std::time::Instant;

use tokio::net::TcpSocket;

use super::*;

#[tokio::test]
async fn a_reader_that_stalls_is_dropped() {
    let server = start(quick());
    let _stalled = server.send("GET /big HTTP/1.1\r\nhost: x\r\n\r\n").await;
    server.until(|s| s.rejected("stalled_write") && s.metrics.connections.get() == 0).await;
    server.stop().await;
}

#[tokio::test]
async fn a_reader_that_dribbles_is_dropped() {
    let server = start(ConnSettings {
        write: Duration::from_millis(600),
        write_rate: 64 * 1024 * 1024,
        ..ConnSettings::default()
    });
    let mut stream = server.send("GET /big HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    let mut room = vec![0; 64 * 1024];
    let mut total = 0;
    // About 6 MiB a second: the system's buffers have room for more several times in each 600 ms.
    while let Ok(n @ 1..) = tokio::time::timeout(HANG, stream.read(&mut room)).await.expect("never dropped") {
        total += n;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(total < BIG, "it got everything");
    server.until(|s| s.rejected("stalled_write") && s.metrics.connections.get() == 0).await;
    server.stop().await;
}

#[tokio::test]
async fn a_slow_and_steady_reader_stays_connected() {
    let write = Duration::from_secs(1);
    let server = start(ConnSettings { write, write_rate: 30 * 1024, ..ConnSettings::default() });
    let mut stream = server.send("GET /big HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    let (mut room, started) = (vec![0; 15_000], Instant::now());
    // 300 KB a second: the answer would take minutes, and buffers of the system's choice would seem stalled for seconds.
    while started.elapsed() < 4 * write {
        stream.read_exact(&mut room).await.expect("it is not dropped");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(server.metrics.connections.get(), 1);
    assert!(!server.rejected("stalled_write"));
    drop(stream);
    server.stop().await;
}

#[tokio::test]
async fn a_reader_that_is_only_slow_gets_everything() {
    let server = start(quick());
    let mut stream = server.send("GET /big HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    let mut room = vec![0; 8 * 1024 * 1024];
    let mut total = 0;
    loop {
        let n = tokio::time::timeout(HANG, stream.read(&mut room)).await.expect("data").expect("read");
        total += n;
        if n == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(total > BIG, "{total}");
    server.stop().await;
}

#[tokio::test]
async fn no_piece_of_a_body_is_taken_for_a_refusal() {
    let server = start(quick());
    let mut stream = server.send("GET /sly HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    let answer = rest(&mut stream).await;
    assert!(answer.as_bytes().ends_with(&sly()), "{} bytes", answer.len());
    server.stop().await;
}

#[tokio::test]
async fn one_client_holds_no_more_than_its_share() {
    let server = start(ConnSettings { per_client: 2, ..quick() });
    let mut open = Vec::new();
    for _ in 0..2 {
        let mut stream = server.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
        one(&mut stream).await;
        open.push(stream);
    }
    let mut third = server.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let answer = rest(&mut third).await;
    assert_envelope(&answer, "429", "too_many_connections");
    assert!(answer.contains("retry-after: 1\r\n") && answer.contains("connection: close\r\n"), "{answer}");
    assert!(server.rejected("client_connections"));
    open.pop();
    server.until(|s| s.metrics.connections.get() == 1).await;
    assert!(one(&mut server.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n").await).await.contains("hello"));
    server.stop().await;
}

#[tokio::test]
async fn the_server_holds_no_more_than_its_total() {
    let server = start(ConnSettings { total: 1, ..quick() });
    let open = server.send("GET /gate HTTP/1.1\r\nhost: x\r\n\r\n").await;
    server.echo.entered.notified().await;
    assert_envelope(&rest(&mut server.connect().await).await, "503", "busy");
    assert!(server.rejected("connection_limit"));
    drop(open);
    server.until(|s| s.metrics.connections.get() == 0).await;
    assert!(one(&mut server.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n").await).await.contains("hello"));
    server.stop().await;
}

#[tokio::test]
async fn the_connection_that_idles_longest_makes_room() {
    let server = start(ConnSettings { total: 3, ..quick() });
    let mut busy = server.send("GET /gate HTTP/1.1\r\nhost: x\r\n\r\n").await;
    server.echo.entered.notified().await;
    let mut longest = server.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    one(&mut longest).await;
    let mut used = server.connect().await;
    // Refused as long as the idle ones have hardly rested.
    let started = Instant::now();
    let mut room = loop {
        assert!(started.elapsed() < HANG, "no idle connection made room");
        used.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("sent");
        one(&mut used).await;
        let mut new = server.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
        let answer = one(&mut new).await;
        if answer.contains("hello") {
            break new;
        }
        assert_envelope(&answer, "503", "busy");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(rest(&mut longest).await, "");
    assert!(server.rejected("idle_connection"));
    for kept in [&mut room, &mut used] {
        kept.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("sent");
        assert!(one(kept).await.contains("hello"));
    }
    server.echo.gate.notify_one();
    assert!(one(&mut busy).await.contains("through"));
    server.until(|s| s.metrics.connections.get() == 3).await;
    server.stop().await;
}

/// A client at another address of this machine.
async fn from(server: &Running, ip: [u8; 4]) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::from((ip, 0))).expect("an address of this machine");
    socket.connect(server.address).await.expect("connects")
}

/// Requests that never end, in each way.
const UNFINISHED: [&str; 4] = [
    "",
    "GET / HTTP/1.1\r\nhost: x",
    "POST /body HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nhalf",
    "POST /body HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5\r\nha",
];

#[tokio::test]
async fn unfinished_requests_make_room_for_whole_ones() {
    let patient = ConnSettings { head: HANG * 3, body: HANG * 3, ..ConnSettings::default() };
    for unfinished in UNFINISHED {
        let server = start(ConnSettings { total: 32, per_client: 16, ..patient.clone() });
        let mut open = Vec::new();
        for n in 0..96 {
            let mut stream = from(&server, [127, 0, 0, 31 + n % 6]).await;
            stream.write_all(unfinished.as_bytes()).await.expect("sent");
            open.push(stream);
        }
        // One of their neighbours, and one from elsewhere.
        for ip in [[127, 0, 0, 99], [127, 9, 9, 9]] {
            for _ in 0..20 {
                let mut stream = from(&server, ip).await;
                stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.expect("sent");
                assert!(one(&mut stream).await.contains("hello"), "beside {unfinished:?}");
            }
        }
        assert!(server.rejected("unfinished_request") && !server.rejected("connection_limit"), "{unfinished:?}");
        drop(open);
        server.stop().await;
    }
}

#[tokio::test]
async fn a_clients_own_unfinished_request_makes_room_at_its_share() {
    let server = start(ConnSettings { per_client: 2, head: HANG * 3, ..ConnSettings::default() });
    let mut half = server.send("GET / HTTP/1.1\r\nhost: x").await;
    let mut used = server.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    one(&mut used).await;
    server.until(|s| s.metrics.connections.get() == 2).await;
    // Refused as long as the half-sent one may only be slow.
    let started = Instant::now();
    let third = loop {
        assert!(started.elapsed() < HANG, "no request made room");
        let mut third = server.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
        let answer = one(&mut third).await;
        if answer.contains("hello") {
            break third;
        }
        assert_envelope(&answer, "429", "too_many_connections");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_envelope(&rest(&mut half).await, "503", "busy");
    used.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("sent");
    assert!(one(&mut used).await.contains("hello"), "the one in use stays");
    drop(third);
    server.stop().await;
}

#[tokio::test]
async fn a_burst_of_connections_waits_in_the_queue_and_is_not_dropped() {
    let most = std::fs::read_to_string("/proc/sys/net/core/somaxconn")
        .map_or(128, |text| text.trim().parse().expect("a number"));
    let listener = listen(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a port");
    let address = listener.local_addr().expect("an address");
    let burst: Vec<_> = (0..most.min(400)).map(|_| TcpStream::connect(address)).collect();
    // Nothing accepts here, so a connection beyond the backlog would wait forever.
    let connected = tokio::time::timeout(HANG, futures::future::join_all(burst)).await;
    assert!(connected.expect("none waits for room").iter().all(Result::is_ok));
    assert_eq!(listen(address).expect_err("the port is taken").kind(), ErrorKind::AddrInUse);
}
