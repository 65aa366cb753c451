//! Which route a path is, and which methods it takes.
//!
//! A match over the path's segments as they came: no route holds a parameter that would need decoding, since ids and names are
//! plain. A trailing slash is another path, so it is no route.

use http::Method;

use super::envelope::{ApiError, Code};

/// A route with its parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route<'a> {
    Root,
    Health,
    Register,
    List,
    Stats,
    Discover,
    Deregister,
    HistoryByName,
    Service { id: &'a str },
    HealthCheck { id: &'a str },
    History { id: &'a str },
    Instance { id: &'a str, name: &'a str },
    Healthz,
    Readyz,
    Metrics,
    OpenApi,
    Watch,
    Probes,
}

/// What is done there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    /// GET, and HEAD, whose body the connection leaves out.
    Get,
    /// POST.
    Post,
    /// DELETE.
    Delete,
}

impl Verb {
    fn of(method: &Method) -> Option<Self> {
        match *method {
            Method::GET | Method::HEAD => Some(Self::Get),
            Method::POST => Some(Self::Post),
            Method::DELETE => Some(Self::Delete),
            _ => None,
        }
    }
}

impl<'a> Route<'a> {
    /// The route of a path.
    pub(super) fn of(path: &'a str) -> Option<Self> {
        let Some(rest) = path.strip_prefix("/api/v1/services") else {
            return match path {
                "/" => Some(Self::Root),
                "/api/v1/health" => Some(Self::Health),
                "/api/v1/watch" => Some(Self::Watch),
                "/api/v1/probes" => Some(Self::Probes),
                "/healthz" => Some(Self::Healthz),
                "/readyz" => Some(Self::Readyz),
                "/metrics" => Some(Self::Metrics),
                "/openapi.json" => Some(Self::OpenApi),
                _ => None,
            };
        };
        match rest {
            "" => return Some(Self::List),
            // Asked most by far.
            "/discover" => return Some(Self::Discover),
            _ => {}
        }
        let mut parts = rest.strip_prefix('/')?.split('/');
        match (parts.next()?, parts.next(), parts.next(), parts.next()) {
            ("register", None, ..) => Some(Self::Register),
            ("stats", None, ..) => Some(Self::Stats),
            ("deregister", None, ..) => Some(Self::Deregister),
            ("history", None, ..) => Some(Self::HistoryByName),
            ("", ..) => None,
            (id, None, ..) => Some(Self::Service { id }),
            (id, Some("health-check"), None, _) => Some(Self::HealthCheck { id }),
            (id, Some("history"), None, _) => Some(Self::History { id }),
            (id, Some("instances"), Some(name), None) if !name.is_empty() => Some(Self::Instance { id, name }),
            _ => None,
        }
    }

    /// The pattern, as documents and metrics name it.
    pub(super) const fn pattern(self) -> &'static str {
        match self {
            Self::Root => "/",
            Self::Health => "/api/v1/health",
            Self::Register => "/api/v1/services/register",
            Self::List => "/api/v1/services",
            Self::Stats => "/api/v1/services/stats",
            Self::Discover => "/api/v1/services/discover",
            Self::Deregister => "/api/v1/services/deregister",
            Self::HistoryByName => "/api/v1/services/history",
            Self::Service { .. } => "/api/v1/services/{id}",
            Self::HealthCheck { .. } => "/api/v1/services/{id}/health-check",
            Self::History { .. } => "/api/v1/services/{id}/history",
            Self::Instance { .. } => "/api/v1/services/{id}/instances/{name}",
            Self::Healthz => "/healthz",
            Self::Readyz => "/readyz",
            Self::Metrics => "/metrics",
            Self::OpenApi => "/openapi.json",
            Self::Watch => "/api/v1/watch",
            Self::Probes => "/api/v1/probes",
        }
    }

    /// The verbs that it takes, and its `Allow` header.
    pub(super) const fn verbs(self) -> (&'static [Verb], &'static str) {
        match self {
            Self::Register | Self::HealthCheck { .. } => (&[Verb::Post], "POST, OPTIONS"),
            Self::Deregister | Self::Instance { .. } => (&[Verb::Delete], "DELETE, OPTIONS"),
            Self::Service { .. } => (&[Verb::Get, Verb::Delete], "GET, HEAD, DELETE, OPTIONS"),
            _ => (&[Verb::Get], "GET, HEAD, OPTIONS"),
        }
    }

    /// The verb that `method` means here.
    ///
    /// # Errors
    /// 405 `method_not_allowed` with `Allow`.
    pub(super) fn verb(self, method: &Method) -> Result<Verb, ApiError> {
        let (verbs, allow) = self.verbs();
        Verb::of(method).filter(|verb| verbs.contains(verb)).ok_or_else(|| {
            let message = format!("this route takes {allow}");
            let allow = http::HeaderValue::from_static(allow);
            ApiError::new(Code::MethodNotAllowed, message).header(http::header::ALLOW, allow)
        })
    }
}

/// The answer to a path that is no route.
pub(super) fn unknown_route(path: &str) -> ApiError {
    let error = ApiError::new(Code::UnknownRoute, "there is no such route; GET /openapi.json lists them");
    let bare = path.trim_end_matches('/');
    if bare != path && Route::of(bare).is_some() {
        return error.hint(format!("without the trailing slash it is {bare}"));
    }
    error
}

/// Every route, with made-up parameters.
#[cfg(test)]
pub(super) const ALL: &[Route<'static>] = &[
    Route::Root,
    Route::Health,
    Route::Register,
    Route::List,
    Route::Stats,
    Route::Discover,
    Route::Deregister,
    Route::HistoryByName,
    Route::Service { id: "x" },
    Route::HealthCheck { id: "x" },
    Route::History { id: "x" },
    Route::Instance { id: "x", name: "a" },
    Route::Healthz,
    Route::Readyz,
    Route::Metrics,
    Route::OpenApi,
    Route::Watch,
    Route::Probes,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_told_apart() {
        let id = "0198";
        for (path, route) in [
            ("/", Some(Route::Root)),
            ("", None),
            ("/api/v1/services", Some(Route::List)),
            ("/api/v1/services/", None),
            ("/api/v1/services//", None),
            ("/api/v1/servicesx", None),
            ("/api/v1/services/discover", Some(Route::Discover)),
            ("/api/v1/services/discover/", None),
            ("/api/v1/services/history", Some(Route::HistoryByName)),
            ("/api/v1/services/history/history", Some(Route::History { id: "history" })),
            ("/api/v1/services/0198", Some(Route::Service { id })),
            ("/api/v1/services/0198/", None),
            ("/api/v1/services/0198/history", Some(Route::History { id })),
            ("/api/v1/services/0198/health-check", Some(Route::HealthCheck { id })),
            ("/api/v1/services/0198/instances", None),
            ("/api/v1/services/0198/instances/", None),
            ("/api/v1/services/0198/instances/a", Some(Route::Instance { id, name: "a" })),
            ("/api/v1/services/0198/instances/a/heartbeat", None),
            ("/metrics", Some(Route::Metrics)),
        ] {
            assert_eq!(Route::of(path), route, "{path}");
        }
    }

    #[test]
    fn a_wrong_method_is_told_the_right_ones() {
        let error = Route::Register.verb(&Method::PUT).expect_err("refused");
        assert_eq!(error.message, "this route takes POST, OPTIONS");
        assert_eq!(Route::List.verb(&Method::HEAD), Ok(Verb::Get));
        assert_eq!(Route::Service { id: "x" }.verb(&Method::DELETE), Ok(Verb::Delete));
    }
}
