//! Names: what each DNS answer means for a probe, and that changing answers never bypass the policy.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use portolan::model::check::Target;
use portolan::model::outcome::{Outcome, Reason, Stage};
use portolan::model::url::Host;
use portolan::prober::ResolverSettings;
use portolan::prober::{DialSettings, Dialer};
use tokio::net::{TcpListener, TcpSocket};
use tokio::time::Instant;

use super::addresses::same_port;
use super::dns::{Dns, Reply};
use super::harness::*;

pub(crate) fn using(dns: &Dns) -> Dialer {
    let resolver = ResolverSettings::Servers(vec![dns.address]);
    Dialer::new(DialSettings { resolver, ..settings() })
}

pub(crate) fn named(name: &str, port: u16) -> Target {
    Target::Tcp { host: Host::Name(name.to_owned()), port }
}

pub(crate) async fn accepting() -> Server {
    Server::start(|mut stream| async move { until_closed(&mut stream).await }).await
}

async fn ask(dialer: &Dialer, name: &str) -> Outcome {
    probe_with(dialer, &named(name, 9), AMPLE).await
}

#[tokio::test]
async fn a_name_is_resolved_pinned_and_dialled() {
    let server = accepting().await;
    let dns = Dns::start(|_, _, _| Reply::addresses(&["127.0.0.1"], 300)).await;
    let outcome = probe_with(&using(&dns), &named("db.test", server.port()), AMPLE).await;
    assert_pass(&outcome);
    assert_eq!(outcome.address, Some(server.address));
    assert!(outcome.timings.resolve_us.is_some_and(|us| us > 0), "{outcome:?}");
}

#[tokio::test]
async fn a_missing_name_fails_and_is_asked_anew_each_time() {
    let dns = Dns::start(|_, _, _| Reply::Code(ResponseCode::NXDomain)).await;
    let dialer = using(&dns);
    for asked in 1..=2 {
        let outcome = ask(&dialer, "gone.test").await;
        assert_fail(&outcome, Reason::NameNotFound);
        assert_eq!(outcome.stage, Stage::Resolve);
        assert_eq!(dns.asked("gone.test", RecordType::A), asked);
    }
}

#[tokio::test]
async fn a_name_without_addresses_fails() {
    let dns = Dns::start(|_, _, _| Reply::Addresses(Vec::new(), 60)).await;
    assert_fail(&ask(&using(&dns), "empty.test").await, Reason::NameNotFound);
}

#[tokio::test]
async fn what_cannot_be_a_name_fails_without_asking() {
    let dns = Dns::start(|_, _, _| Reply::Silence).await;
    let name = "a".repeat(64);
    assert_fail(&ask(&using(&dns), &name).await, Reason::NameNotFound);
}

#[tokio::test]
async fn a_silent_resolver_is_our_own_fault() {
    let dns = Dns::start(|_, _, _| Reply::Silence).await;
    let outcome = probe_with(&using(&dns), &named("db.test", 9), SHORT).await;
    assert_inconclusive(&outcome, Reason::ResolverDown);
    assert_eq!(outcome.stage, Stage::Resolve);
}

#[tokio::test]
async fn a_resolver_that_is_not_there_is_our_own_fault() {
    let address = Dns::start(|_, _, _| Reply::Silence).await.address;
    let resolver = ResolverSettings::Servers(vec![address]);
    let dialer = Dialer::new(DialSettings { resolver, ..settings() });
    assert_inconclusive(&probe_with(&dialer, &named("db.test", 9), SHORT).await, Reason::ResolverDown);
}

#[tokio::test]
async fn an_error_is_the_names_own_only_while_others_resolve() {
    let dns = Dns::start(|name, _, _| match name {
        "good.test" => Reply::addresses(&["127.0.0.1"], 60),
        _ => Reply::Code(ResponseCode::ServFail),
    })
    .await;
    let dialer = using(&dns);
    assert_inconclusive(&ask(&dialer, "bad.test").await, Reason::ResolverDown);
    let server = accepting().await;
    assert_pass(&probe_with(&dialer, &named("good.test", server.port()), AMPLE).await);
    assert_fail(&ask(&dialer, "bad.test").await, Reason::ResolveFailed);
}

