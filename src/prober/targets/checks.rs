//! The checks of one instance together: what readers see of it, and what a step of one check changes about that.
//!
//! Nearly every instance has one check, and its state is the instance's. Only where there are several, or only advisory ones, their fold
//! is kept beside them.

use std::sync::Arc;

use super::Tracked;
use crate::model::health::{CheckState, CheckView, Decision, Step, fold};
use crate::model::name::CheckName;
use crate::model::outcome::{Health, Outcome, Reason, Transition};
use crate::model::probe::HealthChange;
use crate::model::service::{Instance, InstanceId, Warning};
use crate::model::time::{Now, UnixMs};

/// The checks of one instance, at least one.
#[derive(Debug)]
pub(crate) struct Checks {
    first: Box<Tracked>,
    folded: Option<Box<Folded>>,
}

/// What exists only where the first check alone is not the instance.
#[derive(Debug)]
struct Folded {
    rest: Vec<Tracked>,
    shown: Shown,
    /// Whether the health is what Kubernetes reports, beside which the checks only warn.
    given: bool,
}

/// What readers see of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) health: Health,
    pub(crate) reason: Reason,
    /// When it got this health, wall clock.
    pub(crate) since: UnixMs,
    /// The check that decides.
    pub(crate) by: CheckName,
    pub(crate) warning: Option<Arc<Warning>>,
    /// The checks that do not pass besides the one that decides and the one of the warning.
    pub(crate) also_failing: Box<[CheckName]>,
    pub(crate) version: Option<Arc<str>>,
}

/// What a step changes for readers.
#[derive(Debug, Default)]
pub(crate) struct Effect {
    /// A change of the instance's health.
    pub(crate) transition: Option<Transition>,
    /// Whether readers notice anything.
    pub(crate) noticed: bool,
    /// The sentence of the deciding check, where one is known.
    pub(crate) message: Option<String>,
    /// The health before.
    pub(crate) was: Option<(Health, Reason)>,
}

impl Checks {
    /// The checks of an instance, in order of position; none where it has none. Readers see what `instance` shows.
    pub(crate) fn new(mut all: Vec<Tracked>, instance: &Instance) -> Option<Self> {
        if all.is_empty() {
            return None;
        }
        let first = Box::new(all.remove(0));
        let alone = all.is_empty() && !first.advisory;
        let folded = (!alone).then(|| {
            let shown = Shown {
                health: instance.health,
                reason: instance.reason,
                since: instance.since,
                by: instance.decided_by.clone(),
                warning: instance.warning.clone(),
                also_failing: instance.also_failing.clone(),
                version: instance.observed_version.clone(),
            };
            Box::new(Folded { rest: all, shown, given: instance.spec.check.is_readiness() })
        });
        Some(Self { first, folded })
    }

    pub(crate) fn id(&self) -> InstanceId {
        self.first.id.instance
    }

    pub(crate) fn first(&self) -> &Tracked {
        &self.first
    }

    /// All, in order of position.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Tracked> + Clone {
        let rest = self.folded.iter().flat_map(|folded| folded.rest.iter());
        std::iter::once(&*self.first).chain(rest)
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Tracked> {
        let rest = self.folded.iter_mut().flat_map(|folded| folded.rest.iter_mut());
        std::iter::once(&mut *self.first).chain(rest)
    }

    pub(crate) fn get(&self, position: u8) -> Option<&Tracked> {
        self.iter().find(|tracked| tracked.id.position == position)
    }

    pub(crate) fn get_mut(&mut self, position: u8) -> Option<&mut Tracked> {
        self.iter_mut().find(|tracked| tracked.id.position == position)
    }

    /// Takes over the health of an instance whose health the checks do not decide.
    pub(crate) fn take_given(&mut self, instance: &Instance) {
        if let Some(Folded { shown, given: true, .. }) = self.folded.as_deref_mut() {
            (shown.health, shown.reason, shown.since) = (instance.health, instance.reason, instance.since);
            shown.by = instance.decided_by.clone();
        }
    }

    /// All, taken apart.
    pub(crate) fn into_all(self) -> Vec<Tracked> {
        let rest = self.folded.map(|folded| folded.rest).unwrap_or_default();
        std::iter::once(*self.first).chain(rest).collect()
    }

    /// What readers see.
    pub(crate) fn shown(&self) -> Shown {
        match &self.folded {
            Some(folded) => folded.shown.clone(),
            None => Shown {
                health: self.first.state.health(),
                reason: self.first.state.reason(),
                since: self.first.state.since(),
                by: self.first.check_name(),
                warning: self.first.warning().cloned(),
                also_failing: Box::default(),
                version: self.first.version().cloned(),
            },
        }
    }

    /// The health and reason that readers see.
    pub(crate) fn health(&self) -> (Health, Reason) {
        match &self.folded {
            Some(folded) => (folded.shown.health, folded.shown.reason),
            None => (self.first.state.health(), self.first.state.reason()),
        }
    }

    /// The state of the check that decides; without one, a state that shows nothing.
    pub(crate) fn deciding_state(&self, now: Now) -> CheckState {
        let Some(folded) = &self.folded else { return self.first.state.clone() };
        let shown = &folded.shown;
        let by = self.iter().find(|tracked| !tracked.advisory && tracked.is_named(&shown.by));
        by.map_or_else(
            || CheckState::shown_as(shown.health, shown.reason, shown.since, now),
            |tracked| tracked.state.clone(),
        )
    }

