//! The publisher: keeps the EndpointSlices of core Services, so that programs which only know DNS or a Service's address reach the proved
//! instances. Only the leader writes; without one, the slices stay as they are.
//!
//! In: health from the catalog's feed, manifests from [`ingest`](super::ingest), and watches of slices, core Services and namespaces.
//! Out: slices, and for each object that asks for it a [`Publication`](super::status::Publication), which its status shows.
//!
//! A change goes straight from the feed into a slice. Everything is planned from what the watches delivered, so a write needs no read, and
//! planning again what is as it should be writes nothing.
//!
//! 1. [`plan`]: which endpoints a Service should have. [`pack`]: which slice holds each. [`object`]: a slice as an object.
//! 2. [`watches`] and [`view`]: what the cluster has. [`networks`]: its own networks, which are never published.
//!    [`names`]: the addresses of host names, and [`proofs`]: which of them were probed.
//! 3. [`task`]: the task. [`settings`]: what it depends on. [`tracked`]: which objects publish. [`requests`], [`jobs`] and [`apply`]: the
//!    requests. [`publications`]: the outcome, for the status.

mod apply;
mod jobs;
mod names;
mod networks;
mod object;
mod pack;
mod plan;
mod proofs;
mod publications;
mod requests;
mod settings;
mod task;
mod tracked;
mod view;
mod watches;

pub use publications::Publications;
pub use settings::PublishSettings;
pub use task::Publisher;
