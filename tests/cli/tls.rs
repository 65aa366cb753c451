//! Servers that speak HTTPS, and clients that trust them or say why not.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Output;

use rcgen::date_time_ymd;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::authority::{Authority, Pair};
use crate::common::{Logged, SECRET, Server, canned_forever, ended, portolan, stdout};

/// Files of a server and its clients.
struct Files {
    folder: TempDir,
    ca: Authority,
    clients: Authority,
}

impl Files {
    /// With a certificate for 127.0.0.1.
    fn new() -> Self {
        let files = Self {
            folder: tempfile::tempdir().expect("a folder"),
            ca: Authority::new("servers"),
            clients: Authority::new("clients"),
        };
        files.ca.write(files.folder.path(), "ca.crt");
        files.clients.write(files.folder.path(), "clients.crt");
        files.serve(&files.ca.issue(&["127.0.0.1"]));
        files
    }

    fn serve(&self, pair: &Pair) {
        pair.write(self.folder.path(), "tls");
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().expect("UTF-8").to_owned()
    }

    fn start(&self, env: &[(&str, &str)]) -> Server {
        let (cert, key) = (self.path("tls.crt"), self.path("tls.key"));
        Server::start(&[&[("PORTOLAN_TLS_CERT", &*cert), ("PORTOLAN_TLS_KEY", &*key)], env].concat())
    }

    fn ask(&self, server: &Server, args: &[&str]) -> Output {
        server.command(args).args(["--ca-file", &self.path("ca.crt")]).output().expect("it runs")
    }
}

/// Exit code and message of a command.
fn said(server: &Server, args: &[&str]) -> (i32, String) {
    ended(&server.cli(args))
}

#[test]
fn every_kind_of_client_trusts_a_ca_that_is_named() {
    let files = Files::new();
    let server = files.start(&[]);
    assert!(server.url.starts_with("https://127.0.0.1:"), "{}", server.url);
    let registered = files.ask(&server, &["register", "--name", "mail", "--base-url", "http://127.0.0.1:9"]);
    assert_eq!(ended(&registered).0, 0, "{}", ended(&registered).1);
    let listed = files.ask(&server, &["list"]);
    assert!(stdout(&listed).contains("mail"), "{}", stdout(&listed));
    let mut by_variable = server.command(&["get", "mail"]);
    assert_eq!(ended(&by_variable.env("PORTOLAN_CA_FILE", files.path("ca.crt")).output().expect("it runs")).0, 0);
    let frame = files.ask(&server, &["console", "--once", "--size", "100x20"]);
    assert!(stdout(&frame).contains("mail"), "{} {}", stdout(&frame), ended(&frame).1);
    let (answering, path) = (canned_forever("{}"), files.path("ca.crt"));
    let args = ["run", "--name", "batch", "--base-url", &answering, "--check-none", "--ca-file", &path];
    // The program ends once it finds its own registration.
    let find = format!(
        "for n in $(seq 1000); do \"$0\" get batch --ca-file {path} --server {} >/dev/null 2>&1 && exit 0; sleep 0.1; done; exit 1",
        server.url
    );
    let binary = env!("CARGO_BIN_EXE_portolan");
    let mut run = server.command(&args);
    let run = run.env("PATH", "/usr/bin:/bin").args(["--", "/bin/sh", "-c", &find, binary]).output().expect("it runs");
    assert_eq!(ended(&run).0, 0, "{}", ended(&run).1);
}

#[test]
fn a_server_that_speaks_plain_http_is_asked_where_no_ca_is_installed() {
    let server = Server::start(&[]);
    for (url, code) in [(server.url.clone(), 0), (server.url.replace("http:", "https:"), 3)] {
        let mut command = server.command(&["list", "--server", &url]);
        let output = command.env("SSL_CERT_FILE", "/nonexistent").env("SSL_CERT_DIR", "/nonexistent").output();
        let (ended, said) = ended(&output.expect("it runs"));
        assert_eq!(ended, code, "{said}");
        assert_eq!(said.contains("TLS could not be set up"), code == 3, "{said}");
    }
}

