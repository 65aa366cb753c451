//! Keys of a console during all of this.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::console::{SIZE, chosen, console, has_rows};
use crate::pty::Pty;

/// Time between two keys: about the repeat rate of a held key, and not a multiple of the frame time.
const EVERY: Duration = Duration::from_millis(37);

/// Presses this many keys; the time from each to its frame, in milliseconds.
pub(super) fn press(server: &str, keys: u64) -> Result<Vec<f64>> {
    let command: Command = console(&["--server".to_owned(), server.to_owned()]);
    let mut pty = Pty::start(&command, SIZE)?;
    pty.wait("the first rows", has_rows)?;
    pty.press("2")?;
    pty.wait("the table", |screen| chosen(screen).is_some() && screen.contents().contains("services"))?;
    let mut took = Vec::new();
    for n in 0..keys {
        let row = pty.look(chosen).context("a chosen row")?;
        let (key, wanted) = if n % 2 == 0 { ("j", row + 1) } else { ("k", row - 1) };
        let pressed = pty.press(key)?;
        let seen = pty.wait("the next row", |screen| chosen(screen) == Some(wanted))?;
        took.push((seen - pressed).as_secs_f64() * 1e3);
        std::thread::sleep(EVERY);
    }
    Ok(took)
}
