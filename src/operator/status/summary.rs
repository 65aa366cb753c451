//! All instances together: counts, state and reason.

use crate::model::outcome::Reason;
use crate::operator::crd::{HealthValue, InstanceStatus, State};
use crate::operator::read::{Problem, ProblemKind};

/// The reason where clients get none, only because every instance that they could use is drained.
pub(super) const DRAINED: &str = "Drained";

/// How an instance counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Healthy,
    NotChecked,
    /// Not proved yet, or no longer.
    Unproved,
    /// Failing, or unusable.
    Down,
}

impl Part {
    pub(super) fn of(instance: &InstanceStatus) -> Self {
        match instance.health {
            HealthValue::Healthy => Self::Healthy,
            HealthValue::Unhealthy => Self::Down,
            HealthValue::Unknown if instance.reason == Reason::NotChecked.as_str() => Self::NotChecked,
            HealthValue::Unknown if instance.reason == ProblemKind::Invalid.as_str() => Self::Down,
            HealthValue::Unknown => Self::Unproved,
        }
    }
}

/// How many instances count as each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Summary {
    pub(super) total: usize,
    pub(super) healthy: usize,
    pub(super) not_checked: usize,
    pub(super) unproved: usize,
    pub(super) down: usize,
    /// How many are drained of those that clients could use judging by health alone.
    pub(super) drained: usize,
    /// Nothing of the spec can be used.
    pub(super) invalid: bool,
}

impl Summary {
    pub(super) fn of(instances: &[InstanceStatus], problems: &[Problem], taken_in: bool) -> Self {
        let mut summary = Self { total: instances.len(), ..Self::default() };
        for instance in instances {
            *match Part::of(instance) {
                Part::Healthy => &mut summary.healthy,
                Part::NotChecked => &mut summary.not_checked,
                Part::Unproved => &mut summary.unproved,
                Part::Down => &mut summary.down,
            } += 1;
            let by_health = matches!(Part::of(instance), Part::Healthy | Part::NotChecked);
            summary.drained += usize::from(by_health && instance.drained);
        }
        let has_problem = |instance: &InstanceStatus| super::problem_of(problems, &instance.name).is_some();
        let all_wrong = !problems.is_empty() && instances.iter().all(has_problem);
        // An address that passed while it was allowed is not called invalid before the prober has judged it.
        summary.invalid = !taken_in || (all_wrong && summary.usable() == 0);
        summary
    }

    /// Whether clients get none, only because every instance that they could use is drained.
    pub(super) fn all_drained(&self) -> bool {
        self.drained > 0 && self.drained == self.usable()
    }

    /// Instances that clients may use by their health.
    pub(super) fn usable(&self) -> usize {
        self.healthy + self.not_checked
    }

    pub(super) fn state(&self) -> State {
        match () {
            () if self.invalid => State::Invalid,
            () if self.usable() > 0 && self.down > 0 => State::Degraded,
            () if self.healthy > 0 => State::Healthy,
            () if self.down > 0 => State::Down,
            () if self.unproved > 0 => State::Unknown,
            () => State::NotChecked,
        }
    }

    /// The reason of the first instance that makes the state what it is; empty if there is nothing to say.
    pub(super) fn reason(&self, instances: &[InstanceStatus], problems: &[Problem]) -> String {
        let first = |part: Part| instances.iter().find(|i| Part::of(i) == part).map(|i| i.reason.clone());
        let reason = match self.state() {
            State::Healthy | State::Degraded | State::NotChecked if self.all_drained() => Some(DRAINED.to_owned()),
            State::Invalid => problems.iter().map(|problem| problem.kind).min().map(|kind| kind.as_str().to_owned()),
            State::Degraded | State::Down => first(Part::Down),
            State::Unknown => {
                let barred = instances.iter().find(|i| Part::of(i) == Part::Unproved && i.is_barred());
                barred.map(|i| i.reason.clone()).or_else(|| first(Part::Unproved))
            }
            State::Healthy | State::NotChecked | State::Terminating => None,
        };
        reason.unwrap_or_default()
    }
}
