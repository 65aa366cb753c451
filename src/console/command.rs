//! The commands: what is typed after `:`, with the aliases that k9s users type.
//!
//! In: a line. Out: a [`Command`], or an error that names the nearest one; and what Tab makes of the line.

use super::columns::Column;
use super::facet::Dimension;
use super::keys::Action;
use super::theme::ThemeName;
use super::window::Window;

/// A command, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// What a key does.
    Key(Action),
    /// Show one namespace; none for all.
    Namespace(Option<Box<str>>),
    /// Choose the order; the second is whether it is reversed.
    Sort(Column, bool),
    /// Columns that are added, in place of those before.
    Columns(Vec<Box<str>>),
    /// Set the filter.
    Filter(Box<str>),
    /// Group by a dimension.
    Pivot(Dimension),
    /// The outages in a window.
    Outages(Window),
    /// Choose the colours.
    Theme(ThemeName),
    /// Open the menu of operations at this word.
    Menu(&'static str),
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// No command has the name.
    #[error("no command is called {name}{}", .near.map_or_else(String::new, |near| format!("; did you mean :{near}?")))]
    Unknown {
        /// What was typed.
        name: Box<str>,
        /// A command whose name is close to it.
        near: Option<&'static str>,
    },
    /// The argument is missing or wrong.
    #[error("{0}")]
    Argument(Box<str>),
}

/// How a command reads its argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Argument {
    /// It takes none.
    None,
    /// A namespace; without one, a picker opens.
    Namespace,
    /// A column, `!` before it reverses; without one, a picker opens.
    Sort,
    /// Keys of labels and other columns, separated by commas; none for the usual columns.
    Columns,
    /// A time, as in the filter.
    Since,
    /// A filter.
    Filter,
    /// A dimension.
    Dimension,
    /// A theme.
    Theme,
    /// A window of time: `24h`, `7d` or `30d`.
    Window,
}

/// A row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Spec {
    /// Its name, then its aliases.
    pub names: &'static [&'static str],
    /// Its argument.
    pub argument: Argument,
    /// For the list and the help.
    pub help: &'static str,
    /// What it does without an argument.
    alone: Alone,
}

#[derive(Debug, Clone, Copy)]
enum Alone {
    Key(Action),
    Menu(&'static str),
    Needs(&'static str),
}

macro_rules! commands {
    ($([$($name:literal)+] $argument:ident $alone:ident($value:expr) $help:literal)+) => {
        /// Every command, in the order of the list.
        pub const COMMANDS: &[Spec] = &[
            $(Spec {
                names: &[$($name),+],
                argument: Argument::$argument,
                help: $help,
                alone: Alone::$alone($value),
            },)+
        ];
    };
}

commands! {
    ["ns" "namespace" "namespaces"] Namespace Key(Action::Namespace) "show one namespace; all of them with :ns all"
    ["filter" "f"] Filter Key(Action::Filter) "list what matches"
    ["since"] Since Needs("since needs a time, as in :since 10m") "list what failed, recovered or was drained within a time"
    ["faults" "down"] None Key(Action::Faults) "list only services with a fault"
    ["sort"] Sort Key(Action::Sort) "order by a column; :sort !name reverses"
    ["cols" "columns"] Columns Key(Action::UsualColumns) "add columns: labels, host, avail, as in :cols team,avail; :cols alone removes them"
    ["pivot" "by" "group"] Dimension Key(Action::Pivot) "the services in groups: by namespace, host, zone, version, owner, reason or a label"
    ["map" "heat" "heatmap"] None Key(Action::Heat) "every service as a cell"
    ["services" "svc" "service" "psvc"] None Key(Action::Services) "all services in a table"
    ["overview" "ov" "pulse" "pulses"] None Key(Action::Overview) "the overview"
    ["changes" "recent"] None Key(Action::Changes) "what changed lately"
    ["outages" "outage" "incidents"] Window Key(Action::Outages) "the outages of all services, as in :outages 7d"
    ["events" "ev"] None Key(Action::Events) "events of the server itself"
    ["explain" "why"] None Key(Action::Explain) "why it has its health"
    ["describe" "desc"] None Key(Action::Describe) "everything about one instance"
    ["timeline" "history" "logs" "log"] None Key(Action::Timeline) "its past changes of health"
    ["yaml" "json" "raw"] None Key(Action::Raw) "the service as text"
    ["probe" "check"] None Key(Action::Check) "probe it now"
    ["drain" "cordon"] None Menu("drain") "take an instance out of selection"
    ["undrain" "uncordon"] None Menu("undrain") "let a drained instance serve again"
    ["ack" "acknowledge" "silence"] None Key(Action::Acknowledge) "acknowledge a failure, with a note"
    ["unack" "unacknowledge"] None Menu("unacknowledge") "withdraw the acknowledgement"
    ["deregister" "delete" "rm" "del"] None Menu("deregister") "remove an instance"
    ["theme" "skin" "skins"] Theme Needs("a theme is normal, light, colour-blind or plain") "choose the colours"
    ["wide"] None Key(Action::Wide) "more columns"
    ["refresh"] None Key(Action::Refresh) "refresh now, and draw every cell again"
    ["help" "h" "?"] None Key(Action::Help) "the keys and the filter"
    ["quit" "q" "q!" "qa" "wq" "x" "exit"] None Key(Action::Quit) "quit"
}

/// The themes by name.
pub const THEMES: &[(&str, ThemeName)] = &[
    ("normal", ThemeName::Normal),
    ("light", ThemeName::Light),
    ("colour-blind", ThemeName::ColourBlind),
    ("plain", ThemeName::Plain),
];

/// The command of a name or alias.
fn find(name: &str) -> Option<&'static Spec> {
    COMMANDS.iter().find(|spec| spec.names.contains(&name))
}

/// The first word and the rest.
fn split(line: &str) -> (&str, &str) {
    let line = line.trim_start();
    line.split_once(' ').map_or((line, ""), |(name, rest)| (name, rest.trim()))
}

/// Whether the line's first word is a command.
pub fn is_command(line: &str) -> bool {
    find(split(line).0).is_some()
}

/// Reads a line.
///
/// # Errors
/// [`CommandError`].
pub fn parse(line: &str) -> Result<Command, CommandError> {
    let (name, argument) = split(line);
    let Some(spec) = find(name) else { return Err(CommandError::Unknown { name: name.into(), near: near(name) }) };
    if argument.is_empty() {
        return match spec.alone {
            Alone::Key(action) => Ok(Command::Key(action)),
            Alone::Menu(word) => Ok(Command::Menu(word)),
            Alone::Needs(what) => Err(CommandError::Argument(what.into())),
        };
    }
    let wrong = |text: &str| CommandError::Argument(text.into());
    match spec.argument {
        Argument::None => Err(wrong(&format!("{} takes no argument", spec.names[0]))),
        Argument::Namespace if matches!(argument, "all" | "*") => Ok(Command::Namespace(None)),
        Argument::Namespace => Ok(Command::Namespace(Some(argument.into()))),
        Argument::Sort => {
            sort(argument).ok_or_else(|| wrong(&format!("no order is called that; there are {}", orders().join(", "))))
        }
        Argument::Columns => {
            Ok(Command::Columns(argument.split([',', ' ']).filter(|key| !key.is_empty()).map(Into::into).collect()))
        }
        Argument::Since => Ok(Command::Filter(format!("since<{argument}").into())),
        Argument::Filter => Ok(Command::Filter(argument.into())),
        Argument::Dimension => Ok(Command::Pivot(Dimension::named(argument))),
        Argument::Window => {
            Window::named(argument).map(Command::Outages).ok_or_else(|| wrong("a window is 24h, 7d or 30d"))
        }
        Argument::Theme => {
            let theme = THEMES.iter().find(|(name, _)| *name == argument);
            theme
                .map(|(_, theme)| Command::Theme(*theme))
                .ok_or_else(|| wrong("a theme is normal, light, colour-blind or plain"))
        }
    }
}

fn sort(argument: &str) -> Option<Command> {
    let (argument, inverted) = argument.strip_prefix('!').map_or((argument, false), |rest| (rest, true));
    let column = Column::sortable().find(|column| name_of(*column) == argument.to_lowercase())?;
    Some(Command::Sort(column, inverted))
}

/// The name of a column in a command: its title in lower case.
pub fn name_of(column: Column) -> String {
    column.spec().title.to_lowercase()
}

/// The names of all orders.
pub fn orders() -> Vec<String> {
    Column::sortable().map(name_of).collect()
}

/// A command whose name differs in one or two letters.
fn near(name: &str) -> Option<&'static str> {
    let all = COMMANDS.iter().flat_map(|spec| spec.names).filter(|known| known.len() > 1);
    let name: String = name.chars().take(32).collect();
    let best =
        all.map(|known| (strsim::damerau_levenshtein(&name, known), *known)).min_by_key(|(distance, _)| *distance)?;
    (best.0 <= 1 + usize::from(name.len() > 3)).then_some(best.1)
}

