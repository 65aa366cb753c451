//! Keys and pasted text.

use std::time::Duration;

use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use tui_input::Input;
use tui_input::backend::crossterm::EventHandler;

use super::commands::Ran;
use super::{Effect, actions, commands, complete, facets, heat, navigate, outages, pane, requests};
use crate::console::command;
use crate::console::facet::Dimension;
use crate::console::filter::{self, Filter};
use crate::console::keys::{self, Action};
use crate::console::layout::{PANE_MIN_WIDTH, list_height};
use crate::console::source::{Operation, Request};
use crate::console::state::modal::{ChoiceAction, Completing, Modal, Picker, Recalled};
use crate::console::state::screen::{Format, View};
use crate::console::state::{State, Tone};
use crate::model::acknowledgement::MAX_ACKNOWLEDGEMENT_NOTE;
use crate::model::service::MAX_DRAIN_REASON;
use crate::model::time;

/// A key was pressed.
pub(super) fn key(state: &mut State, key: KeyEvent, effects: &mut Vec<Effect>) {
    if key.kind == KeyEventKind::Release {
        return;
    }
    let action = keys::action(key);
    let custom = || state.options.custom.keys.iter().find(|(own, _)| keys::same(*own, key)).map(|(_, c)| c.clone());
    if let Some(command) = custom().filter(|_| state.modal.is_none() && action != Some(Action::Quit)) {
        if let Ran::Key(action) = commands::run(state, command) {
            act(state, action, effects);
        }
        return;
    }
    if action == Some(Action::Quit) {
        state.quit = true;
        return;
    }
    if action == Some(Action::Pop) {
        // With whatever it undoes, what was said goes away.
        state.notes.clear();
    }
    match state.modal.take() {
        Some(modal) => in_modal(state, modal, key, effects),
        None => match action {
            Some(action) => act(state, action, effects),
            None => actions::unknown_key(state, key),
        },
    }
}

/// Pasted text goes into the input of the dialog, if one is open.
pub(super) fn paste(state: &mut State, text: &str) {
    let Some(mut modal) = state.modal.take() else { return };
    for c in text.chars().filter(|c| !c.is_control()).take(filter::MAX_LEN) {
        let key = KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE);
        typed(&mut modal, key);
    }
    follow_typing(state, &mut modal);
    state.modal = Some(modal);
}

/// Performs the action of a key or command.
pub(super) fn act(state: &mut State, action: Action, effects: &mut Vec<Effect>) {
    let half = isize::try_from(list_height(state) / 2).unwrap_or(1).max(1);
    match action {
        Action::Up => move_by(state, -1, effects),
        Action::Down => move_by(state, 1, effects),
        Action::HalfUp => move_by(state, -half, effects),
        Action::HalfDown => move_by(state, half, effects),
        Action::PageUp => move_by(state, -2 * half, effects),
        Action::PageDown => move_by(state, 2 * half, effects),
        Action::First => navigate::choose(state, 0),
        Action::Last => move_by(state, isize::MAX, effects),
        Action::Open => open(state),
        Action::Pop => pop(state),
        Action::Back => {
            if !navigate::back(state) {
                state.modal = Some(Modal::Quit);
            }
        }
        Action::Quit => state.quit = true,
        Action::Filter => actions::filter(state),
        Action::Palette => state.modal = Some(Modal::Pick(Picker::palette())),
        Action::Help => navigate::open(state, View::Help),
        Action::Events => navigate::open(state, View::Events),
        Action::Changes => navigate::open(state, View::Changes),
        Action::Outages => outages::open(state, state.outages.window),
        Action::Heat => navigate::open(state, View::Heat),
        Action::Left => heat::aside(state, false),
        Action::Right => heat::aside(state, true),
        Action::Pivot => facets::open(state, Dimension::Namespace),
        Action::NextTab => next_tab(state, 1),
        Action::PreviousTab => next_tab(state, -1),
        Action::Shared => facets::list_shared(state),
        Action::Overview => state.screens.truncate(1),
        Action::Services => navigate::open(state, View::Services),
        Action::Describe | Action::Explain | Action::Timeline | Action::Raw => look(state, action),
        Action::Check => actions::check_one(state, effects),
        Action::CheckAll => actions::check_all(state, effects),
        Action::Menu => actions::menu(state),
        Action::Acknowledge => actions::acknowledge(state),
        Action::Sort | Action::Invert | Action::SortNext | Action::SortPrevious => sort(state, action),
        Action::Faults => navigate::change(state, |query| query.faults_only = !query.faults_only),
        Action::AllNamespaces => navigate::change(state, |query| query.namespace = None),
        Action::Namespace => state.modal = Some(Modal::Pick(Picker::namespaces(state.listing()))),
        Action::Mark => actions::mark(state),
        Action::MarkRange => actions::mark_range(state),
        Action::ClearMarks => state.marks.clear(),
        Action::Freeze => freeze(state),
        Action::Wide => state.wide = !state.wide,
        Action::Refresh => refresh(state, effects),
        Action::UsualColumns => state.columns.clear(),
        Action::Pane => toggle_pane(state),
        Action::NextFault => pane::step_fault(state, true),
        Action::PreviousFault => pane::step_fault(state, false),
        Action::Copy => actions::copy_name(state, effects),
        Action::CopyCell => actions::copy_cell(state),
    }
}

