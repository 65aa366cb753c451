//! `portolan import`: the legacy gateway's file and our own lines, whole or not at all.

use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::common::{PATIENCE, SECRET, Server, ended, json as parsed, portolan, process, stdout};
use crate::moving::{GatewayRow, exported, files, gateway, run_in};

const PLAIN: GatewayRow<'static> = GatewayRow::PLAIN;

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

/// A server of the store that was imported into.
fn serve(folder: &Path) -> Server {
    Server::of(&folder.join("portolan.db"), &[])
}

#[test]
fn the_gateways_services_are_served_with_their_ids_and_dates() {
    let folder = folder();
    gateway(&folder.path().join("gateway.db"), &[PLAIN]);
    let output = run_in(folder.path(), &["import", "gateway.db"]);
    let (code, said) = ended(&output);
    assert_eq!((code, said.as_str()), (0, ""));
    assert_eq!(stdout(&output), "imported gateway.db into portolan.db, 1 row: 1 added\n");

    let server = serve(folder.path());
    let service = parsed(&server.cli(&["get", "user-service", "-o", "json"]));
    assert_eq!(service["id"], PLAIN.id, "programs that remember it go on");
    assert_eq!(service["registered_at"], "2025-03-04T01:30:00.123Z");
    assert_eq!((&service["base_url"], &service["version"]), (&json!(PLAIN.base_url), &json!("1.0.0")));
    assert_eq!(service["health_url"], PLAIN.health_url);
    assert_eq!(service["metadata"], json!({"environment": "production", "team": "backend"}));
    // The program registers as it did with the gateway: a renewal.
    let body = json!({"name": "user-service", "version": "1.0.0", "description": "User management service",
        "base_url": PLAIN.base_url, "health_url": PLAIN.health_url, "metadata": service["metadata"]});
    let renewed = server.command(&["register", "-f", "-", "-o", "json"]).write_stdin(body.to_string()).output();
    let renewed = parsed(&renewed.expect("it runs"));
    assert_eq!(
        (&renewed["id"], &renewed["instances"][0]["generation"]),
        (&service["id"], &service["instances"][0]["generation"])
    );
    println!(
        "interop: the legacy gateway's SQLite file | `portolan import` | its id, dates and metadata; its program's next call is a renewal"
    );
}

#[test]
fn a_second_import_changes_nothing_and_says_so() {
    let folder = folder();
    gateway(&folder.path().join("gateway.db"), &[PLAIN, GatewayRow { id: "b", name: "Order Service", ..PLAIN }]);
    assert_eq!(ended(&run_in(folder.path(), &["import", "gateway.db"])).0, 0);
    let before = exported(folder.path(), &["--for-import"]);
    let output = run_in(folder.path(), &["import", "gateway.db"]);
    assert_eq!(ended(&output).0, 0);
    let said = stdout(&output);
    assert!(said.ends_with("nothing changed in portolan.db: 2 rows of gateway.db: 2 already there\n"), "{said}");
    assert_eq!(exported(folder.path(), &["--for-import"]), before);
}

/// Lines that register so many services.
fn registrations(count: usize) -> String {
    let line = |n| format!("{{\"name\":\"s{n}\",\"base_url\":\"http://127.0.0.1:{}\"}}", 1000 + n);
    (0..count).map(line).collect::<Vec<_>>().join("\n")
}

/// Rows of every kind that does not fit, and one that does.
fn misfits() -> Vec<GatewayRow<'static>> {
    vec![
        PLAIN,
        GatewayRow { id: "2", name: "Order_Service", base_url: "http://127.0.0.1:8082", ..PLAIN },
        GatewayRow { id: "3", name: "user-service", base_url: "http://127.0.0.1:9081", ..PLAIN },
        GatewayRow { id: "4", name: "user-service", base_url: "http://127.0.0.1:8081", ..PLAIN },
        GatewayRow { id: "5", name: "mail", base_url: "localhost:8025", health_url: "/health", ..PLAIN },
        GatewayRow { id: "6", name: "metadata", base_url: "http://169.254.169.254/latest", health_url: "", ..PLAIN },
        GatewayRow { id: "7", name: "", base_url: "http://127.0.0.1:8087", ..PLAIN },
        GatewayRow { id: "8", name: "notes", base_url: "http://127.0.0.1:8088", metadata: "not json", ..PLAIN },
    ]
}

