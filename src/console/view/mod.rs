//! Drawing: from the state to a frame.
//!
//! In: the state. Out: cells of a frame; nothing here changes the state. In order:
//!
//! - [`theme`]: how a meaning looks
//! - `table`, `message`: tables, text and single sentences
//! - `availability`: a service's strips below its tables
//! - `services`, `changes`, `outages`, `overview`, `heat`, `pivot`, `instances`, `timeline`: the views that are tables
//! - `modal`, `bars`: dialogs, and what surrounds every view
//! - [`links`]: which cells are URLs

mod availability;
mod bars;
mod changes;
mod heat;
mod instances;
pub mod links;
mod message;
mod modal;
mod outages;
mod overview;
mod pane;
mod pivot;
mod services;
mod table;
pub mod theme;
mod timeline;

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};

use crate::console::layout;
use crate::console::page;
use crate::console::source::Link;
use crate::console::state::State;
use crate::console::state::screen::View;
use crate::console::text::fit;
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

    /// Behind the title of the column that rows are ordered by.
    fn arrow(&self, inverted: bool) -> &'static str {
        match (inverted, self.ascii()) {
            (false, false) => "↓",
            (true, false) => "↑",
            (false, true) => "v",
            (true, true) => "^",
        }
    }
}

/// A line of spans, cut where it is wider than `room` columns without the spaces at its end.
fn fitting(mut spans: Vec<Span<'static>>, room: usize) -> Line<'static> {
    while spans.last().is_some_and(|last| last.content.trim_end().is_empty()) {
        spans.pop();
    }
    let shorten = |span: Span<'static>, room| Span::styled(fit::cut(&span.content, room), span.style);
    Line::from(fit::parts(spans, room, Span::width, shorten))
}

/// Draws a frame.
pub fn draw(frame: &mut Frame<'_>, state: &State) {
    let scene = Scene { state, theme: Theme(state.options.theme) };
    let notice = u16::try_from(page::notice(state).len()).unwrap_or(1);
    let [head, body, notes, hints] = Layout::vertical([
        Constraint::Length(u16::try_from(layout::header_height(state)).unwrap_or(2)),
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
            "–" => "-",
            "×" => "x",
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
    let area = match layout::pane_width(scene.state) {
        Some(width) if width < area.width => {
            let [list, pane] = Layout::horizontal([Constraint::Fill(1), Constraint::Length(width)]).areas(area);
            pane::pane(frame, pane, scene);
            list
        }
        _ => area,
    };
    let view = &scene.state.screen().view;
    let area = match view {
        View::Instances(id) | View::Timeline(id) => availability::below(frame, area, scene, *id),
        _ => area,
    };
    match view {
        View::Overview => overview::draw(frame, area, scene),
        View::Services => services::draw(frame, area, scene),
        View::Heat => heat::draw(frame, area, scene),
        View::Instances(id) => instances::draw(frame, area, scene, *id),
        View::Changes => changes::draw(frame, area, scene),
        View::Outages => outages::draw(frame, area, scene),
        View::Pivot(dimension) => pivot::draw(frame, area, scene, dimension),
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
