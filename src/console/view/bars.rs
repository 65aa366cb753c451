//! The header, the messages, the hints.

use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::{Scene, services};
use crate::console::index::Totals;
use crate::console::keys::KEYMAP;
use crate::console::layout;
use crate::console::page;
use crate::console::source::Link;
use crate::console::state::State;
use crate::console::state::modal::Modal;
use crate::console::state::screen::{Format, View};
use crate::console::status::Status;
use crate::console::text::fit::{fitting, wording};
use crate::console::text::sanitize::sanitize;
use crate::console::text::{Meaning, format, reason};
use crate::model::time::UnixMs;

pub(super) fn header(frame: &mut Frame<'_>, area: Rect, scene: &Scene<'_>) {
    frame.buffer_mut().set_style(Rect { height: area.height.min(1), ..area }, scene.theme.bar());
    let (link, meaning) = link(scene);
    let room = usize::from(area.width);
    let title = fitting(title(scene), room.saturating_sub(link.width() + 3));
    let source = sanitize(&scene.state.source, 256);
    let used = title.width() + link.width() + 4;
    let mut left = vec![Span::raw(format!(" {title}"))];
    if used + source.width() < room {
        left.push(Span::styled(format!("  {source}"), scene.theme.of(Meaning::Faint)));
    }
    let first = Rect { height: area.height.min(1), ..area };
    frame.render_widget(Line::from(left), first);
    // A span: a line's own style would be that of the whole row.
    let link = Span::styled(format!("{link} "), scene.theme.of(meaning));
    frame.render_widget(Line::from(link).right_aligned(), first);
    if area.height > 1 {
        let second = Rect { y: area.y + 1, height: 1, ..area };
        let parts = totals(scene);
        // It leaves before any of them that says something.
        let needed = width(parts.iter().filter(|(_, leaves)| *leaves < IDLE));
        let position = position(scene.state).filter(|text| needed + text.width() + 2 <= room);
        let left = room - position.as_ref().map_or(0, |text| text.width() + 2);
        frame.render_widget(fitted(parts, left), second);
        if let Some(shared) = shared(scene, room).filter(|_| area.height > 2) {
            frame.render_widget(shared, Rect { y: area.y + 2, height: 1, ..area });
        }
        if let Some(position) = position {
            let position = Span::styled(format!("{position} "), scene.theme.of(Meaning::Faint));
            frame.render_widget(Line::from(position).right_aligned(), second);
        }
    }
}