#[test]
fn each_row_that_does_not_fit_says_what_it_became_or_what_would_do() {
    let folder = folder();
    gateway(&folder.path().join("gateway.db"), &misfits());
    let output = run_in(folder.path(), &["import", "gateway.db"]);
    let (code, said) = ended(&output);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("3 rows do not fit, so nothing was imported") && said.contains("--skip"), "{said}");
    let report = stdout(&output);
    for line in [
        "row 2 (Order_Service) -> default/order-service  added: name is not a label of a-z, 0-9 and '-'; it became order-service",
        "row 3 (user-service) -> default/user-service/127-0-0-1-9081  added: name: another row has this name and a different address, so this one \
         becomes the instance 127-0-0-1-9081",
        "row 4 (user-service)  left out: row repeats name and address of row 1",
        "row 5 (mail)  does not fit: base_url is not a URL with a host",
        "; try http://localhost:8025",
        "row 6 (metadata)  does not fit: base_url: 169.254.169.254 is link-local (169.254.0.0/16), which is never probed",
        "row 7 (id 7)  does not fit: name is empty, so nobody could discover it; give it one in the gateway's file; try 127-0-0-1-8087",
        "row 8 (notes) -> default/notes  added: metadata is not JSON",
        "nothing was imported into portolan.db: 3 of 8 rows do not fit",
    ] {
        assert!(report.contains(line), "{line}\nis not in\n{report}");
    }
    assert!(exported(folder.path(), &[]).is_empty(), "all or nothing");

    let output = run_in(folder.path(), &["import", "gateway.db", "--skip", "-o", "json"]);
    assert_eq!(ended(&output).0, 0);
    let report = parsed(&output);
    let count = |what: &str| report[what].as_u64().expect("a count");
    assert_eq!([count("read"), count("added"), count("left_out"), count("refused")], [8, 4, 1, 3]);
    assert_eq!((&report["imported"], &report["kind"]), (&json!(true), &json!("gateway")));
    let mail = report["rows"].as_array().expect("rows").iter().find(|row| row["name"] == "mail").expect("a row");
    assert_eq!(mail["result"], "refused");
    assert_eq!(mail["notes"][0]["suggestion"], "http://localhost:8025");
    let names: Vec<Value> =
        exported(folder.path(), &[]).iter().map(|line| json!([line["name"], line["instance"]])).collect();
    let expected = json!([
        ["notes", "default"],
        ["order-service", "default"],
        ["user-service", "127-0-0-1-9081"],
        ["user-service", "default"]
    ]);
    assert_eq!(json!(names), expected);
}

#[test]
fn a_dry_run_writes_nothing_and_works_beside_a_server() {
    let folder = folder();
    gateway(&folder.path().join("gateway.db"), &misfits());
    let before = files(folder.path());
    let output = run_in(folder.path(), &["import", "gateway.db", "--dry-run", "--skip"]);
    assert_eq!(ended(&output).0, 0, "{output:?}");
    assert!(
        stdout(&output)
            .contains("4 added, 1 left out as repeats, 3 left out because they do not fit; nothing was written"),
        "{output:?}"
    );
    assert!(!stdout(&output).contains("without --skip"), "{output:?}");
    let whole = stdout(&run_in(folder.path(), &["import", "gateway.db", "--dry-run"]));
    assert!(whole.contains("; without --skip nothing would be imported"), "{whole}");
    assert_eq!(files(folder.path()), before, "not even a store was created");

    let server = serve(folder.path());
    assert_eq!(ended(&server.cli(&["register", "--name", "notes", "--base-url", "http://127.0.0.1:8088"])).0, 0);
    let output = run_in(folder.path(), &["import", "gateway.db"]);
    let (code, said) = ended(&output);
    assert_eq!(code, 5, "{said}");
    assert!(
        said.contains("in use by another Portolan server (process ") && said.contains("--dry-run works while it runs"),
        "{said}"
    );
    let output = run_in(folder.path(), &["import", "gateway.db", "--dry-run"]);
    assert_eq!(ended(&output).0, 2, "{output:?}");
    assert!(stdout(&output).contains("row 8 (notes) -> default/notes  does not fit: "), "{output:?}");
    assert!(
        stdout(&output)
            .contains("instance is registered in the store with other content; --replace takes the imported one"),
        "{output:?}"
    );
    let output = run_in(folder.path(), &["import", "gateway.db", "--dry-run", "--replace", "--skip"]);
    assert!(stdout(&output).contains("3 added, 1 changed"), "{output:?}");
    assert_eq!(parsed(&server.cli(&["list", "-o", "json"])).as_array().map(Vec::len), Some(1), "nothing came");
}

