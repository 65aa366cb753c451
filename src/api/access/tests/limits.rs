//! The rate limit as clients meet it.

use super::*;

fn spend_all(world: &World, ask: &Ask) -> usize {
    (0..1000).take_while(|_| world.ask(ask).is_ok()).count()
}

#[test]
fn the_61st_request_of_a_minute_waits() {
    let world = World::open();
    let ask = Ask::discover();
    let admitted = world.ask(&ask).expect("the first");
    let mut headers = HeaderMap::new();
    world.access.finish(&admitted, &mut headers);
    assert_eq!(headers["ratelimit"], "\"reads\";r=59;t=1");
    assert_eq!(headers["ratelimit-policy"], "\"reads\";q=60;w=60");
    assert_eq!(spend_all(&world, &ask), 59);
    let error = world.ask(&ask).expect_err("one too many");
    assert_eq!((error.code, &*error.message), (Code::RateLimited, "Rate limit exceeded"));
    let reply = error.into_reply();
    assert_eq!(reply.status(), 429);
    assert_eq!(reply.headers()["retry-after"], "1");
    assert_eq!(reply.headers()["ratelimit"], "\"reads\";r=0;t=60");
    world.pass(Duration::from_secs(1));
    assert_eq!(spend_all(&world, &ask), 1);
}

#[test]
fn operations_and_preflights_are_never_limited() {
    let world = World::open();
    spend_all(&world, &Ask::discover());
    for ask in [Ask::new("GET", "/healthz"), Ask::new("GET", "/metrics"), Ask::new("OPTIONS", "/api/v1/services")] {
        assert_eq!(spend_all(&world, &ask), 1000);
    }
    assert_eq!(world.code(&Ask::new("GET", "/nothing")), "rate_limited");
    let unlimited =
        World::with(AccessSettings { rate_per_minute: None, read_rate_per_minute: None, ..settings() }, None);
    assert_eq!(spend_all(&unlimited, &Ask::discover()), 1000);
}

#[test]
fn an_ipv6_client_is_its_64_and_a_mapped_address_is_ipv4() {
    let world = World::open();
    assert_eq!(spend_all(&world, &Ask::discover().from("2001:db8:1:2::1")), 60);
    assert_eq!(world.code(&Ask::discover().from("2001:db8:1:2:ffff:ffff:ffff:ffff")), "rate_limited");
    assert_eq!(world.code(&Ask::discover().from("2001:db8:1:3::1")), "admitted");
    assert_eq!(spend_all(&world, &Ask::discover().from("198.51.100.1")), 60);
    assert_eq!(world.code(&Ask::discover().from("::ffff:198.51.100.1")), "rate_limited");
    assert_eq!(world.code(&Ask::discover().from("198.51.100.2")), "admitted");
}

#[test]
fn a_spoofed_forwarded_for_buys_nothing() {
    let world = World::open();
    let spoof = |n: usize| Ask::discover().header("x-forwarded-for", format!("10.1.{}.{}", n / 256, n % 256));
    assert_eq!((0..200).filter(|n| world.ask(&spoof(*n)).is_ok()).count(), 60);
    let trusted_proxies = vec!["203.0.113.0/24".parse().expect("a network")];
    let behind = World::with(AccessSettings { trusted_proxies, ..settings() }, None);
    let spoof = |n: usize| Ask::discover().header("x-forwarded-for", format!("10.1.0.{n}, 198.51.100.7"));
    assert_eq!((0..200).filter(|n| behind.ask(&spoof(*n)).is_ok()).count(), 60);
    assert_eq!(behind.code(&Ask::discover().header("x-forwarded-for", "198.51.100.8")), "admitted");
}

#[test]
fn failed_attempts_have_their_own_quota_and_cost_good_tokens_nothing() {
    let world = World::guarded();
    let bad = Ask::register().bearer("x.y.z");
    let codes: Vec<_> = (0..100).map(|_| world.code(&bad)).collect();
    assert_eq!(codes.iter().filter(|code| **code == "token_invalid").count(), 60);
    assert_eq!(codes.iter().filter(|code| **code == "rate_limited").count(), 40);
    let good = Ask::register().bearer(&token_of(&claims()));
    assert_eq!(spend_all(&world, &good), 60);
    assert_eq!(world.code(&Ask::register().bearer(&token_of(&claims_with(&json!({"sub": "other"}))))), "admitted");
    assert_eq!(world.code(&Ask::discover()), "admitted", "nor does the address pay for them");
    let rejected = world.metrics.render().expect("renders");
    assert!(rejected.contains("portolan_rejected_total{reason=\"failed_auth_limit\"} 40"), "{rejected}");
}

