//! Operations (probe, drain, deregister), copying, marking, and their dialogs.

use crossterm::event::{KeyCode, KeyEvent};
use tui_input::Input;
use uuid::Uuid;

use super::{Effect, navigate};
use crate::console::columns;
use crate::console::data::{self, Instance, Service};
use crate::console::filter::Filter;
use crate::console::source::{Done, MAX_OPERATIONS, Operation, Refusal, Request, Showed};
use crate::console::state::modal::{Choice, ChoiceAction, Modal, Picker};
use crate::console::state::screen::{Selection, View};
use crate::console::state::{Batch, State, Tone};

/// Most checks that need no confirmation.
const MAX_UNCONFIRMED_CHECKS: usize = 10;
/// Most checks of one command.
const MAX_CHECKS: usize = 200;
/// Most services that a summary names.
const MAX_NAMED: usize = 5;

/// Opens the filter's field.
pub(super) fn filter(state: &mut State) {
    if !matches!(state.screen().view, View::Overview | View::Services | View::Heat | View::Outages) {
        navigate::open(state, View::Services);
    }
    let before = state.filter.clone();
    let error = Filter::parse(&before).err();
    let selected = (state.screen().selection.clone(), state.screen().position);
    let input = Input::new(before.to_string());
    state.modal = Some(Modal::Filter { input, error, before, selected, completing: None, recalled: None });
}

