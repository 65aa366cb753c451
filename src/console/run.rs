//! The loop: waits for keys, events, time and signals, steps the state, and draws: after a key at once, after events at most every 16 ms.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crossterm::event::{Event, EventStream};
use futures::StreamExt;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::app::{Effect, Msg, settle, update};
use super::memory;
use super::source::{EVENT_QUEUE, REQUEST_QUEUE, Refusal, Request, Source, SourceEvent};
use super::state::screen::View;
use super::state::{Options, State};
use super::terminal::{self, Tty};
use crate::model::time::UnixMs;

/// Minimum time between two frames because of events.
const FRAME_INTERVAL: Duration = Duration::from_millis(16);
/// Minimum time between two frames after a key.
const KEY_FRAME_INTERVAL: Duration = Duration::from_millis(1);
/// Time between ticks, short enough for a countdown.
const TICK_INTERVAL: Duration = Duration::from_millis(250);
/// Most events taken in before a key is looked for again: each may take as long as a tenth of the time that a key has until its frame.
const EVENTS_PER_FRAME: usize = 16;
/// Longest wait for the source to end.
const END_TIMEOUT: Duration = Duration::from_secs(1);

/// Why the console ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum ConsoleError {
    /// There is no usable terminal.
    #[error("the terminal cannot be used: {0}; `portolan console --once` prints one frame without it")]
    Terminal(#[from] io::Error),
    /// The source's task ended, which it never should.
    #[error("the source ended; this is a bug in Portolan")]
    SourceEnded,
}

/// How the console starts.
pub struct Start {
    /// Where data comes from.
    pub source: Box<dyn Source>,
    /// Options from the command line.
    pub options: Options,
    /// One namespace; none for all.
    pub namespace: Option<Box<str>>,
    /// The first filter; it is valid.
    pub filter: Option<Box<str>>,
    /// The file that remembers how the console was left; none to remember nothing.
    pub memory: Option<PathBuf>,
}

impl Start {
    /// The first state.
    pub(super) fn state(&self, size: (u16, u16)) -> State {
        let now = UnixMs::wall();
        let mut state = State::new(&self.source.name(), self.source.abilities(), self.options.clone(), size, now);
        let mut query = state.index.query().clone();
        query.namespace.clone_from(&self.namespace);
        if let Some(filter) = &self.filter {
            query.filter = super::filter::Filter::parse(filter).unwrap_or_default();
            state.filter.clone_from(filter);
        }
        state.index.set_query(query);
        if let Some(path) = &self.memory {
            memory::restore(&mut state, path, self.namespace.is_some() || self.filter.is_some());
        }
        state
    }
}

/// Shows the console until the user quits, a signal arrives, the terminal closes or `end` is cancelled.
///
/// # Errors
/// [`ConsoleError`]. The terminal is restored in any case.
pub async fn run(start: Start, end: CancellationToken) -> Result<(), ConsoleError> {
    let mut tty = Tty::take()?;
    let _watch = terminal::watch()?;
    let mut state = start.state(tty.size());
    let memory = start.memory.clone();
    tty.draw(&state)?;
    let (sender, mut events) = mpsc::channel(EVENT_QUEUE);
    let (requests, received) = mpsc::channel(REQUEST_QUEUE);
    let stop = CancellationToken::new();
    let mut tasks = JoinSet::new();
    tasks.spawn(start.source.run(sender, received, stop.clone()));
    let mut inputs = Inputs::new()?;
    let mut drawn = Instant::now();
    let mut due: Option<Instant> = None;
    let ended = loop {
        let woken = tokio::select! {
            biased;
            () = end.cancelled() => break Ok(()),
            () = inputs.signals.received() => break Ok(()),
            // Before the keys, so that a flood of them is drawn too.
            () = sleep_until(due.unwrap_or(drawn)), if due.is_some() => {
                settle(&mut state);
                if let Err(error) = tty.draw(&state) {
                    break Err(error.into());
                }
                (drawn, due) = (Instant::now(), None);
                continue;
            }
            event = inputs.events.next() => match event {
                Some(Ok(event)) => Some(message(event)),
                // The terminal closed.
                Some(Err(_)) | None => break Ok(()),
            },
            event = events.recv() => match event {
                Some(event) => Some(Some(Msg::Source(Box::new(event)))),
                None => break Err(ConsoleError::SourceEnded),
            },
            _ = inputs.ticks.tick() => {
                if terminal::hung_up() {
                    break Ok(());
                }
                Some(Some(Msg::Tick(UnixMs::wall())))
            }
        };
        let Some(Some(message)) = woken else { continue };
        if let Some(wait) = frame_after(&message, &state) {
            due = Some(due.map_or(drawn + wait, |due| due.min(drawn + wait)));
        }
        let resized = matches!(message, Msg::Resize(..));
        let from_source = matches!(message, Msg::Source(_));
        let repaint = step(&mut state, message, &requests);
        if (resized || repaint) && tty.clear().is_err() {
            break Ok(());
        }
        if from_source {
            for _ in 1..EVENTS_PER_FRAME {
                let Ok(event) = events.try_recv() else { break };
                let _ = step(&mut state, Msg::Source(Box::new(event)), &requests);
            }
        }
        if state.quit {
            break Ok(());
        }
    };
    drop(tty);
    if let Some(path) = memory {
        // It is safe to lose.
        let _ = memory::save(&state, &path);
    }
    stop.cancel();
    // Dropping the set aborts a source that does not end in time.
    let _ = timeout(END_TIMEOUT, tasks.join_next()).await;
    ended
}

