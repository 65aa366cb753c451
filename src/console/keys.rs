//! The keymap: one table for input, help, hint bar and README.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// What a key does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// One row up.
    Up,
    /// One row down.
    Down,
    /// A screen up.
    PageUp,
    /// A screen down.
    PageDown,
    /// Half a screen up.
    HalfUp,
    /// Half a screen down.
    HalfDown,
    /// The first row.
    First,
    /// The last row.
    Last,
    /// Opens the row.
    Open,
    /// Closes the dialog, else clears the filter, else "faults only", else the marks, else leaves the view; messages go away with it.
    Pop,
    /// One view back; from the first one, quits.
    Back,
    /// Quits.
    Quit,
    /// Type a filter.
    Filter,
    /// Type a command.
    Palette,
    /// The keys.
    Help,
    /// Services, all in one table.
    Services,
    /// The overview.
    Overview,
    /// Everything about one instance.
    Describe,
    /// YAML or JSON.
    Raw,
    /// Events of the server itself.
    Events,
    /// All services as cells.
    Heat,
    /// In the map, a cell to the left.
    Left,
    /// In the map, a cell to the right.
    Right,
    /// The services by host, zone, label, and so on.
    Pivot,
    /// The next dimension or window.
    NextTab,
    /// The previous dimension or window.
    PreviousTab,
    /// The services that share what the failing ones share.
    Shared,
    /// What changed lately, of all services.
    Changes,
    /// Outages, of all services.
    Outages,
    /// Past changes of health.
    Timeline,
    /// Why it has its health.
    Explain,
    /// Probe one now.
    Check,
    /// Probe all that are marked, else all that are listed.
    CheckAll,
    /// Choose the order.
    Sort,
    /// Reverses the order.
    Invert,
    /// The next column's order.
    SortNext,
    /// The previous column's order.
    SortPrevious,
    /// Mark the row, go down.
    Mark,
    /// Mark from the last mark to here.
    MarkRange,
    /// Clears all marks.
    ClearMarks,
    /// Only faults.
    Faults,
    /// Freezes the screen.
    Freeze,
    /// More columns.
    Wide,
    /// Refresh.
    Refresh,
    /// Choose a namespace.
    Namespace,
    /// All namespaces.
    AllNamespaces,
    /// Copy the name.
    Copy,
    /// Choose a cell to copy.
    CopyCell,
    /// Actions on the row.
    Menu,
    /// Say that what fails is known.
    Acknowledge,
    /// Without the columns of labels; a command alone.
    UsualColumns,
    /// Explain beside the list.
    Pane,
    /// The next faulty service.
    NextFault,
    /// The previous faulty service.
    PreviousFault,
}

/// One key of the table.
#[derive(Debug, Clone, Copy)]
pub struct Binding {
    /// The keys.
    pub keys: &'static [(KeyCode, KeyModifiers)],
    /// How the help writes them.
    pub label: &'static str,
    /// What it does.
    pub action: Action,
    /// For the help.
    pub help: &'static str,
    /// For the hint bar; empty for none.
    pub hint: &'static str,
}

const NONE: KeyModifiers = KeyModifiers::NONE;
const CTRL: KeyModifiers = KeyModifiers::CONTROL;
const SHIFT: KeyModifiers = KeyModifiers::SHIFT;

macro_rules! keymap {
    ($($label:literal $action:ident [$($code:expr, $modifiers:expr);+] $help:literal $hint:literal)+) => {
        /// Every key, in the order of the help.
        pub const KEYMAP: &[Binding] = &[
            $(Binding {
                keys: &[$(($code, $modifiers)),+],
                label: $label,
                action: Action::$action,
                help: $help,
                hint: $hint,
            },)+
        ];
    };
}

