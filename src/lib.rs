//! A service registry that proves what it lists.
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
//! One direction: a change enters the [`store`] through its one writer, is committed to SQLite, becomes a new immutable
//! snapshot of the [`catalog`], and goes out on the feed; everything else reacts to the feed. Discovery reads the catalog
//! and never waits for the disk. Standalone, the store's file is the record; in a cluster the Kubernetes API is, and the file
//! mirrors it: what is registered comes back by the watch.
//!
//! # Layout
//! - [`model`]: the words as plain types, the health state machine, selection, and the traits between parts (`ports`).
//! - [`catalog`]: the read model, its rendered JSON, the feed.
//! - [`store`]: the SQLite file, its writer, history.
//! - [`prober`]: the schedule, name resolution, the address policy, http, tcp and grpc probes, the mass-failure guard.
//! - [`api`]: access, the REST routes, connections.
//! - [`operator`]: cluster mode, where the Kubernetes API holds the services.
//! - [`console`]: the terminal console: sources, state, views.
//! - [`telemetry`]: logs and metrics. [`crypto`]: what TLS and tokens are verified with. [`config`]: settings. [`cli`]: the subcommands.
//! - [`app`]: wires all of them, line by line in the order of the picture.

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
