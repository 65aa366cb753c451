//! The endpoints of core Services, as the Kubernetes API has them, for the objects that adopt them (`spec.from`).
//!
//! In: slices and core Services, by watch. Out: for an object that adopts, the endpoints that become its instances, or why there are none.
//! Pure: whoever watches passes the news.
//!
//! 1. [`mod@slice`] and [`core_service`]: what is kept of each object. [`view`]: all of them. [`former`]: what they were a moment ago.
//! 2. [`choice`]: which endpoints an object gets.

mod choice;
mod core_service;
mod former;
mod slice;
mod view;

pub(in crate::operator) use choice::COMPONENT;
pub use choice::{Adoption, Choice, Pick};
pub(in crate::operator) use core_service::ADOPTED_LABEL;
pub use core_service::CoreService;
pub use slice::{EndpointState, Slice};
pub use view::Endpoints;
pub(in crate::operator) use view::{EndpointNews, REFUSED, Touched};

/// Namespace and name.
pub(in crate::operator) type ObjectName = (String, String);
