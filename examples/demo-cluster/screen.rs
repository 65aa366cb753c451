//! Lines on stdout.

use std::io::{self, Write};
use std::sync::Mutex;

static OUT: Mutex<()> = Mutex::new(());

/// One line. A closed stdout ends the demo.
pub(crate) fn line(text: &str) -> io::Result<()> {
    let _one = OUT.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    writeln!(io::stdout(), "{text}")
}

/// What happens next, set apart from the output of commands.
pub(crate) fn tell(text: &str) -> io::Result<()> {
    line(&format!("\n-- {text}"))
}

/// A command as a person would type it.
pub(crate) fn command(text: &str) -> io::Result<()> {
    line(&format!("\n$ {text}"))
}
