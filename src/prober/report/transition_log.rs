//! What the log says of a change of health: a line for each; of many first verdicts at once, as after a start without a file in front of
//! thousands of services, a few lines and now and then a count.

use crate::model::outcome::{Health, Reason, Transition};
use crate::prober::targets::tracked::Tracked;

/// First verdicts that have a line of their own, between two counts.
const EACH: u64 = 32;

/// First verdicts since they were last counted.
#[derive(Debug, Default)]
pub(crate) struct FirstVerdicts {
    /// Those that had a line of their own.
    told: u64,
    /// Those that had none.
    healthy: u64,
    unhealthy: u64,
    /// There are too many for lines, until a count finds few.
    many: bool,
}

impl FirstVerdicts {
    /// Says a change; `tracked` is still as before it.
    pub(crate) fn say(&mut self, tracked: &Tracked, transition: &Transition) {
        let Transition { from, to, reason, message, .. } = transition;
        let (service, instance) = (&tracked.key, &tracked.name);
        if tracked.state.reason() == Reason::Probing && !self.has_own_line(*to) {
            tracing::debug!(%service, %instance, %from, %to, %reason, "{message}");
        } else {
            tracing::info!(%service, %instance, %from, %to, %reason, "{message}");
        }
    }

    /// Says what keeps a check from running: it is to be mended here, not at what is checked.
    pub(crate) fn say_barred(&mut self, tracked: &Tracked, reason: Reason, message: &str) {
        let (service, instance) = (&tracked.key, &tracked.name);
        if tracked.state.reason() == Reason::Probing && !self.has_own_line(Health::Unknown) {
            tracing::debug!(%service, %instance, %reason, "its check cannot run: {message}");
        } else {
            tracing::warn!(%service, %instance, %reason, "its check cannot run: {message}");
        }
    }

    /// Says how many had no line of their own.
    pub(crate) fn say_rest(&mut self) {
        if let Some((healthy, unhealthy)) = self.rest() {
            tracing::info!(healthy, unhealthy, "{} more instances have their first verdict", healthy + unhealthy);
        }
    }

    fn has_own_line(&mut self, to: Health) -> bool {
        self.many |= self.told >= EACH;
        let count = match to {
            _ if !self.many => &mut self.told,
            Health::Healthy => &mut self.healthy,
            Health::Unhealthy | Health::Unknown => &mut self.unhealthy,
        };
        *count += 1;
        !self.many
    }

    fn rest(&mut self) -> Option<(u64, u64)> {
        let Self { healthy, unhealthy, .. } = *self;
        *self = Self { many: healthy + unhealthy > EACH, ..Self::default() };
        (healthy + unhealthy > 0).then_some((healthy, unhealthy))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_have_their_lines_and_of_many_there_is_a_count_until_they_are_few_again() {
        let mut first = FirstVerdicts::default();
        let lines = |n: u64, first: &mut FirstVerdicts| {
            let to = |i| if i % 10 == 9 { Health::Unhealthy } else { Health::Healthy };
            (0..n).filter(|i| first.has_own_line(to(*i))).count() as u64
        };
        assert_eq!((lines(3, &mut first), first.rest()), (3, None));
        assert_eq!((lines(EACH, &mut first), first.rest()), (EACH, None));
        assert_eq!((lines(1000 + EACH, &mut first), first.rest()), (EACH, Some((900, 100))));
        assert_eq!((lines(1000, &mut first), first.rest()), (0, Some((900, 100))), "it goes on");
        assert_eq!((lines(10, &mut first), first.rest()), (0, Some((9, 1))), "the last of them");
        assert_eq!((lines(10, &mut first), first.rest()), (10, None));
    }
}
