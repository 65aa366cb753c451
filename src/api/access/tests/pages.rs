//! Web pages of others, and names rebound to loopback.

use http::header::{HeaderMap, HeaderValue, ORIGIN};

use super::*;
use crate::api::access::browser::BrowserRules;

fn local() -> World {
    World::with(AccessSettings { bound_to_loopback: true, ..settings() }, None)
}

fn changes() -> [Ask; 4] {
    [
        Ask::register(),
        Ask::new("DELETE", "/api/v1/services/x"),
        Ask::new("POST", "/api/v1/services/x/health-check"),
        Ask::new("PUT", "/api/v1/services/x/instances/a/heartbeat"),
    ]
}

#[test]
fn a_foreign_page_changes_nothing_while_auth_is_off() {
    let world = World::open();
    for ask in changes() {
        for origin in ["https://evil.example", "null", "", "http://localhost.evil.example", "http://203.0.113.9:8080"] {
            let error = world.ask(&ask.clone().header("origin", origin)).expect_err(origin);
            assert_eq!(error.status(), 403);
            assert_eq!(error.code, Code::CrossOrigin);
            assert_eq!(error.into_reply().headers()["access-control-allow-origin"], "*", "the page may read why");
        }
        let mixed = ask.clone().header("origin", "http://localhost:3000").header("origin", "https://evil.example");
        assert_eq!(world.code(&mixed), "cross_origin");
        assert_eq!(world.code(&ask.clone().header("sec-fetch-site", "cross-site")), "cross_origin");
        let posing = ask.header("origin", "https://evil.example").header("sec-fetch-site", "same-origin");
        assert_eq!(world.code(&posing), "cross_origin");
    }
}

#[test]
fn pages_of_loopback_and_listed_ones_and_programs_may() {
    let world = World::open();
    for ask in changes() {
        assert_eq!(world.code(&ask), "admitted");
        for origin in [
            "http://localhost:3000",
            "http://127.0.0.1:5173",
            "https://[::1]",
            "https://ops.example.com",
            "HTTPS://OPS.example.com",
        ] {
            let page = ask.clone().header("origin", origin);
            assert_eq!(world.code(&page), "admitted", "{origin}");
            assert_eq!(world.code(&page.header("sec-fetch-site", "cross-site")), "admitted", "{origin}");
        }
        for site in ["same-origin", "same-site", "none"] {
            assert_eq!(world.code(&ask.clone().header("sec-fetch-site", site)), "admitted", "{site}");
        }
    }
}

#[test]
fn a_token_is_proof_enough_of_a_page() {
    let page = Ask::register().bearer(&token_of(&claims())).header("origin", "https://console.example");
    assert_eq!(World::guarded().code(&page), "admitted");
}

#[test]
fn a_refused_page_is_told_what_is_missing() {
    let headers = HeaderMap::from_iter([(ORIGIN, HeaderValue::from_static("https://console.example"))]);
    for (guarded, missing) in [(false, "turn auth on"), (true, "send a token")] {
        let error = BrowserRules { guarded, ..BrowserRules::default() }.origin(&headers).expect_err(missing);
        assert!(error.message.ends_with(&format!("PORTOLAN_CORS_ORIGINS, or {missing}")), "{}", error.message);
    }
}

#[test]
fn a_rebound_name_is_misdirected() {
    let world = local();
    for host in [
        "evil.example:8080",
        "",
        "localhost.evil.example",
        "0.0.0.0:8080",
        "user@localhost",
        "[::1",
        "192.168.1.5:8080",
    ] {
        for ask in [Ask::discover(), Ask::register(), Ask::new("GET", "/metrics"), Ask::new("OPTIONS", "/")] {
            let error = world.ask(&ask.header("host", host)).expect_err(host);
            assert_eq!((error.status().as_u16(), error.code), (421, Code::MisdirectedRequest), "{host}");
        }
    }
    for host in
        ["localhost:8080", "127.0.0.1", "[::1]:8080", "LOCALHOST.", "registry.example.com:443", "Registry.Example.Com."]
    {
        assert_eq!(world.code(&Ask::discover().header("host", host)), "admitted", "{host}");
    }
    let two = Ask::discover().header("host", "localhost").header("host", "evil.example");
    assert_eq!(world.code(&two), "misdirected_request");
    assert_eq!(World::open().code(&Ask::discover().header("host", "any.example")), "admitted");
}

