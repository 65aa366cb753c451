//! The demo on a terminal: one screen, drawn anew in place, given back at the end whatever happens.

use std::io::{self, Stdout, Write};
use std::time::Duration;

use crossterm::event::{self, Event as Input, KeyCode, KeyEventKind, KeyModifiers};
use crossterm::style::Print;
use crossterm::terminal::{
    BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen,
};
use crossterm::{cursor, execute, queue, terminal};

use super::frame::Frame;
use super::guide::Guide;
use super::watch::Event;
use crate::cli::client::ServiceView;
use crate::cli::output::paint::Paint;

/// The terminal while the demo owns it.
pub(super) struct Screen {
    out: Stdout,
    frame: Frame,
}

impl Screen {
    /// Takes the terminal over.
    ///
    /// # Errors
    /// It cannot be: lines serve then.
    pub(super) fn enter(guide: &Guide, paint: Paint) -> io::Result<Self> {
        terminal::enable_raw_mode()?;
        let screen = Self { out: io::stdout(), frame: Frame::new(guide, paint) };
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
        self.frame.add(events);
        let (width, height) = terminal::size()?;
        let lines = self.frame.lines(services, width, height);
        queue!(self.out, BeginSynchronizedUpdate)?;
        for (row, line) in (0..height).zip(lines.iter()) {
            queue!(self.out, cursor::MoveTo(0, row), Print(line), Clear(ClearType::UntilNewLine))?;
        }
        if lines.len() < usize::from(height) {
            queue!(self.out, Clear(ClearType::FromCursorDown))?;
        }
        queue!(self.out, EndSynchronizedUpdate)?;
        self.out.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // What cannot be given back is lost with the terminal.
        let _ = execute!(self.out, cursor::Show, LeaveAlternateScreen);
        let _ = terminal::disable_raw_mode();
    }
}
