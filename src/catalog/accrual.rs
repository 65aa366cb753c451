//! How long a service was proved up or down since this process started, for counters.

use std::time::{Duration, Instant};

use crate::model::availability::Standing;

/// Time that accrues to a service. Each entry continues that of the one before it.
#[derive(Debug, Clone, Copy)]
pub struct Accrual {
    standing: Standing,
    since: Instant,
    known: Duration,
    unhealthy: Duration,
}

impl Accrual {
    /// Nothing has accrued yet.
    pub(super) fn starting(standing: Standing) -> Self {
        Self { standing, since: Instant::now(), known: Duration::ZERO, unhealthy: Duration::ZERO }
    }

    /// How it stands now.
    pub(super) fn standing(&self) -> Standing {
        self.standing
    }

    /// From now on it stands like this.
    pub(super) fn then(&self, standing: Standing) -> Self {
        let now = Instant::now();
        let (known, unhealthy) = self.at(now);
        Self { standing, since: now, known, unhealthy }
    }

    /// How long it was proved up or down until `now`, and down alone.
    pub fn at(&self, now: Instant) -> (Duration, Duration) {
        let passed = now.saturating_duration_since(self.since);
        let known = matches!(self.standing, Standing::Healthy | Standing::Degraded | Standing::Unhealthy);
        let unhealthy = self.standing == Standing::Unhealthy;
        let add = |counts: bool| if counts { passed } else { Duration::ZERO };
        (self.known + add(known), self.unhealthy + add(unhealthy))
    }
}
