//! What the prober tells.

pub(crate) mod counters;
pub(crate) mod status;
pub(crate) mod transition_log;