#[test]
fn a_certificate_that_is_not_trusted_is_explained() {
    let files = Files::new();
    let server = files.start(&[]);
    let (code, unknown) = said(&server, &["list"]);
    assert!(code == 3 && unknown.contains("not signed by a CA") && unknown.contains("--ca-file"), "{unknown}");
    let other = files.path("clients.crt");
    let (code, unknown) = said(&server, &["list", "--ca-file", &other]);
    assert!(code == 3 && unknown.contains("not signed by a CA"), "{unknown}");
    let (code, frame) = said(&server, &["console", "--once", "--timeout", "3s"]);
    assert!(code == 3 && frame.contains("--ca-file"), "{frame}");

    files.serve(&files.ca.issue(&["registry.example.org"]));
    let server = files.start(&[]);
    let (code, name) = ended(&files.ask(&server, &["list"]));
    assert!(code == 3 && name.contains("another name") && name.contains("registry.example.org"), "{name}");

    files.serve(&files.ca.issue_with(&["127.0.0.1"], |params| params.not_after = date_time_ymd(2020, 1, 1)));
    let server = files.start(&[]);
    let (code, old) = ended(&files.ask(&server, &["list"]));
    assert!(code == 3 && old.contains("expired on 2020-01-01") && old.contains("renew"), "{old}");
}

#[test]
fn a_scheme_that_the_server_does_not_speak_is_explained() {
    let files = Files::new();
    let server = files.start(&[]);
    let plain = server.url.replace("https://", "http://");
    let (code, text) = said(&server, &["list", "--server", &plain]);
    assert!(code == 2 && text.contains("https://"), "{code} {text}");
    let url = canned_forever("{}").replace("http://", "https://");
    let mut command = portolan();
    let (code, text) = ended(&command.args(["list", "--server", &url]).output().expect("it runs"));
    assert!(code == 3 && text.contains("does not speak TLS") && text.contains("http://"), "{code} {text}");
}

#[test]
fn files_that_cannot_be_used_are_usage() {
    let files = Files::new();
    let server = files.start(&[]);
    let missing = files.path("missing.crt");
    for (args, named) in [
        (vec!["--ca-file", &*missing], "missing.crt"),
        (vec!["--client-cert", &*missing], "missing.crt"),
        (vec!["--client-key", &*missing], "without its certificate"),
    ] {
        let (code, text) = said(&server, &[&["list"], &args[..]].concat());
        assert!(code == 2 && text.contains(named), "{code} {text}");
    }
    let (cert, key) = (files.path("tls.crt"), files.path("clients.crt"));
    let mut command = portolan();
    command.arg("serve").env("SERVER_PORT", "0").env("DB_PATH", files.path("other.db"));
    command.env("PORTOLAN_TLS_CERT", &cert).env("PORTOLAN_TLS_KEY", &key);
    let (code, text) = ended(&command.output().expect("it runs"));
    assert!(code == 2 && text.contains("PORTOLAN_TLS_KEY") && text.contains("no private key"), "{code} {text}");
    let mut command = portolan();
    command.arg("serve").env("PORTOLAN_TLS_CERT", &cert).env("PORTOLAN_TLS_CLIENT_CA", &cert);
    let (code, text) = ended(&command.output().expect("it runs"));
    assert!(code == 2 && text.contains("PORTOLAN_TLS_KEY") && text.contains("ENABLE_AUTH"), "{code} {text}");
}

#[test]
fn a_client_certificate_registers_where_one_is_required() {
    let files = Files::new();
    let path = files.path("clients.crt");
    let env = [("ENABLE_AUTH", "true"), ("JWT_SECRET", SECRET), ("PORTOLAN_TLS_CLIENT_CA", &*path)];
    let server = files.start(&[&env[..], &[("PORTOLAN_BIND_ADDRESS", "127.0.0.1")]].concat());
    for name in ["web", "mail"] {
        files.clients.issue(&[&format!("spiffe://example.org/{name}")]).write(files.folder.path(), name);
    }
    let (code, text) = ended(&files.ask(&server, &["list"]));
    assert!(code == 5 && text.contains("--client-cert"), "{code} {text}");
    let register = |who: &str| {
        let (cert, key) = (files.path(&format!("{who}.crt")), files.path(&format!("{who}.key")));
        let args =
            ["register", "--name", "a", "--base-url", "http://127.0.0.1:9", "--client-cert", &cert, "--client-key"];
        ended(&files.ask(&server, &[&args[..], &[&key]].concat()))
    };
    let (code, text) = register("web");
    assert_eq!(code, 0, "{text}");
    let (code, text) = register("mail");
    assert_eq!(code, 5, "another's: {text}");
    Authority::new("somebody").issue(&["a.example.org"]).write(files.folder.path(), "foreign");
    let (code, text) = register("foreign");
    assert!(code == 3 && text.contains("UnknownCA") && text.contains("PORTOLAN_TLS_CLIENT_CA"), "{code} {text}");
}

