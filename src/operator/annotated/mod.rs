//! Writes health into objects of other projects that name one of our services by an annotation, so that meshes and DNS leave an instance
//! that fails or is drained. Only the leader writes; without one, the objects stay as they are.
//!
//! In: health from the catalog's feed, manifests from [`ingest`](super::ingest), and a watch of each [`Kind`] that is switched on.
//! Out: the condition of each annotated WorkloadEntry and ExternalWorkload, the targets of each annotated DNSEndpoint, and for `/readyz`
//! whether that works ([`KindStates`]). An object without the annotation is never written.
//!
//! Everything is planned from what the watches delivered, so planning again what is as it should be writes nothing.
//!
//! 1. [`kind`]: the kinds. [`object`]: what is kept of an object. [`find`]: which instances it stands for.
//! 2. [`plan`]: what it should say. [`condition`]: as a condition. [`records`]: as targets of DNS records. Pure.
//! 3. [`task`]: the task. [`view`]: all annotated objects. [`absences`]: services that are missing. [`mod@write`]: one write. [`states`]:
//!    whether it works.

mod absences;
mod condition;
mod find;
mod kind;
mod object;
mod plan;
mod records;
mod states;
mod task;
#[cfg(test)]
mod tests;
mod view;
mod write;

pub use kind::Kind;
pub use states::{KindState, KindStates};
pub use task::{AnnotatedSettings, AnnotatedTask};
