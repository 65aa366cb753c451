//! Secrets that change while the server runs.

use std::io::Write;
use std::time::Instant;

use secrecy::ExposeSecret;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::api::file_work::tests::on_one_thread;

const OTHER: &str = "another-secret-of-more-than-32-bytes-for-tests";

fn world(path: &std::path::Path) -> World {
    World::with(settings(), Some(Secrets::file(path).expect("readable")))
}

fn signed_by(secret: &str) -> Ask {
    let header = json!({"alg": "HS256"});
    Ask::register().bearer(&forge::<Hmac<sha2::Sha256>>(&header, &claims(), secret.as_bytes()))
}

#[test]
fn a_file_that_comes_later_counts_from_then_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("secrets");
    let secrets = Secrets::file_if_any(&path).expect("there need be none");
    assert!(secrets.signing().is_none());
    let at = |second: i64| {
        secrets.refresh(UnixMs(second * 1000));
        secrets.current().verify.len()
    };
    assert_eq!((at(0), at(2)), (0, 0));
    std::fs::write(&path, "short").expect("written");
    assert_eq!(at(4), 0, "one that cannot be used is not");
    std::fs::write(&path, SECRET).expect("written");
    assert_eq!(at(6), 1);
    std::fs::remove_file(&path).expect("removed");
    assert_eq!((at(8), at(17)), (1, 1), "it may come back at once");
    assert_eq!(at(18), 0, "gone for ten seconds");
    std::fs::write(&path, SECRET).expect("written");
    assert_eq!(at(20), 1);
}

#[test]
fn every_line_verifies_and_the_first_signs() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("secrets");
    std::fs::write(&path, format!("\n  {OTHER}  \r\n\n{SECRET}\n")).expect("written");
    let secrets = Secrets::file(&path).expect("two secrets");
    let what =
        Mint { subject: "a".into(), issuer: None, namespaces: None, scopes: None, lasts: Duration::from_mins(1) };
    let token = mint(&secrets.signing().expect("a secret"), &what, START).expect("minted");
    assert_eq!(token, mint(&SecretString::from(OTHER), &what, START).expect("minted"));
    let world = world(&path);
    assert_eq!(world.code(&signed_by(SECRET)), "admitted");
    assert_eq!(world.code(&signed_by(OTHER)), "admitted");
    assert_eq!(world.code(&signed_by("a-third-secret-that-nobody-has-ever-listed")), "token_invalid");
}

#[test]
fn a_line_that_is_not_text_costs_no_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("secrets");
    let bytes = [b"\xef\xbb\xbf", SECRET.as_bytes(), b"\n# B\xfcro\n", OTHER.as_bytes(), b"\n"].concat();
    std::fs::write(&path, bytes).expect("written");
    let secrets = Secrets::file(&path).expect("two secrets");
    assert_eq!(secrets.signing().expect("a secret").expose_secret(), SECRET, "without the byte order mark");
    let world = world(&path);
    assert_eq!(world.code(&signed_by(SECRET)), "admitted");
    assert_eq!(world.code(&signed_by(OTHER)), "admitted");
}

#[test]
fn a_changed_file_counts_once_it_was_checked_and_a_broken_one_never() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("secrets");
    std::fs::write(&path, SECRET).expect("written");
    let world = world(&path);
    assert_eq!(world.code(&signed_by(SECRET)), "admitted");
    let replace = |content: &str| {
        let mut file = tempfile::NamedTempFile::new_in(folder.path()).expect("a file");
        file.write_all(content.as_bytes()).expect("written");
        file.persist(&path).expect("renamed");
    };
    replace(OTHER);
    let later = START.plus(Duration::from_mins(1));
    world.clock.set(Now { steady: later, wall: later });
    assert_eq!(world.code(&signed_by(OTHER)), "token_invalid", "no request reads the file");
    world.pass(Duration::from_secs(1));
    assert_eq!(world.code(&signed_by(OTHER)), "admitted");
    assert_eq!(world.code(&signed_by(SECRET)), "token_invalid", "what was removed verifies no more");
    for broken in ["", "short", "your-secret-key", &format!("{SECRET}\nshort")] {
        replace(broken);
        world.pass(Duration::from_secs(1));
        assert_eq!(world.code(&signed_by(OTHER)), "admitted", "after {broken:?}");
        assert_eq!(world.code(&signed_by(SECRET)), "token_invalid", "after {broken:?}");
    }
    std::fs::remove_file(&path).expect("removed");
    world.pass(Duration::from_secs(1));
    assert_eq!(world.code(&signed_by(OTHER)), "admitted");
    replace(SECRET);
    world.pass(Duration::from_secs(1));
    assert_eq!(world.code(&signed_by(SECRET)), "admitted");
}

#[test]
fn a_deleted_file_revokes_its_secrets_and_a_moment_without_it_does_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("secrets");
    std::fs::write(&path, SECRET).expect("written");
    let world = world(&path);
    let seconds = |n| world.pass(Duration::from_secs(n));
    let admitted = world.ask(&signed_by(SECRET)).expect("admitted");
    let mut watch = world.access.token_validity(&admitted.principal).expect("a token");
    for _ in 0..3 {
        std::fs::remove_file(&path).expect("removed");
        seconds(1);
        assert_eq!(world.code(&signed_by(SECRET)), "admitted", "gone");
        seconds(9);
        assert_eq!(world.code(&signed_by(SECRET)), "admitted", "for nine seconds");
        std::fs::write(&path, SECRET).expect("written");
        seconds(1);
        assert_eq!(world.code(&signed_by(SECRET)), "admitted");
    }
    assert_eq!(watch.ended(), None);
    std::fs::remove_file(&path).expect("removed");
    seconds(1);
    assert_eq!(world.code(&signed_by(SECRET)), "admitted");
    seconds(10);
    assert_eq!(world.code(&signed_by(SECRET)), "token_invalid");
    assert_eq!(world.code(&Ask::register()), "token_required", "nobody else gets in instead");
    assert_eq!(watch.ended(), Some(TokenEnd::Revoked));
    std::fs::write(&path, SECRET).expect("written");
    seconds(1);
    assert_eq!(world.code(&signed_by(SECRET)), "admitted", "it came back");

    // A folder that may not be searched says nothing about the file. Root may search every folder, so this is a file in its place.
    std::fs::rename(folder.path(), folder.path().with_extension("aside")).expect("renamed");
    std::fs::write(folder.path(), "").expect("written");
    for _ in 0..3 {
        seconds(10);
        assert_eq!(world.code(&signed_by(SECRET)), "admitted");
    }
    std::fs::remove_file(folder.path()).expect("removed");
    std::fs::rename(folder.path().with_extension("aside"), folder.path()).expect("renamed");
}

