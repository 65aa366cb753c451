//! Keys, mouse and pasted text.

use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers, MouseEvent, MouseEventKind};
use tui_input::Input;
use tui_input::backend::crossterm::EventHandler;

use super::{Effect, actions, navigate, requests};
use crate::console::filter::{self, Filter};
use crate::console::index::Query;
use crate::console::keys::{self, Action};
use crate::console::layout::list_height;
use crate::console::source::Request;
use crate::console::state::modal::{ChoiceAction, Modal, Picker};
use crate::console::state::screen::{Format, View};
use crate::console::state::{State, Tone};

/// Rows per step of the mouse wheel.
const WHEEL_ROWS: isize = 3;

/// A key was pressed.
pub(super) fn key(state: &mut State, key: KeyEvent, effects: &mut Vec<Effect>) {
    if key.kind == KeyEventKind::Release {
        return;
    }
    let action = keys::action(key);
    if action == Some(Action::Quit) {
        state.quit = true;
        return;
    }
    match state.modal.take() {
        Some(modal) => in_modal(state, modal, key, effects),
        None => {
            if let Some(action) = action {
                act(state, action, effects);
            }
        }
    }
}

/// The mouse was used.
pub(super) fn mouse(state: &mut State, mouse: MouseEvent, effects: &mut Vec<Effect>) {
    if state.modal.is_some() {
        return;
    }
    match mouse.kind {
        MouseEventKind::ScrollDown => move_by(state, WHEEL_ROWS, effects),
        MouseEventKind::ScrollUp => move_by(state, -WHEEL_ROWS, effects),
        _ => {}
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
        Action::Back => state.quit = !navigate::back(state),
        Action::Quit => state.quit = true,
        Action::Filter => actions::filter(state),
        Action::Palette => state.modal = Some(Modal::Pick(Picker::palette())),
        Action::Help => navigate::open(state, View::Help),
        Action::Events => navigate::open(state, View::Events),
        Action::Overview => state.screens.truncate(1),
        Action::Services => navigate::open(state, View::Services),
        Action::Describe | Action::Explain | Action::Timeline | Action::Raw => look(state, action),
        Action::Check => actions::check_one(state, effects),
        Action::CheckAll => actions::check_all(state, effects),
        Action::Menu => actions::menu(state),
        Action::Sort => state.modal = Some(Modal::Pick(Picker::sorts())),
        Action::Invert => change(state, |query| query.inverted = !query.inverted),
        Action::SortNext => change(state, |query| query.sort = query.sort.sortable_after(1)),
        Action::SortPrevious => change(state, |query| query.sort = query.sort.sortable_after(-1)),
        Action::Faults => change(state, |query| query.faults_only = !query.faults_only),
        Action::AllNamespaces => change(state, |query| query.namespace = None),
        Action::Namespace => state.modal = Some(Modal::Pick(Picker::namespaces(state.listing()))),
        Action::Mark => actions::mark(state),
        Action::MarkRange => actions::mark_range(state),
        Action::ClearMarks => state.marks.clear(),
        Action::Freeze => freeze(state),
        Action::Wide => state.wide = !state.wide,
        Action::Refresh => refresh(state, effects),
        Action::Copy => actions::copy_name(state, effects),
        Action::CopyCell => actions::copy_cell(state),
    }
}

fn move_by(state: &mut State, by: isize, effects: &mut Vec<Effect>) {
    navigate::step(state, by);
    let left = navigate::rows(state).saturating_sub(navigate::place(state));
    if left < list_height(state) {
        requests::older(state, effects);
    }
}

