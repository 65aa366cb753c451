//! Watches: a stream of server-sent events per client.
//!
//! In: a catalog snapshot, its feed, and what the client knows already. Out: the bytes of events. The route is
//! [`routes::watch`](super::routes). Read the files in this order:
//!
//! 1. [`cursor`]: where a watch continues; [`mod@catch_up`]: waiting until this replica knows what the cursor's replica knew.
//! 2. [`filter`]: the services that a watch shows; [`limiter`]: how many watches there may be; [`refusal`]: the answer to
//!    one too many.
//! 3. [`events`]: the bytes of events.
//! 4. [`mod@stream`]: one watcher, from its backlog to the live feed.
//! 5. [`long_poll`]: a read that waits until its answer changes.

mod catch_up;
mod cursor;
mod events;
mod filter;
mod limiter;
mod long_poll;
mod refusal;
mod stream;

pub(super) use catch_up::catch_up;
pub(super) use cursor::WatchCursor;
pub(super) use filter::WatchFilter;
pub use limiter::{WatchLimiter, WatchLimits};
pub(super) use long_poll::{AnswerCursor, CursorOf, LongPoll, Waiting, detached};
pub(super) use refusal::refused;
pub(super) use stream::{Backlog, Position, Watcher, backlog_bytes, stream};
