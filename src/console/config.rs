//! The user's own settings, `~/.config/portolan/console.toml`: colours, columns, what is slow, what rings, keys.
//!
//! ```toml
//! theme = "light"                 # normal, light, colour-blind or plain
//! ascii = false                   # only ASCII characters
//! columns = ["team", "host"]      # added to the usual ones: a label, host, zone, avail, …
//! explain = true                  # start with the explanation beside the list
//! slow = "500ms"                  # a healthy service whose 99th percentile is higher counts as slow
//! bell = true                     # ring when a service goes down
//! title = true                    # say in the terminal's title how many are down
//!
//! [keys]                          # a key, and the command that it stands for, as after ":"
//! "F2" = "filter -l team=pay status=faulty"
//! "Ctrl-E" = "explain"
//! ```
//!
//! In: the file's text. Out: [`Settings`], or what is wrong, with line and column.

use std::collections::BTreeMap;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde::Deserialize;
use toml::Spanned;

use super::columns::Added;
use super::command::{self, THEMES};
use super::filter;
use super::state::Custom;
use super::theme::ThemeName;

/// Largest file that is read, in bytes.
pub const MAX_FILE: u64 = 64 << 10;
/// Most columns that are added.
const MAX_COLUMNS: usize = 8;

/// What the file says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    /// Colours.
    pub theme: Option<ThemeName>,
    /// Only ASCII characters.
    pub ascii: bool,
    /// The rest.
    pub custom: Custom,
}

/// What is wrong with the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct ConfigError {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// One sentence.
    pub message: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "switches of the file, as the user writes them")]
struct File {
    theme: Option<Spanned<String>>,
    ascii: bool,
    columns: Vec<Spanned<String>>,
    explain: bool,
    slow: Option<Spanned<String>>,
    bell: bool,
    title: bool,
    keys: BTreeMap<Spanned<String>, Spanned<String>>,
}

/// Reads the file's text.
///
/// # Errors
/// [`ConfigError`] at the first mistake.
pub fn parse(text: &str) -> Result<Settings, ConfigError> {
    let at = |byte: usize, message: String| {
        let before = text.get(..byte.min(text.len())).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        ConfigError { line, column, message }
    };
    let file: File = toml::from_str(text)
        .map_err(|error| at(error.span().map_or(0, |span| span.start), error.message().to_owned()))?;
    let theme = file.theme.map(|name| {
        let found = THEMES.iter().find(|(known, _)| *known == name.get_ref()).map(|(_, theme)| *theme);
        found.ok_or_else(|| at(name.span().start, "a theme is normal, light, colour-blind or plain".to_owned()))
    });
    if let Some(more) = file.columns.get(MAX_COLUMNS) {
        return Err(at(more.span().start, format!("at most {MAX_COLUMNS} columns can be added")));
    }
    let mut keys = Vec::new();
    for (name, line) in &file.keys {
        let wrong = || {
            at(name.span().start, format!("{} is not a key: a character, F1 to F12, Ctrl-X or Alt-X", name.get_ref()))
        };
        let key = key(name.get_ref()).ok_or_else(wrong)?;
        let line_text = line.get_ref().trim_start_matches(':');
        let command = command::parse(line_text).map_err(|error| at(line.span().start, error.to_string()))?;
        if let command::Command::Filter(text) = &command {
            filter::Filter::parse(text).map_err(|error| at(line.span().start, error.to_string()))?;
        }
        keys.push((key, command));
    }
    let slow = file.slow.map(|time| filter::duration(time.get_ref()).map_err(|message| at(time.span().start, message)));
    let columns = file.columns.iter().map(|name| Added::named(name.get_ref())).collect();
    let custom =
        Custom { columns, pane: file.explain, keys, slow: slow.transpose()?, bell: file.bell, title: file.title };
    Ok(Settings { theme: theme.transpose()?, ascii: file.ascii, custom })
}

/// `F2`, `Ctrl-E`, `Alt-x`, `K`.
fn key(name: &str) -> Option<KeyEvent> {
    let (modifiers, rest) = match name.split_once('-') {
        Some(("Ctrl", rest)) => (KeyModifiers::CONTROL, rest),
        Some(("Alt", rest)) => (KeyModifiers::ALT, rest),
        _ => (KeyModifiers::NONE, name),
    };
    let number = rest.strip_prefix('F').and_then(|number| number.parse::<u8>().ok()).filter(|n| (1..=12).contains(n));
    let code = if let Some(number) = number {
        KeyCode::F(number)
    } else {
        let mut chars = rest.chars();
        let c = chars.next().filter(|c| !c.is_control() && chars.next().is_none())?;
        // With Ctrl, terminals send the small letter.
        KeyCode::Char(if modifiers == KeyModifiers::CONTROL { c.to_ascii_lowercase() } else { c })
    };
    // Ctrl-C always quits.
    let is_quit = code == KeyCode::Char('c') && modifiers == KeyModifiers::CONTROL;
    (!is_quit).then(|| KeyEvent::new(code, modifiers))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::facet::Dimension;
    use super::super::keys::Action;
    use super::command::Command;
    use super::*;

    #[test]
    fn a_whole_file_is_read() {
        let text = "theme = \"light\"\nascii = true\ncolumns = [\"team\", \"host\"]\nexplain = true\n\
                    slow = \"500ms\"\nbell = true\n\n[keys]\n\
                    \"F2\" = \"filter -l team=pay status=faulty\"\n\"Ctrl-E\" = \":explain\"\nK = \"ns all\"\n";
        let read = parse(text).expect("a file");
        assert_eq!((read.theme, read.ascii, read.custom.pane), (Some(ThemeName::Light), true, true));
        assert_eq!(read.custom.columns, [Added::named("team"), Added::Of(Dimension::Host)]);
        let custom = &read.custom;
        assert_eq!((custom.slow, custom.bell, custom.title), (Some(Duration::from_millis(500)), true, false));
        let of = |code, with| {
            let wanted = KeyEvent::new(code, with);
            read.custom.keys.iter().find(|(key, _)| *key == wanted).map(|(_, command)| command.clone())
        };
        let filter = Command::Filter("-l team=pay status=faulty".into());
        assert_eq!(of(KeyCode::F(2), KeyModifiers::NONE), Some(filter));
        assert_eq!(of(KeyCode::Char('e'), KeyModifiers::CONTROL), Some(Command::Key(Action::Explain)));
        assert_eq!(of(KeyCode::Char('K'), KeyModifiers::NONE), Some(Command::Namespace(None)));
        assert_eq!(parse(""), Ok(Settings::default()));
    }

    #[test]
    fn a_mistake_is_named_with_its_place() {
        for (text, place, said) in [
            ("theme = \"pink\"", (1, 9), "a theme is"),
            ("ascii = true\nfont = 3\n", (2, 1), "font"),
            ("\n[keys]\nF2 = \"filtre x\"", (3, 6), "did you mean :filter?"),
            ("[keys]\nF2 = \"filter lat>x\"", (2, 6), "a time is written"),
            ("[keys]\nF99 = \"quit\"", (2, 1), "is not a key"),
            ("[keys]\nCtrl-C = \"quit\"", (2, 1), "is not a key"),
            ("slow = \"fast\"", (1, 8), "a time is written"),
            ("theme = ", (1, 9), ""),
        ] {
            let error = parse(text).expect_err("a mistake");
            assert_eq!((error.line, error.column), place, "{text}: {error}");
            assert!(error.message.contains(said), "{error}");
        }
    }
}