/// What Tab completes at the end of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Completes {
    /// The name of a command.
    Name,
    /// This argument.
    Argument(Argument),
}

/// What the end of the line is, and where it begins, in bytes.
pub fn completes(line: &str) -> (Completes, usize) {
    let Some((name, _)) = line.split_once(' ') else { return (Completes::Name, 0) };
    let argument = find(name).map_or(Argument::None, |spec| spec.argument);
    let word = |separators: &[char]| line.rfind(separators).map_or(line.len(), |at| at + 1);
    let from = if argument == Argument::Columns { word(&[' ', ',']) } else { word(&[' ']) };
    (Completes::Argument(argument), from)
}

/// The names and aliases of all commands.
pub fn names() -> impl Iterator<Item = &'static str> {
    COMMANDS.iter().flat_map(|spec| spec.names).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_means_two_commands() {
        let mut all: Vec<&str> = names().collect();
        let before = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), before);
    }

    #[test]
    fn lines_are_read_and_mistakes_answered_with_the_nearest_command() {
        assert_eq!(parse("wq"), Ok(Command::Key(Action::Quit)));
        assert_eq!(parse("ns shop"), Ok(Command::Namespace(Some("shop".into()))));
        assert_eq!(parse("ns all"), Ok(Command::Namespace(None)));
        assert_eq!(parse("sort !name"), Ok(Command::Sort(Column::Name, true)));
        assert_eq!(parse("since 10m"), Ok(Command::Filter("since<10m".into())));
        assert_eq!(parse("cols team, host"), Ok(Command::Columns(vec!["team".into(), "host".into()])));
        assert_eq!(parse("by team"), Ok(Command::Pivot(Dimension::Label("team".into()))));
        assert_eq!(parse("outages 7d"), Ok(Command::Outages(Window::Week)));
        assert_eq!(parse("drain"), Ok(Command::Menu("drain")));
        let said = |line: &str| parse(line).expect_err("a mistake").to_string();
        assert_eq!(said("sorrt"), "no command is called sorrt; did you mean :sort?");
        assert_eq!(said("hlep"), "no command is called hlep; did you mean :help?");
        assert_eq!(said("frobnicate"), "no command is called frobnicate");
        assert!(said("sort colour").starts_with("no order is called that; there are status, name"));
        assert_eq!(said("since"), "since needs a time, as in :since 10m");
        assert_eq!(said("quit now"), "quit takes no argument");
    }
}
