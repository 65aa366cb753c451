//! The routes: one table says which handler answers a path and a method, who may call it, and how it counts against the rate limit.
//!
//! In: an admitted request, as a [`RequestContext`]. Out: an answer, or an [`ApiError`]. To add a route, write its handler with its
//! description (`#[utoipa::path]`) and add a row to the table below. Read the files in this order:
//!
//! 1. The table, and [`find`], which matches a request with it.
//! 2. [`request`]: what a handler gets; [`place`]: what it is about, for access.
//! 3. Discovery: [`discover`], [`service`], [`list`], [`stats`], [`history`], [`availability`], [`probes`], [`watch`], [`prometheus`]; [`hints`] says where else a service is.
//! 4. Registration: [`register`] with [`registration`], [`heartbeat`], [`drain`] and [`acknowledge`] with [`note`], [`deregister`],
//!    [`check`]; [`leader`] forwards what only the leader can answer.
//! 5. The audit log: [`audit`], and [`subject`], what handlers tell it.
//! 6. Operations: [`root`], [`operations`], [`document`].

mod acknowledge;
pub(super) mod audit;
mod availability;
mod check;
mod deregister;
mod discover;
mod document;
mod drain;
mod heartbeat;
mod hints;
mod history;
mod leader;
mod list;
mod note;
pub(super) mod operations;
pub(super) mod place;
mod probes;
mod prometheus;
mod register;
mod registration;
pub(super) mod request;
mod root;
mod service;
mod stats;
pub(super) mod subject;
mod watch;

use http::{Method, Response};

use super::access::RouteClass;
use super::conn::RequestBody;
use super::http::body::Body;
use super::http::envelope::{ApiError, Code};
use super::http::json::{MAX_BODY, SMALL_BODY};
use request::{Params, RequestContext};

pub use document::json as openapi_json;
pub use registration::read_registration;

/// Requests below this path are closed like the routes there, also where no route has them.
const SERVICES: &str = "/api/v1/services/";

/// What a handler returns.
pub(super) type Answer = Result<Response<Body>, ApiError>;

/// A route: one row of the table.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) id: RouteId,
    pub(super) verb: Verb,
    /// A segment in braces is a parameter, see [`Params`].
    pub(super) path: &'static str,
    /// Who may call it, and how it counts against the rate limit.
    pub(super) class: RouteClass,
}

/// The methods that routes have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    /// GET, and HEAD, whose body the connection leaves out.
    Get,
    Post,
    Put,
    Delete,
}

macro_rules! routes {
    (|$request:ident, $body:ident|
     $($id:ident $verb:ident $path:literal $class:ident $file:ident::$handler:ident($($argument:ident),*)$(.$await:tt)?;)+) => {
        /// Names a route in code.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum RouteId { $($id),+ }

        /// Every route. A path with parameters comes after the paths without that it also matches.
        pub(super) const ROUTES: &[Route] = &[
            $(Route { id: RouteId::$id, verb: Verb::$verb, path: $path, class: RouteClass::$class },)+
        ];

        /// The answer of a route's handler.
        pub(super) async fn answer($request: &RequestContext<'_>, route: RouteId, $body: RequestBody) -> Answer {
            match route {
                $(RouteId::$id => $file::$handler($($argument),*)$(.$await)?.into_answer(),)+
            }
        }

        /// The handlers' own descriptions.
        #[derive(utoipa::OpenApi)]
        #[openapi(paths($($file::$handler),+))]
        struct Described;
    };
}