/// Another dimension of the pivot, another window of the outages, or the other order of the map.
fn next_tab(state: &mut State, by: isize) {
    match state.screen().view {
        View::Outages => outages::step(state, by),
        View::Heat => heat::turn(state),
        _ => facets::step(state, by),
    }
}

/// Orders the outages where they are shown, else the services.
fn sort(state: &mut State, action: Action) {
    if matches!(state.screen().view, View::Outages) {
        return outages::sort(state, action);
    }
    match action {
        Action::Sort => state.modal = Some(Modal::Pick(Picker::sorts())),
        Action::SortNext => navigate::change(state, |query| query.sort = query.sort.sortable_after(1)),
        Action::SortPrevious => navigate::change(state, |query| query.sort = query.sort.sortable_after(-1)),
        _ => navigate::change(state, |query| query.inverted = !query.inverted),
    }
}

fn move_by(state: &mut State, by: isize, effects: &mut Vec<Effect>) {
    if state.screen().view == View::Heat {
        return heat::step(state, by);
    }
    navigate::step(state, by);
    let left = navigate::places(state).saturating_sub(navigate::place(state));
    if left < list_height(state) {
        requests::older(state, effects);
    }
}

fn open(state: &mut State) {
    if matches!(state.screen().view, View::Pivot(_)) {
        return facets::list_group(state);
    }
    let Some(id) = navigate::service(state) else { return outages::gone(state) };
    match &state.screen().view {
        View::Overview | View::Services | View::Heat | View::Changes | View::Outages => {
            navigate::open(state, View::Instances(id));
        }
        View::Instances(_) => look(state, Action::Describe),
        View::Instance(_, name) => {
            let view = View::Explain(id, name.clone());
            navigate::open(state, view);
        }
        _ => {}
    }
}

/// Opens a view about the selected service.
fn look(state: &mut State, action: Action) {
    let Some(id) = navigate::service(state).filter(|id| state.listing().get(id).is_some()) else {
        state.note(Tone::Plain, "choose a service first");
        return;
    };
    let view = match (action, &state.screen().view) {
        (Action::Timeline, _) => View::Timeline(id),
        (Action::Raw, View::Raw(_, Format::Yaml)) => View::Raw(id, Format::Json),
        (Action::Raw, _) => View::Raw(id, Format::Yaml),
        (Action::Explain, _) => View::Explain(id, navigate::instance(state, id).unwrap_or_default()),
        _ => View::Instance(id, navigate::instance(state, id).unwrap_or_default()),
    };
    if matches!((&view, &state.screen().view), (View::Raw(..), View::Raw(..))) {
        state.screens.pop();
    }
    navigate::open(state, view);
}

