//! What the demo's screen shows, as lines; drawing them is another matter.

use std::collections::VecDeque;
use std::time::Instant;

use unicode_width::UnicodeWidthChar;

use super::guide::Guide;
use super::watch::Event;
use crate::cli::client::{InstanceView, ServiceView};
use crate::cli::output::paint::{Cell, Paint, Tone};
use crate::cli::output::table::{Table, foreign};
use crate::cli::output::time::{age, since};
use crate::model::time::UnixMs;

/// Newest transitions that are kept to be shown.
const STRIP: usize = 50;
/// Lines of transitions that stay on the screen before the guide does.
const STRIP_FIRST: usize = 6;
/// What an instance's line tells. The reason has room for a long one, so that columns do not come and go with it.
const COLUMNS: [&str; 8] =
    ["SERVICE", "INSTANCE", "VERSION", "WEIGHT", "STATUS", "REASON          ", "SINCE", "BASE_URL"];
/// Columns that give way on a narrow screen, the first one first.
const EXPENDABLE: [&str; 3] = ["BASE_URL", "WEIGHT", "VERSION"];

/// The guide, and the newest transitions.
pub(super) struct Frame {
    paint: Paint,
    guide: Guide,
    started: Instant,
    newest: VecDeque<Event>,
}

impl Frame {
    /// Nothing happened yet.
    pub(super) fn new(guide: &Guide, paint: Paint) -> Self {
        let newest = VecDeque::with_capacity(STRIP);
        Self { paint, guide: guide.clone(), started: Instant::now(), newest }
    }

    /// Adds what happened, oldest first.
    pub(super) fn add(&mut self, events: Vec<Event>) {
        for event in events {
            self.newest.push_front(event);
        }
        self.newest.truncate(STRIP);
    }

    /// The lines, each cut to `width`, as many as fit into `height`: on a low screen the guide gives way.
    pub(super) fn lines(&self, services: &[ServiceView], width: u16, height: u16) -> Vec<String> {
        let (width, height) = (usize::from(width), usize::from(height));
        let now = UnixMs::wall();
        let table = self.table(services, now, width);
        let strip = self.strip(now, width, height);
        let fixed = 2 + table.len() + 2 + strip.len().min(STRIP_FIRST);
        let room = height.saturating_sub(fixed + 1);
        let mut lines = vec![self.title(), String::new()];
        if room > 0 {
            lines.extend(self.guide.lines_within(width).take(room).map(|line| self.show(&line, Tone::Faint)));
            lines.push(String::new());
        }
        lines.extend(table);
        lines.extend([String::new(), self.show("NEWEST TRANSITIONS", Tone::Strong)]);
        lines.extend(strip);
        lines.truncate(height);
        lines.iter().map(|line| clip(line, width)).collect()
    }

    /// How to leave comes first, since a narrow screen cuts the end.
    fn title(&self) -> String {
        let clock = format!("   q ends it, {} in   ", age(self.started.elapsed()));
        self.show("Portolan demo", Tone::Strong) + &self.show(&(clock + self.guide.place()), Tone::Faint)
    }

    fn show(&self, text: &str, tone: Tone) -> String {
        Cell::new(text, tone).render(self.paint)
    }

    /// The instances with all columns that fit: what says least about health goes first.
    fn table(&self, services: &[ServiceView], now: UnixMs, width: usize) -> Vec<String> {
        let mut without = 0;
        loop {
            let lines = table(services, now, &EXPENDABLE[..without]).lines(self.paint);
            if without == EXPENDABLE.len() || fit(&lines, width) {
                return lines;
            }
            without += 1;
        }
    }

