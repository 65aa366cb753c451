//! Drawing: from the state to a frame.
//!
//! In: the state. Out: cells of a frame; nothing here changes the state. In order:
//!
//! - [`theme`]: how a meaning looks
//! - `table`, `message`: tables, text and single sentences
//! - `services`, `overview`, `instances`, `timeline`: the views that are tables
//! - `modal`, `bars`: dialogs, and what surrounds every view

mod bars;
mod instances;
mod message;
mod modal;
mod overview;
mod services;
mod table;
pub mod theme;
mod timeline;

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};

use crate::console::page;
use crate::console::source::Link;
use crate::console::state::State;
use crate::console::state::screen::View;
use theme::Theme;

/// What every part is drawn from.
pub(crate) struct Scene<'a> {
    pub(crate) state: &'a State,
    pub(crate) theme: Theme,
}

impl Scene<'_> {
    fn ascii(&self) -> bool {
        self.state.options.ascii
    }
}

/// Draws a frame.
pub fn draw(frame: &mut Frame<'_>, state: &State) {
    let scene = Scene { state, theme: Theme(state.options.theme) };
    let notice = u16::try_from(page::notice(state).len()).unwrap_or(1);
    let [head, body, notes, hints] = Layout::vertical([
        Constraint::Length(2),
        Constraint::Fill(1),
        Constraint::Length(notice),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    bars::header(frame, head, &scene);
    main(frame, body, &scene);
    if matches!(state.link, Link::Lost { .. }) {
        frame.buffer_mut().set_style(body, scene.theme.stale());
    }
    bars::notes(frame, notes, &scene);
    bars::hints(frame, hints, &scene);
    modal::draw(frame, &scene);
    if scene.ascii() {
        ascii(frame.buffer_mut());
    }
}

/// Replaces every character that is not ASCII.
fn ascii(buffer: &mut Buffer) {
    for cell in buffer.content.iter_mut().filter(|cell| !cell.symbol().is_ascii()) {
        let plain = match cell.symbol() {
            "…" => "~",
            "·" => ".",
            _ => "?",
        };
        cell.set_symbol(plain);
    }
}

fn main(frame: &mut Frame<'_>, area: Rect, scene: &Scene<'_>) {
    if !scene.state.loaded {
        message::draw(frame, area, scene, &waiting(scene.state));
        return;
    }
    match &scene.state.screen().view {
        View::Overview => overview::draw(frame, area, scene),
        View::Services => services::draw(frame, area, scene),
        View::Instances(id) => instances::draw(frame, area, scene, *id),
        View::Timeline(id) => timeline::draw(frame, area, scene, *id),
        View::Instance(..) | View::Explain(..) | View::Raw(..) | View::Events | View::Help => {
            message::page(frame, area, scene);
        }
    }
}

fn waiting(state: &State) -> String {
    match &state.link {
        Link::Lost { why, .. } => format!("nothing to show yet: {why}"),
        _ => format!("loading from {} …", state.source),
    }
}