#[test]
fn a_token_carries_its_quota_from_address_to_address() {
    let world = World::guarded();
    let token = token_of(&claims());
    let passed =
        (0..200).filter(|n| world.ask(&Ask::register().bearer(&token).from(&format!("10.0.0.{n}"))).is_ok()).count();
    assert_eq!(passed, 60);
}

#[test]
fn what_is_not_counted_is_bounded_apart() {
    let world = World::open();
    let renew = || {
        world.ask(&Ask::register()).map(|mut admitted| {
            world.access.not_counted(&mut admitted);
            admitted.rate.expect("limited").remaining
        })
    };
    for _ in 0..1200 {
        assert_eq!(renew(), Ok(60));
    }
    let passed = (0..1000).take_while(|_| renew().is_ok()).count();
    assert_eq!(passed, 60, "beyond 20 quotas they count after all");
}

#[test]
fn a_refused_drain_names_the_limit_of_drains() {
    let world = World::open();
    let drain = Ask::new("PUT", "/api/v1/services/x/instances/a/drain");
    assert_eq!((0..2000).take_while(|_| world.ask(&drain).is_ok()).count(), 1200);
    let refused = world.ask(&drain).expect_err("they are spent");
    let hint = refused.hinted().expect("a hint");
    assert!(hint.contains("1200 writes of this kind a minute, 20 times what PORTOLAN_RATE_LIMIT_PER_MINUTE"), "{hint}");
}

#[test]
fn reads_and_writes_have_limits_of_their_own() {
    let world = World::open();
    assert_eq!(spend_all(&world, &Ask::discover()), 60);
    let refused = world.ask(&Ask::discover()).expect_err("reads are spent").into_reply();
    let body = futures::FutureExt::now_or_never(http_body_util::BodyExt::collect(refused.into_body()));
    let body = body.and_then(Result::ok).expect("it is ready").to_bytes();
    let body: Value = serde_json::from_slice(&body).expect("JSON");
    let hint = body["hint"].as_str().expect("a hint");
    assert!(hint.contains("203.0.113.9 may make 60 reads a minute"), "{hint}");
    assert!(hint.contains("PORTOLAN_READ_RATE_LIMIT_PER_MINUTE"), "{hint}");
    assert_eq!(spend_all(&world, &Ask::new("POST", "/api/v1/services/x/health-check")), 60, "writes are not");
    assert_eq!(world.code(&Ask::new("DELETE", "/api/v1/services/x")), "admitted", "a program that ends may say so");
    let rejected = world.metrics.render().expect("renders");
    assert!(rejected.contains("portolan_rejected_total{reason=\"read_rate_limit\"}"), "{rejected}");
}

#[test]
fn a_large_answer_counts_as_several_reads() {
    let world = World::open();
    let mut admitted = world.ask(&Ask::discover()).expect("the first");
    world.access.charge(&mut admitted, 32 * 1024 - 1, false);
    assert_eq!(admitted.rate.expect("limited").remaining, 59);
    world.access.charge(&mut admitted, 10 * 32 * 1024, false);
    assert_eq!(admitted.rate.expect("limited").remaining, 49);
    assert_eq!(spend_all(&world, &Ask::discover()), 49);
    // Charged requests that exceed the limit are waited for afterwards.
    world.pass(Duration::from_secs(1));
    let mut admitted = world.ask(&Ask::new("GET", "/api/v1/watch")).expect("one came back");
    world.access.charge(&mut admitted, 20 * 32 * 1024, false);
    world.pass(Duration::from_secs(20));
    assert_eq!(world.code(&Ask::new("GET", "/api/v1/watch")), "rate_limited");
    assert_eq!(world.code(&Ask::new("GET", "/api/v1/watch?cursor=x.1")), "rate_limited");
    world.pass(Duration::from_secs(1));
    assert_eq!(world.code(&Ask::new("GET", "/api/v1/watch")), "admitted");
}

/// The answer to a drain of a service of 256 large instances.
const LARGE: usize = 16 << 20;

