//! Cluster mode: the Kubernetes API holds the services, this process mirrors them, and the leader writes back what it proved.
//!
//! ```text
//!   kubectl apply ─► Kubernetes API ─► watch ─► read::understand ─► intake ─► store.mirror ─► catalog
//!                        ▲                                                                     │
//!                        │ status, events (the leader alone)                                   │
//!                        └────────────────── report ◄── status::of ◄────────── feed ◄──────────┘
//! ```
//!
//! [`crd`] holds the types of the custom resource and its definition. [`client`] finds the Kubernetes API, [`contact`] knows when it was
//! last heard.

pub mod client;
pub mod contact;
pub mod crd;
