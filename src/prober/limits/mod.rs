//! How much is probed at once.

pub(crate) mod address_budget;
pub(crate) mod pace;
pub(crate) mod slots;