#[tokio::test]
async fn a_names_own_past_success_proves_nothing_for_it() {
    let dns = Dns::start(|_, _, asked| match asked {
        0 => Reply::addresses(&["127.0.0.1"], 0),
        _ => Reply::Code(ResponseCode::ServFail),
    })
    .await;
    let dialer = using(&dns);
    let server = accepting().await;
    assert_pass(&probe_with(&dialer, &named("lone.test", server.port()), AMPLE).await);
    assert_inconclusive(&ask(&dialer, "lone.test").await, Reason::ResolverDown);
}

#[tokio::test]
async fn answers_are_kept_for_their_ttl_and_no_longer() {
    let server = accepting().await;
    let dns =
        Dns::start(|name, _, _| Reply::addresses(&["127.0.0.1"], if name == "keep.test" { 300 } else { 0 })).await;
    let dialer = using(&dns);
    for _ in 0..3 {
        assert_pass(&probe_with(&dialer, &named("keep.test", server.port()), AMPLE).await);
        assert_pass(&probe_with(&dialer, &named("volatile.test", server.port()), AMPLE).await);
    }
    assert_eq!((dns.asked("keep.test", RecordType::A), dns.asked("volatile.test", RecordType::A)), (1, 3));
}

#[tokio::test]
async fn concurrent_questions_for_one_name_are_one_question() {
    let server = accepting().await;
    let dns = Dns::start(|_, _, _| Reply::addresses(&["127.0.0.1"], 60)).await;
    let (dialer, target) = (using(&dns), named("same.test", server.port()));
    let probes = (0..50).map(|_| probe_with(&dialer, &target, AMPLE));
    for outcome in futures::future::join_all(probes).await {
        assert_pass(&outcome);
    }
    assert_eq!(dns.asked("same.test", RecordType::A), 1);
}

#[tokio::test]
async fn one_silent_family_does_not_hold_up_the_other() {
    let server = accepting().await;
    let dns = Dns::start(|_, kind, _| match kind {
        RecordType::A => Reply::addresses(&["127.0.0.1"], 60),
        _ => Reply::Silence,
    })
    .await;
    let begin = Instant::now();
    assert_pass(&probe_with(&using(&dns), &named("half.test", server.port()), AMPLE).await);
    assert!(begin.elapsed() < AMPLE / 2, "it was waited for: {:?}", begin.elapsed());
}

#[tokio::test]
async fn names_that_hang_hold_up_no_name_that_works() {
    let server = accepting().await;
    let dns = Dns::start(|name, _, _| match name {
        "good.test" => Reply::addresses(&["127.0.0.1"], 0),
        _ => Reply::Silence,
    })
    .await;
    let (dialer, good) = (using(&dns), named("good.test", server.port()));
    assert_pass(&probe_with(&dialer, &good, AMPLE).await);
    let mut hung = tokio::task::JoinSet::new();
    for n in 0..200 {
        let dialer = dialer.clone();
        hung.spawn(async move { dialer.pin(&named(&format!("hung{n}.test"), 9), Instant::now() + AMPLE).await });
    }
    while dns.names() < 60 {
        tokio::task::yield_now().await;
    }
    let begin = Instant::now();
    assert_pass(&probe_with(&dialer, &good, AMPLE).await);
    assert!(begin.elapsed() < AMPLE / 2, "it was waited for: {:?}", begin.elapsed());
}

