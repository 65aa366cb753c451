//! The REST API.
//!
//! In: connections. Out: answers, read from the catalog and the store, and changes for the registrar. A request passes these modules in
//! this order; read them in the same order:
//!
//! 1. [`conn`] holds the connection, bounds it in number, time and size, and parses the request; with [`tls`] it is encrypted.
//! 2. `dispatch` is called with each request. It looks up the route, has the request admitted, and finishes every answer: quota, CORS,
//!    metrics, access log.
//! 3. [`access`] admits or refuses it: host, origin, token, rate limit, scope.
//! 4. `fast_path` answers plain discovery at once.
//! 5. `routes` has the table of all other routes and a file of handlers per resource. Handlers read from `state`; `watch` streams
//!    changes.
//! 6. `http` parses queries and bodies and builds answers, which the connection sends.
//!
//! Beside these: `clients` (how limits tell clients apart), `freshness` (the age of a mirror), `openapi` (descriptions that several routes
//! share), `metrics_port` (`/metrics` on a port of its own) and `waiting_room` (answers before there is a catalog).

pub mod access;
mod clients;
pub mod conn;
mod dispatch;
mod fast_path;
mod file_work;
mod freshness;
mod http;
mod metrics_port;
pub mod openapi;
mod routes;
mod state;
pub mod tls;
mod waiting_room;
mod watch;

pub use self::http::body::Body;
pub use self::http::in_flight::{InFlight, InFlightLimits};
pub use dispatch::Api;
pub use metrics_port::MetricsPort;
pub use routes::{openapi_json, read_registration};
pub use state::{ApiSettings, ApiState, Part, PartState, Readiness};
pub use waiting_room::WaitingRoom;
pub use watch::{WatchLimiter, WatchLimits};
