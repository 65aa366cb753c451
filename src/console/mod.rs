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
//! - [`data`], [`status`], [`check`]: a service as the console keeps it, its status, its checks in words
//! - [`filter`], [`latency`], [`columns`], [`recent`], [`index`]: which services are listed, in which columns and order, and what changed lately
//! - [`facet`]: what instances have in common
//! - [`window`], [`outage`], [`availability`]: windows of time, the outages in them, and how available services were
//! - [`theme`]: the colour themes by name
//! - [`keys`], [`command`]: the keymap, and what is typed after `:`
//! - [`source`]: where data comes from
//! - [`state`]: everything that a frame is drawn from
//! - [`config`], [`memory`]: the user's file, and what is remembered over a restart
//! - [`page`], [`layout`]: the views that are text, and how the screen is divided
//! - [`app`]: the pure step from state and message to state and effects
//! - [`view`]: draws the state
//! - `terminal`, [`run`], [`once`]: the terminal, the loop, a single frame

pub mod app;
pub mod availability;
pub mod check;
pub mod columns;
pub mod command;
pub mod config;
pub mod data;
pub mod facet;
pub mod filter;
pub mod index;
pub mod keys;
pub mod latency;
pub mod layout;
pub mod memory;
pub mod once;
pub mod outage;
pub mod page;
pub mod recent;
pub mod run;
pub mod source;
pub mod state;
pub mod status;
mod terminal;
pub mod text;
pub mod theme;
pub mod view;
pub mod window;
