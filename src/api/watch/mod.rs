//! Watches: a stream of server-sent events per client.
//!
//! In: a catalog snapshot, its feed, and what the client knows already. Out: the bytes of events. The route is
//! [`routes::watch`](super::routes). Read the files in this order:
//!
//! 1. [`cursor`]: where a watch continues; [`mod@catch_up`]: waiting until this replica knows what the cursor's replica knew.
//! 2. [`filter`]: the services that a watch shows; [`limiter`]: how many watches there may be.
//! 3. [`events`]: the bytes of events.
//! 4. [`mod@stream`]: one watcher, from its backlog to the live feed.

mod catch_up;
mod cursor;
mod events;
mod filter;
mod limiter;
mod stream;

pub(super) use catch_up::catch_up;
pub(super) use cursor::WatchCursor;
pub(super) use filter::WatchFilter;
pub(super) use limiter::WatchFull;
pub use limiter::{WatchLimiter, WatchLimits};
pub(super) use stream::{Backlog, Position, Watcher, backlog_bytes, stream};
