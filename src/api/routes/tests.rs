use std::collections::BTreeSet;

use utoipa::OpenApi;

use super::*;

fn method(name: &str) -> Method {
    name.parse().expect("a method")
}

/// The pattern of a path and its parameters.
fn matched(path: &str) -> Option<(&'static str, &str, &str)> {
    let found = find(&Method::GET, path);
    found.pattern.map(|pattern| (pattern, found.params.id, found.params.name))
}

#[test]
fn each_path_has_its_route() {
    let services = "/api/v1/services";
    for (path, pattern, id, name) in [
        ("", "", "", ""),
        ("/discover", "/discover", "", ""),
        ("/history", "/history", "", ""),
        ("/history/history", "/{id}/history", "history", ""),
        ("/0198", "/{id}", "0198", ""),
        ("/0198/history", "/{id}/history", "0198", ""),
        ("/0198/health-check", "/{id}/health-check", "0198", ""),
        ("/0198/acknowledgement", "/{id}/acknowledgement", "0198", ""),
        ("/0198/instances/a", "/{id}/instances/{name}", "0198", "a"),
        ("/0198/instances/a/heartbeat", "/{id}/instances/{name}/heartbeat", "0198", "a"),
        ("/0198/instances/a/drain", "/{id}/instances/{name}/drain", "0198", "a"),
    ] {
        let path = format!("{services}{path}");
        let (found, found_id, found_name) = matched(&path).expect("a route");
        assert_eq!((found, found_id, found_name), (&*format!("{services}{pattern}"), id, name), "{path}");
    }
    assert_eq!(matched("/"), Some(("/", "", "")));
    assert_eq!(matched("/metrics"), Some(("/metrics", "", "")));
    for path in [
        "",
        "/api/v1/services/",
        "/api/v1/services//",
        "/api/v1/servicesx",
        "/api/v1/services/discover/",
        "/api/v1/services/0198/",
        "/api/v1/services/0198/instances",
        "/api/v1/services/0198/instances/",
        "/api/v1/services/0198/instances/a/heartbeats",
    ] {
        assert_eq!(matched(path), None, "{path}");
    }
}

#[test]
fn the_table_is_sound() {
    let mut rows = BTreeSet::new();
    for (n, route) in ROUTES.iter().enumerate() {
        assert_eq!(route.id as usize, n, "{}", route.path);
        let verb = format!("{:?}", route.verb);
        assert!(rows.insert((route.path, verb.clone())), "{verb} {} stands twice", route.path);
        assert!(!matches!(route.class, RouteClass::Unrouted | RouteClass::Preflight), "{} has no class", route.path);
        let path = route.path.replace("{id}", "x").replace("{name}", "y");
        assert!(!path.contains('{'), "{path} has another parameter");
        let found = find(&method(route.verb.methods().split(',').next().expect("a method")), &path);
        assert!(found.is(route.id), "{verb} {path} leads to {:?}", found.route);
    }
}

#[test]
fn the_table_and_the_descriptions_agree() {
    let document = Described::openapi();
    let mut described = BTreeSet::new();
    for (path, item) in &document.paths.paths {
        for (verb, operation) in
            [("Get", &item.get), ("Post", &item.post), ("Put", &item.put), ("Delete", &item.delete)]
        {
            described.extend(operation.as_ref().map(|_| format!("{verb} {path}")));
        }
    }
    let routed = ROUTES.iter().map(|route| format!("{:?} {}", route.verb, route.path));
    assert_eq!(described, routed.collect());
}

#[test]
fn every_request_has_its_class() {
    for (name, path, class) in [
        ("GET", "/", RouteClass::Public),
        ("GET", "/api/v1/health", RouteClass::Public),
        ("GET", "/nothing", RouteClass::Unrouted),
        ("POST", "/healthz", RouteClass::Unrouted),
        ("GET", "/healthz", RouteClass::Operations),
        ("GET", "/readyz", RouteClass::Operations),
        ("GET", "/openapi.json", RouteClass::Operations),
        ("GET", "/metrics", RouteClass::Metrics),
        ("GET", "/api/v1/watch", RouteClass::Watch),
        ("GET", "/api/v1/probes", RouteClass::Probing),
        ("GET", "/api/v1/services", RouteClass::OpenRead),
        ("HEAD", "/api/v1/services/discover", RouteClass::OpenRead),
        ("GET", "/api/v1/services/stats", RouteClass::OpenRead),
        ("GET", "/api/v1/services/0198", RouteClass::ServiceRead),
        ("GET", "/api/v1/services/0198/history", RouteClass::TokenRead),
        ("GET", "/api/v1/services/history", RouteClass::TokenRead),
        ("POST", "/api/v1/services/register", RouteClass::Register),
        ("DELETE", "/api/v1/services/0198", RouteClass::Deregister),
        ("DELETE", "/api/v1/services/0198/instances/a", RouteClass::Deregister),
        ("DELETE", "/api/v1/services/deregister", RouteClass::Deregister),
        ("POST", "/api/v1/services/0198/health-check", RouteClass::Check),
        ("PUT", "/api/v1/services/0198/instances/a/heartbeat", RouteClass::Heartbeat),
        ("PUT", "/api/v1/services/0198/instances/a/drain", RouteClass::Drain),
        ("DELETE", "/api/v1/services/0198/instances/a/drain", RouteClass::Drain),
        ("PUT", "/api/v1/services/0198/acknowledgement", RouteClass::Acknowledge),
        ("DELETE", "/api/v1/services/0198/acknowledgement", RouteClass::Acknowledge),
        ("OPTIONS", "/api/v1/services/register", RouteClass::Preflight),
    ] {
        assert_eq!(find(&method(name), path).class, class, "{name} {path}");
    }
}

#[test]
fn what_is_unknown_under_services_is_closed() {
    for (name, path) in [
        ("PATCH", "/api/v1/services/x"),
        ("PUT", "/api/v1/services/x/instances/a"),
        ("POST", "/api/v1/services/x/instances/a/heartbeat"),
        ("GET", "/api/v1/services/x/later"),
        ("GET", "/api/v1/services/register"),
        ("GET", "/api/v1/services/discover/"),
        ("BREW", "/api/v1/services//"),
    ] {
        let found = find(&method(name), path);
        assert!(found.route.is_none(), "{name} {path}");
        assert!(found.class.needs_token(false), "{name} {path} is {:?}", found.class);
    }
    let escaped = find(&Method::GET, "/api/v1/services/%64iscover");
    assert!(escaped.class.needs_token(false), "an escaped name is an id that does not exist");
}

#[test]
fn a_wrong_method_is_answered_with_the_right_ones() {
    let refusal = |name, path| find(&method(name), path).refusal(path).message;
    assert_eq!(refusal("PUT", "/api/v1/services/register"), "this route accepts only POST, OPTIONS");
    assert_eq!(refusal("PUT", "/api/v1/services/x"), "this route accepts only GET, HEAD, DELETE, OPTIONS");
    assert!(find(&Method::HEAD, "/api/v1/services").is(RouteId::List));
    assert!(find(&Method::DELETE, "/api/v1/services/x").is(RouteId::Deregister));
}
