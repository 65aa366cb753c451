//! The instances of a service.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use uuid::Uuid;

use super::columns::{self, Column, Rows, fit};
use super::services::short;
use super::{Scene, spark, text};
use crate::console::app::screen::Chosen;
use crate::console::data::{Instance, ProbingOfInstance};
use crate::console::harmless::escape;
use crate::console::page::{self, Meaning};

const COLUMNS: [Column; 11] = [
    Column { title: "STATUS", width: 11, grows: 0, leaves: 0 },
    Column { title: "INSTANCE", width: 10, grows: 2, leaves: 0 },
    Column { title: "URL", width: 24, grows: 4, leaves: 5 },
    Column { title: "SINCE", width: 8, grows: 0, leaves: 2 },
    Column { title: "REASON", width: 16, grows: 1, leaves: 1 },
    Column { title: "WEIGHT", width: 7, grows: 0, leaves: 3 },
    Column { title: "LATENCY", width: 12, grows: 1, leaves: 6 },
    Column { title: "P50", width: 9, grows: 0, leaves: 4 },
    Column { title: "P99", width: 9, grows: 0, leaves: 7 },
    Column { title: "ZONE", width: 8, grows: 0, leaves: 9 },
    Column { title: "VERSION", width: 8, grows: 0, leaves: 8 },
];

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, scene: &Scene<'_>, id: Uuid) {
    let state = scene.state;
    let Some(service) = state.listing().get(&id) else {
        text::message(frame, area, scene, "the service is gone: deregistered since. Esc goes back.");
        return;
    };
    let known = state.probing.get(&id);
    let of = |instance: &Instance| known?.probing.instances.iter().find(|of| of.instance == instance.name);
    let fitted = fit(&COLUMNS, area.width);
    let head = fitted.head(&COLUMNS, scene.theme.of(Meaning::Strong));
    let rows = Rows {
        from_top: service.instances.iter().enumerate().skip(state.screen().top),
        cell: |(_, instance): &(usize, &Instance), n| cell(scene, instance, of(instance), n),
        is_chosen: |(place, instance): &(usize, &Instance)| match &state.screen().chosen {
            Chosen::Instance(name) => *name == instance.name,
            _ => *place == state.screen().place,
        },
    };
    columns::draw(frame, area, scene, (&fitted, head), rows);
}

fn cell(scene: &Scene<'_>, instance: &Instance, of: Option<&ProbingOfInstance>, n: usize) -> (String, Style) {
    let (plain, faint) = (Style::new(), scene.theme.of(Meaning::Faint));
    let percentile = |percent| {
        let us = of.and_then(|of| spark::percentile(&of.samples, percent));
        us.map_or_else(String::new, |us| page::millis(u64::from(us)))
    };
    match n {
        0 => {
            let word = page::health(instance.health, scene.ascii());
            (word.text, scene.theme.of(word.meaning))
        }
        1 => (escape(&instance.name, 128), plain),
        2 => (escape(&instance.base_url, 512), plain),
        3 => (instance.since.map_or_else(String::new, |at| short(scene.state.now.since(at))), plain),
        4 => (escape(&instance.reason, 64), plain),
        5 if instance.weight == 0 => ("drained".to_owned(), scene.theme.of(Meaning::Warn)),
        5 => (instance.weight.to_string(), plain),
        6 => (of.map_or_else(String::new, |of| spark::text(&of.samples, 14, scene.ascii())), plain),
        7 => (percentile(50), plain),
        8 => (percentile(99), plain),
        9 => (escape(&instance.zone, 63), faint),
        _ => (escape(&instance.version, 64), faint),
    }
}