    /// A line a transition; where that is too long, the message gets a line of its own.
    fn strip(&self, now: UnixMs, width: usize, height: usize) -> Vec<String> {
        let (mut long, mut short) = (Table::new(&[""; 6]), Table::new(&[""; 4]));
        for Event { service, change } in self.newest.iter().take(height) {
            let at = format!("{:>6}", since(change.at, now));
            let who = foreign(&format!("{service}/{}", change.instance));
            let to = change.to.as_deref().map_or_else(|| Cell::new("removed", Tone::Faint), Cell::health);
            let reason = foreign(change.reason.as_deref().unwrap_or(""));
            short.row(vec![at.as_str().into(), who.clone(), to.clone(), reason.clone()]);
            long.row(vec![at.into(), who, Cell::health(&change.from), to, reason, foreign(&change.message)]);
        }
        let lines: Vec<String> = long.lines(self.paint).into_iter().skip(1).collect();
        if fit(&lines, width) {
            return lines;
        }
        let heads = short.lines(self.paint).into_iter().skip(1);
        heads.zip(&self.newest).flat_map(|(head, event)| [Some(head), message(event)]).flatten().collect()
    }
}

/// The transition's message under its head; none when it is empty.
fn message(event: &Event) -> Option<String> {
    let message = &event.change.message;
    (!message.is_empty()).then(|| format!("{:9}{}", "", foreign(message).text))
}

fn table(services: &[ServiceView], now: UnixMs, without: &[&str]) -> Table {
    let kept: Vec<bool> = COLUMNS.iter().map(|name| !without.contains(&name.trim_end())).collect();
    let head: Vec<&str> = COLUMNS.iter().zip(&kept).filter_map(|(name, keep)| keep.then_some(*name)).collect();
    let mut table = Table::new(&head);
    for service in services {
        let mut instances: Vec<&InstanceView> = service.instances.iter().collect();
        instances.sort_by(|a, b| a.name.cmp(&b.name));
        for i in instances {
            let mut row = vec![foreign(&service.name), foreign(&i.name), foreign(&i.version)];
            row.extend([i.weight.to_string().into(), Cell::health(&i.status), foreign(&i.reason)]);
            row.extend([since(i.since, now).into(), foreign(&i.base_url)]);
            table.row(row.into_iter().zip(&kept).filter_map(|(cell, keep)| keep.then_some(cell)).collect());
        }
    }
    table
}

fn fit(lines: &[String], width: usize) -> bool {
    lines.iter().all(|line| letters(line).map(|(_, columns)| columns).sum::<usize>() <= width)
}

/// The line's characters with the columns that each takes: our own colours, the only escape sequences, take none.
fn letters(line: &str) -> impl Iterator<Item = (char, usize)> {
    let mut colour = false;
    line.chars().map(move |c| {
        if c == '\u{1b}' || colour {
            colour = c != 'm';
            return (c, 0);
        }
        (c, c.width().unwrap_or(0))
    })
}