#[test]
fn the_gateways_own_file_is_never_a_store() {
    let folder = folder();
    gateway(&folder.path().join("services.db"), &[PLAIN]);
    let before = files(folder.path());
    let output = portolan().current_dir(folder.path()).args(["import", "services.db"]).output().expect("it runs");
    let (code, said) = ended(&output);
    assert!(code == 2 && said.contains("portolan import services.db --db portolan.db"), "{code} {said}");
    let output =
        portolan().current_dir(folder.path()).args(["serve"]).env("SERVER_PORT", "0").output().expect("it runs");
    let (code, said) = ended(&output);
    assert!(
        code == 1 && said.contains("`portolan import ") && said.contains("services.db --db NEW_DB_PATH`"),
        "{code} {said}"
    );
    assert_eq!(files(folder.path()), before);
}

#[test]
fn a_file_of_another_kind_is_refused_with_what_to_do() {
    let folder = folder();
    let refused = |name: &str, expected: &str| {
        let (code, said) = ended(&run_in(folder.path(), &["import", name]));
        assert!(code == 2 && said.contains(expected), "{name}: {code} {said}");
    };
    std::fs::write(folder.path().join("words.txt"), "hello\n").expect("written");
    refused("words.txt", "is neither the legacy gateway's SQLite file nor JSON lines");
    refused("missing.db", "cannot be read");
    refused(".", "is a folder");
    let other = rusqlite::Connection::open(folder.path().join("other.db")).expect("opens");
    other.execute_batch("CREATE TABLE t (a)").expect("a table");
    refused("other.db", "without the gateway's table service_infos");
    other.execute_batch("CREATE TABLE service_infos (id, name)").expect("a table");
    refused("other.db", "has no column base_url");
    std::fs::write(folder.path().join("empty"), "").expect("written");
    let output = run_in(folder.path(), &["import", "empty"]);
    assert_eq!((ended(&output).0, stdout(&output).as_str()), (0, "empty holds no rows; nothing to import\n"));
    refused("portolan.db", "is also the store's file");
    let (code, said) = ended(&run_in(folder.path(), &["import", "portolan.db", "--db", "new.db"]));
    assert!(code == 2 && said.contains("is a store of Portolan and needs no import"), "{said}");
}

#[test]
fn a_table_with_other_columns_is_read_as_far_as_it_goes() {
    let folder = folder();
    let db = rusqlite::Connection::open(folder.path().join("gateway.db")).expect("opens");
    db.execute_batch(
        "CREATE TABLE service_infos (Name text, base_url text, version integer, deleted_at datetime, colour text);
         INSERT INTO service_infos VALUES ('a', 'http://127.0.0.1:1', 3, NULL, 'red'), ('gone', 'http://127.0.0.1:2', 1, '2025-01-01', 'red'),
         ('b', x'ff', 1, NULL, 'red')",
    )
    .expect("a table");
    let output = run_in(folder.path(), &["import", "gateway.db", "--skip"]);
    let (code, said) = ended(&output);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("columns that have no place here: colour"), "{said}");
    assert!(
        stdout(&output).contains("row 2 (b)  does not fit: base_url holds bytes that are not UTF-8 text"),
        "{output:?}"
    );
    let lines = exported(folder.path(), &[]);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!((&lines[0]["name"], &lines[0]["version"]), (&json!("a"), &json!("3")));
}

#[test]
fn lines_come_from_a_pipe_and_repeats_are_found() {
    let folder = folder();
    let lines = [
        r#"{"name":"a","base_url":"http://127.0.0.1:1"}"#,
        "",
        r#"{"name":"a","base_url":"http://127.0.0.1:1"}"#,
        r#"{"name":"a","base_url":"http://127.0.0.1:2"}"#,
        r#"{"name":"b","base_url":"http://127.0.0.1:3","chek":{}}"#,
        r#"{"name":"b","#,
        r#"{"name":"c","base_url":"http://127.0.0.1:4","name":"d"}"#,
    ];
    let import = |args: &[&str]| {
        let mut command = portolan();
        command.current_dir(folder.path()).args(["import", "-", "--db", "portolan.db"]).args(args);
        command.write_stdin(lines.join("\n")).output().expect("it runs")
    };
    let output = import(&["-n", "shop", "--skip"]);
    assert_eq!(ended(&output).0, 0, "{output:?}");
    let report = stdout(&output);
    for line in [
        "row 3 (a) -> shop/a  left out: row repeats row 1",
        "row 4 (a) -> shop/a  does not fit: instance is that of row 1, which has other content; give each address a name of its own; \
         try 127-0-0-1-2",
        "row 5 (b)  does not fit: chek: unknown; did you mean check?",
        "row 6  does not fit: line is not JSON",
        "row 7 (d)  does not fit: name is given twice",
    ] {
        assert!(report.contains(line), "{line}\nis not in\n{report}");
    }
    assert_eq!(exported(folder.path(), &[]).len(), 1);
}

