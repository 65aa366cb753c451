//! The JSON of the API. Each type of the contract is here once: what the server writes, what the console and the command line read, and
//! what `/openapi.json` describes.
//!
//! In: values of [`model`](crate::model), or the bytes of a request or an answer. Out: JSON, or values read from it. Read the files in this
//! order:
//!
//! - [`words`]: closed sets of strings, their schemas, and how a reader takes a string that it does not know
//! - [`metadata`]: the metadata of a service, stored compactly
//! - [`check`]: how an instance is probed
//! - [`registration`]: what a client sends to register
//! - [`service`]: a service and its instances; [`owner`]: who registered one; [`lifecycle`]: drains, warnings, heartbeats and acknowledgements
//! - [`outcome`], [`probing`], [`history`]: what probes found; [`availability`]: how long it lasted
//! - [`code`], [`refusal`]: why a request failed
//! - [`envelope`]: what surrounds the data of an answer
//! - [`events`]: the events of a watch
//! - [`prometheus`]: instances as targets to scrape
//!
//! Readers are lenient, so that a client reads the answers of servers of other versions: a field that is missing has its default, a field
//! that is unknown is ignored, and an unknown reason is kept as text. The server itself reads requests strictly (`api::routes::registration`).
//!
//! Two places write the same JSON without these types, for speed: `catalog::render` (services) and the API's replies and watch (envelopes
//! and events around services). `tests/api/wire.rs` proves them equal.

pub mod availability;
pub mod check;
pub mod code;
pub mod envelope;
pub mod events;
pub mod history;
pub mod lifecycle;
pub mod metadata;
pub mod outcome;
pub mod owner;
pub mod probing;
pub mod prometheus;
pub mod refusal;
pub mod registration;
pub mod service;
pub mod words;

pub use availability::{Availability, ManyAvailabilities, OneAvailability, Outage, Outages};
pub use check::{Check, NamedCheck};
pub use code::Code;
pub use envelope::{
    AcknowledgedService, Alive, Counted, Done, Heard, History, ManyServices, OneService, Probing, Root, Stats,
};
pub use history::HistoryEntry;
pub use lifecycle::{Acknowledgement, AcknowledgementRequest, BeatRequest, Drain, DrainRequest, HeardBeat, Warning};
pub use metadata::Metadata;
pub use outcome::{Checked, CheckedBy, Outcome, Timings};
pub use owner::Owner;
pub use probing::{ProbingOfInstance, ProbingOfService, Sample, Streak};
pub use prometheus::TargetGroup;
pub use refusal::{Detail, Refusal};
pub use registration::Registration;
pub use service::{Instance, Service};