/// `line` cut to `width` columns, with a sign where it was cut.
fn clip(line: &str, width: usize) -> String {
    if letters(line).map(|(_, columns)| columns).sum::<usize>() <= width {
        return line.to_owned();
    }
    let mut out = String::with_capacity(line.len());
    let (mut used, mut cut) = (0, width == 0);
    for (c, columns) in letters(line) {
        if columns > 0 && !cut && used + columns >= width {
            out.push('…');
            cut = true;
        }
        if columns == 0 || !cut {
            out.push(c);
            used += columns;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::cli::client::TransitionView;

    fn frame() -> Frame {
        let mut frame = Frame::new(&Guide::new("http://127.0.0.1:1", Path::new("/tmp/x")), Paint::Glyphs);
        let change = |id, to: &str| TransitionView {
            id,
            at: Some(UnixMs::wall()),
            instance: "b".to_owned(),
            from: "healthy".to_owned(),
            to: Some(to.to_owned()),
            reason: Some("ConnectRefused".to_owned()),
            message: "\u{1b}[2J".to_owned(),
        };
        let event = |change| Event { service: "order-service".to_owned(), change };
        frame.add((0..20).map(|id| event(change(id, if id == 19 { "unhealthy" } else { "unknown" }))).collect());
        frame
    }

    fn services() -> Vec<ServiceView> {
        let instance = |name: &str, status: &str| InstanceView {
            name: name.to_owned(),
            status: status.to_owned(),
            ..InstanceView::default()
        };
        let instances = vec![instance("b", "healthy"), instance("a", "unhealthy")];
        vec![ServiceView { name: "order-service".to_owned(), instances, ..ServiceView::default() }]
    }

    #[test]
    fn the_newest_comes_first_and_nothing_moves_the_cursor() {
        let lines = frame().lines(&services(), 200, 60);
        let heading = lines.iter().position(|line| line == "NEWEST TRANSITIONS").expect("a strip");
        assert!(lines[heading + 1].contains("✗ unhealthy") && lines[heading + 2].contains("○ unknown"));
        assert!(!lines.concat().contains('\u{1b}'));
        let rows: Vec<&str> = lines.iter().filter(|l| l.starts_with("order-service")).map(String::as_str).collect();
        assert!(
            rows[0].contains(" a ") && rows[0].contains("✗ unhealthy") && rows[1].contains("● healthy"),
            "{rows:?}"
        );
    }

    #[test]
    fn on_a_low_screen_the_guide_gives_way() {
        for height in 1..40_u16 {
            let lines = frame().lines(&services(), 80, height);
            assert!(lines.len() <= usize::from(height));
            let strip = lines.iter().skip_while(|line| *line != "NEWEST TRANSITIONS").count();
            assert!(height < 13 || strip > STRIP_FIRST, "{height}: {lines:#?}");
            assert_eq!(lines.iter().any(|line| line.contains("curl")), height > 14, "{height}");
        }
    }

    #[test]
    fn a_line_is_cut_by_columns_and_keeps_its_colours() {
        assert_eq!(clip("abc", 3), "abc");
        assert_eq!(clip("abcdef", 3), "ab…");
        assert_eq!(clip("日本語", 4), "日…");
        assert_eq!(clip("日本語", 3), "日…");
        assert_eq!(clip("日本語", 0), "");
        assert_eq!(clip("\u{1b}[31mabcdef\u{1b}[0m", 2), "\u{1b}[31ma…\u{1b}[0m");
    }

    #[test]
    fn a_narrow_screen_keeps_what_matters() {
        let mut frame = Frame::new(&Guide::new("http://127.0.0.1:41234", Path::new("/tmp/x")), Paint::Colours);
        let change = TransitionView {
            instance: "default".to_owned(),
            from: "healthy".to_owned(),
            to: Some("unhealthy".to_owned()),
            reason: Some("UnexpectedStatus".to_owned()),
            message: "answered 500 where 200 to 299 was expected, as it did before".to_owned(),
            ..TransitionView::default()
        };
        frame.add(vec![Event { service: "inventory-service".to_owned(), change }]);
        let instances = vec![InstanceView {
            name: "default".to_owned(),
            version: "1.4.2".to_owned(),
            status: "unhealthy".to_owned(),
            reason: "UnexpectedStatus".to_owned(),
            base_url: "http://127.0.0.1:41235".to_owned(),
            since: Some(UnixMs::wall()),
            ..InstanceView::default()
        }];
        let services = [ServiceView { name: "inventory-service".to_owned(), instances, ..ServiceView::default() }];
        let text = frame.lines(&services, 80, 24).join("\n");
        for whole in ["q ends it", "UnexpectedStatus", "SINCE", "where 200 to 299 was expected, as it did before"] {
            assert!(text.contains(whole), "{whole} in {text}");
        }
        assert!(!text.contains("BASE_URL") && !text.contains("WEIGHT"), "{text}");
        let pasted: Vec<&str> = text.lines().filter(|line| line.contains("curl")).collect();
        assert!(pasted.len() >= 2 && pasted.iter().all(|line| line.ends_with("'\u{1b}[0m")), "{pasted:?}");
        assert!(frame.lines(&services, 200, 24).concat().contains("BASE_URL"), "a wide screen has them all");
    }
}
