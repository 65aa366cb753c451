//! `/metrics` on a port of its own, while reads need a token.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::common::{Logged, SECRET, ended, portolan};

/// The answer of `url` to a GET, head and all.
fn get(url: &str, target: &str) -> String {
    let address = url.trim_start_matches("http://").trim_end_matches('/');
    let mut stream = TcpStream::connect(address).expect("it listens");
    let request = format!("GET {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer
}

#[test]
fn the_port_of_the_metrics_needs_no_token_and_serves_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let env = [
        ("ENABLE_AUTH", "true"),
        ("JWT_SECRET", SECRET),
        ("PORTOLAN_READ_AUTH", "true"),
        ("PORTOLAN_METRICS_ADDRESS", "127.0.0.1:0"),
    ];
    let mut server = Logged::start(folder.path(), &env);
    let url = server.url();
    let line = server.until("serving metrics on ");
    let (_, rest) = line.split_once("serving metrics on ").expect("an address");
    let metrics = rest.split_once("/metrics").expect("a path").0;
    let closed = get(&url, "/metrics");
    assert!(closed.starts_with("HTTP/1.1 401 "), "{closed}");
    let open = get(metrics, "/metrics");
    assert!(open.starts_with("HTTP/1.1 200 ") && open.contains("\nportolan_build_info{"), "{open}");
    assert!(open.ends_with("# EOF\n"), "{open}");
    for other in ["/", "/api/v1/services", "/readyz", "/openapi.json", "/metrics/"] {
        let refused = get(metrics, other);
        assert!(refused.starts_with("HTTP/1.1 404 ") && refused.contains("GET /metrics alone"), "{other}: {refused}");
    }
}

#[test]
fn an_address_that_is_taken_is_named_with_its_setting() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = portolan();
    command.arg("serve").env("SERVER_PORT", "0").env("DB_PATH", folder.path().join("services.db"));
    let (code, said) = ended(&command.env("PORTOLAN_METRICS_ADDRESS", &address).output().expect("it runs"));
    assert!(code == 1 && said.contains(&address) && said.contains("PORTOLAN_METRICS_ADDRESS"), "{code} {said}");
}
