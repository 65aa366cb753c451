//! The console's logic: a pure step from state and message to state and effects, without I/O or a clock.
//!
//! In: a message. Out: the next state, and effects for the loop. In order: this file, `input` (keys), `navigate` (views and selections),
//! `actions` (operations, marks, copying), `commands` and `complete` (what is typed after `:`, and what Tab makes of it), `events` (what the source sends), `facets` (what services have in common), `heat` (all services as cells), `outages`, `requests` (what to request from it).

mod actions;
mod commands;
mod complete;
mod events;
mod facets;
mod heat;
mod input;
mod navigate;
mod outages;
mod pane;
mod requests;

use std::time::Duration;

use crossterm::event::KeyEvent;

use super::layout;
use super::source::{Request, SourceEvent};
use super::state::State;
use crate::model::time::UnixMs;

/// What happened.
#[derive(Debug, Clone)]
pub enum Msg {
    /// A key was pressed.
    Key(KeyEvent),
    /// A text was pasted.
    Paste(String),
    /// The terminal has another size.
    Resize(u16, u16),
    /// The source sent an event.
    Source(Box<SourceEvent>),
    /// Time passed; the wall clock.
    Tick(UnixMs),
}

/// What the loop has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Send a request to the source.
    Request(Request),
    /// Put a text into the terminal's clipboard (OSC 52); it holds no line break.
    Copy(Box<str>),
    /// Draw every cell again, whatever the terminal shows.
    Repaint,
    /// Ring the terminal's bell.
    Bell,
    /// Set the terminal's title; it holds no control character.
    Title(Box<str>),
}

/// Takes in a message.
pub fn update(state: &mut State, message: Msg) -> Vec<Effect> {
    let mut effects = Vec::new();
    match message {
        // The list follows with the next frame, since hundreds of events may come before it.
        Msg::Source(event) => {
            events::take(state, *event);
            return effects;
        }
        Msg::Key(key) => input::key(state, key, &mut effects),
        Msg::Paste(text) => input::paste(state, &text),
        Msg::Resize(columns, rows) => state.size = layout::usable_size((columns, rows)),
        Msg::Tick(now) => tick(state, now, &mut effects),
    }
    settle(state);
    effects
}

/// A clock that goes back by this much was set. By less, nothing waits much longer than it should.
const SET_BACK: Duration = Duration::from_secs(1);

fn tick(state: &mut State, now: UnixMs, effects: &mut Vec<Effect>) {
    let another_second = now.0.div_euclid(1000) != state.now.0.div_euclid(1000);
    if state.now.since(now) >= SET_BACK {
        state.forget_times(now);
    }
    state.now = now;
    state.notes.retain(|note| note.until > now);
    if another_second && state.listing().query().filter.uses_time() {
        state.listing_mut().time_passed();
    }
    facets::follow(state);
    alarm(state, effects);
    settle(state);
    requests::due(state, effects);
}

/// Tells of services that went down, as the user's file wants it. What happens within a tick rings once.
fn alarm(state: &mut State, effects: &mut Vec<Effect>) {
    let (fallen, down) = (state.index.fallen(), state.index.totals().unhealthy);
    if std::mem::replace(&mut state.rung, fallen) < fallen && state.options.custom.bell {
        effects.push(Effect::Bell);
    }
    if state.options.custom.title && state.loaded && state.titled.replace(down) != Some(down) {
        effects.push(Effect::Title(format!("Portolan: {down} down").into()));
    }
}

/// Brings list and selection up to date. Call it before drawing, so that the next key means what is drawn.
pub fn settle(state: &mut State) {
    let now = state.now;
    state.hold_for_dialog();
    state.listing_mut().refresh(now);
    heat::follow(state);
    facets::settle(state);
    outages::settle(state);
    navigate::keep_in_sight(state);
}