/// Esc without a dialog undoes one thing: the filter, else "faults only", else the marks, else it leaves the view.
fn pop(state: &mut State) {
    let narrows = matches!(state.screen().view, View::Overview | View::Services | View::Heat | View::Outages);
    if narrows && !state.filter.is_empty() {
        state.filter = Box::default();
        navigate::change(state, |query| query.filter = Filter::default());
    } else if narrows && state.listing().query().faults_only {
        navigate::change(state, |query| query.faults_only = false);
    } else if !state.marks.is_empty() {
        state.marks.clear();
    } else {
        navigate::back(state);
    }
}

fn toggle_pane(state: &mut State) {
    state.pane = !state.pane;
    if state.pane && state.size.0 < PANE_MIN_WIDTH {
        state.note(
            Tone::Plain,
            format!("the explanation beside the list needs {PANE_MIN_WIDTH} columns; X shows it alone"),
        );
    }
}

fn freeze(state: &mut State) {
    let frozen = state.frozen.take();
    if frozen.is_none() {
        state.frozen = Some(Box::new((state.now, state.index.clone())));
    }
}

fn refresh(state: &mut State, effects: &mut Vec<Effect>) {
    state.outdate();
    effects.extend([Effect::Repaint, Effect::Request(Request::Retry)]);
    requests::due(state, effects);
}

fn in_modal(state: &mut State, mut modal: Modal, key: KeyEvent, effects: &mut Vec<Effect>) {
    match key.code {
        KeyCode::Esc => cancel(state, &modal),
        KeyCode::Enter => accept(state, modal, effects),
        KeyCode::Char('y' | 'Y') if matches!(modal, Modal::CheckMany { .. } | Modal::Ask { .. } | Modal::Quit) => {
            accept(state, modal, effects);
        }
        KeyCode::Tab => {
            complete_line(state, &mut modal);
            state.modal = Some(modal);
        }
        KeyCode::Up | KeyCode::Down if matches!(modal, Modal::Filter { .. }) => {
            recall(state, &mut modal, key.code == KeyCode::Up);
            state.modal = Some(modal);
        }
        KeyCode::Up | KeyCode::Down | KeyCode::PageUp | KeyCode::PageDown => {
            if let Modal::Pick(picker) = &mut modal {
                picker.step(key.code);
            }
            state.modal = Some(modal);
        }
        _ => {
            typed(&mut modal, key);
            follow_typing(state, &mut modal);
            state.modal = Some(modal);
        }
    }
}

fn cancel(state: &mut State, modal: &Modal) {
    if let Modal::Filter { before, selected, .. } = modal {
        let screen = state.screen_mut();
        (screen.selection, screen.position) = selected.clone();
        state.filter = before.clone();
        let filter = Filter::parse(before).unwrap_or_default();
        navigate::change(state, |query| query.filter = filter.clone());
    }
}

fn typed(modal: &mut Modal, key: KeyEvent) {
    let field: &mut Input = match modal {
        Modal::Filter { input, .. }
        | Modal::Reason { input, .. }
        | Modal::Note { input, .. }
        | Modal::Confirm { input, .. } => input,
        Modal::Pick(picker) => &mut picker.input,
        Modal::CheckMany { .. } | Modal::Ask { .. } | Modal::Quit => return,
    };
    let is_text = matches!(key.code, KeyCode::Char(_)) && !key.modifiers.contains(KeyModifiers::CONTROL);
    let has_room = !is_text || field.value().len() < filter::MAX_LEN;
    let changed = if has_room { field.handle_event(&Event::Key(key)) } else { None };
    match modal {
        Modal::Filter { completing, recalled, .. } => {
            *completing = None;
            // What is edited is a draft of its own.
            if changed.is_some_and(|changed| changed.value) {
                *recalled = None;
            }
        }
        Modal::Pick(Picker { completing, .. }) => *completing = None,
        _ => {}
    }
}