fn open(state: &mut State) {
    let Some(id) = navigate::service(state) else { return };
    match &state.screen().view {
        View::Overview | View::Services => navigate::open(state, View::Instances(id)),
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

/// Esc without a dialog: clears the filter, else the marks, else leaves the view.
fn pop(state: &mut State) {
    if !state.filter.is_empty() && matches!(state.screen().view, View::Overview | View::Services) {
        state.filter = Box::default();
        change(state, |query| query.filter = Filter::default());
    } else if !state.marks.is_empty() {
        state.marks.clear();
    } else {
        navigate::back(state);
    }
}

pub(super) fn change(state: &mut State, how: impl Fn(&mut Query)) {
    let mut query = state.listing().query().clone();
    how(&mut query);
    // Both, so that the list does not change back when the screen thaws.
    state.index.set_query(query.clone());
    state.listing_mut().set_query(query);
}

fn freeze(state: &mut State) {
    let frozen = state.frozen.take();
    if frozen.is_none() {
        state.frozen = Some(Box::new((state.now, state.index.clone())));
    }
}

fn refresh(state: &mut State, effects: &mut Vec<Effect>) {
    state.outdate();
    effects.push(Effect::Request(Request::Retry));
    requests::due(state, effects);
}

fn in_modal(state: &mut State, mut modal: Modal, key: KeyEvent, effects: &mut Vec<Effect>) {
    match key.code {
        KeyCode::Esc => cancel(state, &modal),
        KeyCode::Enter => accept(state, modal, effects),
        KeyCode::Char('y' | 'Y') if matches!(modal, Modal::CheckMany { .. }) => accept(state, modal, effects),
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
    if let Modal::Filter { before, .. } = modal {
        state.filter = before.clone();
        let filter = Filter::parse(before).unwrap_or_default();
        change(state, |query| query.filter = filter.clone());
    }
}

fn typed(modal: &mut Modal, key: KeyEvent) {
    let field: &mut Input = match modal {
        Modal::Filter { input, .. } | Modal::Confirm { input, .. } => input,
        Modal::Pick(picker) => &mut picker.input,
        Modal::CheckMany { .. } => return,
    };
    let is_text = matches!(key.code, KeyCode::Char(_)) && !key.modifiers.contains(KeyModifiers::CONTROL);
    if !is_text || field.value().len() < filter::MAX_LEN {
        field.handle_event(&Event::Key(key));
    }
}

/// A filter applies while it is typed, up to its first error. A picker narrows.
fn follow_typing(state: &mut State, modal: &mut Modal) {
    match modal {
        Modal::Filter { input, error, .. } => match Filter::parse(input.value()) {
            Ok(filter) => {
                *error = None;
                state.filter = input.value().into();
                change(state, |query| query.filter = filter.clone());
            }
            Err(wrong) => {
                // The terms before it apply.
                let sound = input.value().get(..wrong.at).unwrap_or_default().trim_end();
                let filter = Filter::parse(sound).unwrap_or_default();
                state.filter = sound.into();
                change(state, |query| query.filter = filter.clone());
                *error = Some(wrong);
            }
        },
        Modal::Pick(picker) => picker.narrow(),
        Modal::Confirm { .. } | Modal::CheckMany { .. } => {}
    }
}

/// Enter in a dialog.
fn accept(state: &mut State, modal: Modal, effects: &mut Vec<Effect>) {
    match modal {
        // An invalid filter keeps the dialog open, with the error beside it.
        Modal::Filter { error: Some(_), .. } => state.modal = Some(modal),
        Modal::Filter { .. } => {}
        Modal::Pick(picker) => {
            if let Some(action) = picker.chosen().map(|choice| choice.action.clone()) {
                apply_choice(state, action, effects);
            }
        }
        Modal::CheckMany { services } => actions::check(state, &services, effects),
        Modal::Confirm { ref input, ref name, .. } if input.value().trim() != &**name => {
            state.note(Tone::Bad, format!("type {name} to go on, or Esc"));
            state.modal = Some(modal);
        }
        Modal::Confirm { operation, .. } => actions::send(state, operation, effects),
    }
}

/// Performs the action of a choice.
fn apply_choice(state: &mut State, action: ChoiceAction, effects: &mut Vec<Effect>) {
    match action {
        ChoiceAction::Key(action) => act(state, action, effects),
        ChoiceAction::Namespace(namespace) => change(state, |query| query.namespace.clone_from(&namespace)),
        ChoiceAction::Sort(sort) => change(state, |query| query.sort = sort),
        ChoiceAction::Copy(text) => actions::copy(state, &text, effects),
        ChoiceAction::Operation(operation) => actions::send(state, operation, effects),
        ChoiceAction::Confirm { name, what, operation } => {
            state.modal = Some(Modal::Confirm { input: Input::default(), name, what, operation });
        }
        ChoiceAction::Refused(why) => state.note(Tone::Bad, why),
    }
}