#[tokio::test]
async fn names_that_have_hung_hold_up_no_new_name() {
    let server = accepting().await;
    let dns = Dns::start(|name, _, _| match name {
        name if name.starts_with("hung") => Reply::Silence,
        _ => Reply::addresses(&["127.0.0.1"], 0),
    })
    .await;
    let dialer = using(&dns);
    assert_pass(&probe_with(&dialer, &named("good.test", server.port()), AMPLE).await);
    let hang = |patience: Duration| {
        let pin = |n: usize| {
            let dialer = dialer.clone();
            async move { dialer.pin(&named(&format!("hung{n}.test"), 9), Instant::now() + patience).await.is_err() }
        };
        (0..64).map(pin).collect::<tokio::task::JoinSet<_>>()
    };
    assert!(hang(Duration::from_secs(1)).join_all().await.into_iter().all(|hung| hung));
    let _again = hang(AMPLE);
    // on this one thread every one of them has its turn meanwhile
    for _ in 0..64 {
        tokio::task::yield_now().await;
    }
    let begin = Instant::now();
    assert_pass(&probe_with(&dialer, &named("new.test", server.port()), AMPLE).await);
    assert!(begin.elapsed() < AMPLE / 2, "it was waited for: {:?}", begin.elapsed());
}

#[tokio::test]
async fn names_that_hang_every_second_time_hold_up_no_name_that_works() {
    let server = accepting().await;
    let answering = Arc::new(AtomicBool::new(true));
    let answers = Arc::clone(&answering);
    let dns = Dns::start(move |name, _, _| match name {
        name if name.starts_with("odd") && !answers.load(Ordering::SeqCst) => Reply::Silence,
        _ => Reply::addresses(&["127.0.0.1"], 0),
    })
    .await;
    // Of these, eight are for names that resolved before, and four for names that were slow.
    let resolver = ResolverSettings::Servers(vec![dns.address]);
    let dialer = Dialer::new(DialSettings { resolver, lookups: 20, ..settings() });
    let good = named("good.test", server.port());
    assert_pass(&probe_with(&dialer, &good, AMPLE).await);
    let pin_odd = |each: usize, patience: Duration| {
        let pin = |n: usize| {
            let dialer = dialer.clone();
            async move { dialer.pin(&named(&format!("odd{}.test", n % 8), 9), Instant::now() + patience).await.is_ok() }
        };
        (0..8 * each).map(pin).collect::<tokio::task::JoinSet<_>>()
    };
    for (round, answer) in [true, false, true].into_iter().enumerate() {
        answering.store(answer, Ordering::SeqCst);
        let patience = if answer { AMPLE } else { Duration::from_secs(2) };
        let answered = pin_odd(1, patience).join_all().await;
        assert!(answered.iter().all(|answered| *answered == answer), "round {round}: {answered:?}");
    }
    answering.store(false, Ordering::SeqCst);
    // Where a lookup of each takes 5 s, ten of each take 50 s.
    let _hung = pin_odd(10, AMPLE);
    // On this one thread, every one of them has its turn meanwhile.
    for _ in 0..80 {
        tokio::task::yield_now().await;
    }
    let begin = Instant::now();
    assert_pass(&probe_with(&dialer, &good, AMPLE).await);
    assert!(begin.elapsed() < AMPLE / 5, "it was waited for: {:?}", begin.elapsed());
}

