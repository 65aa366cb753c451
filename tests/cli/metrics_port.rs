//! `/metrics` on a port of its own, while reads need a token.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::common::{Logged, SECRET, ended, portolan};

/// The address in `url`.
fn address(url: &str) -> &str {
    url.trim_start_matches("http://").trim_end_matches('/')
}

/// The answer at `address` to a request, head and all.
fn send(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer
}

/// The answer of `url` to a GET, head and all.
fn get(url: &str, target: &str) -> String {
    get_of(url, target, address(url))
}

/// The same under another host's name.
fn get_of(url: &str, target: &str, host: &str) -> String {
    send(address(url), &format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"))
}

/// Where the server serves metrics, as its log says after the API's address.
fn metrics_url(server: &mut Logged) -> String {
    let line = server.until("serving metrics on ");
    let (_, rest) = line.split_once("serving metrics on ").expect("an address");
    rest.split_once("/metrics").expect("a path").0.to_owned()
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
    let metrics = metrics_url(&mut server);
    let closed = get(&url, "/metrics");
    assert!(closed.starts_with("HTTP/1.1 401 "), "{closed}");
    let open = get(&metrics, "/metrics");
    assert!(open.starts_with("HTTP/1.1 200 ") && open.contains("\nportolan_build_info{"), "{open}");
    assert!(open.ends_with("# EOF\n"), "{open}");
    for other in ["/", "/api/v1/services", "/readyz", "/openapi.json", "/metrics/"] {
        let refused = get(&metrics, other);
        assert!(refused.starts_with("HTTP/1.1 404 ") && refused.contains("GET /metrics alone"), "{other}: {refused}");
    }
}

#[test]
fn the_port_of_the_metrics_is_not_probed_and_answers_to_loopback_names_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = Logged::start(folder.path(), &[("PORTOLAN_METRICS_ADDRESS", "127.0.0.1:0")]);
    let (api, metrics) = (server.url(), metrics_url(&mut server));
    let port = address(&metrics).rsplit_once(':').expect("a port").1;
    for host in ["127.0.0.1", "localhost"] {
        let body = format!(
            r#"{{"name":"own","base_url":"http://{host}:{port}","health_url":"http://{host}:{port}/metrics"}}"#
        );
        let head =
            format!("POST /api/v1/services/register HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", address(&api));
        let length = body.len();
        let request = format!("{head}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}");
        let refused = send(address(&api), &request);
        let says_why = refused.contains(&format!("port {port} there is this server's own"));
        assert!(refused.starts_with("HTTP/1.1 400 ") && says_why, "{refused}");
    }
    let foreign = get_of(&metrics, "/metrics", "evil.example");
    assert!(foreign.starts_with("HTTP/1.1 421 ") && !foreign.contains("portolan_build_info"), "{foreign}");
    for host in [address(&metrics), "localhost", "[::1]:9464"] {
        let open = get_of(&metrics, "/metrics", host);
        assert!(open.starts_with("HTTP/1.1 200 "), "{host}: {open}");
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