routes! { |request, body|
    // Name           method path                                       class        handler
    Root              Get    "/"                                        Public       root::root();
    Health            Get    "/api/v1/health"                           Public       root::health();
    Register          Post   "/api/v1/services/register"                Register     register::register(request, body).await;
    List              Get    "/api/v1/services"                         OpenRead     list::list(request).await;
    Stats             Get    "/api/v1/services/stats"                   OpenRead     stats::stats(request);
    Discover          Get    "/api/v1/services/discover"                OpenRead     discover::discover(request).await;
    DeregisterByName  Delete "/api/v1/services/deregister"              Deregister   deregister::by_name(request).await;
    HistoryByName     Get    "/api/v1/services/history"                 TokenRead    history::by_name(request).await;
    Service           Get    "/api/v1/services/{id}"                    ServiceRead  service::get(request);
    Deregister        Delete "/api/v1/services/{id}"                    Deregister   service::delete(request).await;
    Check             Post   "/api/v1/services/{id}/health-check"       Check        check::check(request, body).await;
    Acknowledge       Put    "/api/v1/services/{id}/acknowledgement"    Acknowledge  acknowledge::acknowledge(request, body).await;
    Unacknowledge     Delete "/api/v1/services/{id}/acknowledgement"    Acknowledge  acknowledge::withdraw(request).await;
    History           Get    "/api/v1/services/{id}/history"            TokenRead    history::history(request).await;
    Availability      Get    "/api/v1/services/{id}/availability"       OpenRead     availability::one(request).await;
    Availabilities    Get    "/api/v1/availability"                     OpenRead     availability::many(request).await;
    Outages           Get    "/api/v1/outages"                          OpenRead     availability::outages(request).await;
    Instance          Delete "/api/v1/services/{id}/instances/{name}"   Deregister   deregister::instance(request).await;
    Heartbeat         Put    "/api/v1/services/{id}/instances/{name}/heartbeat"  Heartbeat  heartbeat::heartbeat(request, body).await;
    Drain             Put    "/api/v1/services/{id}/instances/{name}/drain"      Drain      drain::drain(request, body).await;
    Undrain           Delete "/api/v1/services/{id}/instances/{name}/drain"      Drain      drain::undrain(request).await;
    Watch             Get    "/api/v1/watch"                            Watch        watch::watch(request).await;
    Prometheus        Get    "/sd/prometheus"                           OpenRead     prometheus::targets(request).await;
    Probes            Get    "/api/v1/probes"                           Probing      probes::probes(request).await;
    Healthz           Get    "/healthz"                                 Operations   operations::healthz();
    Readyz            Get    "/readyz"                                  Operations   operations::readyz(request);
    Metrics           Get    "/metrics"                                 Metrics      operations::metrics(request).await;
    OpenApi           Get    "/openapi.json"                            Operations   document::document();
}

/// What the table says about a request.
#[derive(Debug)]
pub(super) struct Match<'a> {
    /// The path as the table writes it; none where no route has it.
    pub(super) pattern: Option<&'static str>,
    /// The route; none where the path does not take the method either.
    pub(super) route: Option<&'static Route>,
    pub(super) params: Params<'a>,
    pub(super) class: RouteClass,
}

/// Matches a request with the table. `path` is taken as it came: ids and names need no escapes, and a trailing slash makes another path.
pub(super) fn find<'a>(method: &Method, path: &'a str) -> Match<'a> {
    // Most requests by far: nothing is searched for them.
    let discover = RouteId::Discover.route();
    if path == discover.path && method == Method::GET {
        let (pattern, params) = (Some(discover.path), Params::default());
        return Match { pattern, route: Some(discover), params, class: discover.class };
    }
    let (pattern, params) = match ROUTES.iter().find_map(|route| Some((route.path, route.params(path)?))) {
        Some((pattern, params)) => (Some(pattern), params),
        None => (None, Params::default()),
    };
    let verb = Verb::of(method);
    let route = ROUTES.iter().find(|route| Some(route.path) == pattern && Some(route.verb) == verb);
    let class = match route {
        _ if method == Method::OPTIONS => RouteClass::Preflight,
        Some(route) => route.class,
        None => unrouted_class(verb, path),
    };
    Match { pattern, route, params, class }
}