/// How long after the last frame the next one may be drawn because of the message; none when it changes nothing.
fn frame_after(message: &Msg, state: &State) -> Option<Duration> {
    match message {
        Msg::Tick(now) => shows(state, *now).then_some(FRAME_INTERVAL),
        Msg::Source(_) => Some(FRAME_INTERVAL),
        Msg::Key(_) | Msg::Paste(_) | Msg::Resize(..) => Some(KEY_FRAME_INTERVAL),
    }
}

/// Whether a frame at that time may differ from the last one although nothing happened: ages count seconds, a countdown less.
fn shows(state: &State, now: UnixMs) -> bool {
    let counts_down = matches!(state.screen().view, View::Instance(..) | View::Explain(..));
    counts_down || now.0.div_euclid(1000) != state.now.0.div_euclid(1000)
}

struct Inputs {
    events: EventStream,
    ticks: tokio::time::Interval,
    signals: Signals,
}

impl Inputs {
    fn new() -> io::Result<Self> {
        let mut ticks = interval(TICK_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self { events: EventStream::new(), ticks, signals: Signals::new()? })
    }
}

/// SIGTERM, SIGHUP and SIGINT end the console cleanly.
struct Signals([tokio::signal::unix::Signal; 3]);

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self([signal(SignalKind::terminate())?, signal(SignalKind::hangup())?, signal(SignalKind::interrupt())?]))
    }

    async fn received(&mut self) {
        let [terminate, hangup, interrupt] = &mut self.0;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
            _ = interrupt.recv() => {}
        }
    }
}

fn message(event: Event) -> Option<Msg> {
    match event {
        Event::Key(key) => Some(Msg::Key(key)),
        Event::Paste(text) => Some(Msg::Paste(text)),
        Event::Resize(columns, rows) => Some(Msg::Resize(columns, rows)),
        Event::Mouse(_) | Event::FocusGained | Event::FocusLost => None,
    }
}

/// Takes in one message and performs its effects. Whether every cell has to be drawn again.
pub(super) fn step(state: &mut State, message: Msg, requests: &mpsc::Sender<Request>) -> bool {
    let mut repaint = false;
    for effect in update(state, message) {
        match effect {
            Effect::Copy(text) => {
                // A terminal that fails here fails at the next frame too.
                let _ = terminal::copy(&text);
            }
            Effect::Repaint => repaint = true,
            // The same holds for these.
            Effect::Bell => drop(terminal::bell()),
            Effect::Title(text) => drop(terminal::title(&text)),
            Effect::Request(request) => {
                if let Err(mpsc::error::TrySendError::Full(Request::Operate(number, _))) = requests.try_send(request) {
                    let message = "too many operations are under way; wait for one to end".into();
                    let refusal = Refusal { code: Box::default(), message };
                    update(state, Msg::Source(Box::new(SourceEvent::OperationDone(number, Err(refusal)))));
                }
            }
        }
    }
    repaint
}

#[cfg(test)]
mod tests {
    use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
    use uuid::Uuid;

    use super::*;
    use crate::console::data::Service;
    use crate::console::source::{Abilities, Link};

    #[test]
    fn every_probe_of_one_key_reaches_the_source() {
        let (requests, mut received) = mpsc::channel(REQUEST_QUEUE);
        let abilities = Abilities { acts: true, live_probing: true };
        let mut state = State::new("server", abilities, Options::default(), (120, 40), UnixMs(0));
        let services = (1..=200).map(|n| Service { id: Uuid::from_u128(n), ..Service::default() });
        for event in [SourceEvent::Link(Link::Live), SourceEvent::Snapshot(services.collect())] {
            let _ = step(&mut state, Msg::Source(Box::new(event)), &requests);
        }
        let _ = step(&mut state, Msg::Tick(UnixMs(0)), &requests);
        for key in ['P', 'y'] {
            let _ = step(&mut state, Msg::Key(KeyEvent::new(KeyCode::Char(key), KeyModifiers::NONE)), &requests);
        }
        let sent = std::iter::from_fn(|| received.try_recv().ok());
        let probes = sent.filter(|request| matches!(request, Request::Operate(..))).count();
        assert_eq!((probes, state.operations.len()), (200, 200), "{:?}", state.notes);
    }
}