/// Tab: the first candidate for the end of the line, then the next ones.
fn complete_line(state: &mut State, modal: &mut Modal) {
    let (input, completing, is_filter) = match modal {
        Modal::Filter { input, completing, .. } => (input, completing, true),
        Modal::Pick(Picker { input, completing, commands: true, .. }) => (input, completing, false),
        _ => return,
    };
    let line = completing.as_ref().map_or_else(|| Box::from(input.value()), |known| known.line.clone());
    let (from, all) = if is_filter { complete::filter(state, &line) } else { complete::command(state, &line) };
    if all.is_empty() {
        return state.note(Tone::Plain, "nothing completes this");
    }
    let at = completing.as_ref().map_or(0, |known| (known.at + 1) % all.len());
    let text = format!("{}{}", line.get(..from).unwrap_or_default(), all[at]);
    if text.len() <= filter::MAX_LEN {
        // The only candidate is taken, so that the next Tab goes on from there.
        let only = all.len() == 1;
        let space = only && !is_filter && from == 0;
        *input = Input::new(if space { format!("{text} ") } else { text });
        *completing = (!only).then_some(Completing { line, at });
        if let Modal::Filter { recalled, .. } = modal {
            *recalled = None;
        }
        follow_typing(state, modal);
    }
}

/// Up and Down in the filter: those used before, and back to what was typed. Where there is nothing further, nothing changes.
fn recall(state: &mut State, modal: &mut Modal, older: bool) {
    let Modal::Filter { input, recalled, completing, .. } = modal else { return };
    let next = match (recalled.as_ref().map(|shown| shown.at), older) {
        (None, true) => Some(0),
        (Some(at), true) => Some(at + 1),
        (None, false) => return,
        (Some(at), false) => at.checked_sub(1),
    };
    if next.is_some_and(|at| at >= state.filters.len()) {
        return;
    }
    let draft = recalled.take().map_or_else(|| input.value().into(), |shown| shown.draft);
    *input = Input::new(next.and_then(|at| state.filters.get(at)).unwrap_or(&draft).to_string());
    *recalled = next.map(|at| Recalled { at, draft });
    *completing = None;
    follow_typing(state, modal);
}

/// A filter applies while it is typed, up to its first error. A picker narrows.
fn follow_typing(state: &mut State, modal: &mut Modal) {
    match modal {
        Modal::Filter { input, error, .. } => match Filter::parse(input.value()) {
            Ok(filter) => {
                *error = None;
                state.filter = input.value().into();
                navigate::change(state, |query| query.filter = filter.clone());
                navigate::follow_typing(state);
            }
            Err(wrong) => {
                // The terms before it apply.
                let sound = input.value().get(..wrong.at).unwrap_or_default().trim_end();
                let filter = Filter::parse(sound).unwrap_or_default();
                state.filter = sound.into();
                navigate::change(state, |query| query.filter = filter.clone());
                *error = Some(wrong);
            }
        },
        Modal::Pick(picker) => picker.narrow(),
        _ => {}
    }
}