#[test]
fn a_link_that_is_swapped_is_noticed() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    // As Kubernetes mounts a secret: the file is a link into a folder that is itself a swapped link.
    for (version, secret) in [("v1", SECRET), ("v2", OTHER)] {
        std::fs::create_dir(at(version)).expect("a folder");
        std::fs::write(at(version).join("secrets"), secret).expect("written");
    }
    std::os::unix::fs::symlink("v1", at("data")).expect("a link");
    std::os::unix::fs::symlink("data/secrets", at("secrets")).expect("a link");
    let world = world(&at("secrets"));
    assert_eq!(world.code(&signed_by(SECRET)), "admitted");
    std::os::unix::fs::symlink("v2", at("next")).expect("a link");
    std::fs::rename(at("next"), at("data")).expect("swapped");
    world.pass(Duration::from_secs(1));
    assert_eq!(world.code(&signed_by(OTHER)), "admitted");
}

#[test]
fn weak_secrets_stop_the_start_with_a_way_out_and_are_never_shown() {
    let refusal = |secret: &str| Secrets::inline(&SecretString::from(secret)).expect_err("weak").to_string();
    for secret in ["", "your-secret-key", "hunter2-hunter2-hunter2", " your-secret-key\n"] {
        let message = refusal(secret);
        assert!(message.contains("openssl rand -base64 48"), "{message}");
        assert!(secret.is_empty() || !message.contains(secret.trim()), "{message}");
    }
    let spaces = refusal(&" ".repeat(50));
    assert!(spaces.contains("is only 0 bytes long without surrounding space"), "{spaces}");
    let padded = Secrets::inline(&SecretString::from(format!(" {SECRET}\n"))).expect("strong");
    assert_eq!(padded.signing().expect("a secret").expose_secret(), SECRET, "as a line of a file");
    let missing = Secrets::file("/nonexistent/secrets").expect_err("missing").to_string();
    assert!(missing.contains("/nonexistent/secrets"), "{missing}");
    let folder = tempfile::tempdir().expect("a folder");
    let many = folder.path().join("many");
    std::fs::write(&many, format!("{SECRET}\n").repeat(9)).expect("written");
    assert!(matches!(Secrets::file(&many), Err(SecretsError::TooMany(9))));
    let huge = folder.path().join("huge");
    std::fs::write(&huge, vec![b'a'; 100_000]).expect("written");
    assert!(matches!(Secrets::file(&huge), Err(SecretsError::TooLarge)));
    let debug = format!("{:?}", World::guarded().access);
    assert!(!debug.contains(SECRET), "{debug}");
}

#[test]
fn a_pipe_is_read_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("pipe");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &path,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )
    .expect("a pipe");
    let writer = std::thread::spawn({
        let path = path.clone();
        move || std::fs::write(path, SECRET)
    });
    let world = world(&path);
    writer.join().expect("no panic").expect("written");
    for _ in 0..3 {
        assert_eq!(world.code(&signed_by(SECRET)), "admitted");
        world.pass(Duration::from_secs(2));
    }
}

#[tokio::test]
async fn the_refresher_notices_a_changed_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("secrets");
    std::fs::write(&path, SECRET).expect("written");
    let world = world(&path);
    let stop = CancellationToken::new();
    let refresher = tokio::spawn(world.access.secrets_refresher().expect("a file").run(stop.clone()));
    assert_eq!(world.code(&signed_by(SECRET)), "admitted");
    std::fs::write(&path, OTHER).expect("written");
    let started = Instant::now();
    while world.code(&signed_by(OTHER)) != "admitted" {
        assert!(started.elapsed() < Duration::from_secs(30), "it is never noticed");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(world.code(&signed_by(SECRET)), "token_invalid");
    stop.cancel();
    refresher.await.expect("no panic").expect("never fails");
}

#[test]
fn a_file_that_does_not_answer_delays_no_request_and_no_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("secrets");
    std::fs::write(&path, SECRET).expect("written");
    let world = Arc::new(world(&path));
    let refresher = world.access.secrets_refresher().expect("a file");
    let secrets = Arc::clone(&refresher.secrets);
    let hanging = secrets.hang();
    let requests = Arc::clone(&world);
    on_one_thread(async move {
        let stop = CancellationToken::new();
        let refreshing = tokio::spawn(refresher.run(stop.clone()));
        let reload = timeout(Duration::from_millis(100), requests.access.reload_secrets()).await;
        assert!(reload.is_err(), "it waits");
        assert_eq!(requests.code(&signed_by(SECRET)), "admitted");
        stop.cancel();
        refreshing.await.expect("no panic").expect("never fails");
    });
    drop(hanging);
    let answered = on_one_thread(async move { world.access.reload_secrets().await });
    assert!(matches!(answered, Some(SecretsReload::Same(1))), "{answered:?}");
}