keymap! {
    "j, Down" Down [KeyCode::Char('j'), NONE; KeyCode::Down, NONE] "one row down" ""
    "k, Up" Up [KeyCode::Char('k'), NONE; KeyCode::Up, NONE] "one row up" ""
    "g, Home" First [KeyCode::Char('g'), NONE; KeyCode::Home, NONE] "the first row" ""
    "G, End" Last [KeyCode::Char('G'), NONE; KeyCode::End, NONE] "the last row" ""
    "PgDn" PageDown [KeyCode::PageDown, NONE] "a screen down" ""
    "PgUp" PageUp [KeyCode::PageUp, NONE] "a screen up" ""
    "Ctrl-D" HalfDown [KeyCode::Char('d'), CTRL] "half a screen down" ""
    "Ctrl-U" HalfUp [KeyCode::Char('u'), CTRL] "half a screen up" ""
    "Enter" Open [KeyCode::Enter, NONE] "open the row" "open"
    "Esc" Pop [KeyCode::Esc, NONE] "one step back: close the dialog, or clear a filter or the marks, or leave the view" "back"
    "q" Back [KeyCode::Char('q'), NONE] "one view back; in the first view, asks whether to quit" ""
    "Ctrl-C" Quit [KeyCode::Char('c'), CTRL] "quit" ""
    "/" Filter [KeyCode::Char('/'), NONE] "filter: cart, !canary, a|b, -l key=value, status!=healthy, p99>500ms, version=^1.4" "filter"
    ":" Palette [KeyCode::Char(':'), NONE] "type a command; Tab completes, here and in the filter" "command"
    "?" Help [KeyCode::Char('?'), NONE] "this help" "help"
    "1" Overview [KeyCode::Char('1'), NONE] "the overview" ""
    "2" Services [KeyCode::Char('2'), NONE] "all services in a table" ""
    "C" Changes [KeyCode::Char('C'), NONE] "recent changes of all services" "changes"
    "O" Outages [KeyCode::Char('O'), NONE] "the outages of all services in 24 h, 7 d or 30 d" ""
    "F" Shared [KeyCode::Char('F'), NONE] "list all services that have what the failing ones have in common" ""
    "v" Pivot [KeyCode::Char('v'), NONE] "the services in groups: by namespace, host, zone, version, owner, reason or a metadata key" "pivot"
    "H" Heat [KeyCode::Char('H'), NONE] "the map: a cell for each service; Tab sorts it by namespace or by status" ""
    "Left" Left [KeyCode::Left, NONE] "in the map, a cell to the left" ""
    "Right" Right [KeyCode::Right, NONE] "in the map, a cell to the right" ""
    "Tab" NextTab [KeyCode::Tab, NONE] "the next property to group by; in the outages, the next time window" ""
    "Shift-Tab" PreviousTab [KeyCode::BackTab, SHIFT; KeyCode::BackTab, NONE] "the previous one" ""
    "X" Explain [KeyCode::Char('X'), NONE] "explain its health, stage by stage: the last good result beside the first bad one" "explain"
    "e" Pane [KeyCode::Char('e'), NONE] "explain the selected row beside the list; needs 120 columns" ""
    "]" NextFault [KeyCode::Char(']'), NONE] "go to the next fault, also in the explanation" ""
    "[" PreviousFault [KeyCode::Char('['), NONE] "the previous fault" ""
    "T, l" Timeline [KeyCode::Char('T'), NONE; KeyCode::Char('l'), NONE] "its past changes of health" "timeline"
    "d" Describe [KeyCode::Char('d'), NONE] "everything about one instance" "describe"
    "y" Raw [KeyCode::Char('y'), NONE] "as YAML; press y again for JSON" "yaml"
    "E" Events [KeyCode::Char('E'), NONE] "events of the server itself" ""
    "p" Check [KeyCode::Char('p'), NONE] "probe it now and show the result; its health does not change" "probe"
    "P" CheckAll [KeyCode::Char('P'), NONE] "probe every marked service; every listed one if none is marked" ""
    "m" Menu [KeyCode::Char('m'), NONE] "actions: probe, acknowledge, drain, undrain, deregister" "menu"
    "a" Acknowledge [KeyCode::Char('a'), NONE] "acknowledge its failure, with a note" ""
    "Ctrl-Z" Faults [KeyCode::Char('z'), CTRL] "only services with a fault" "faults"
    "n" Namespace [KeyCode::Char('n'), NONE] "choose a namespace" "namespace"
    "0" AllNamespaces [KeyCode::Char('0'), NONE] "all namespaces" ""
    "s" Sort [KeyCode::Char('s'), NONE] "choose the order" "sort"
    "I" Invert [KeyCode::Char('I'), NONE] "reverse the order" ""
    "Shift-Right" SortNext [KeyCode::Right, SHIFT] "order by the next column" ""
    "Shift-Left" SortPrevious [KeyCode::Left, SHIFT] "order by the previous column" ""
    "Space" Mark [KeyCode::Char(' '), NONE] "mark the row" ""
    "Ctrl-Space" MarkRange [KeyCode::Char(' '), CTRL; KeyCode::Null, NONE] "mark from the last mark to here" ""
    "Ctrl-\\" ClearMarks [KeyCode::Char('\\'), CTRL; KeyCode::Char('4'), CTRL] "clear all marks" ""
    "f" Freeze [KeyCode::Char('f'), NONE] "freeze the screen; f again thaws it" ""
    "w" Wide [KeyCode::Char('w'), NONE] "more columns" ""
    "c" Copy [KeyCode::Char('c'), NONE] "copy the name" "copy"
    "Y" CopyCell [KeyCode::Char('Y'), NONE] "choose a cell to copy" ""
    "Ctrl-R" Refresh [KeyCode::Char('r'), CTRL] "refresh now, and draw every cell again" ""
}

/// What a key does outside dialogs.
pub fn action(key: KeyEvent) -> Option<Action> {
    // A capital comes with SHIFT from some terminals and without from others.
    let modifiers = if matches!(key.code, KeyCode::Char(_)) { key.modifiers - SHIFT } else { key.modifiers };
    KEYMAP.iter().find(|b| b.keys.iter().any(|(code, with)| *code == key.code && *with == modifiers)).map(|b| b.action)
}

/// Whether two keys are the same, whatever the terminal says of SHIFT with a character.
pub fn same(a: KeyEvent, b: KeyEvent) -> bool {
    let plain =
        |key: KeyEvent| if matches!(key.code, KeyCode::Char(_)) { key.modifiers - SHIFT } else { key.modifiers };
    a.code == b.code && plain(a) == plain(b)
}

/// The table for the README.
pub fn markdown_table() -> String {
    let rows = KEYMAP.iter().map(|b| format!("| `{}` | {} |\n", b.label, b.help.replace('|', "\\|")));
    std::iter::once("| Key | What it does |\n|---|---|\n".to_owned()).chain(rows).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_does_two_things() {
        let mut keys: Vec<_> = KEYMAP.iter().flat_map(|b| b.keys).collect();
        let all = keys.len();
        keys.sort_by_key(|key| format!("{key:?}"));
        keys.dedup();
        assert_eq!(keys.len(), all);
    }

    #[test]
    fn capitals_come_with_or_without_shift() {
        for modifiers in [NONE, SHIFT] {
            assert_eq!(action(KeyEvent::new(KeyCode::Char('G'), modifiers)), Some(Action::Last));
        }
        assert_eq!(action(KeyEvent::new(KeyCode::Right, NONE)), Some(Action::Right));
        assert_eq!(action(KeyEvent::new(KeyCode::Right, SHIFT)), Some(Action::SortNext));
    }
}
