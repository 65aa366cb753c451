//! Cluster mode: the Kubernetes API holds the services, this process mirrors them, and the leader writes back what it proved.
//!
//! ```text
//!   kubectl apply ─► Kubernetes API ─► watch ─► read::understand ─► intake ─► store.mirror ─► catalog
//!                        ▲                                                                     │
//!                        │ status, events (the leader alone)                                   │
//!                        └────────────────── report ◄── status::of ◄────────── feed ◄──────────┘
//! ```
//!
//! - [`crd`]: the types of the custom resource and its definition.
//! - [`read`]: from an object to what the store takes. [`object`]: from a registration to an object.
//! - [`status`]: from verdicts to a status, and the events that its change deserves. These without I/O.
//! - [`watch`]: follows the objects. [`intake`]: takes them in. [`report`]: writes status. [`events`]: tells what happened.
//! - [`installs`]: which install writes an object's status.
//! - [`registrar`]: writes what is registered over REST.
//! - [`client`]: finds the Kubernetes API. [`contact`]: when it was last heard. [`lease`]: who leads. [`pass_on`]:
//!   the line to that one. [`peers`]: where the others are.

mod backoff;
mod bucket;
pub mod client;
pub mod contact;
pub mod crd;
pub mod epoch;
pub mod events;
pub mod installs;
pub mod intake;
pub mod lease;
pub mod mirror_age;
pub mod object;
pub mod pass_on;
pub mod peers;
pub mod read;
pub mod registrar;
pub mod report;
mod rounds;
mod seen;
pub mod status;
pub mod watch;