#[test]
fn what_becomes_another_value_is_said() {
    let folder = folder();
    let future = r#"{"name":"a","base_url":"http://127.0.0.1:1","registered_at":"2999-01-01T00:00:00Z"}"#;
    std::fs::write(folder.path().join("lines"), future).expect("written");
    let said = stdout(&run_in(folder.path(), &["import", "lines"]));
    assert!(said.contains("added: registered_at is in the future; it became the moment of the import"), "{said}");
    gateway(&folder.path().join("gateway.db"), &[GatewayRow { id: "7", registered_at: "yesterday", ..PLAIN }]);
    let said = stdout(&run_in(folder.path(), &["import", "gateway.db"]));
    assert!(said.contains("id is not a UUID; it became a new one; and registered_at is not a date"), "{said}");
}

#[test]
fn a_file_that_the_gateway_writes_to_is_tried_again() {
    let folder = folder();
    gateway(&folder.path().join("gateway.db"), &[PLAIN]);
    let writer = rusqlite::Connection::open(folder.path().join("gateway.db")).expect("opens");
    writer.execute_batch("BEGIN EXCLUSIVE").expect("locks");
    let (code, said) = ended(&run_in(folder.path(), &["import", "gateway.db"]));
    assert!(code == 2 && said.contains("writes to it; try again"), "{code} {said}");
}

#[test]
fn an_import_goes_beyond_the_limits_for_clients_and_says_so() {
    let folder = folder();
    std::fs::write(folder.path().join("lines"), registrations(101)).expect("written");
    let (code, said) = ended(&run_in(folder.path(), &["import", "lines"]));
    assert_eq!(code, 0, "{said}");
    assert!(
        said.contains("the store holds 101 services, and MAX_SERVICES is 100") && said.contains("or to 0 for no limit"),
        "{said}"
    );
    let server = serve(folder.path());
    let (code, said) = ended(&server.cli(&["register", "--name", "one-more", "--base-url", "http://127.0.0.1:9"]));
    assert!(code == 5 && said.contains("MAX_SERVICES"), "{code} {said}");
}

#[test]
fn the_settings_of_the_server_decide_what_may_be_probed() {
    let folder = folder();
    gateway(&folder.path().join("gateway.db"), &[PLAIN]);
    let import = |env: &[(&str, &str)]| {
        let mut command = portolan();
        command.current_dir(folder.path()).args(["import", "gateway.db", "--db", "portolan.db", "--dry-run"]);
        command.envs(env.iter().copied()).output().expect("it runs")
    };
    let output = import(&[("PORTOLAN_BIND_ADDRESS", "0.0.0.0")]);
    assert_eq!(ended(&output).0, 2);
    assert!(stdout(&output).contains("add 127.0.0.1/32 to PORTOLAN_PROBE_ALLOW to allow it"), "{output:?}");
    assert_eq!(ended(&import(&[("PORTOLAN_BIND_ADDRESS", "0.0.0.0"), ("PORTOLAN_PROBE_ALLOW", "127.0.0.0/8")])).0, 0);
    let (code, said) = ended(&import(&[("HEALTH_CHECK_INTERVAL", "0")]));
    assert!(code == 2 && said.contains("give it the same environment"), "{said}");
    let (code, said) = ended(&import(&[("PORTOLAN_MODE", "cluster"), ("PORTOLAN_BIND_ADDRESS", "127.0.0.1")]));
    assert!(code == 2 && said.contains("the Kubernetes API holds the services"), "{said}");
}