/// What the failing share, in the wording that fits: `14 of 16 failing have host 10.0.0.7 (of 15 there), since 4m05s: ConnectRefused`, after the key that lists them.
fn shared(scene: &Scene<'_>, room: usize) -> Option<Line<'static>> {
    let shared = scene.state.shared.as_ref()?;
    let name = sanitize(&format!("{} {}", shared.dimension.name(), shared.value), 128);
    let since =
        shared.since.map_or_else(String::new, |at| format!(" since {}", format::short(scene.state.now.since(at))));
    let reason = shared.reason.as_ref().map_or_else(String::new, |why| format!(": {}", reason::words(why)));
    let count = format!("  {} of {} failing share ", shared.failing, shared.of);
    let there = format!(" (of {} there)", shared.all);
    let wordings = [format!("{there}{since}{reason}"), format!("{there}{since}"), there, String::new()];
    let rest = wording(wordings, room.saturating_sub(2 + count.width() + name.width()));
    let parts = vec![
        Span::styled(" F", scene.theme.of(Meaning::Strong)),
        Span::styled(count, scene.theme.of(Meaning::Warn)),
        Span::styled(name, scene.theme.of(Meaning::Strong)),
        Span::styled(rest, scene.theme.of(Meaning::Warn)),
    ];
    Some(super::fitting(parts, room))
}

/// `1–34 of 46`, where not everything fits on the screen.
fn position(state: &State) -> Option<String> {
    let (rows, height, top) = (layout::rows(state), layout::list_height(state), state.screen().top);
    let dash = if state.options.ascii { '-' } else { '–' };
    let is_list = state.screen().view != View::Heat;
    (is_list && rows > height).then(|| format!("{}{dash}{} of {rows}", top + 1, (top + height).min(rows)))
}

/// The name of the view.
fn title(scene: &Scene<'_>) -> String {
    let state = scene.state;
    let name = |id| {
        state
            .listing()
            .get(id)
            .map_or_else(|| "gone".to_owned(), |s| sanitize(&format!("{}/{}", s.namespace, s.name), 140))
    };
    let view = match &state.screen().view {
        View::Overview => "overview".to_owned(),
        View::Services => "services".to_owned(),
        View::Heat => heat_title(state),
        View::Instances(id) => format!("{} instances", name(id)),
        View::Instance(id, instance) => format!("{} {}", name(id), sanitize(instance, 63)),
        View::Explain(id, instance) => format!("explain {} {}", name(id), sanitize(instance, 63)),
        View::Timeline(id) => format!("{} timeline", name(id)),
        View::Raw(id, Format::Yaml) => format!("{} yaml", name(id)),
        View::Raw(id, Format::Json) => format!("{} json", name(id)),
        View::Changes => "changed lately".to_owned(),
        View::Outages => format!("outages of {}", state.outages.window.words()),
        View::Pivot(dimension) => format!("services by {}", sanitize(dimension.name(), 63)),
        View::Events => "server events".to_owned(),
        View::Help => "help".to_owned(),
    };
    format!("Portolan  {view}")
}

/// What the cells are ordered by, and for how many services one stands.
fn heat_title(state: &State) -> String {
    let order = state.listing().query().sort.order().map_or("", |order| order.label);
    let many = if state.heat.most > 1 { format!(", up to {} in a cell", state.heat.most) } else { String::new() };
    // An order is called by a column's name, or by what comes first.
    let by = if order.ends_with(" first") { "," } else { " by" };
    format!("map{by} {order}{many}")
}

/// The components of the server that the header tells of while they do not work as they should, and in which words.
const FAULTS: [(&str, &str); 4] =
    [("guard", "VERDICTS HELD"), ("prober", "PROBES LATE"), ("mirror", "MIRROR STALE"), ("store", "WRITES FAIL")];

/// `LIVE`, `LIVE, VERDICTS HELD 14s`, `LIVE, EVIDENCE REFUSED 14s`, `NOTHING HEARD FOR 23 s`, `CONNECTING`, `STALE 14 s, retry in 3 s`; before it
/// `READ-ONLY`.
fn link(scene: &Scene<'_>) -> (String, Meaning) {
    let (text, meaning) = link_alone(scene);
    let text = if scene.state.options.read_only { format!("READ-ONLY  {text}") } else { text };
    (text, meaning)
}

fn link_alone(scene: &Scene<'_>) -> (String, Meaning) {
    let state = scene.state;
    if let Some(frozen) = &state.frozen {
        return (format!("FROZEN {}, f thaws", format::duration(state.now.since(frozen.0))), Meaning::Warn);
    }
    match &state.link {
        Link::Live => live(scene),
        Link::Connecting => ("CONNECTING".to_owned(), Meaning::Warn),
        Link::Lost { retry_at, .. } => {
            let age = age(state.now.since(state.heard_at.unwrap_or(state.fresh_at)));
            let wait = retry_at.since(state.now).as_millis().div_ceil(1000);
            (format!("STALE {age}, retry in {wait} s"), Meaning::Bad)
        }
    }
}

/// `4 s`, `12 d 4 h`: the tenths of a second would not be drawn in time.
fn age(of: Duration) -> String {
    if of.as_secs() < 10 { format!("{} s", of.as_secs()) } else { format::duration(of) }
}

fn live(scene: &Scene<'_>) -> (String, Meaning) {
    let state = scene.state;
    if let Some(silence) = state.silent_for() {
        return (format!("NOTHING HEARD FOR {} s", silence.as_secs()), Meaning::Bad);
    }
    let said = |words: &str, at: UnixMs| format!("{words} {}", format::short(state.now.since(at)));
    let faults = FAULTS.into_iter().filter_map(|(part, words)| Some(said(words, state.fault_of(part)?.at)));
    let refused = state.evidence_refused().map(|refused| said("EVIDENCE REFUSED", refused.since));
    let faults: Vec<String> = faults.chain(refused).collect();
    match (faults.is_empty(), state.abilities.live_probing) {
        (false, _) => (format!("LIVE, {}", faults.join(", ")), Meaning::Warn),
        (true, true) => ("LIVE".to_owned(), Meaning::Good),
        (true, false) => ("FILE, probes up to 2 s old".to_owned(), Meaning::Good),
    }
}

/// A part of the second line, and how gladly it leaves where there is no room: 0 never does.
type Part = (Span<'static>, u8);

/// From here on a part says that there is nothing to say.
const IDLE: u8 = 8;

/// Services by status in the selected namespace; the filter and how many match it.
fn totals(scene: &Scene<'_>) -> Vec<Part> {
    let state = scene.state;
    let index = state.listing();
    let totals: Totals = index.totals_here();
    let mut parts: Vec<Part> = counts(scene, totals);
    let query = index.query();
    if let Some(namespace) = &query.namespace {
        let namespace = format!("namespace {}  ", sanitize(namespace, 63));
        parts.push((Span::styled(namespace, scene.theme.of(Meaning::Strong)), 2));
    }
    if services::lists(&state.screen().view) {
        parts.extend(listed(state, totals));
        parts.extend(services::hidden_order(scene).map(|order| (Span::raw(format!("{order}  ")), 0)));
    }
    if query.namespace.is_none() {
        parts.push((Span::styled("all namespaces", scene.theme.of(Meaning::Faint)), IDLE + 1));
    }
    parts
}

fn width<'a>(parts: impl IntoIterator<Item = &'a Part>) -> usize {
    1 + parts.into_iter().map(|(span, _)| span.width()).sum::<usize>()
}

/// As many parts as fit; each leaves as a whole.
fn fitted(mut parts: Vec<Part>, room: usize) -> Line<'static> {
    while width(&parts) > room {
        let last = parts.iter().enumerate().filter(|(_, (_, leaves))| *leaves > 0);
        let Some((at, _)) = last.max_by_key(|(_, (_, leaves))| *leaves) else { break };
        parts.remove(at);
    }
    Line::from(std::iter::once(Span::raw(" ")).chain(parts.into_iter().map(|(span, _)| span)).collect::<Vec<_>>())
}