/// The class of a request that no route answers: 404 or 405, after the same checks as the routes around it.
fn unrouted_class(verb: Option<Verb>, path: &str) -> RouteClass {
    match verb {
        _ if !path.starts_with(SERVICES) => RouteClass::Unrouted,
        Some(Verb::Get) => RouteClass::TokenRead,
        _ => RouteClass::Register,
    }
}

impl Match<'_> {
    /// Whether it is this route.
    pub(super) fn is(&self, id: RouteId) -> bool {
        self.route.is_some_and(|route| route.id == id)
    }

    /// The refusal where there is no route: 405 `method_not_allowed` for a path that others have, else 404 `unknown_route`.
    pub(super) fn refusal(&self, path: &str) -> ApiError {
        self.pattern.map_or_else(|| unknown_route(path), method_not_allowed)
    }
}

impl RouteId {
    /// Its row.
    pub(super) const fn route(self) -> &'static Route {
        &ROUTES[self as usize]
    }

    /// Most bytes of a request's body; 0 where the route reads none.
    pub(super) const fn max_body(self) -> usize {
        match self {
            Self::Register => MAX_BODY,
            Self::Check | Self::Acknowledge | Self::Heartbeat | Self::Drain => SMALL_BODY,
            _ => 0,
        }
    }
}

impl Route {
    /// The parameters of `path`, if this route has that path.
    fn params<'a>(&self, path: &'a str) -> Option<Params<'a>> {
        let mut params = Params::default();
        if path == self.path {
            return Some(params);
        }
        let (prefix, _) = self.path.split_once('{')?;
        let (mut pattern, mut segments) = (self.path[prefix.len()..].split('/'), path.strip_prefix(prefix)?.split('/'));
        loop {
            match (pattern.next(), segments.next()) {
                (None, None) => return Some(params),
                (Some("{id}"), Some(id)) if !id.is_empty() => params.id = id,
                (Some("{name}"), Some(name)) if !name.is_empty() => params.name = name,
                (Some(same), Some(segment)) if same == segment => {}
                _ => return None,
            }
        }
    }
}

impl Verb {
    const ALL: [Self; 4] = [Self::Get, Self::Post, Self::Put, Self::Delete];

    fn of(method: &Method) -> Option<Self> {
        match *method {
            Method::GET | Method::HEAD => Some(Self::Get),
            Method::POST => Some(Self::Post),
            Method::PUT => Some(Self::Put),
            Method::DELETE => Some(Self::Delete),
            _ => None,
        }
    }

    /// As `Allow` lists it.
    const fn methods(self) -> &'static str {
        match self {
            Self::Get => "GET, HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
        }
    }
}

/// Handlers that cannot fail return the answer itself.
trait IntoAnswer {
    fn into_answer(self) -> Answer;
}

impl IntoAnswer for Answer {
    fn into_answer(self) -> Answer {
        self
    }
}

impl IntoAnswer for Response<Body> {
    fn into_answer(self) -> Answer {
        Ok(self)
    }
}

fn method_not_allowed(pattern: &str) -> ApiError {
    let takes = |verb: &Verb| ROUTES.iter().any(|route| route.path == pattern && route.verb == *verb);
    let methods = Verb::ALL.iter().filter(|verb| takes(verb)).map(|verb| verb.methods());
    let allow = methods.chain(["OPTIONS"]).collect::<Vec<_>>().join(", ");
    let error = ApiError::new(Code::MethodNotAllowed, format!("this route accepts only {allow}"));
    // Method names are always a header's value.
    match http::HeaderValue::try_from(allow) {
        Ok(allow) => error.header(http::header::ALLOW, allow),
        Err(_) => error,
    }
}

fn unknown_route(path: &str) -> ApiError {
    let error = ApiError::new(Code::UnknownRoute, "there is no such route; GET /openapi.json lists them");
    let bare = path.trim_end_matches('/');
    if bare != path && find(&Method::GET, bare).pattern.is_some() {
        return error.hint(format!("without the trailing slash it is {bare}"));
    }
    error
}

#[cfg(test)]
mod tests;
