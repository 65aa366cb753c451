//! A server with auth on, and one with a rate limit: exit code 5, and what to do.

use std::process::Output;
use std::time::Duration;

use portolan::api::access::{Mint, mint};
use portolan::model::time::UnixMs;
use secrecy::SecretString;

use crate::common::{Logged, SECRET, Server, ended, portolan, stderr, stdout};

const MAIL: [&str; 5] = ["register", "--name", "mail-service", "--base-url", "http://127.0.0.1:9"];
const IN_SHOP: [&str; 7] =
    ["register", "--name", "mail-service", "--base-url", "http://127.0.0.1:9", "--namespace", "shop"];

const OTHER: [&str; 5] = ["register", "--name", "other", "--base-url", "http://127.0.0.1:9"];

fn guarded() -> Server {
    Server::start(&[("ENABLE_AUTH", "true"), ("JWT_SECRET", SECRET), ("PORTOLAN_BIND_ADDRESS", "127.0.0.1")])
}

fn closed() -> Server {
    Server::start(&[
        ("ENABLE_AUTH", "true"),
        ("JWT_SECRET", SECRET),
        ("PORTOLAN_BIND_ADDRESS", "127.0.0.1"),
        ("PORTOLAN_READ_AUTH", "true"),
    ])
}

fn minted(more: &[&str]) -> String {
    let output = portolan().env("JWT_SECRET", SECRET).args(["token", "--subject", "ci"]).args(more).output();
    stdout(&output.expect("it runs")).trim().to_owned()
}

/// A token of `ci` that expired `ago`.
fn expired(ago: Duration, namespaces: Option<Vec<String>>) -> String {
    let what = Mint { subject: "ci".into(), issuer: None, namespaces, scopes: None, lasts: Duration::from_secs(1) };
    let then = UnixMs(UnixMs::wall().0 - i64::try_from(ago.as_millis()).expect("a time"));
    mint(&SecretString::from(SECRET), &what, then).expect("minted")
}

fn with(server: &Server, token: &str, args: &[&str]) -> Output {
    server.command(args).env("PORTOLAN_TOKEN", token).output().expect("it runs")
}

/// The command that a refusal printed: its last line.
fn printed(refused: &Output) -> String {
    let (code, said) = ended(refused);
    assert_eq!(code, 5, "{said}");
    let command = said.lines().last().expect("a line").trim().to_owned();
    assert!(command.contains("portolan token --subject "), "{said}");
    command
}

/// Runs the printed command unchanged with the server's secret, and then `args` with the token that it made.
fn followed(server: &Server, command: &str, args: &[&str]) -> Output {
    let programs = std::path::Path::new(env!("CARGO_BIN_EXE_portolan")).parent().expect("a folder");
    let path = format!("{}:/usr/bin:/bin", programs.display());
    let mut shell = assert_cmd::Command::new("sh");
    shell.env_clear().env("PATH", path).env("JWT_SECRET", SECRET).env("PORTOLAN_SERVER", &server.url);
    shell.args(["-ec", &format!("{command}\nexec portolan \"$@\""), "sh"]).args(args).output().expect("it runs")
}

fn done(output: &Output) {
    assert_eq!(ended(output).0, 0, "{}", stderr(output));
}

#[test]
fn a_token_gives_access_and_protects_what_its_subject_owns() {
    let server = guarded();
    let mine = server.as_subject("ci", &[], &MAIL);
    assert_eq!(ended(&mine).0, 0, "{}", stderr(&mine));
    assert_eq!(ended(&server.cli(&["list"])).0, 0, "reads are open");
    for args in [&["deregister", "mail-service"][..], &["check", "mail-service"]] {
        let theirs = server.as_subject("mallory", &[], args);
        assert_eq!(ended(&theirs).0, 5, "{args:?} {}", stderr(&theirs));
    }
    let admin = server.as_subject("ops", &["--scope", "admin"], &["deregister", "mail-service"]);
    assert_eq!(ended(&admin).0, 0, "{}", stderr(&admin));
}

#[test]
fn without_a_token_the_printed_command_makes_one() {
    let server = guarded();
    let refused = server.command(&MAIL).env("USER", "o'neil").output().expect("it runs");
    let command = printed(&refused);
    assert_eq!(command, r"export PORTOLAN_TOKEN=$(portolan token --subject 'o'\''neil')");
    done(&followed(&server, &command, &MAIL));
    let command = printed(&server.cli(&IN_SHOP));
    assert_eq!(command, "export PORTOLAN_TOKEN=$(portolan token --subject me --namespaces shop)");
    done(&followed(&server, &command, &IN_SHOP));
}

#[test]
fn a_reader_is_offered_only_the_scope_read() {
    let server = closed();
    for args in [&["list"][..], &["get", "mail-service", "-n", "shop"], &["list", "-A", "-o", "json"]] {
        let refused = server.cli(args);
        let command = printed(&refused);
        assert!(command.ends_with("--scope read)"), "{command}");
        assert!(stderr(&refused).contains("Authorization header required"), "{}", stderr(&refused));
        let again = followed(&server, &command, args);
        assert!(matches!(ended(&again).0, 0 | 4), "{}", stderr(&again));
    }
    for args in [&["watch", "-n", "shop"][..], &["list", "--watch"]] {
        let command = printed(&server.cli(args));
        assert!(command.contains("--scope read"), "a watch says it like any other: {command}");
    }
}

