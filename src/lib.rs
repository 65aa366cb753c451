//! Portolan: a service registry that proves what it lists.
//!
//! ```text
//!   kubectl apply ──► Kubernetes API ◄── the registrar, in a cluster ──┐
//!                       │      ▲                                      │
//!                 watch │      │ status, events                       │
//!                       ▼      │                                      │
//!                      operator ◄────────── feed ──────────┐          │
//!                       │                                  │          │
//!                       ▼   one writer: commit → catalog → feed       │
//!   prober ───────────► store ◄──── the registrar, standalone ────────┤
//!     ▲  outcomes that    │                                           │
//!     │  change health    ├── catalog ──► reads, watches ◄──┐         │
//!     └────── feed ───────┘                                 └── api ──┴── REST clients, the console
//! ```
//!
//! Data flows in one direction. A change enters the [`store`] through its one writer, is committed to SQLite, becomes a new immutable
//! [snapshot](catalog::Snapshot) of the [`catalog`], and goes out on the [feed](catalog::Feed). Everything else reacts to the feed. Reads use
//! the catalog and never wait for the disk. Standalone, the store's file is the record. In a cluster, the Kubernetes API is the record, and
//! the file mirrors it: a registration becomes an object, and the Kubernetes API's answer enters the mirror like an object of the watch.
//!
//! # The flow
//!
//! - **A registration**: [`api`] → [`Registrar`](model::ports::Registrar) (standalone the [store](store::Store), in a cluster
//!   [`operator::registrar`]) → the store's writer → [`catalog`] → feed → the prober starts to probe it.
//! - **A probe**: the [`prober`]'s engine → names, address policy, protocol → an [`Outcome`](model::outcome::Outcome) →
//!   [`health::step`](model::health) → perhaps a [`Transition`](model::outcome::Transition) → the store's writer → [`catalog`] → feed.
//! - **A manifest**: the Kubernetes API → [`operator`] (watch, read, ingest) → the store's writer → [`catalog`] → feed → probes → status.
//!
//! ARCHITECTURE.md follows each of these file by file, explains the project's words, and says where to make a change.
//!
//! # Modules
//!
//! - [`model`]: plain types, the health state machine, selection, and the traits between modules ([`model::ports`]).
//! - [`wire`]: the JSON of the API, each type once.
//! - [`catalog`]: the read model, its rendered JSON, the feed.
//! - [`store`]: the SQLite file, its writer, history.
//! - [`prober`]: the schedule, name resolution, the address policy, http, tcp and grpc probes, the mass-failure guard.
//! - [`api`]: access control, the REST routes, connections.
//! - [`operator`]: cluster mode, in which the Kubernetes API holds the services.
//! - [`console`]: the terminal console: sources, state, views.
//! - [`telemetry`]: logs, metrics, server events. [`crypto`]: TLS and token signatures. [`config`]: settings. [`cli`]: the subcommands.
//! - [`app`]: wires all of them together.

pub mod api;
pub mod app;
pub mod catalog;
pub mod cli;
pub mod config;
pub mod console;
pub mod crypto;
pub mod model;
pub mod operator;
pub mod prober;
pub mod store;
pub mod telemetry;
pub mod wire;
