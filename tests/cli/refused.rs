//! A server with auth on, and one with a rate limit: exit code 5, and what to do.

use crate::common::{SECRET, Server, ended, stderr};

const MAIL: [&str; 5] = ["register", "--name", "mail-service", "--base-url", "http://127.0.0.1:9"];

fn guarded() -> Server {
    Server::start(&[("ENABLE_AUTH", "true"), ("JWT_SECRET", SECRET), ("PORTOLAN_BIND_ADDRESS", "127.0.0.1")])
}

#[test]
fn without_a_token_it_says_how_to_mint_one() {
    let server = guarded();
    let (code, said) = ended(&server.cli(&MAIL));
    assert_eq!(code, 5, "{said}");
    assert!(said.contains("portolan token"), "{said}");
}

#[test]
fn a_token_opens_and_its_owner_keeps() {
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
fn scope_namespace_and_age_are_told_apart() {
    let server = guarded();
    let reader = server.as_subject("reader", &["--scope", "read"], &MAIL);
    let (code, said) = ended(&reader);
    assert!(code == 5 && said.contains("--scope"), "{said}");

    let elsewhere = server.as_subject("ci", &["--namespaces", "shop"], &MAIL);
    let (code, said) = ended(&elsewhere);
    assert!(code == 5 && said.contains("namespace"), "{said}");
    let everywhere = server.as_subject("ci", &["--namespaces", "*"], &MAIL);
    assert_eq!(ended(&everywhere).0, 0);

    let forever = server.as_subject("ci", &["--ttl", "900d"], &MAIL);
    assert_eq!(ended(&forever).0, 5, "{}", stderr(&forever));
}

#[test]
fn who_asks_too_often_learns_when_to_ask_again() {
    let server = Server::start(&[("PORTOLAN_READ_RATE_LIMIT_PER_MINUTE", "1")]);
    let said: Vec<(i32, String)> = (0..3).map(|_| ended(&server.cli(&["list"]))).collect();
    let refused = said.iter().find(|(code, _)| *code != 0).expect("the limit is one a minute");
    assert!(refused.0 == 5 && refused.1.contains("try again in"), "{refused:?}");
}