/// Enter in a dialog.
fn accept(state: &mut State, modal: Modal, effects: &mut Vec<Effect>) {
    match modal {
        // An invalid filter keeps the dialog open, with the error beside it.
        Modal::Filter { error: Some(_), .. } => state.modal = Some(modal),
        Modal::Filter { input, .. } => state.remember_filter(input.value().trim()),
        Modal::Quit => state.quit = true,
        Modal::Pick(picker) if picker.commands && is_line(&picker) => {
            match commands::line(state, picker.input.value().trim()) {
                Ran::Done => {}
                Ran::Key(action) => act(state, action, effects),
                Ran::Refused => state.modal = Some(Modal::Pick(picker)),
            }
        }
        Modal::Pick(picker) => {
            if let Some(action) = picker.chosen().map(|choice| choice.action.clone()) {
                apply_choice(state, action, effects);
            }
        }
        Modal::CheckMany { services } => actions::check(state, &services, effects),
        Modal::Reason { ref input, .. } if input.value().trim().is_empty() => {
            state.note(Tone::Bad, "type the reason to go on, or press Esc");
            state.modal = Some(modal);
        }
        Modal::Reason { input, service, instance, .. } => {
            let reason = input.value().trim().chars().take(MAX_DRAIN_REASON).collect::<String>().into();
            actions::send(state, Operation::Drain { service, instance, reason }, effects);
        }
        Modal::Note { ref input, .. } if note(input.value()).1.is_empty() => {
            state.note(Tone::Bad, "type a note to go on, or Esc");
            state.modal = Some(modal);
        }
        Modal::Note { input, service, instance, .. } => {
            let (seconds, note) = note(input.value());
            let note = note.chars().take(MAX_ACKNOWLEDGEMENT_NOTE).collect::<String>().into();
            actions::send(state, Operation::Acknowledge { service, instance, note, seconds }, effects);
        }
        Modal::Confirm { ref input, ref name, .. } if input.value().trim() != &**name => {
            state.note(Tone::Bad, format!("type {name} to go on, or Esc"));
            state.modal = Some(modal);
        }
        Modal::Ask { operation, .. } | Modal::Confirm { operation, .. } => actions::send(state, operation, effects),
    }
}

/// A note and, where it begins with one as in `2h: disk ordered`, the time after which it ends, in seconds.
fn note(typed: &str) -> (Option<u64>, &str) {
    let typed = typed.trim();
    let seconds = |text: &str| {
        let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
        let unit = time::unit(unit).filter(|unit| *unit >= Duration::from_mins(1))?;
        number.parse::<u64>().ok()?.checked_mul(unit.as_secs())
    };
    let timed = typed.split_once(':').and_then(|(first, rest)| Some((seconds(first.trim())?, rest.trim())));
    timed.map_or((None, typed), |(seconds, note)| (Some(seconds), note))
}

/// Whether what is typed is meant, not the selected choice: a command, or something that matches nothing.
fn is_line(picker: &Picker) -> bool {
    let typed = picker.input.value().trim();
    !typed.is_empty() && picker.at == 0 && (command::is_command(typed) || picker.matching.is_empty())
}

/// Performs the action of a choice.
fn apply_choice(state: &mut State, action: ChoiceAction, effects: &mut Vec<Effect>) {
    match action {
        ChoiceAction::Key(action) => act(state, action, effects),
        ChoiceAction::Command(name) => {
            if let Ran::Key(action) = commands::line(state, name) {
                act(state, action, effects);
            }
        }
        ChoiceAction::Namespace(namespace) => navigate::change(state, |query| query.namespace.clone_from(&namespace)),
        ChoiceAction::Sort(sort) => navigate::change(state, |query| query.sort = sort),
        ChoiceAction::SortOutages(order) => outages::order_by(state, order),
        ChoiceAction::Copy(text) => actions::copy(state, &text, effects),
        ChoiceAction::Operation(operation) => actions::send(state, operation, effects),
        ChoiceAction::Ask { what, operation } => state.modal = Some(Modal::Ask { what, operation }),
        ChoiceAction::Confirm { name, what, operation } => {
            state.modal = Some(Modal::Confirm { input: Input::default(), name, what, operation });
        }
        ChoiceAction::Drain { service, instance, what } => {
            state.modal = Some(Modal::Reason { input: Input::default(), service, instance, what });
        }
        ChoiceAction::Acknowledge { service, instance, what } => actions::ask_note(state, service, instance, what),
        ChoiceAction::Refused(why) => state.note(Tone::Bad, why),
    }
}