#[tokio::test]
async fn a_name_that_turns_to_a_denied_address_is_denied_and_never_dialled() {
    let (allowed, denied) = same_port().await;
    let allowed = Server::on(allowed, |mut stream| async move { until_closed(&mut stream).await });
    let denied = Server::on(denied, |mut stream| async move { until_closed(&mut stream).await });
    let dns =
        Dns::start(|_, _, asked| Reply::addresses(&[if asked == 0 { "127.0.0.1" } else { "127.0.0.2" }], 0)).await;
    let mut with = DialSettings { resolver: ResolverSettings::Servers(vec![dns.address]), ..settings() };
    with.policy.deny = vec!["127.0.0.2/32".parse().expect("a network")];
    let dialer = Dialer::new(with);
    let target = named("rebind.test", allowed.port());

    // resolved once: the probe dials what was tested, whatever the name says by then
    let end = Instant::now() + AMPLE;
    let pinned = dialer.pin(&target, end).await.expect("allowed at first");
    assert_fail(&probe_with(&dialer, &target, AMPLE).await, Reason::AddressDenied);
    let outcome = dialer.probe(&target, &pinned, end).await;
    assert_pass(&outcome);
    assert_eq!(outcome.address, Some(allowed.address));

    let outcome = probe_with(&dialer, &target, AMPLE).await;
    assert_fail(&outcome, Reason::AddressDenied);
    assert!(outcome.message.contains("127.0.0.2") && outcome.message.contains("PORTOLAN_PROBE_DENY"), "{outcome:?}");
    assert_eq!((outcome.stage, outcome.address), (Stage::Resolve, None));
    assert_eq!((allowed.connections(), denied.connections()), (1, 0));
}

#[tokio::test]
async fn one_denied_address_denies_the_name() {
    for mixed in [
        &["127.0.0.1", "169.254.169.254"][..],
        &["127.0.0.1", "fe80::1"],
        &["127.0.0.1", "::ffff:169.254.169.254"],
        &["127.0.0.1", "127.0.0.3", "127.0.0.4", "127.0.0.5", "0.0.0.0"],
        &["64:ff9b::a9fe:a9fe"],
    ] {
        let server = accepting().await;
        let dns = Dns::start(move |_, _, _| Reply::addresses(mixed, 60)).await;
        let outcome = probe_with(&using(&dns), &named("mixed.test", server.port()), AMPLE).await;
        assert_fail(&outcome, Reason::AddressDenied);
        assert_eq!(server.connections(), 0, "{mixed:?}");
    }
}

#[tokio::test]
async fn the_next_server_is_asked_where_one_gives_no_answer() {
    let server = accepting().await;
    let good = Dns::start(|_, _, _| Reply::addresses(&["127.0.0.1"], 0)).await;
    for reply in [
        Reply::Code(ResponseCode::ServFail),
        Reply::Code(ResponseCode::Refused),
        Reply::Code(ResponseCode::NotImp),
        Reply::Code(ResponseCode::FormErr),
        Reply::Code(ResponseCode::NotAuth),
        Reply::Lame,
        Reply::Garbage,
        Reply::Silence,
    ] {
        let said = format!("{reply:?}");
        let bad = Dns::start(move |_, _, _| reply.clone()).await;
        let resolver = ResolverSettings::Servers(vec![bad.address, good.address]);
        let dialer = Dialer::new(DialSettings { resolver, ..settings() });
        for n in 0..3 {
            let outcome = probe_with(&dialer, &named(&format!("n{n}.test"), server.port()), AMPLE).await;
            assert_eq!(outcome.reason, Reason::Passed, "{said}: {outcome:?}");
        }
        assert!(bad.names() > 0, "{said}: the first server is asked first");
    }
    let closed = Dns::start(|_, _, _| Reply::Silence).await.address;
    let resolver = ResolverSettings::Servers(vec![closed, good.address]);
    let dialer = Dialer::new(DialSettings { resolver, ..settings() });
    assert_pass(&probe_with(&dialer, &named("n.test", server.port()), AMPLE).await);
}

