//! The console: its file source, its logic by keys and events, its frames, and the program in a real pseudo-terminal.

mod acknowledging;
mod breaks;
mod commanding;
mod company;
mod dialogs;
mod drained;
mod facets;
mod file;
mod frames;
mod glance;
mod journeys;
mod lately;
mod lifecycle;
mod listing;
mod narrow;
mod past;
mod picture;
mod pty;
mod scene;
mod server_client;
mod source;
#[path = "../store/common.rs"]
#[expect(dead_code, reason = "shared with the store's own tests, which use more of it")]
mod store;
mod storm;
mod svg;
mod tasks;
mod terminal;