    /// Takes over a step of the check at `position`; `message` is that of its outcome, where it is not a transition.
    pub(crate) fn take(&mut self, position: u8, step: Step, message: Option<&str>, now: Now) -> Effect {
        let before = self.health();
        let Some(tracked) = self.get_mut(position) else { return Effect::default() };
        let Step { state, transition, reason_changed, .. } = step;
        tracked.state = state;
        let said = transition.as_ref().map(|transition| transition.message.as_str()).or(message);
        let said = said.map(str::to_owned);
        tracked.warn_if_failing(said.as_deref());
        let beside = tracked.take_changed();
        let mut effect = if self.folded.is_none() {
            let transition = transition.map(|transition| Transition { check: self.first.check_name(), ..transition });
            let noticed = transition.is_some() || reason_changed || beside;
            Effect { transition, noticed, message: said, was: None }
        } else {
            self.refold(position, transition.as_ref(), reason_changed, said, now)
        };
        effect.was = Some(before);
        effect
    }

    /// Folds again after a step of the check at `position`.
    fn refold(
        &mut self,
        position: u8,
        transition: Option<&Transition>,
        reason_changed: bool,
        said: Option<String>,
        now: Now,
    ) -> Effect {
        let Some((before, given)) = self.folded.as_ref().map(|folded| (folded.shown.clone(), folded.given)) else {
            return Effect::default();
        };
        let decision = self.decision();
        let by = decision.by.and_then(|at| self.iter().nth(at));
        let own = by.is_some_and(|by| by.id.position == position);
        let (health, reason, decided_by) = if given {
            (before.health, before.reason, before.by.clone())
        } else {
            (decision.health, decision.reason, by.map(Tracked::check_name).unwrap_or_default())
        };
        let mut after = Shown {
            health,
            reason,
            since: before.since,
            by: decided_by,
            warning: self.iter().find_map(Tracked::warning).cloned(),
            also_failing: Box::default(),
            version: self.iter().find_map(Tracked::version).cloned(),
        };
        after.also_failing = self.also_failing(&before, &after);
        let flips = after.health != before.health;
        // The beginning of a hold for flapping leads from unhealthy to unhealthy.
        let again = own && after.by == before.by && transition.is_some_and(|t| t.from == t.to);
        let (message, evidence) = match (own, transition, by) {
            (true, Some(transition), _) => (Some(transition.message.clone()), transition.evidence.clone()),
            (true, None, _) => (said, None),
            (false, _, by) => by.map(explanation).unwrap_or_default(),
        };
        if flips {
            after.since = now.wall;
        }
        let transition = (flips || again).then(|| Transition {
            at: now.wall,
            from: before.health,
            to: after.health,
            reason: after.reason,
            message: message.clone().unwrap_or_default(),
            check: after.by.clone(),
            evidence,
        });
        let noticed = transition.is_some() || after != before || own && reason_changed;
        if let Some(folded) = &mut self.folded {
            folded.shown = after;
        }
        Effect { transition, noticed, message, was: None }
    }

    /// The change that readers notice of an effect.
    pub(crate) fn change(&self, effect: Effect, now: Now) -> HealthChange {
        let Shown { health, reason, since, by, warning, also_failing, version } = self.shown();
        HealthChange {
            instance: self.id(),
            generation: self.first.generation,
            check: by,
            warning: warning.as_deref().cloned(),
            also_failing,
            observed_version: version.as_deref().map(str::to_owned),
            health,
            reason,
            since,
            message: effect.message,
            transition: effect.transition,
            state: self.deciding_state(now),
        }
    }

    /// What does not pass besides what `after` shows already. A check of which nothing is proved, as after a change of leader, stays what it
    /// was `before`: it has not recovered.
    fn also_failing(&self, before: &Shown, after: &Shown) -> Box<[CheckName]> {
        if after.down_by().is_none() && after.warning_by().is_none() {
            return Box::default();
        }
        let fails = |tracked: &&Tracked| {
            tracked.has_warning()
                || match tracked.state.health() {
                    Health::Unhealthy => !tracked.advisory,
                    Health::Unknown => before.also_failing.contains(&tracked.check_name()),
                    Health::Healthy => false,
                }
        };
        let shown = |name: &CheckName| after.down_by() == Some(name) || after.warning_by() == Some(name);
        self.iter().filter(fails).map(Tracked::check_name).filter(|name| !shown(name)).collect()
    }

    /// What the checks add up to.
    pub(crate) fn decision(&self) -> Decision {
        fold(self.iter().map(|tracked| CheckView {
            advisory: tracked.advisory,
            health: tracked.state.health(),
            reason: tracked.state.reason(),
            since: tracked.state.since(),
        }))
    }
}

impl Shown {
    /// The check that makes it unhealthy.
    fn down_by(&self) -> Option<&CheckName> {
        (self.health == Health::Unhealthy).then_some(&self.by)
    }

    fn warning_by(&self) -> Option<&CheckName> {
        self.warning.as_deref().map(|warning| &warning.check)
    }
}

/// Why a check that decides now is as it is, although it was another that changed.
fn explanation(by: &Tracked) -> (Option<String>, Option<Outcome>) {
    match by.last.as_deref() {
        Some(last) => (Some(last.message.clone()), Some(last.clone())),
        None => (Some(format!("the check {} has no outcome yet", by.check_name())), None),
    }
}
