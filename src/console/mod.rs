//! The console: what is down, since when, and why, on one terminal.
//!
//! ```text
//!   source ──events──► app: update(state, message) ──► state ──► view ──► terminal
//!     ▲                         │
//!     └──────── requests ───────┘ effects
//! ```
//!
//! In come keys and what a [`source`] sends (the store's file, a server's API, a cluster); out go frames, and requests to the source. No part
//! uses one that is listed after it:
//!
//! - [`text`]: segments and lines, how values are written, foreign text made safe
//! - [`data`], [`status`]: a service as the console keeps it, and its status
//! - [`filter`], [`columns`], [`index`]: which services are listed, in which columns and order
//! - [`keys`]: the keymap
//! - [`source`]: where data comes from
//! - [`state`]: everything that a frame is drawn from
//! - [`page`], [`layout`]: the views that are text, and how the screen is divided
//! - [`app`]: the pure step from state and message to state and effects
//! - [`view`]: draws the state
//! - `terminal`, [`run`], [`once`]: the terminal, the loop, a single frame

pub mod app;
pub mod columns;
pub mod data;
pub mod filter;
pub mod index;
pub mod keys;
pub mod layout;
pub mod once;
pub mod page;
pub mod run;
pub mod source;
pub mod state;
pub mod status;
mod terminal;
pub mod text;
pub mod view;