#[test]
fn a_rejected_token_says_why_and_the_printed_command_makes_one_like_it() {
    let server = guarded();
    let old = expired(Duration::from_mins(205), Some(vec!["shop".into(), "bank".into()]));
    let other = portolan()
        .env("JWT_SECRET", "another secret that is long enough to sign with")
        .args(["token", "--subject", "ci"])
        .output();
    let other = stdout(&other.expect("it runs")).trim().to_owned();
    let like = "export PORTOLAN_TOKEN=$(portolan token --subject ci)";
    for (token, args, why, command) in [
        (&old, &IN_SHOP[..], ", 3h2", "export PORTOLAN_TOKEN=$(portolan token --subject ci --namespaces shop,bank)"),
        (&minted(&["--ttl", "900d"]), &MAIL, "PORTOLAN_TOKEN_MAX_DAYS allows 30d here", like),
        (&other, &MAIL, "not signed with any of this server's secrets", like),
        (&"x.y".to_owned(), &OTHER, "not a JSON Web Token", "export PORTOLAN_TOKEN=$(portolan token --subject me)"),
    ] {
        let refused = with(&server, token, args);
        let said = stderr(&refused);
        assert!(said.starts_with("error: Invalid token\n") && said.contains(why), "{said}");
        assert_eq!(printed(&refused), command);
        done(&followed(&server, command, args));
    }
}

#[test]
fn only_what_a_token_lacks_is_named_and_offered() {
    let server = guarded();
    let plain = with(&server, &minted(&[]), &MAIL);
    assert_eq!(ended(&plain).0, 0, "{}", stderr(&plain));

    let refused = with(&server, &minted(&["--scope", "read"]), &MAIL);
    assert!(stderr(&refused).contains("the scope register, which the token lacks"), "{}", stderr(&refused));
    let command = printed(&refused);
    assert_eq!(command, "export PORTOLAN_TOKEN=$(portolan token --subject ci)", "read and register are the usual ones");
    done(&followed(&server, &command, &MAIL));

    let history = ["history", "mail-service"];
    let refused = with(&server, &minted(&["--scope", "register", "--namespaces", "default"]), &history);
    assert!(stderr(&refused).contains("the scope read, which the token lacks"), "{}", stderr(&refused));
    let command = printed(&refused);
    assert_eq!(command, "export PORTOLAN_TOKEN=$(portolan token --subject ci --namespaces default)");
    done(&followed(&server, &command, &history));

    let refused = with(&server, &minted(&[]), &IN_SHOP);
    assert!(stderr(&refused).contains("does not cover the namespace shop"), "{}", stderr(&refused));
    let command = printed(&refused);
    assert_eq!(command, "export PORTOLAN_TOKEN=$(portolan token --subject ci --namespaces default,shop)");
    done(&followed(&server, &command, &IN_SHOP));
    done(&followed(&server, &command, &MAIL));
}

#[test]
fn a_token_in_a_file_is_written_there() {
    let server = guarded();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("the token");
    let shown = file.to_str().expect("UTF-8");
    let args = [&MAIL[..], &["--token-file", shown]].concat();
    let missing = server.cli(&args);
    let (code, said) = ended(&missing);
    assert!(code == 2 && said.contains("cannot be read"), "{said}");
    let command = said.lines().last().expect("a line").trim();
    assert_eq!(command, format!("portolan token --subject me > '{shown}'"));
    done(&followed(&server, command, &args));

    std::fs::write(&file, expired(Duration::from_mins(5), None)).expect("written");
    let command = printed(&server.cli(&args));
    assert_eq!(command, format!("portolan token --subject ci > '{shown}'"));
    std::fs::remove_file(&file).expect("removed");
    let other = [&OTHER[..], &["--token-file", shown]].concat();
    done(&followed(&server, &command, &other));
}

#[test]
fn the_log_says_why_a_request_was_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = Logged::start(folder.path(), &[("ENABLE_AUTH", "true"), ("JWT_SECRET", SECRET)]);
    let url = server.url();
    let ask = |token: &str, args: &[&str]| {
        let mut command = portolan();
        let output =
            command.args(args).args(["--server", &url]).env("PORTOLAN_TOKEN", token).output().expect("it runs");
        assert_eq!(ended(&output).0, 5, "{}", stderr(&output));
    };
    ask(&expired(Duration::from_mins(5), None), &MAIL);
    let said = server.until("portolan::access: refused");
    assert!(said.contains("portolan::access: refused: Invalid token: the token expired at "), "{said}");
    assert!(said.contains("client=127.0.0.1") && said.contains("code=\"token_expired\""), "{said}");
    ask(&minted(&[]), &IN_SHOP);
    let said = server.until("portolan::access: refused");
    assert!(said.contains("the namespace shop") && said.contains("subject=\"ci\""), "{said}");
    let forged = minted(&[]).rsplit_once('.').map(|(claims, _)| format!("{claims}.AAAA")).expect("a signature");
    ask(&forged, &MAIL);
    let said = server.until("portolan::access: refused");
    assert!(said.contains("not signed with any") && !said.contains("subject"), "{said}");
}

#[test]
fn a_rate_limited_client_learns_when_to_try_again() {
    let server = Server::start(&[("PORTOLAN_READ_RATE_LIMIT_PER_MINUTE", "1")]);
    let said: Vec<(i32, String)> = (0..3).map(|_| ended(&server.cli(&["list"]))).collect();
    let refused = said.iter().find(|(code, _)| *code != 0).expect("the limit is one a minute");
    assert!(refused.0 == 5 && refused.1.contains("try again in"), "{refused:?}");
}
