//! The demo on a terminal: one screen, drawn anew in place, given back at the end whatever happens.

use std::collections::VecDeque;
use std::io::{self, Stdout, Write};
use std::time::{Duration, Instant};

use crossterm::event::{self, Event as Input, KeyCode, KeyEventKind, KeyModifiers};
use crossterm::style::Print;
use crossterm::terminal::{
    BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen,
};
use crossterm::{cursor, execute, queue, terminal};
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

/// The terminal while the demo owns it.
pub(super) struct Screen {
    out: Stdout,
    paint: Paint,
    guide: Guide,
    started: Instant,
    newest: VecDeque<Event>,
}

impl Screen {
    /// Takes the terminal over.
    ///
    /// # Errors
    /// It cannot be: lines serve then.
    pub(super) fn enter(guide: &Guide, paint: Paint) -> io::Result<Self> {
        terminal::enable_raw_mode()?;
        let newest = VecDeque::with_capacity(STRIP);
        let screen = Self { out: io::stdout(), paint, guide: guide.clone(), started: Instant::now(), newest };
        // From here on, dropping the screen gives the terminal back.
        execute!(&screen.out, EnterAlternateScreen, cursor::Hide)?;
        Ok(screen)
    }

    /// Whether somebody pressed q, Escape or Ctrl-C.
    pub(super) fn wants_out() -> bool {
        while let Ok(true) = event::poll(Duration::ZERO) {
            match event::read() {
                Ok(Input::Key(key)) if key.kind == KeyEventKind::Press => {
                    let control = key.modifiers.contains(KeyModifiers::CONTROL);
                    match key.code {
                        KeyCode::Char('q') | KeyCode::Esc => return true,
                        KeyCode::Char('c' | 'd') if control => return true,
                        _ => {}
                    }
                }
                Ok(_) => {}
                // The terminal is gone.
                Err(_) => return true,
            }
        }
        false
    }

    /// Draws everything anew.
    ///
    /// # Errors
    /// The terminal's.
    pub(super) fn draw(&mut self, services: &[ServiceView], events: Vec<Event>) -> io::Result<()> {
        for event in events {
            self.newest.push_front(event);
        }
        self.newest.truncate(STRIP);
        let (width, height) = terminal::size()?;
        let lines = self.lines(services);
        queue!(self.out, BeginSynchronizedUpdate)?;
        for (row, line) in (0..height).zip(lines.iter()) {
            let line = clip(line, usize::from(width));
            queue!(self.out, cursor::MoveTo(0, row), Print(line), Clear(ClearType::UntilNewLine))?;
        }
        if lines.len() < usize::from(height) {
            queue!(self.out, Clear(ClearType::FromCursorDown))?;
        }
        queue!(self.out, EndSynchronizedUpdate)?;
        self.out.flush()
    }

    fn lines(&self, services: &[ServiceView]) -> Vec<String> {
        let now = UnixMs::wall();
        let show = |text: &str, tone| Cell::new(text, tone).render(self.paint);
        let clock = format!("   {} in, q ends it", age(self.started.elapsed()));
        let mut lines = vec![show(self.guide.title(), Tone::Strong) + &show(&clock, Tone::Faint), String::new()];
        lines.extend(self.guide.lines().iter().map(|line| show(line, Tone::Faint)));
        lines.push(String::new());
        lines.extend(table(services, now).lines(self.paint));
        lines.extend([String::new(), show("NEWEST TRANSITIONS", Tone::Strong)]);
        lines.extend(self.strip(now));
        lines
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

impl Drop for Screen {
    fn drop(&mut self) {
        // What cannot be given back is lost with the terminal.
        let _ = execute!(self.out, cursor::Show, LeaveAlternateScreen);
        let _ = terminal::disable_raw_mode();
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
    use super::*;

    #[test]
    fn a_line_is_cut_by_columns_and_keeps_its_colours() {
        assert_eq!(clip("abcdef", 3), "abc");
        assert_eq!(clip("日本語", 4), "日本");
        assert_eq!(clip("日本語", 3), "日");
        assert_eq!(clip("\u{1b}[31mabcdef\u{1b}[0m", 2), "\u{1b}[31mab\u{1b}[0m");
    }
}