#[test]
fn a_server_says_how_its_certificate_stands() {
    let files = Files::new();
    let soon = (jiff::Timestamp::now() + jiff::SignedDuration::from_hours(72)).to_zoned(jiff::tz::TimeZone::UTC).date();
    let day = |part: i8| u8::try_from(part).expect("positive");
    files.serve(&files.ca.issue_with(&["127.0.0.1"], |params| {
        params.not_after = date_time_ymd(soon.year().into(), day(soon.month()), day(soon.day()));
    }));
    let (cert, key) = (files.path("tls.crt"), files.path("tls.key"));
    std::fs::set_permissions(&key, Permissions::from_mode(0o644)).expect("changed");
    let mut server = Logged::start(files.folder.path(), &[("PORTOLAN_TLS_CERT", &cert), ("PORTOLAN_TLS_KEY", &key)]);
    assert!(server.until("ends soon").contains(" WARN "));
    assert!(server.until("every user of this machine can read the private key").contains(" WARN "));
    let url = server.url();
    std::fs::write(&key, "nonsense").expect("written");
    assert!(server.until("the old ones stay in force").contains(" ERROR "));
    server.signal(Signal::HUP);
    assert!(server.until("SIGHUP: the certificate files cannot be used").contains(" ERROR "));
    let mut list = portolan();
    let listed = list.args(["list", "--server", &url, "--ca-file", &files.path("ca.crt")]).output();
    assert_eq!(ended(&listed.expect("it runs")).0, 0, "the old pair is in force");
    files.serve(&files.ca.issue(&["127.0.0.1"]));
    assert!(server.until("read the changed certificate files").contains("127.0.0.1"));
    server.signal(Signal::HUP);
    assert!(server.until("SIGHUP: read the certificate").contains(" INFO "));
    server.signal(Signal::TERM);
    assert_eq!(server.wait(), Some(0));
}

#[test]
fn the_port_of_the_metrics_speaks_https_too_and_asks_scrapers_for_no_certificate() {
    let files = Files::new();
    let (cert, key, clients) = (files.path("tls.crt"), files.path("tls.key"), files.path("clients.crt"));
    let env = [
        ("PORTOLAN_TLS_CERT", &*cert),
        ("PORTOLAN_TLS_KEY", &*key),
        ("PORTOLAN_TLS_CLIENT_CA", &*clients),
        ("PORTOLAN_TLS_CLIENT_AUTH", "required"),
        ("ENABLE_AUTH", "true"),
        ("JWT_SECRET", SECRET),
        ("PORTOLAN_METRICS_ADDRESS", "127.0.0.1:0"),
    ];
    let mut server = Logged::start(files.folder.path(), &env);
    let line = server.until("serving metrics on ");
    let url = line.split("serving metrics on ").nth(1).and_then(|rest| rest.split_once(',')).expect("a URL").0;
    assert!(url.starts_with("https://127.0.0.1:") && url.ends_with("/metrics"), "{line}");
    let pem = std::fs::read(files.path("ca.crt")).expect("written");
    let ca = reqwest::Certificate::from_pem(&pem).expect("a certificate");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let get = |url: &str| {
        let client = portolan::crypto::http_client().tls_certs_only([ca.clone()]).no_proxy().build().expect("a client");
        let answer = async {
            let answer = client.get(url).send().await?;
            Ok::<_, reqwest::Error>((answer.status().as_u16(), answer.text().await?))
        };
        runtime.block_on(answer).expect("an answer")
    };
    let (status, metrics) = get(url);
    assert!(status == 200 && metrics.contains("\nportolan_build_info{"), "{status} {metrics}");
    let (status, refused) = get(&url.replace("https://", "http://"));
    assert!(status == 400 && refused.contains("HTTPS"), "{status} {refused}");
}
