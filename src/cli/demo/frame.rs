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
/// Transitions that stay on the screen before the guide does.
const STRIP_FIRST: usize = 5;

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
        let now = UnixMs::wall();
        let table = table(services, now).lines(self.paint);
        let strip = self.strip(now);
        let fixed = 2 + table.len() + 2 + strip.len().min(STRIP_FIRST);
        let room = usize::from(height).saturating_sub(fixed + 1);
        let clock = format!("   {} in, q ends it", age(self.started.elapsed()));
        let mut lines = vec![self.show(self.guide.title(), Tone::Strong) + &self.show(&clock, Tone::Faint)];
        lines.push(String::new());
        if room > 0 {
            lines.extend(self.guide.lines().iter().take(room).map(|line| self.show(line, Tone::Faint)));
            lines.push(String::new());
        }
        lines.extend(table);
        lines.extend([String::new(), self.show("NEWEST TRANSITIONS", Tone::Strong)]);
        lines.extend(strip);
        lines.truncate(usize::from(height));
        lines.iter().map(|line| clip(line, usize::from(width))).collect()
    }

    fn show(&self, text: &str, tone: Tone) -> String {
        Cell::new(text, tone).render(self.paint)
    }

    fn strip(&self, now: UnixMs) -> Vec<String> {
        let mut table = Table::new(&["", "", "", "", "", ""]);
        for Event { service, change } in &self.newest {
            let to = change.to.as_deref().map_or_else(|| Cell::new("removed", Tone::Faint), Cell::health);
            table.row(vec![
                format!("{:>6}", since(change.at, now)).into(),
                foreign(&format!("{service}/{}", change.instance)),
                Cell::health(&change.from),
                to,
                foreign(change.reason.as_deref().unwrap_or("")),
                foreign(&change.message),
            ]);
        }
        table.lines(self.paint).into_iter().skip(1).collect()
    }
}

fn table(services: &[ServiceView], now: UnixMs) -> Table {
    let mut table = Table::new(&["SERVICE", "INSTANCE", "VERSION", "WEIGHT", "STATUS", "REASON", "SINCE", "BASE_URL"]);
    for service in services {
        let mut instances: Vec<&InstanceView> = service.instances.iter().collect();
        instances.sort_by(|a, b| a.name.cmp(&b.name));
        for i in instances {
            let mut row = vec![foreign(&service.name), foreign(&i.name), foreign(&i.version)];
            row.extend([i.weight.to_string().into(), Cell::health(&i.status), foreign(&i.reason)]);
            row.extend([since(i.since, now).into(), foreign(&i.base_url)]);
            table.row(row);
        }
    }
    table
}

/// `line` cut to `width` columns. It holds no escape sequences but our own colours, which take no room.
fn clip(line: &str, width: usize) -> String {
    let mut out = String::with_capacity(line.len());
    let (mut used, mut colour) = (0, false);
    for c in line.chars() {
        if c == '\u{1b}' || colour {
            colour = c != 'm';
            out.push(c);
            continue;
        }
        used += c.width().unwrap_or(0);
        if used <= width {
            out.push(c);
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
            assert!(height < 12 || strip > STRIP_FIRST, "{height}: {lines:#?}");
            assert_eq!(lines.iter().any(|line| line.contains("curl")), height > 13, "{height}");
        }
    }

    #[test]
    fn a_line_is_cut_by_columns_and_keeps_its_colours() {
        assert_eq!(clip("abcdef", 3), "abc");
        assert_eq!(clip("日本語", 4), "日本");
        assert_eq!(clip("日本語", 3), "日");
        assert_eq!(clip("\u{1b}[31mabcdef\u{1b}[0m", 2), "\u{1b}[31mab\u{1b}[0m");
    }
}
