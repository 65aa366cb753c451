//! The console's logic: a pure step from state and message to state and effects, without I/O or a clock.
//!
//! In: a message. Out: the next state, and effects for the loop. In order: this file, `input` (keys and mouse), `navigate` (views and selections),
//! `actions` (operations, marks, copying), `events` (what the source sends), `requests` (what to request from it).

mod actions;
mod events;
mod input;
mod navigate;
mod requests;

use crossterm::event::{KeyEvent, MouseEvent};

use super::source::{Request, SourceEvent};
use super::state::State;
use crate::model::time::UnixMs;

/// What happened.
#[derive(Debug, Clone)]
pub enum Msg {
    /// A key was pressed.
    Key(KeyEvent),
    /// The mouse was used.
    Mouse(MouseEvent),
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
        Msg::Mouse(mouse) => input::mouse(state, mouse, &mut effects),
        Msg::Paste(text) => input::paste(state, &text),
        Msg::Resize(columns, rows) => state.size = (columns, rows),
        Msg::Tick(now) => tick(state, now, &mut effects),
    }
    settle(state);
    effects
}

fn tick(state: &mut State, now: UnixMs, effects: &mut Vec<Effect>) {
    let another_second = now.0.div_euclid(1000) != state.now.0.div_euclid(1000);
    state.now = now;
    state.notes.retain(|note| note.until > now);
    if another_second && state.listing().query().filter.uses_time() {
        state.listing_mut().time_passed();
    }
    settle(state);
    requests::due(state, effects);
}

/// Brings list and selection up to date. Call it before drawing, so that the next key means what is drawn.
pub fn settle(state: &mut State) {
    let now = state.now;
    state.listing_mut().refresh(now);
    navigate::keep_in_sight(state);
}
