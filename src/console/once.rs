//! One plain frame, for scripts, logs and screen readers.

use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

use super::app::{Msg, settle};
use super::layout::list_height;
use super::run::{Start, step};
use super::source::{EVENT_QUEUE, Link, REQUEST_QUEUE, SourceEvent};
use super::view;
use crate::model::time::UnixMs;

/// How long to wait for probing data after the services have arrived.
const PROBING_WAIT: Duration = Duration::from_millis(500);

/// Why there is no frame.
#[derive(Debug, thiserror::Error)]
pub enum OnceError {
    /// The source sent nothing in time.
    #[error("nothing came from {source_name} within {} s", .limit.as_secs())]
    Nothing {
        /// Its name.
        source_name: String,
        /// How long it had.
        limit: Duration,
    },
    /// The source cannot be read. Unlike the console on a terminal, one frame does not wait for another attempt.
    #[error("nothing came from {source_name}: {why}")]
    Lost {
        /// Its name.
        source_name: String,
        /// What happened and what helps.
        why: Box<str>,
    },
}

/// Waits for the services, at most `limit`, and draws one frame without colours.
///
/// # Errors
/// [`OnceError`].
pub async fn frame(start: Start, size: (u16, u16), limit: Duration) -> Result<String, OnceError> {
    let source_name = start.source.name();
    let mut state = start.state(size);
    let (sender, mut events) = mpsc::channel(EVENT_QUEUE);
    let (requests, received) = mpsc::channel(REQUEST_QUEUE);
    let stop = CancellationToken::new();
    let mut tasks = JoinSet::new();
    tasks.spawn(start.source.run(sender, received, stop.clone()));
    let deadline = tokio::time::Instant::now() + limit;
    while !state.loaded || state.link == Link::Connecting {
        let Ok(Some(event)) = timeout_at(deadline, events.recv()).await else {
            return Err(OnceError::Nothing { source_name, limit });
        };
        let _ = step(&mut state, Msg::Source(Box::new(event)), &requests);
        if let Link::Lost { why, .. } = &state.link
            && !state.loaded
        {
            return Err(OnceError::Lost { source_name, why: why.clone() });
        }
    }
    let _ = step(&mut state, Msg::Tick(UnixMs::wall()), &requests);
    let mut missing = state.listing().shown().len().min(list_height(&state));
    let until = sleep_until(tokio::time::Instant::now() + PROBING_WAIT);
    tokio::pin!(until);
    while missing > 0 {
        tokio::select! {
            () = &mut until => break,
            event = events.recv() => {
                let Some(event) = event else { break };
                missing -= usize::from(matches!(event, SourceEvent::Probing(..)));
                let _ = step(&mut state, Msg::Source(Box::new(event)), &requests);
            }
        }
    }
    stop.cancel();
    settle(&mut state);
    Ok(text(&state, size))
}

fn text(state: &super::state::State, size: (u16, u16)) -> String {
    let Ok(mut terminal) = Terminal::new(TestBackend::new(size.0, size.1));
    let Ok(_) = terminal.draw(|frame| view::draw(frame, state));
    let buffer = terminal.backend().buffer();
    let mut out = String::new();
    for row in buffer.content.chunks(usize::from(size.0.max(1))) {
        let line: String = row.iter().map(ratatui::buffer::Cell::symbol).collect();
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}
