//! The console: its file source, its logic by keys and events, its frames, and the program in a real pseudo-terminal.

mod file;
mod frames;
mod journeys;
mod listing;
mod picture;
mod pty;
mod scene;
#[path = "../store/common.rs"]
#[expect(dead_code, reason = "shared with the store's own tests, which use more of it")]
mod store;
mod storm;
mod terminal;
