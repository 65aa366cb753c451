//! The log's lines about changes of health: one per change. Many first verdicts at once, as after a start without a file in front of
//! thousands of services, get a few lines and now and then a count.

use crate::model::name::{InstanceName, ServiceKey};
use crate::model::outcome::{Health, Reason, Transition};

/// First verdicts that get a line of their own, between two counts.
const OWN_LINES: u64 = 32;

/// First verdicts since they were last counted.
#[derive(Debug, Default)]
pub(crate) struct TransitionLog {
    /// Those with a line of their own.
    logged: u64,
    /// Those without.
    healthy: u64,
    unhealthy: u64,
    /// There are too many for lines, until a count finds few.
    many: bool,
}

impl TransitionLog {
    /// Logs a change; `first`: nothing was known before it.
    pub(crate) fn transition(
        &mut self,
        (service, instance): (&ServiceKey, &InstanceName),
        first: bool,
        transition: &Transition,
    ) {
        let Transition { from, to, reason, message, check, .. } = transition;
        if first && !self.has_own_line(*to) {
            tracing::debug!(%service, %instance, %from, %to, %reason, "{message}");
        } else if !check.is_default() {
            tracing::info!(%service, %instance, %check, %from, %to, %reason, "{message}");
        } else {
            tracing::info!(%service, %instance, %from, %to, %reason, "{message}");
        }
    }

    /// Logs what keeps a check from running: it is to be repaired on this server, not at the target.
    pub(crate) fn barred(
        &mut self,
        (service, instance): (&ServiceKey, &InstanceName),
        first: bool,
        reason: Reason,
        message: &str,
    ) {
        if first && !self.has_own_line(Health::Unknown) {
            tracing::debug!(%service, %instance, %reason, "its check cannot run: {message}");
        } else {
            tracing::warn!(%service, %instance, %reason, "its check cannot run: {message}");
        }
    }

    /// Logs how many had no line of their own.
    pub(crate) fn flush(&mut self) {
        if let Some((healthy, unhealthy)) = self.take_counts() {
            tracing::info!(healthy, unhealthy, "{} more instances have their first verdict", healthy + unhealthy);
        }
    }

    fn has_own_line(&mut self, to: Health) -> bool {
        self.many |= self.logged >= OWN_LINES;
        let count = match to {
            _ if !self.many => &mut self.logged,
            Health::Healthy => &mut self.healthy,
            Health::Unhealthy | Health::Unknown => &mut self.unhealthy,
        };
        *count += 1;
        !self.many
    }

    fn take_counts(&mut self) -> Option<(u64, u64)> {
        let Self { healthy, unhealthy, .. } = *self;
        *self = Self { many: healthy + unhealthy > OWN_LINES, ..Self::default() };
        (healthy + unhealthy > 0).then_some((healthy, unhealthy))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_first_verdicts_get_lines_and_many_a_count_until_they_are_few_again() {
        let mut log = TransitionLog::default();
        let lines = |n: u64, log: &mut TransitionLog| {
            let to = |i| if i % 10 == 9 { Health::Unhealthy } else { Health::Healthy };
            (0..n).filter(|i| log.has_own_line(to(*i))).count() as u64
        };
        assert_eq!((lines(3, &mut log), log.take_counts()), (3, None));
        assert_eq!((lines(OWN_LINES, &mut log), log.take_counts()), (OWN_LINES, None));
        assert_eq!((lines(1000 + OWN_LINES, &mut log), log.take_counts()), (OWN_LINES, Some((900, 100))));
        assert_eq!((lines(1000, &mut log), log.take_counts()), (0, Some((900, 100))), "it continues");
        assert_eq!((lines(10, &mut log), log.take_counts()), (0, Some((9, 1))), "the last of them");
        assert_eq!((lines(10, &mut log), log.take_counts()), (10, None));
    }
}
