//! `portolan availability`, and its column in `portolan list -o wide`.

use std::io::{Read, Write};
use std::net::TcpListener;

use crate::common::{Server, canned_forever, ended, json, portolan, stderr, stdout};

fn ok(server: &Server, args: &[&str]) -> String {
    let output = server.cli(args);
    assert_eq!(ended(&output).0, 0, "{args:?} {}", stderr(&output));
    stdout(&output)
}

/// The cells of a row by heading.
fn cells(table: &str, name: &str) -> Vec<(String, String)> {
    let words = |line: &str| -> Vec<String> {
        line.split("   ").map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect()
    };
    let head = words(table.lines().next().expect("a heading"));
    let row = table.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name} in {table}"));
    head.into_iter().zip(words(row)).collect()
}

fn cell(table: &str, name: &str, column: &str) -> String {
    let found = cells(table, name).into_iter().find(|(head, _)| head == column);
    found.unwrap_or_else(|| panic!("{column} in {table}")).1
}

#[test]
fn availability_is_a_table_json_or_csv() {
    let server = Server::start(&[]);
    let up = canned_forever("well");
    ok(&server, &["register", "--name", "up", "--base-url", &up, "--health-url", &format!("{up}/health")]);
    ok(&server, &["register", "--name", "down", "--base-url", "http://127.0.0.1:9", "--check-tcp"]);
    ok(&server, &["register", "--name", "unchecked", "--base-url", "http://127.0.0.1:9"]);
    ok(&server, &["wait", "up", "--for", "healthy"]);
    assert_eq!(ended(&server.cli(&["check", "down"])).0, 1);

    let table = ok(&server, &["availability"]);
    assert_eq!(cell(&table, "up", "AVAILABLE"), "100%");
    assert_eq!((cell(&table, "down", "AVAILABLE"), cell(&table, "down", "OUTAGES")), ("0%".to_owned(), "1".to_owned()));
    assert_eq!(
        (cell(&table, "unchecked", "AVAILABLE"), cell(&table, "unchecked", "LONGEST")),
        ("–".into(), "–".into())
    );

    let output = server.cli(&["availability", "down", "--window", "7d"]);
    let one = stdout(&output);
    assert!(one.contains("LASTED") && one.contains("ConnectRefused") && one.contains("default"), "{one}");
    assert!(stderr(&output).contains("recorded since"), "{}", stderr(&output));
    let data = json(&server.cli(&["availability", "down", "-i", "default", "-o", "json"]));
    assert_eq!((&data["instance"], &data["percent"]), (&"default".into(), &0.0.into()));
    let data = json(&server.cli(&["availability", "-A", "-o", "json"]));
    assert_eq!(data.as_array().map(Vec::len), Some(3));

    let csv = ok(&server, &["availability", "-A", "-o", "csv"]);
    let rows: Vec<Vec<&str>> = csv.lines().map(|line| line.split(',').collect()).collect();
    assert!(rows.len() == 4 && rows.iter().all(|row| row.len() == rows[0].len()), "{csv}");
    let percent = rows[0].iter().position(|column| *column == "percent").expect("a column");
    let by_name = |name| rows.iter().find(|row| row[1] == name).expect("a row")[percent];
    assert_eq!((by_name("up"), by_name("down"), by_name("unchecked")), ("100", "0", ""));

    let wide = ok(&server, &["list", "-o", "wide"]);
    assert_eq!(cell(&wide, "up", "AVAIL(24H)"), "100%");
    assert_eq!(cell(&wide, "unchecked", "AVAIL(24H)"), "–");
    assert_eq!(ended(&server.cli(&["availability", "nobody"])).0, 4);
    assert_eq!(ended(&server.cli(&["availability", "--window", "31d"])).0, 2);
}

/// A server of 150 services that tells the availability of the first 100, and refuses the next request for more.
fn busy() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let id = |n: usize| format!("0198c0de-0000-7000-8000-{n:012}");
    let some = |count, of: &dyn Fn(usize) -> String| {
        let all: Vec<String> = (0..count).map(of).collect();
        ("200 OK", format!(r#"{{"success":true,"message":"","data":[{}]}}"#, all.join(",")))
    };
    let services = some(150, &|n| format!(r#"{{"id":"{}","name":"s-{n}","status":"healthy"}}"#, id(n)));
    let first = some(100, &|n| format!(r#"{{"id":"{}","name":"s-{n}","percent":99.5}}"#, id(n)));
    let refusal = r#"{"success":false,"error":"too many","code":"rate_limited"}"#;
    let mut replies = vec![services, first, ("429 Too Many Requests", refusal.to_owned())].into_iter();
    std::thread::spawn(move || {
        for (mut stream, (status, body)) in listener.incoming().map_while(Result::ok).zip(&mut replies) {
            // A request of the client's arrives in one piece on loopback.
            let _ = stream.read(&mut [0; 16_384]);
            let head = format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nConnection: close");
            let _ = write!(stream, "{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        }
    });
    url
}

#[test]
fn what_arrived_before_a_refusal_is_shown() {
    let output = portolan().args(["list", "-o", "wide", "--server", &busy()]).output().expect("it runs");
    assert_eq!(ended(&output).0, 0, "{}", stderr(&output));
    let table = stdout(&output);
    let known = table.lines().filter(|line| line.contains("99.5%")).count();
    assert_eq!((known, cell(&table, "s-149", "AVAIL(24H)").as_str()), (100, "–"), "{table}");
}
