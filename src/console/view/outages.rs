//! The outages of all services within a window.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::table::{self, Rows, TableColumn, fit};
use super::{Scene, fitting, message};
use crate::console::data::Outage;
use crate::console::outage::OutageOrder;
use crate::console::state::screen::Selection;
use crate::console::text::Meaning;
use crate::console::text::format::{clock, seconds, short, short_clock};
use crate::console::text::reason;
use crate::console::text::sanitize::sanitize;
use crate::console::window::Window;

/// The columns, with the order by each.
const COLUMNS: [(TableColumn<'static>, Option<OutageOrder>); 7] = [
    (TableColumn { title: "STATE", width: 7, grows: 0, drops: 0 }, None),
    (TableColumn { title: "BEGAN", width: 12, grows: 0, drops: 3 }, Some(OutageOrder::Newest)),
    (TableColumn { title: "OUT FOR", width: 8, grows: 0, drops: 0 }, Some(OutageOrder::Longest)),
    (TableColumn { title: "SERVICE", width: 16, grows: 3, drops: 0 }, Some(OutageOrder::Name)),
    (TableColumn { title: "CAUSE", width: 16, grows: 2, drops: 1 }, Some(OutageOrder::Cause)),
    (TableColumn { title: "INSTANCES", width: 10, grows: 3, drops: 4 }, Some(OutageOrder::Instances)),
    (TableColumn { title: "ENDED AGO", width: 9, grows: 0, drops: 2 }, None),
];

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, scene: &Scene<'_>) {
    let state = scene.state;
    frame.render_widget(windows(scene, usize::from(area.width)), Rect { height: area.height.min(1), ..area });
    let area = table::below(area, 1);
    if state.outages.rows().len() == 0 {
        message::draw(frame, area, scene, &nothing(scene));
        return;
    }
    let specs = COLUMNS.map(|(column, _)| column);
    let fitted = fit(&specs, area.width);
    let head = fitted.line(|n, _| (title(scene, n), scene.theme.of(Meaning::Strong)));
    let rows = Rows {
        from_top: state.outages.rows().enumerate().skip(state.screen().top),
        cell: |(_, outage): &(usize, &Outage), n, room| cell(scene, outage, n, room),
        is_selected: |(place, outage): &(usize, &Outage)| match state.screen().selection {
            Selection::Outage(service, from) => (service, from) == (outage.service, outage.from),
            _ => *place == state.screen().position,
        },
    };
    table::draw(frame, area, scene, (&fitted, head), rows);
}

/// The windows that Tab goes through, and how many outages there are.
fn windows(scene: &Scene<'_>, room: usize) -> Line<'static> {
    let outages = &scene.state.outages;
    let faint = scene.theme.of(Meaning::Faint);
    let mut spans = vec![Span::styled("Tab  ", scene.theme.of(Meaning::Strong))];
    for window in Window::ALL {
        let style = if window == outages.window { scene.theme.selected() } else { faint };
        spans.extend([Span::styled(window.words(), style), Span::raw("  ")]);
    }
    if let Some(known) = outages.known() {
        let (rows, all) = (outages.rows().len(), known.outages.len());
        let last = outages.rows().filter(|outage| outage.until.is_none()).count();
        let more = if known.more { " newest" } else { "" };
        let count = if rows == all { format!("{all}{more}") } else { format!("{rows} of {all}{more}") };
        spans.push(Span::styled(format!("{count} {}, ", if rows == 1 { "outage" } else { "outages" }), faint));
        let meaning = if last > 0 { Meaning::Bad } else { Meaning::Faint };
        spans.push(Span::styled(format!("{last} now"), scene.theme.of(meaning)));
        let now = scene.state.now;
        if outages.rows().any(|outage| outage.is_longer_than(outages.seconds(outage, now), now)) {
            spans.push(Span::styled(format!("  {} the server's downtime is left out", at_least(scene)), faint));
        }
        if let Some(why) = &outages.refused {
            spans.push(Span::styled(format!("  not current: {}", sanitize(why, 256)), scene.theme.of(Meaning::Warn)));
        }
    }
    fitting(spans, room)
}

/// Before a length that leaves out time in which no server ran.
fn at_least(scene: &Scene<'_>) -> &'static str {
    if scene.ascii() { ">=" } else { "≥" }
}

fn title(scene: &Scene<'_>, n: usize) -> String {
    let outages = &scene.state.outages;
    let arrow = if COLUMNS[n].1 == Some(outages.order) { scene.arrow(outages.inverted) } else { "" };
    format!("{}{arrow}", COLUMNS[n].0.title)
}

/// The message in place of an empty list.
fn nothing(scene: &Scene<'_>) -> String {
    let outages = &scene.state.outages;
    match (outages.known(), &outages.refused) {
        (None, Some(why)) => format!("no outages are known: {why}"),
        (None, None) => "waiting for the outages".to_owned(),
        (Some(known), _) if known.outages.is_empty() => {
            let since = known.since.map(|since| format!("; recorded since {}", clock(since, scene.state.now)));
            format!("no outage in {}{}", outages.window.words(), since.unwrap_or_default())
        }
        (Some(known), _) => {
            let all = known.outages.len();
            format!(
                "none of the {all} outages belongs to a listed service; Esc clears the filter, 0 shows all namespaces"
            )
        }
    }
}

fn cell(scene: &Scene<'_>, outage: &Outage, n: usize, room: usize) -> (String, Style) {
    let (plain, faint, now) = (Style::new(), scene.theme.of(Meaning::Faint), scene.state.now);
    match n {
        0 => match (outage.until, scene.ascii()) {
            (None, ascii) => (if ascii { "x out" } else { "✖ out" }.to_owned(), scene.theme.of(Meaning::Bad)),
            (Some(_), ascii) => (if ascii { "+ over" } else { "● over" }.to_owned(), faint),
        },
        1 => (short_clock(outage.from, now), faint),
        2 => {
            let proved = scene.state.outages.seconds(outage, now);
            (
                format!("{}{}", if outage.is_longer_than(proved, now) { at_least(scene) } else { "" }, seconds(proved)),
                plain,
            )
        }
        3 => (sanitize(&format!("{}/{}", outage.namespace, outage.name), 128), plain),
        4 => {
            let check = outage.check.as_ref().map_or_else(String::new, |check| format!(" ({check})"));
            (format!("{}{}", reason::words(&outage.reason), sanitize(&check, 64)), plain)
        }
        5 => (instances(outage, room), plain),
        _ => (outage.until.map_or_else(String::new, |until| short(now.since(until))), faint),
    }
}

/// `2: a, b`; a single one only by its name.
fn instances(outage: &Outage, room: usize) -> String {
    let names: Vec<&str> = outage.instances.iter().map(|name| &**name).collect();
    let names = sanitize(&names.join(", "), room.max(1) * 2);
    if outage.instance_count > 1 { format!("{}: {names}", outage.instance_count) } else { names }
}