#[tokio::test]
async fn a_silent_server_comes_last_even_if_no_probe_waits_for_it() {
    const BRIEF: Duration = Duration::from_secs(1);
    let server = accepting().await;
    let good = Dns::start(|_, _, _| Reply::addresses(&["127.0.0.1"], 0)).await;
    let silent = Dns::start(|_, _, _| Reply::Silence).await;
    let resolver = ResolverSettings::Servers(vec![silent.address, good.address]);
    let dialer = Dialer::new(DialSettings { resolver, ..settings() });
    let outcome = probe_with(&dialer, &named("a.test", server.port()), BRIEF).await;
    assert_inconclusive(&outcome, Reason::ResolverDown);
    assert_pass(&probe_with(&dialer, &named("b.test", server.port()), AMPLE).await);
    assert_eq!((silent.asked("a.test", RecordType::A), silent.asked("b.test", RecordType::A)), (1, 0));

    // One that answers for one family is there.
    let half = Dns::start(|_, kind, _| match kind {
        RecordType::A => Reply::Addresses(Vec::new(), 60),
        _ => Reply::Silence,
    })
    .await;
    let resolver = ResolverSettings::Servers(vec![half.address, good.address]);
    let dialer = Dialer::new(DialSettings { resolver, ..settings() });
    assert_inconclusive(&probe_with(&dialer, &named("c.test", 9), BRIEF).await, Reason::ResolverDown);
    assert_fail(&ask(&dialer, "d.test").await, Reason::NameNotFound);
    assert_eq!((half.asked("d.test", RecordType::A), good.asked("d.test", RecordType::A)), (1, 0));
}

#[tokio::test]
async fn the_first_servers_word_on_a_name_holds() {
    let other = Dns::start(|_, _, _| Reply::addresses(&["127.0.0.1"], 60)).await;
    for reply in [Reply::Code(ResponseCode::NXDomain), Reply::Addresses(Vec::new(), 60)] {
        let first = Dns::start(move |_, _, _| reply.clone()).await;
        let resolver = ResolverSettings::Servers(vec![first.address, other.address]);
        let dialer = Dialer::new(DialSettings { resolver, ..settings() });
        assert_fail(&ask(&dialer, "gone.test").await, Reason::NameNotFound);
    }
    assert_eq!(other.names(), 0);
}

#[tokio::test]
async fn an_alias_is_followed_and_a_long_answer_comes_over_tcp() {
    let server = accepting().await;
    let dns = Dns::start(|name, _, asked| match name {
        "alias.test" => Reply::Alias("real.test".to_owned(), vec!["127.0.0.1".parse().expect("an address")]),
        _ if asked == 0 => Reply::Truncated,
        _ => Reply::addresses(&["127.0.0.1"], 60),
    })
    .await;
    let dialer = using(&dns);
    assert_pass(&probe_with(&dialer, &named("alias.test", server.port()), AMPLE).await);
    assert_pass(&probe_with(&dialer, &named("long.test", server.port()), AMPLE).await);
    assert_eq!(dns.asked("long.test", RecordType::A), 2);
}

#[tokio::test]
async fn localhost_and_the_hosts_file_need_no_dns() {
    let server = accepting().await;
    for name in ["localhost", "localhost.", "db.localhost"] {
        assert_pass(&probe(&named(name, server.port())).await);
    }
    // Nobody else listens at the same port of the other family.
    let (listener, _reserved) = loop {
        let Ok(listener) = TcpListener::bind(("::1", 0)).await else { return };
        let port = listener.local_addr().expect("an address").port();
        let four = TcpSocket::new_v4().expect("a socket");
        if four.bind(SocketAddr::from(([127, 0, 0, 1], port))).is_ok() {
            break (listener, four);
        }
    };
    let six = Server::on(listener, |mut stream| async move { until_closed(&mut stream).await });
    let outcome = probe(&named("localhost", six.port())).await;
    assert_pass(&outcome);
    assert_eq!(outcome.address, Some(six.address));
}

#[tokio::test]
async fn this_machine_may_be_allowed_in_one_family_alone() {
    let server = accepting().await;
    let mut with = settings();
    with.policy.allow_loopback = false;
    with.policy.allow = vec!["127.0.0.0/8".parse().expect("a network")];
    assert_pass(&probe_with(&Dialer::new(with.clone()), &named("localhost", server.port()), AMPLE).await);
    with.policy.allow.clear();
    assert_fail(
        &probe_with(&Dialer::new(with), &named("localhost", server.port()), AMPLE).await,
        Reason::AddressDenied,
    );
}
