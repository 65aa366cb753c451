//! The console: what is down, since when, and why, on one terminal.
//!
//! ```text
//!   source ──news──► app: update(state, message) ──► state ──► view ──► terminal
//!     ▲                        │
//!     └──────── asks ──────────┘ effects
//! ```
//!
//! A [`source`] (the store's file, a server's API, a cluster) pushes what changes; `app` is a pure step from state and message to
//! state and effects; `view` draws the state and nothing else; `terminal` owns the tty and draws only when the state changed.

pub mod app;
pub mod data;
pub mod filter;
mod harmless;
pub mod index;
pub mod keys;
pub mod once;
pub mod page;
pub mod run;
pub mod source;
mod terminal;
pub mod view;