fn counts(scene: &Scene<'_>, totals: Totals) -> Vec<Part> {
    // With how gladly each leaves; drained and unchecked services are rare, and shown only when there are some.
    let counts = [
        (Status::Down, totals.unhealthy, 0),
        (Status::Degraded, totals.degraded, 4),
        (Status::Drained, totals.drained, 5),
        (Status::Unknown, totals.unknown, 6),
        (Status::Healthy, totals.healthy, 1),
        (Status::NotChecked, totals.not_checked, 7),
    ];
    let rare = |status| matches!(status, Status::NotChecked | Status::Drained);
    let shown = counts.into_iter().filter(|(status, count, _)| !rare(*status) || *count > 0);
    let mut parts: Vec<Part> = shown
        .map(|(status, count, leaves)| {
            let word = status.label(scene.ascii());
            let meaning = if count == 0 { Meaning::Faint } else { word.meaning };
            let leaves = if count == 0 && leaves > 0 { IDLE } else { leaves };
            (Span::styled(format!("{} {count}  ", word.text), scene.theme.of(meaning)), leaves)
        })
        .collect();
    if totals.acknowledged > 0 {
        let known = format!("({} acknowledged)  ", totals.acknowledged);
        parts.insert(1, (Span::styled(known, scene.theme.of(Meaning::Faint)), 3));
    }
    parts
}

