//! Operations (probe, drain, deregister), copying, marking, and their dialogs.

use tui_input::Input;
use uuid::Uuid;

use super::{Effect, navigate};
use crate::console::data::Service;
use crate::console::filter::Filter;
use crate::console::source::{Operation, Request};
use crate::console::state::modal::{Choice, ChoiceAction, Modal, Picker};
use crate::console::state::screen::{Selection, View};
use crate::console::state::{State, Tone};

/// Most checks that need no confirmation.
const MAX_UNCONFIRMED_CHECKS: usize = 10;
/// Most checks of one command.
const MAX_CHECKS: usize = 200;
/// Most operations under way.
const MAX_OPERATIONS: usize = 256;
/// The weight after a drain: the default weight.
const UNDRAINED_WEIGHT: u16 = crate::model::service::DEFAULT_WEIGHT;

/// Opens the filter's field.
pub(super) fn filter(state: &mut State) {
    if !matches!(state.screen().view, View::Overview | View::Services) {
        navigate::open(state, View::Services);
    }
    let before = state.filter.clone();
    let error = Filter::parse(&before).err();
    state.modal = Some(Modal::Filter { input: Input::new(before.to_string()), error, before });
}

/// Probes the selected service.
pub(super) fn check_one(state: &mut State, effects: &mut Vec<Effect>) {
    match navigate::service(state) {
        Some(id) => send(state, Operation::Check(id), effects),
        None => state.note(Tone::Plain, "choose a service first"),
    }
}

/// Probes the marked services, else the listed ones; asks first when there are many.
pub(super) fn check_all(state: &mut State, effects: &mut Vec<Effect>) {
    let mut services: Vec<Uuid> =
        if state.marks.is_empty() { state.listing().shown().to_vec() } else { state.marks.iter().copied().collect() };
    if services.len() > MAX_CHECKS {
        state.note(Tone::Plain, format!("the first {MAX_CHECKS} of {}; filter or mark fewer", services.len()));
        services.truncate(MAX_CHECKS);
    }
    if services.len() > MAX_UNCONFIRMED_CHECKS {
        state.modal = Some(Modal::CheckMany { services });
    } else {
        check(state, &services, effects);
    }
}

pub(super) fn check(state: &mut State, services: &[Uuid], effects: &mut Vec<Effect>) {
    for id in services {
        send(state, Operation::Check(*id), effects);
    }
}

/// Requests an operation, unless it is refused here.
pub(super) fn send(state: &mut State, operation: Operation, effects: &mut Vec<Effect>) {
    if let Some(why) = refusal(state, &operation) {
        state.note(Tone::Bad, why);
        return;
    }
    if state.operations.len() >= MAX_OPERATIONS {
        state.note(Tone::Bad, "too many operations are under way; wait for one to end");
        return;
    }
    state.last_operation += 1;
    state.operations.insert(state.last_operation, words(state, &operation));
    effects.push(Effect::Request(Request::Operate(state.last_operation, operation)));
}

fn words(state: &State, operation: &Operation) -> Box<str> {
    let name = |id: &Uuid| state.index.get(id).map_or_else(|| id.to_string(), |s| s.name.to_string());
    match operation {
        Operation::Check(id) => format!("probe {}", name(id)),
        Operation::Weight { service, instance, weight: 0 } => format!("drain {}/{instance}", name(service)),
        Operation::Weight { service, instance, .. } => format!("undrain {}/{instance}", name(service)),
        Operation::Deregister { service, instance, .. } => format!("deregister {}/{instance}", name(service)),
    }
    .into()
}

/// Why the operation would be refused, as far as that is known here.
fn refusal(state: &State, operation: &Operation) -> Option<Box<str>> {
    if !state.abilities.acts {
        return Some("this source is a file: give --server to act".into());
    }
    let (id, changes) = match operation {
        Operation::Check(id) => (id, false),
        Operation::Weight { service, .. } | Operation::Deregister { service, .. } => (service, true),
    };
    if changes && state.options.read_only {
        return Some("the console was started with --read-only".into());
    }
    let service = state.index.get(id)?;
    (changes && &*service.source == "manifest").then(|| manifest(service))
}

fn manifest(service: &Service) -> Box<str> {
    format!("it comes from a manifest: kubectl edit services.portolan.dev {} -n {}", service.name, service.namespace)
        .into()
}