/// Probes the selected service.
pub(super) fn check_one(state: &mut State, effects: &mut Vec<Effect>) {
    match navigate::service(state) {
        Some(id) => send(state, Operation::Observe(id), effects),
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

/// Probes several services; the last answer brings a summary.
pub(super) fn check(state: &mut State, services: &[Uuid], effects: &mut Vec<Effect>) {
    let mut batch = state.batch.take().unwrap_or_default();
    for id in services {
        let before = state.last_operation;
        send(state, Operation::Observe(*id), effects);
        if state.last_operation == before {
            // It was refused, and so would the next ones be.
            break;
        }
        let name = state.index.get(id).map(|service| service.name.clone()).unwrap_or_default();
        batch.open.insert(state.last_operation, name);
    }
    if !batch.open.is_empty() {
        state.batch = Some(batch);
    }
}

/// Takes in the answer of an operation of the batch; whether it was one. The last one brings a summary.
pub(super) fn batch_done(state: &mut State, number: u64, result: &Result<Done, Refusal>) -> bool {
    let Some(batch) = &mut state.batch else { return false };
    let Some(name) = batch.open.remove(&number) else { return false };
    match result {
        Ok(Done { showed: Showed::Fault, .. }) => batch.failed.push(name),
        Ok(Done { showed: Showed::NoCheck, .. }) => batch.unchecked += 1,
        Ok(_) => batch.passed += 1,
        Err(refusal) => {
            batch.refused += 1;
            batch.why.clone_from(&refusal.message);
        }
    }
    if batch.open.is_empty()
        && let Some(batch) = state.batch.take()
    {
        let tone = if batch.failed.is_empty() && batch.refused == 0 { Tone::Good } else { Tone::Bad };
        state.note(tone, summary(&batch));
    }
    true
}

/// `probed 40: 37 pass, 2 fail (cart, ledger), 1 refused (too many probes; again in 12 s)`.
fn summary(batch: &Batch) -> String {
    let all = batch.passed + batch.failed.len() + batch.unchecked + batch.refused;
    let mut text = format!("probed {all}: {} pass", batch.passed);
    if !batch.failed.is_empty() {
        let named: Vec<&str> = batch.failed.iter().take(MAX_NAMED).map(|name| &**name).collect();
        let more = if batch.failed.len() > MAX_NAMED { ", …" } else { "" };
        text = format!("{text}, {} fail ({}{more})", batch.failed.len(), named.join(", "));
    }
    if batch.unchecked > 0 {
        text = format!("{text}, {} not checked", batch.unchecked);
    }
    if batch.refused > 0 {
        text = format!("{text}, {} refused ({})", batch.refused, batch.why);
    }
    text
}

/// Says that a key has no meaning, in words that stay the same, so that it is said once for several.
pub(super) fn unknown_key(state: &mut State, key: KeyEvent) {
    let KeyCode::Char(c) = key.code else { return };
    let text = "this key does nothing here; ? lists the keys, : the commands";
    if c.is_ascii_graphic() && state.notes.last().is_none_or(|note| &*note.text != text) {
        state.note(Tone::Plain, text);
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
        Operation::Observe(id) => format!("probe {}", name(id)),
        Operation::Check(id) => format!("probe and decide {}", name(id)),
        Operation::Drain { service, instance, .. } => format!("drain {}/{instance}", name(service)),
        Operation::Undrain { service, instance } => format!("undrain {}/{instance}", name(service)),
        Operation::Acknowledge { service, .. } => format!("acknowledge {}", name(service)),
        Operation::Unacknowledge { service, .. } => format!("unacknowledge {}", name(service)),
        Operation::Deregister { service, instance, .. } => format!("deregister {}/{instance}", name(service)),
    }
    .into()
}

/// Why the operation would be refused, as far as that is known here.
fn refusal(state: &State, operation: &Operation) -> Option<Box<str>> {
    if !state.abilities.acts {
        return Some("this is a file, which can only be viewed; use --server".into());
    }
    let (id, changes) = match operation {
        Operation::Observe(id) => (id, false),
        Operation::Check(id) => (id, true),
        Operation::Drain { service, .. }
        | Operation::Undrain { service, .. }
        | Operation::Acknowledge { service, .. }
        | Operation::Unacknowledge { service, .. }
        | Operation::Deregister { service, .. } => (service, true),
    };
    if changes && state.options.read_only {
        return Some("started with --read-only".into());
    }
    let service = state.index.get(id)?;
    if matches!(operation, Operation::Acknowledge { instance, .. } if !fails(service, instance.as_deref())) {
        return Some("nothing to acknowledge: it neither fails nor warns".into());
    }
    let writes =
        matches!(operation, Operation::Drain { .. } | Operation::Undrain { .. } | Operation::Deregister { .. });
    (writes && &*service.source == "manifest").then(|| manifest(service))
}

/// Whether the instance, or any if none is named, fails or warns.
fn fails(service: &Service, instance: Option<&str>) -> bool {
    service.instances.iter().any(|i| instance.is_none_or(|name| *i.name == *name) && i.fails())
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
        vec![choice("probe now", "shows, changes nothing", ChoiceAction::Operation(Operation::Observe(id)))];
    let decide = Operation::Check(id);
    choices.push(match refusal(state, &decide) {
        Some(why) => choice("probe and decide", &why, ChoiceAction::Refused(why.clone())),
        None => choice("probe and decide", "the outcome changes the health at once", ChoiceAction::Operation(decide)),
    });
    choices.extend(knowing(state, &service));
    let name = navigate::instance(state, id);
    if let Some(instance) = service.instances.iter().find(|i| Some(&i.name) == name.as_ref()) {
        let named = || instance.name.clone();
        choices.push(if instance.drain.is_some() {
            undrain(state, &service, named())
        } else {
            drain(state, &service, named())
        });
        let deregister = Operation::Deregister { service: id, instance: named(), generation: instance.generation };
        choices.push(guarded(state, &service, &named(), "deregister", deregister));
    }
    state.modal = Some(Modal::Pick(Picker::new("do", choices)));
}

/// The instance that an acknowledgement from here is about; none for the whole service, as in lists of services.
fn known_instance(state: &State, id: Uuid) -> Option<Box<str>> {
    let whole = matches!(
        state.screen().view,
        View::Overview | View::Services | View::Heat | View::Changes | View::Timeline(_) | View::Raw(..)
    );
    navigate::instance(state, id).filter(|_| !whole)
}

/// Acknowledging what fails of the row, or taking that back; none where there is neither.
fn knowing(state: &State, service: &Service) -> Vec<Choice> {
    let instance = known_instance(state, service.id);
    let what = instance.as_ref().map_or_else(|| service.name.to_string(), |one| format!("{}/{one}", service.name));
    let mut choices = Vec::new();
    let order =
        Operation::Acknowledge { service: service.id, instance: instance.clone(), note: "".into(), seconds: None };
    if fails(service, instance.as_deref()) {
        let label = format!("acknowledge {what}");
        let asks = || {
            let (instance, what) = (instance.clone(), what.as_str().into());
            choice(&label, "asks for a note first", ChoiceAction::Acknowledge { service: service.id, instance, what })
        };
        let refused = |why: Box<str>| choice(&label, &why, ChoiceAction::Refused(why.clone()));
        choices.push(refusal(state, &order).map_or_else(asks, refused));
    }
    let is_meant = |i: &&Instance| instance.as_ref().is_none_or(|name| i.name == *name);
    if service.instances.iter().filter(is_meant).any(|i| i.acknowledged.is_some()) {
        let label = format!("unacknowledge {what}");
        let operation = Operation::Unacknowledge { service: service.id, instance };
        choices.push(match refusal(state, &operation) {
            Some(why) => choice(&label, &why, ChoiceAction::Refused(why.clone())),
            None => choice(&label, "takes the note back", ChoiceAction::Operation(operation)),
        });
    }
    choices
}

/// Asks for the note of an acknowledgement of the row.
pub(super) fn acknowledge(state: &mut State) {
    let Some(id) = navigate::service(state) else { return };
    let Some(service) = state.listing().get(&id).cloned() else { return };
    let instance = known_instance(state, id);
    let order = Operation::Acknowledge { service: id, instance: instance.clone(), note: "".into(), seconds: None };
    if let Some(why) = refusal(state, &order) {
        state.note(Tone::Bad, why);
        return;
    }
    let what = instance.as_ref().map_or_else(|| service.name.to_string(), |one| format!("{}/{one}", service.name));
    ask_note(state, id, instance, what.into());
}

/// Asks for the note, which begins with the one that is given already.
pub(super) fn ask_note(state: &mut State, service: Uuid, instance: Option<Box<str>>, what: Box<str>) {
    let of = state.listing().get(&service);
    let known = of.and_then(|of| match &instance {
        Some(name) => of.instances.iter().find(|i| i.name == *name)?.acknowledged.as_ref(),
        None => of.acknowledged.as_ref(),
    });
    let input = Input::new(known.map_or_else(String::new, |known| known.note.to_string()));
    state.modal = Some(Modal::Note { input, service, instance, what });
}

fn drain(state: &State, service: &Service, instance: Box<str>) -> Choice {
    let label = format!("drain {}/{instance}", service.name);
    let operation = Operation::Drain { service: service.id, instance: instance.clone(), reason: Box::default() };
    if let Some(why) = refusal(state, &operation) {
        return choice(&label, &why, ChoiceAction::Refused(why.clone()));
    }
    let what = format!("drain instance {instance} of {}/{}", service.namespace, service.name).into();
    choice(&label, "asks why first", ChoiceAction::Drain { service: service.id, instance, what })
}

/// It takes nothing away, so a key confirms it.
fn undrain(state: &State, service: &Service, instance: Box<str>) -> Choice {
    let label = format!("undrain {}/{instance}", service.name);
    let what = format!("undrain instance {instance} of {}/{}", service.namespace, service.name).into();
    let operation = Operation::Undrain { service: service.id, instance };
    match refusal(state, &operation) {
        Some(why) => choice(&label, &why, ChoiceAction::Refused(why.clone())),
        None => choice(&label, "asks first", ChoiceAction::Ask { what, operation }),
    }
}

fn guarded(state: &State, service: &Service, instance: &str, word: &str, operation: Operation) -> Choice {
    let label = format!("{word} {}/{instance}", service.name);
    if let Some(why) = refusal(state, &operation) {
        return choice(&label, &why, ChoiceAction::Refused(why.clone()));
    }
    let what = format!("{word} instance {instance} of {}/{}", service.namespace, service.name).into();
    let name = format!("{}/{instance}", service.name).into();
    choice(&label, "asks for the name first", ChoiceAction::Confirm { name, what, operation })
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

/// Opens a picker of what the row shows, and of what belongs to it.
pub(super) fn copy_cell(state: &mut State) {
    let Some(service) = navigate::service(state).and_then(|id| state.listing().get(&id)).cloned() else { return };
    let chosen = navigate::instance(state, service.id);
    let of = service.instances.iter().find(|i| Some(&i.name) == chosen.as_ref());
    let mut cells = vec![
        ("name".to_owned(), service.name.to_string()),
        ("namespace".to_owned(), service.namespace.to_string()),
        ("id".to_owned(), service.id.to_string()),
    ];
    cells.extend(entry_cells(state, service.id));
    let one = service.instances.len() == 1;
    for instance in of.into_iter().chain(service.instances.iter().filter(|i| Some(&i.name) != chosen.as_ref())) {
        cells.extend(instance_cells(state, &service, instance, one));
    }
    let choices = cells.into_iter().filter(|(_, text)| !text.is_empty());
    let choices = choices.map(|(what, text)| choice(&what, &text, ChoiceAction::Copy(text.clone().into()))).collect();
    state.modal = Some(Modal::Pick(Picker::new("copy", choices)));
}

/// The selected entry of a timeline.
fn entry_cells(state: &State, id: Uuid) -> Vec<(String, String)> {
    let Selection::Entry(number) = state.screen().selection else { return Vec::new() };
    let known = state.history.get(&id).and_then(|known| known.entries.iter().find(|entry| entry.id == number));
    let Some(entry) = known else { return Vec::new() };
    vec![("at".to_owned(), entry.at.to_string()), ("message".to_owned(), entry.message.to_string())]
}

/// What a row shows of an instance, the rest of it, and its labels.
fn instance_cells(state: &State, service: &Service, of: &Instance, one: bool) -> Vec<(String, String)> {
    let probing = state.probing.get(&service.id).and_then(|known| data::deciding(&known.probing, of));
    let said = probing.and_then(|known| known.last.as_ref()).and_then(|last| last.message.clone());
    let texts = [
        ("reason", columns::instance_why(of, probing)),
        ("message", said.unwrap_or_default().into()),
        ("base_url", of.base_url.to_string()),
        ("health_url", of.health_url.to_string()),
        ("version", of.version.to_string()),
        ("zone", of.zone.to_string()),
    ];
    let labels = of.metadata.iter().map(|(key, value)| (key.to_owned(), value.to_owned()));
    let texts = texts.into_iter().map(|(what, text)| (what.to_owned(), text)).chain(labels);
    texts.map(|(what, text)| (if one { what } else { format!("{} {what}", of.name) }, text)).collect()
}

/// Copies text without control characters.
pub(super) fn copy(state: &mut State, text: &str, effects: &mut Vec<Effect>) {
    let clean: Box<str> = text.chars().filter(|c| !crate::model::text::is_hostile(*c)).collect::<String>().into();
    state.note(Tone::Good, format!("copied {clean}"));
    effects.push(Effect::Copy(clean));
}