/// What narrows the list, and to how many rows.
fn listed(state: &State, totals: Totals) -> Vec<Part> {
    let mut parts = Vec::new();
    if state.listing().query().faults_only {
        parts.push((Span::raw("faults only  "), 3));
    }
    if !state.filter.is_empty() {
        parts.push((Span::raw(format!("/{}  ", sanitize(&state.filter, 64))), 3));
    }
    let shown = state.listing().shown().len();
    if shown != totals.services() {
        parts.push((Span::raw(format!("{shown} of {}  ", totals.services())), 2));
    }
    if !state.marks.is_empty() {
        parts.push((Span::raw(format!("{} marked  ", state.marks.len())), 2));
    }
    parts
}

pub(super) fn notes(frame: &mut Frame<'_>, area: Rect, scene: &Scene<'_>) {
    if let Some(Modal::Filter { input, error, .. }) = &scene.state.modal {
        filter(frame, area, scene, input, error.as_ref());
        return;
    }
    for (y, words) in (area.y..area.bottom()).zip(page::notice(scene.state)) {
        let text: String = words.iter().map(|word| word.text.as_str()).collect();
        let meaning = words.first().map_or(Meaning::Plain, |word| word.meaning);
        let line = Line::styled(fitting(text, usize::from(area.width)), scene.theme.of(meaning));
        frame.render_widget(line, Rect { y, height: 1, ..area });
    }
}

fn filter(
    frame: &mut Frame<'_>,
    area: Rect,
    scene: &Scene<'_>,
    input: &tui_input::Input,
    error: Option<&crate::console::filter::FilterError>,
) {
    let shown = scene.state.listing().shown().len();
    let (status, meaning) = match (error, scene.state.listing().hidden()) {
        (Some(error), _) => (format!("  {}", sanitize(&error.message, 256)), Meaning::Bad),
        (None, 0) => (format!("  {shown} match"), Meaning::Faint),
        (None, hidden) => (format!("  {shown} match, {hidden} more without Ctrl-Z"), Meaning::Warn),
    };
    // Where both do not fit, the end of the input and the start of the status are visible.
    let room = usize::from(area.width).saturating_sub(status.width().min(usize::from(area.width) / 2) + 2);
    let scroll = input.visual_scroll(room);
    let typed = sanitize(&tail(input.value(), scroll), 256);
    let left = usize::from(area.width).saturating_sub(1 + typed.width());
    let line = Line::from(vec![
        Span::styled("/", scene.theme.of(Meaning::Strong)),
        Span::raw(typed),
        Span::styled(fitting(status, left), scene.theme.of(meaning)),
    ]);
    frame.render_widget(line, area);
    let at = u16::try_from(1 + input.visual_cursor() - scroll).unwrap_or(u16::MAX);
    if area.height > 0 && at < area.width {
        frame.set_cursor_position((area.x + at, area.y));
    }
}

/// The text without its first columns.
fn tail(text: &str, columns: usize) -> String {
    let mut left = columns;
    let is_hidden = |c: &char| {
        let hidden = left > 0;
        left = left.saturating_sub(c.width().unwrap_or(0));
        hidden
    };
    text.chars().skip_while(is_hidden).collect()
}

pub(super) fn hints(frame: &mut Frame<'_>, area: Rect, scene: &Scene<'_>) {
    frame.buffer_mut().set_style(area, scene.theme.bar());
    let mut spans = Vec::new();
    let mut used = 0;
    for binding in KEYMAP.iter().filter(|b| !b.hint.is_empty()) {
        let key = binding.label.split(',').next().unwrap_or(binding.label);
        let width = key.width() + binding.hint.width() + 3;
        if used + width > usize::from(area.width) {
            break;
        }
        used += width;
        spans.push(Span::styled(format!(" {key}"), scene.theme.of(Meaning::Strong)));
        spans.push(Span::styled(format!(" {} ", binding.hint), Style::new()));
    }
    frame.render_widget(Line::from(spans), area);
}
