//! The instances of a service.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use uuid::Uuid;

use super::table::{self, Rows, TableColumn, fit};
use super::{Scene, message};
use crate::console::columns::Why;
use crate::console::data::{Instance, ProbingOfInstance, deciding};
use crate::console::state::screen::Selection;
use crate::console::status;
use crate::console::text::format::{self, short};
use crate::console::text::sanitize::sanitize;
use crate::console::text::{Meaning, sparkline};

const COLUMNS: [TableColumn<'static>; 11] = [
    TableColumn { title: "STATUS", width: 11, grows: 0, drops: 0 },
    TableColumn { title: "INSTANCE", width: 10, grows: 2, drops: 0 },
    TableColumn { title: "URL", width: 24, grows: 4, drops: 5 },
    TableColumn { title: "SINCE", width: 7, grows: 0, drops: 1 },
    TableColumn { title: "REASON", width: 18, grows: 1, drops: 2 },
    TableColumn { title: "WEIGHT", width: 7, grows: 0, drops: 3 },
    TableColumn { title: "LATENCY", width: 18, grows: 1, drops: 6 },
    TableColumn { title: "P50", width: 9, grows: 0, drops: 4 },
    TableColumn { title: "P99", width: 9, grows: 0, drops: 7 },
    TableColumn { title: "ZONE", width: 8, grows: 0, drops: 9 },
    TableColumn { title: "VERSION", width: 8, grows: 0, drops: 8 },
];

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, scene: &Scene<'_>, id: Uuid) {
    let state = scene.state;
    let Some(service) = state.listing().get(&id) else {
        message::draw(frame, area, scene, "the service is gone: it was deregistered. Esc goes back.");
        return;
    };
    let known = state.probing.get(&id);
    let of = |instance: &Instance| deciding(&known?.probing, instance);
    let fitted = fit(&COLUMNS, area.width);
    let head = fitted.head(&COLUMNS, scene.theme.of(Meaning::Strong));
    let rows = Rows {
        from_top: service.instances.iter().enumerate().skip(state.screen().top),
        cell: |(_, instance): &(usize, &Instance), n, room| cell(scene, instance, of(instance), (n, room)),
        is_selected: |(place, instance): &(usize, &Instance)| match &state.screen().selection {
            Selection::Instance(name) => *name == instance.name,
            _ => *place == state.screen().position,
        },
    };
    table::draw(frame, area, scene, (&fitted, head), rows);
}

fn cell(
    scene: &Scene<'_>,
    instance: &Instance,
    of: Option<&ProbingOfInstance>,
    (n, room): (usize, usize),
) -> (String, Style) {
    let (plain, faint) = (Style::new(), scene.theme.of(Meaning::Faint));
    let percentile = |percent| {
        let us = of.and_then(|of| sparkline::percentile(&of.samples, percent));
        us.map_or_else(String::new, |us| format::millis(u64::from(us)))
    };
    match n {
        0 => {
            let word = status::instance(instance, scene.ascii());
            (word.text, scene.theme.of(word.meaning))
        }
        1 => (sanitize(&instance.name, 128), plain),
        2 => (sanitize(&instance.base_url, 512), plain),
        3 => {
            let changed = instance.since.max(instance.drained_since());
            (changed.map_or_else(String::new, |at| short(scene.state.now.since(at))), plain)
        }
        4 => {
            let (known, warning) = (instance.acknowledged.as_deref(), instance.warning.as_deref());
            let why = Why { of: instance, known, warning, probing: of, usual: Meaning::Plain }.cell(None, room);
            (why.text, scene.theme.of(why.meaning))
        }
        5 if instance.is_drained() => ("drained".to_owned(), scene.theme.of(Meaning::Warn)),
        5 => (instance.weight.to_string(), plain),
        6 => (of.map_or_else(String::new, |of| sparkline::scaled(&of.samples, room.min(48), scene.ascii())), plain),
        7 => (percentile(50), plain),
        8 => (percentile(99), plain),
        9 => (sanitize(&instance.zone, 63), faint),
        _ => (sanitize(&instance.version, 64), faint),
    }
}
