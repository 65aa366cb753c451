//! What a request asks for, told from its method and path alone.

use http::Method;

/// The classes of request that the rules tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RouteClass {
    /// `OPTIONS`: answered with 204, neither limited nor closed.
    Preflight,
    /// `/healthz`, `/readyz`, `/openapi.json`: not limited, never closed.
    Operations,
    /// `/metrics`: not limited; closed with the reads, since its series name services.
    Metrics,
    /// Says nothing about services: limited, never closed.
    Public,
    /// A read that is open unless `PORTOLAN_READ_AUTH` closes it.
    OpenRead,
    /// Changes as they happen: open like reads are. Where everything is sent first, that counts like a list of it.
    Watch,
    /// A read that needs a token whenever auth is on.
    TokenRead,
    /// The same of one service by its id: a token that may register sees what is its own.
    ServiceRead,
    /// What the prober knows now: needs a token like [`Self::TokenRead`], and counts in the larger quota of what changes nothing.
    Probing,
    /// Adds or changes an instance.
    Register,
    /// Removes an instance or a service.
    Deregister,
    /// Probes now.
    Check,
}

/// A limit on how often one client may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Of what changes something, or makes Portolan connect somewhere.
    Writes,
    /// Of the rest; a large answer counts as several.
    Reads,
}

impl Limit {
    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Writes => "writes",
            Self::Reads => "reads",
        }
    }

    /// The setting that it follows.
    pub const fn setting(self) -> &'static str {
        match self {
            Self::Writes => "PORTOLAN_RATE_LIMIT_PER_MINUTE",
            Self::Reads => "PORTOLAN_READ_RATE_LIMIT_PER_MINUTE",
        }
    }

    /// The word under which its refusals are counted.
    pub(super) const fn reason(self) -> &'static str {
        match self {
            Self::Writes => "rate_limit",
            Self::Reads => "read_rate_limit",
        }
    }
}

/// How a limit counts a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Counted {
    /// Always.
    Yes,
    /// Not when it turns out to change nothing, or to send nothing new.
    MayBeFree,
    /// Apart, so that no other request of its client is in its way.
    Apart,
}

impl RouteClass {
    /// Whether it changes something or makes Portolan connect somewhere.
    pub fn is_change(self) -> bool {
        matches!(self, Self::Register | Self::Deregister | Self::Check)
    }

    /// The limit that counts it.
    pub fn limit(self) -> Option<Limit> {
        match self {
            Self::Preflight | Self::Operations | Self::Metrics => None,
            Self::Public | Self::OpenRead | Self::TokenRead | Self::ServiceRead | Self::Probing | Self::Watch => {
                Some(Limit::Reads)
            }
            Self::Register | Self::Deregister | Self::Check => Some(Limit::Writes),
        }
    }

    /// How that counts it. A register call may only renew; a read may name the state that it knows, a watch where it goes on.
    pub(super) fn counted(self, names_state: bool) -> Counted {
        match self {
            Self::Deregister => Counted::Apart,
            Self::Register | Self::Probing => Counted::MayBeFree,
            Self::OpenRead | Self::TokenRead | Self::ServiceRead | Self::Watch if names_state => Counted::MayBeFree,
            _ => Counted::Yes,
        }
    }

    /// Whether it needs a token when auth is on, and, by `read_auth`, reads are closed.
    pub fn needs_token(self, read_auth: bool) -> bool {
        match self {
            Self::Preflight | Self::Operations | Self::Public => false,
            Self::Metrics | Self::OpenRead | Self::Watch => read_auth,
            Self::TokenRead | Self::ServiceRead | Self::Probing | Self::Register | Self::Deregister | Self::Check => {
                true
            }
        }
    }
}

/// The class of a request. A path that no rule knows is closed like the routes around it, so that a route added later is
/// never open by accident. `path` is as it came: an escaped spelling of a name is an id that does not exist.
pub fn classify(method: &Method, path: &str) -> RouteClass {
    if method == Method::OPTIONS {
        return RouteClass::Preflight;
    }
    let read = method == Method::GET || method == Method::HEAD;
    match path.strip_prefix("/api/v1/services") {
        Some("") if read => RouteClass::OpenRead,
        Some(rest) if rest.starts_with('/') => service_route(method, read, rest),
        _ => match path {
            "/healthz" | "/readyz" | "/openapi.json" => RouteClass::Operations,
            "/metrics" => RouteClass::Metrics,
            "/api/v1/watch" => RouteClass::Watch,
            "/api/v1/probes" => RouteClass::Probing,
            _ => RouteClass::Public,
        },
    }
}

fn service_route(method: &Method, read: bool, rest: &str) -> RouteClass {
    match rest {
        "/discover" | "/stats" if read => RouteClass::OpenRead,
        "/history" if read => RouteClass::TokenRead,
        _ if read && !rest[1..].contains('/') => RouteClass::ServiceRead,
        _ if read => RouteClass::TokenRead,
        _ if method == Method::DELETE => RouteClass::Deregister,
        _ if method == Method::POST && rest.ends_with("/health-check") => RouteClass::Check,
        _ => RouteClass::Register,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_has_its_class() {
        let cases = [
            ("GET", "/", RouteClass::Public),
            ("GET", "/api/v1/health", RouteClass::Public),
            ("GET", "/nothing", RouteClass::Public),
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
            ("OPTIONS", "/api/v1/services/register", RouteClass::Preflight),
        ];
        for (method, path, class) in cases {
            assert_eq!(classify(&method.parse().expect("a method"), path), class, "{method} {path}");
        }
    }

    #[test]
    fn what_is_unknown_under_services_is_closed() {
        for (method, path) in [
            ("PATCH", "/api/v1/services/x"),
            ("PUT", "/api/v1/services/x/instances/a/heartbeat"),
            ("GET", "/api/v1/services/x/later"),
            ("GET", "/api/v1/services/%64iscover"),
            ("GET", "/api/v1/services/discover/"),
            ("BREW", "/api/v1/services//"),
        ] {
            let class = classify(&method.parse().expect("a method"), path);
            assert!(class.needs_token(false), "{method} {path} is {class:?}");
        }
    }
}