#[test]
fn imported_instances_belong_to_the_owner_that_was_given() {
    let folder = folder();
    gateway(&folder.path().join("gateway.db"), &[PLAIN, GatewayRow { id: "b", name: "orders", ..PLAIN }]);
    assert_eq!(ended(&run_in(folder.path(), &["import", "gateway.db", "--owner", "ci"])).0, 0);
    let server = Server::of(
        &folder.path().join("portolan.db"),
        &[("ENABLE_AUTH", "true"), ("JWT_SECRET", SECRET), ("PORTOLAN_BIND_ADDRESS", "127.0.0.1")],
    );
    let (code, said) = ended(&server.as_subject("other", &[], &["deregister", "orders"]));
    assert!(code == 5, "{code} {said}");
    assert_eq!(ended(&server.as_subject("ci", &[], &["deregister", "orders"])).0, 0);
}

/// Kills imports of many rows at ever later moments: each leaves the store as it was, or with everything.
#[test]
fn a_killed_import_leaves_all_or_nothing() {
    const ROWS: usize = 6000;
    let folder = folder();
    std::fs::write(folder.path().join("many"), registrations(ROWS)).expect("written");
    std::fs::write(folder.path().join("one"), "{\"name\":\"first\",\"base_url\":\"http://127.0.0.1:1\"}\n")
        .expect("written");
    assert_eq!(ended(&run_in(folder.path(), &["import", "one"])).0, 0);
    let (db, log) = (folder.path().join("portolan.db"), folder.path().join("portolan.db-wal"));
    let written = || std::fs::metadata(&log).map_or(0, |about| about.len());
    let (mut killed, mut step) = (0, 0);
    loop {
        let mut command = process();
        command
            .current_dir(folder.path())
            .args(["import", "many", "--db", "portolan.db"])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut child = command.spawn().expect("it starts");
        // Once so much of the transaction is in the log.
        let bytes = step * 30_000;
        let started = std::time::Instant::now();
        while child.try_wait().expect("waits").is_none() && written() <= bytes {
            assert!(started.elapsed() < PATIENCE, "neither ended nor wrote {bytes} bytes");
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        let ended = child.try_wait().expect("waits");
        child.kill().expect("kills");
        child.wait().expect("ends");
        let server = Server::of(&db, &[("MAX_SERVICES", "0")]);
        let stats = server.get("/api/v1/services/stats");
        let found = if stats.contains("\"total_services\":1,") { 1 } else { ROWS + 1 };
        assert!(stats.contains(&format!("\"total_services\":{found},")), "{stats}");
        if ended.is_some() || found > 1 {
            assert_eq!(found, ROWS + 1, "it was done: {stats}");
            break;
        }
        (killed, step) = (killed + 1, step + 1);
    }
    assert!(killed > 0, "no import was killed before its end");
}

/// A file that is written as slowly as it takes until the terminal shows how far its import is.
#[test]
fn a_terminal_shows_how_far_it_is_and_nothing_of_it_stays() {
    use std::io::{Read, Write};
    let folder = folder();
    let pipe = folder.path().join("slow");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).expect("a pipe");
    let pty = portable_pty::native_pty_system().openpty(portable_pty::PtySize::default()).expect("a terminal");
    let mut command = portable_pty::CommandBuilder::new(env!("CARGO_BIN_EXE_portolan"));
    command.env_clear();
    command.args(["import", "slow", "--db", "portolan.db"]);
    command.cwd(folder.path());
    let mut child = pty.slave.spawn_command(command).expect("it starts");
    drop(pty.slave);
    let mut shown = pty.master.try_clone_reader().expect("a reader");
    let (sender, pieces) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut piece = [0; 4096];
        while let Ok(n @ 1..) = shown.read(&mut piece) {
            let _ = sender.send(String::from_utf8_lossy(&piece[..n]).into_owned());
        }
    });
    let mut file = std::fs::File::create(&pipe).expect("opens");
    let (mut text, mut rows) = (String::new(), 0);
    let started = std::time::Instant::now();
    while !text.contains("\r\x1b[Kreading slow: ") {
        assert!(started.elapsed() < PATIENCE, "{text:?}");
        writeln!(file, "{{\"name\":\"s{rows}\",\"base_url\":\"http://127.0.0.1:9\"}}").expect("it reads");
        rows += 1;
        text.extend(pieces.try_iter());
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    drop(file);
    assert!(child.wait().expect("it ends").success());
    text.extend(pieces.iter());
    let (_, last) = text.rsplit_once("\x1b[K").expect("it was erased");
    assert!(last.starts_with("imported slow into portolan.db, ") && !last.contains("reading"), "{last:?}");
}
