//! Who may ask: one decision before the hot route and before every router.

mod class;
mod principal;

pub use class::{RouteClass, classify};
pub use principal::{ClientKey, Namespaces, Principal, Scopes};

/// Where a client stands with the rate limit after this request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateSnapshot {
    /// Requests left right now.
    pub remaining: u32,
}

/// A request that may go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    /// Who asks.
    pub principal: Principal,
    /// What for.
    pub class: RouteClass,
    /// Where the client stands; `None` where nothing is limited.
    pub rate: Option<RateSnapshot>,
    /// Whether the answer carries CORS headers: an `Origin` came.
    pub cors: bool,
}
