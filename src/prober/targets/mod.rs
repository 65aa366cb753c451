//! What is probed.

mod samples;
pub(crate) mod tracked;