/// Opens the menu of operations on the row.
pub(super) fn menu(state: &mut State) {
    let Some(id) = navigate::service(state) else { return };
    let Some(service) = state.listing().get(&id).cloned() else { return };
    let mut choices =
        vec![choice("probe now", "every instance, at once", ChoiceAction::Operation(Operation::Check(id)))];
    let name = navigate::instance(state, id);
    if let Some(instance) = service.instances.iter().find(|i| Some(&i.name) == name.as_ref()) {
        let weigh = |weight| Operation::Weight { service: id, instance: instance.name.clone(), weight };
        let (word, operation) =
            if instance.weight == 0 { ("undrain", weigh(UNDRAINED_WEIGHT)) } else { ("drain", weigh(0)) };
        let deregister =
            Operation::Deregister { service: id, instance: instance.name.clone(), generation: instance.generation };
        for (word, operation) in [(word, operation), ("deregister", deregister)] {
            choices.push(guarded(state, &service, &instance.name, word, operation));
        }
    }
    state.modal = Some(Modal::Pick(Picker::new("do", choices)));
}

fn guarded(state: &State, service: &Service, instance: &str, word: &str, operation: Operation) -> Choice {
    let label = format!("{word} {}/{instance}", service.name);
    if let Some(why) = refusal(state, &operation) {
        return choice(&label, &why, ChoiceAction::Refused(why.clone()));
    }
    let what = format!("{word} instance {instance} of {}/{}", service.namespace, service.name).into();
    choice(&label, "asks for the name first", ChoiceAction::Confirm { name: service.name.clone(), what, operation })
}

/// A choice of a picker.
pub(super) fn choice(label: &str, help: &str, action: ChoiceAction) -> Choice {
    Choice { label: label.into(), help: help.into(), action }
}

/// Marks the row, or clears its mark, and moves down.
pub(super) fn mark(state: &mut State) {
    let Some(id) = row(state) else { return };
    if !state.marks.remove(&id) {
        state.marks.insert(id);
        state.last_mark = Some(id);
    }
    navigate::step(state, 1);
}

/// Marks from the last mark to the row.
pub(super) fn mark_range(state: &mut State) {
    let Some(id) = row(state) else { return };
    let from = state.last_mark.and_then(|last| state.listing().position(&last));
    let to = navigate::place(state);
    let (first, last) = from.map_or((to, to), |from| (from.min(to), from.max(to)));
    let range: Vec<Uuid> = state.listing().shown().get(first..=last).unwrap_or_default().to_vec();
    state.marks.extend(range);
    state.last_mark = Some(id);
}

fn row(state: &State) -> Option<Uuid> {
    matches!(state.screen().view, View::Overview | View::Services).then(|| navigate::service(state)).flatten()
}

/// Copies the name of the selected service or instance.
pub(super) fn copy_name(state: &mut State, effects: &mut Vec<Effect>) {
    let name = match (&state.screen().view, &state.screen().selection) {
        (View::Instances(_), Selection::Instance(name)) | (View::Instance(_, name) | View::Explain(_, name), _) => {
            Some(name.clone())
        }
        _ => navigate::service(state).and_then(|id| state.listing().get(&id)).map(|s| s.name.clone()),
    };
    if let Some(name) = name {
        copy(state, &name, effects);
    }
}

/// Opens a picker of the row's cells.
pub(super) fn copy_cell(state: &mut State) {
    let Some(service) = navigate::service(state).and_then(|id| state.listing().get(&id)).cloned() else { return };
    let mut cells = vec![
        ("name".to_owned(), service.name.to_string()),
        ("namespace".to_owned(), service.namespace.to_string()),
        ("id".to_owned(), service.id.to_string()),
        ("version".to_owned(), service.version.to_string()),
        ("reason".to_owned(), service.reason.to_string()),
    ];
    for instance in &service.instances {
        cells.push((format!("{} base_url", instance.name), instance.base_url.to_string()));
        if !instance.health_url.is_empty() {
            cells.push((format!("{} health_url", instance.name), instance.health_url.to_string()));
        }
    }
    let choices = cells.into_iter().filter(|(_, text)| !text.is_empty());
    let choices = choices.map(|(what, text)| choice(&what, &text, ChoiceAction::Copy(text.clone().into()))).collect();
    state.modal = Some(Modal::Pick(Picker::new("copy", choices)));
}

/// Copies text without control characters.
pub(super) fn copy(state: &mut State, text: &str, effects: &mut Vec<Effect>) {
    let clean: Box<str> = text.chars().filter(|c| !crate::model::text::is_hostile(*c)).collect::<String>().into();
    state.note(Tone::Good, format!("copied {clean}"));
    effects.push(Effect::Copy(clean));
}
