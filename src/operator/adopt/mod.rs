//! Adopts core Services: follows their endpoints, and keeps objects for those with the label `portolan.dev/adopt`.
//!
//! In: the Kubernetes API's slices, core Services and namespaces, by watch. Out: news of endpoints for [`ingest`](super::ingest), on every
//! replica; and from the leader, an object with `spec.from` for each labelled core Service. Everything else follows from that object, as if
//! somebody had applied it.
//!
//! 1. [`watches`]: the watches. [`task`]: the task.
//! 2. [`labels`]: what the labels ask for. [`pending`]: which objects have to be compared with that. [`mod@write`]: one write.

mod labels;
mod pending;
mod task;
mod watches;
mod write;

pub use task::{AdoptError, Adopter};