#[test]
fn an_absolute_target_counts_as_well_as_host() {
    let world = local();
    let ask = |target: &str, host: &str| world.code(&Ask::new("GET", target).header("host", host));
    assert_eq!(ask("http://evil.example/api/v1/services", "localhost"), "misdirected_request");
    assert_eq!(ask("http://localhost:8080/api/v1/services", "evil.example"), "misdirected_request");
    assert_eq!(ask("http://localhost:8080/api/v1/services", "localhost:8080"), "admitted");
}

#[test]
fn an_old_program_without_host_is_not_a_browser() {
    let world = local();
    let mut request = Ask::discover().request();
    *request.version_mut() = http::Version::HTTP_10;
    let (head, ()) = request.into_parts();
    let admitted = world.access.admit(&head, SocketAddr::from(([127, 0, 0, 1], 9)), RouteClass::OpenRead);
    assert!(admitted.is_ok());
}

#[test]
fn cors_is_sent_when_origin_is() {
    let world = World::open();
    let mut headers = HeaderMap::new();
    let admitted = world.ask(&Ask::discover()).expect("admitted");
    world.access.finish(&admitted, &mut headers);
    assert!(!headers.contains_key("access-control-allow-origin"));
    let admitted = world.ask(&Ask::discover().header("origin", "https://any.example")).expect("reads are open");
    world.access.finish(&admitted, &mut headers);
    assert_eq!(headers["access-control-allow-origin"], "*");
    assert_eq!(headers["access-control-allow-methods"], "GET, POST, PUT, DELETE, OPTIONS");
    assert_eq!(headers["access-control-allow-headers"], "Content-Type, Authorization");
    let preflight = world.access.preflight();
    assert_eq!(preflight.status(), 204);
    assert_eq!(preflight.headers()["access-control-allow-methods"], "GET, POST, PUT, DELETE, OPTIONS");
}

/// What a page may read, by the origins that it sends.
fn readable(world: &World, target: &str, origins: &[&'static str]) -> (Option<String>, bool) {
    let asked = origins.iter().fold(Ask::new("GET", target), |ask, origin| ask.header("origin", *origin));
    let mut headers = HeaderMap::new();
    match world.ask(&asked.header("host", "localhost")) {
        Ok(admitted) => world.access.finish(&admitted, &mut headers),
        Err(refusal) => headers = refusal.into_reply().headers().clone(),
    }
    let text = |name: &str| headers.get(name).map(|value| value.to_str().expect("ASCII").to_owned());
    (text("access-control-allow-origin"), text("vary").as_deref() == Some("origin"))
}

#[test]
fn without_auth_a_loopback_server_is_read_by_pages_of_loopback_and_listed_ones_alone() {
    let targets = [
        "/api/v1/services",
        "/api/v1/services/x",
        "/api/v1/watch",
        "/api/v1/probes?id=x",
        "/metrics",
        "/readyz",
        "/",
        "/nothing",
    ];
    for target in targets {
        for origin in ["https://evil.example", "null", "", "http://localhost.evil.example", "file://"] {
            assert_eq!(readable(&local(), target, &[origin]), (None, true), "{target} from {origin}");
        }
        let both = ["http://localhost:3000", "https://evil.example"];
        assert_eq!(readable(&local(), target, &both), (None, true), "{target}");
        for origin in ["http://localhost:3000", "https://[::1]", "https://ops.example.com"] {
            let granted = (Some(origin.to_owned()), true);
            assert_eq!(readable(&local(), target, &[origin]), granted, "{target} from {origin}");
        }
        assert_eq!(readable(&local(), target, &[]), (None, false));
    }
    let refused = local().ask(&Ask::register().header("host", "localhost").header("origin", "https://evil.example"));
    let refused = refused.expect_err("a foreign page").into_reply();
    assert!(!refused.headers().contains_key("access-control-allow-origin"), "not even why");
    assert!(!local().access.preflight().headers().contains_key("access-control-allow-origin"));
}

#[test]
fn with_auth_or_beyond_loopback_every_page_reads_what_needs_no_token() {
    let secrets = || Secrets::inline(&SecretString::from(SECRET)).expect("a strong secret");
    let guarded = World::with(AccessSettings { bound_to_loopback: true, ..settings() }, Some(secrets()));
    for world in [&guarded, &World::open()] {
        assert_eq!(readable(world, "/api/v1/services", &["https://any.example"]), (Some("*".to_owned()), false));
    }
}
