//! SIGHUP reloads the secrets and never ends a server.

use rustix::process::Signal;

use crate::common::{Logged, Server, ended, portolan, stdout};

const FIRST: &str = "the first secret of the tests, long enough";
const SECOND: &str = "the second secret of the tests, long enough";

/// Sends SIGHUP; the log line about it.
fn hang_up(server: &mut Logged) -> String {
    server.signal(Signal::HUP);
    server.until("SIGHUP")
}

#[test]
fn a_hangup_never_ends_a_server_that_listens() {
    let mut server = Server::start(&[]);
    for _ in 0..5 {
        server.signal(Signal::HUP);
        assert!(server.get("/healthz").contains("200 OK"));
    }
    server.signal(Signal::TERM);
    assert_eq!(server.wait(), Some(0), "SIGTERM still ends it in order");
}

#[test]
fn one_line_says_what_a_hangup_did() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut open = Logged::start(folder.path(), &[]);
    open.url();
    let said = hang_up(&mut open);
    assert!(
        said.contains(" INFO ") && said.contains("no secrets to reload") && said.contains("standard error"),
        "{said}"
    );
    drop(open);
    let mut inline = Logged::start(folder.path(), &[("ENABLE_AUTH", "true"), ("JWT_SECRET", FIRST)]);
    inline.url();
    let said = hang_up(&mut inline);
    assert!(said.contains(" INFO ") && said.contains("only a restart changes it"), "{said}");
}

#[test]
fn a_hangup_reads_the_secrets_again_and_keeps_those_that_it_cannot_replace() {
    let folder = tempfile::tempdir().expect("a folder");
    let secrets = folder.path().join("secrets");
    let write = |text: &str| std::fs::write(&secrets, text).expect("written");
    write(FIRST);
    let path = secrets.to_str().expect("UTF-8");
    let mut server = Logged::start(folder.path(), &[("ENABLE_AUTH", "true"), ("JWT_SECRET_FILE", path)]);
    let url = server.url();
    let register = |secret: &str| {
        let minted = portolan().env("JWT_SECRET", secret).args(["token", "--subject", "ci"]).output();
        let mut command = portolan();
        command.args(["register", "--name", "mail", "--base-url", "http://127.0.0.1:9", "--server", &url]);
        ended(&command.env("PORTOLAN_TOKEN", stdout(&minted.expect("it runs"))).output().expect("it runs")).0
    };
    assert_eq!((register(FIRST), register(SECOND)), (0, 5));
    let same = hang_up(&mut server);
    assert!(same.contains(" INFO ") && same.contains("1 in force as before"), "{same}");

    write("short");
    let weak = hang_up(&mut server);
    assert!(weak.contains(" ERROR ") && weak.contains("secret 1 is only 5 bytes long"), "{weak}");
    assert_eq!(register(FIRST), 0, "the old one stays valid");

    write(&format!("{SECOND}\n{FIRST}"));
    // The server's own polling may have found them first.
    let said = hang_up(&mut server);
    assert!(said.contains(" INFO ") && said.contains("2 in force"), "{said}");
    assert_eq!((register(FIRST), register(SECOND)), (0, 0));

    std::fs::remove_file(&secrets).expect("removed");
    let gone = hang_up(&mut server);
    assert!(
        gone.contains(" ERROR ") && gone.contains("if it stays away for 10 seconds, its secrets are revoked"),
        "{gone}"
    );
    write(FIRST);
    hang_up(&mut server);
    assert_eq!((register(FIRST), register(SECOND)), (0, 5));
    server.signal(Signal::TERM);
    assert_eq!(server.wait(), Some(0));
}
