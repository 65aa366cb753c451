//! The header, the messages, the hints.

use std::fmt::Write as _;

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::{Scene, services};
use crate::console::index::Totals;
use crate::console::keys::KEYMAP;
use crate::console::page;
use crate::console::source::Link;
use crate::console::state::modal::Modal;
use crate::console::state::screen::{Format, View};
use crate::console::status::Status;
use crate::console::text::fit::fitting;
use crate::console::text::sanitize::sanitize;
use crate::console::text::{Meaning, format};

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
        frame.render_widget(totals(scene, room), Rect { y: area.y + 1, height: 1, ..area });
    }
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
        View::Instances(id) => format!("{} instances", name(id)),
        View::Instance(id, instance) => format!("{} {}", name(id), sanitize(instance, 63)),
        View::Explain(id, instance) => format!("explain {} {}", name(id), sanitize(instance, 63)),
        View::Timeline(id) => format!("{} timeline", name(id)),
        View::Raw(id, Format::Yaml) => format!("{} yaml", name(id)),
        View::Raw(id, Format::Json) => format!("{} json", name(id)),
        View::Events => "server events".to_owned(),
        View::Help => "help".to_owned(),
    };
    format!("Portolan  {view}")
}

/// `LIVE`, `LIVE, PROBES LATE`, `CONNECTING`, `STALE 14 s, retry in 3 s`.
fn link(scene: &Scene<'_>) -> (String, Meaning) {
    let state = scene.state;
    if let Some(frozen) = &state.frozen {
        return (format!("FROZEN {}, f thaws", format::duration(state.now.since(frozen.0))), Meaning::Warn);
    }
    match &state.link {
        Link::Live if state.probes_are_late() => ("LIVE, PROBES LATE".to_owned(), Meaning::Warn),
        Link::Live if state.abilities.live_probing => ("LIVE".to_owned(), Meaning::Good),
        Link::Live => ("FILE, probes up to 2 s old".to_owned(), Meaning::Good),
        Link::Connecting => ("CONNECTING".to_owned(), Meaning::Warn),
        Link::Lost { retry_at, .. } => {
            let age = state.now.since(state.fresh_at).as_secs();
            let wait = retry_at.since(state.now).as_millis().div_ceil(1000);
            (format!("STALE {age} s, retry in {wait} s"), Meaning::Bad)
        }
    }
}

/// Services by status in the selected namespace; the filter and how many match it.
fn totals(scene: &Scene<'_>, room: usize) -> Line<'static> {
    let state = scene.state;
    let index = state.listing();
    let totals: Totals = index.totals_here();
    let mut spans = vec![Span::raw(" ")];
    let counts = [
        (Status::Down, totals.unhealthy),
        (Status::Degraded, totals.degraded),
        (Status::Unknown, totals.unknown),
        (Status::Healthy, totals.healthy),
        (Status::NotChecked, totals.not_checked),
    ];
    // Unchecked services are rare, and the line is short.
    for (status, count) in counts.into_iter().filter(|(status, count)| *status != Status::NotChecked || *count > 0) {
        let word = status.label(scene.ascii());
        let style = if count == 0 { scene.theme.of(Meaning::Faint) } else { scene.theme.of(word.meaning) };
        spans.push(Span::styled(format!("{} {count}  ", word.text), style));
    }
    let query = index.query();
    if let Some(namespace) = &query.namespace {
        let namespace = format!("  namespace {}  ", sanitize(namespace, 63));
        spans.push(Span::styled(namespace, scene.theme.of(Meaning::Strong)));
    }
    if services::lists(&state.screen().view) {
        spans.push(Span::raw(listed(scene, totals)));
    }
    let all = "  all namespaces";
    let used: usize = spans.iter().map(Span::width).sum();
    // Left out where there is no room.
    if query.namespace.is_none() && used + all.width() <= room {
        spans.push(Span::styled(all, scene.theme.of(Meaning::Faint)));
    }
    Line::from(spans)
}

/// What narrows the list, and to how many rows. Writing to a String cannot fail.
fn listed(scene: &Scene<'_>, totals: Totals) -> String {
    let state = scene.state;
    let mut text = String::new();
    if state.listing().query().faults_only {
        text.push_str("faults only  ");
    }
    if !state.filter.is_empty() {
        let _ = write!(text, "/{}", sanitize(&state.filter, 64));
    }
    if !text.is_empty() {
        text.push_str("  ");
    }
    let shown = state.listing().shown().len();
    if shown != totals.services() {
        let _ = write!(text, "{shown} of {}  ", totals.services());
    }
    if !state.marks.is_empty() {
        let _ = write!(text, "{} marked", state.marks.len());
    }
    text
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
    let (status, meaning) = match error {
        Some(error) => (format!("  {}", sanitize(&error.message, 256)), Meaning::Bad),
        None => (format!("  {shown} match"), Meaning::Faint),
    };
    // Where both do not fit, the end of the input and the start of the status are visible.
    let room = usize::from(area.width).saturating_sub(status.width().min(usize::from(area.width) / 2) + 2);
    let scroll = input.visual_scroll(room);
    let typed = sanitize(&tail(input.value(), scroll), 256);
    let line = Line::from(vec![
        Span::styled("/", scene.theme.of(Meaning::Strong)),
        Span::raw(typed),
        Span::styled(status, scene.theme.of(meaning)),
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
