//! Cluster mode: the Kubernetes API holds the services, this process mirrors them, and the leader writes back what it proved.
//!
//! ```text
//!   kubectl apply ─► Kubernetes API ─► watch ─► ingest (with read) ─► store.mirror ─► catalog
//!                      ▲        ▲                 ▲                                     │
//!                      │        └── status, events (the leader only) ◄──── report ◄──── feed
//!                      │                          │
//!   REST ─► registrar ─┘        its answer ───────┘
//! ```
//!
//! In: objects, by watch, list and the answers to our own writes; registrations over REST. Out: changes for the store; status,
//! events, endpoints, health in objects of other projects, and objects for the Kubernetes API.
//!
//! 1. [`kubernetes`]: the client, whether the API answers, and the list/watch loop. [`crd`]: the custom resource and its definition.
//! 2. The path of a manifest: [`watch`] follows the objects and sends each to [`ingest`], which has [`read`] turn it into what the store
//!    takes, keeps the newest version, and hands the store what changed.
//!    [`adopt`] follows the endpoints of core Services, and [`endpoints`] says which of them become instances.
//!    [`policy`] follows what administrators set for namespaces, and [`namespaces`] says what applies to each.
//! 3. The path back: [`status`] makes a status from verdicts, [`status_writer`] writes it, [`events`] writes events.
//!    [`publish`] writes the proved instances as endpoints of core Services, and [`annotated`] writes health into objects of other projects
//!    that name a service, where that is switched on. [`mod@catalog_changes`]: what they look at. [`queue`]: which object they write next.
//! 4. The path of a registration: [`registrar`] merges calls into objects and writes those.
//! 5. [`authority`]: what the Kubernetes API says about callers.
//! 6. [`certificates`]: those that checks name in ConfigMaps and Secrets.
//! 7. [`replicas`]: which replica leads, where the others are, and which install writes an object's status.

pub mod adopt;
pub mod annotated;
pub mod authority;
mod catalog_changes;
pub mod certificates;
pub mod crd;
pub mod endpoints;
pub mod events;
pub mod ingest;
pub mod kubernetes;
pub mod namespaces;
pub mod policy;
pub mod publish;
mod queue;
pub mod read;
pub mod registrar;
pub mod replicas;
pub mod status;
pub mod status_writer;
pub mod watch;