/// A client that drained an instance of such a service and did nothing else.
fn after_a_large_drain(settings: AccessSettings) -> (World, Ask) {
    let world = World::with(settings, None);
    let drain = Ask::new("PUT", "/api/v1/services/x/instances/a/drain");
    let mut admitted = world.ask(&drain).expect("the first");
    world.access.charge(&mut admitted, LARGE, false);
    (world, drain)
}

#[test]
fn a_client_that_only_writes_waits_for_what_it_was_sent() {
    for writes in [Some(60), None] {
        let (world, drain) = after_a_large_drain(AccessSettings { rate_per_minute: writes, ..settings() });
        let refused = world.ask(&drain).expect_err("it owes");
        let hint = refused.hinted().expect("a hint").to_owned();
        assert!(hint.contains("PORTOLAN_READ_RATE_LIMIT_PER_MINUTE") && hint.contains("also to a write"), "{hint}");
        assert_eq!(refused.into_reply().headers()["retry-after"], "60");
        for (method, rest) in [("POST", "health-check"), ("PUT", "acknowledgement"), ("DELETE", "instances/a/drain")] {
            let target = format!("/api/v1/services/x/{rest}");
            assert_eq!(world.code(&Ask::new(method, &target)), "rate_limited", "{method} {target}");
        }
        assert_eq!(world.code(&Ask::discover()), "rate_limited");
        assert_eq!(world.code(&Ask::discover().from("198.51.100.1")), "admitted", "it owes for itself alone");
        world.pass(Duration::from_mins(1));
        assert_eq!(world.code(&drain), "admitted", "it owes no more than a quota");
        assert_eq!(world.code(&Ask::discover()), "rate_limited", "which it has used");
    }
}

#[test]
fn a_debt_for_answers_ends_no_lease_and_keeps_no_program_from_leaving() {
    for writes in [Some(60), None] {
        let (world, _) = after_a_large_drain(AccessSettings { rate_per_minute: writes, ..settings() });
        for (method, target) in [
            ("PUT", "/api/v1/services/x/instances/a/heartbeat"),
            ("DELETE", "/api/v1/services/x"),
            ("DELETE", "/api/v1/services/x/instances/a"),
        ] {
            assert_eq!(world.code(&Ask::new(method, target)), "admitted", "{method} {target}");
        }
        assert_eq!(world.code(&Ask::register()), "rate_limited", "it changes something");
        let (head, ()) = Ask::register().request().into_parts();
        let renew = || world.access.admit(&head, Ask::register().peer, RouteClass::Register);
        let renewals = (0..2000).take_while(|_| renew().is_ok()).count();
        let expected = if writes.is_some() { 1250..=1260 } else { 2000..=2000 };
        assert!(expected.contains(&renewals), "{renewals} renewals passed");
    }
}

#[test]
fn reads_alone_never_keep_a_client_from_writing() {
    let world = World::open();
    let mut admitted = world.ask(&Ask::discover()).expect("the first");
    world.access.charge(&mut admitted, LARGE, false);
    assert_eq!(world.code(&Ask::discover()), "rate_limited");
    for ask in [Ask::register(), Ask::new("PUT", "/api/v1/services/x/instances/a/drain")] {
        assert_eq!(world.code(&ask), "admitted");
    }
}

#[test]
fn renewals_that_were_sent_too_much_get_no_large_answer() {
    let world = World::open();
    let (head, ()) = Ask::register().request().into_parts();
    let renew = |bytes: usize| {
        let mut admitted = world.access.admit(&head, Ask::register().peer, RouteClass::Register).expect("a renewal");
        world.access.not_counted(&mut admitted);
        let refusal = world.access.too_much_renewed(&admitted, bytes);
        if refusal.is_none() {
            world.access.charge(&mut admitted, bytes, true);
        }
        refusal
    };
    // 20 quotas of 60 reads are 37.5 MiB.
    assert_eq!((0..100).take_while(|_| renew(LARGE).is_none()).count(), 3);
    let refusal = renew(LARGE).expect("too much");
    assert!(refusal.hinted().is_some_and(|hint| hint.contains("the lease is renewed")), "{:?}", refusal.hinted());
    assert_eq!(refusal.status(), 429);
    assert!(renew(1000).is_none(), "a small answer costs nothing");
    assert_eq!(world.code(&Ask::discover()), "admitted", "other reads are not affected");
}
