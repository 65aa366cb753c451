//! How the parts of every server stand, in words.

use std::borrow::Cow;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::Words;
use crate::model::ports::WriteError;
use crate::prober::ProberStatus;
use crate::store::Store;
use crate::telemetry::told::Part;

/// Probes start late from here on, in milliseconds.
const LATE: u64 = 5000;
/// Until none starts later than this.
const ON_TIME: u64 = 1000;

/// How a part stands.
#[derive(Debug, Clone)]
pub(in crate::app) struct Word {
    /// Whether that is as it should be.
    pub(super) good: bool,
    /// One sentence of ours.
    pub(super) message: Cow<'static, str>,
    /// Nobody need be told when the part stands so from the start.
    pub(super) usual: bool,
    /// Whom the sentence means, without naming them.
    of: Option<String>,
}

impl Word {
    pub(in crate::app) fn good(message: impl Into<Cow<'static, str>>) -> Self {
        Self { good: true, message: message.into(), usual: false, of: None }
    }

    pub(in crate::app) fn bad(message: impl Into<Cow<'static, str>>) -> Self {
        Self { good: false, ..Self::good(message) }
    }

    pub(in crate::app) fn usual(self) -> Self {
        Self { usual: true, ..self }
    }

    pub(in crate::app) fn of(self, whom: &str) -> Self {
        Self { of: Some(whom.to_owned()), ..self }
    }
}

impl PartialEq for Word {
    fn eq(&self, other: &Self) -> bool {
        (self.good, &self.message, &self.of) == (other.good, &other.message, &other.of)
    }
}

/// Of the parts that every server has.
pub(in crate::app) struct LocalWords {
    store: Store,
    prober: Arc<ProberStatus>,
    stop: CancellationToken,
    late: bool,
}

impl LocalWords {
    pub(in crate::app) fn new(store: Store, prober: Arc<ProberStatus>, stop: CancellationToken) -> Self {
        Self { store, prober, stop, late: false }
    }

    fn server(&self) -> Word {
        if self.stop.is_cancelled() {
            Word::bad("it was told to stop: it is not ready any more, and answers until it has ended")
        } else {
            Word::good("it started, and serves")
        }
    }

    fn store(&self) -> Word {
        match self.store.failure().as_deref() {
            None => Word::good("writes succeed again").usual(),
            Some(error) => Word::bad(failed(error)),
        }
    }

    fn prober(&mut self) -> Word {
        let lag = self.prober.read().worst_lag_ms;
        self.late = lag >= if self.late { ON_TIME } else { LATE };
        if self.late {
            Word::bad("probes start more than 5 s late: more are due than its slots or their addresses' budgets allow")
        } else {
            Word::good("probes start on time again").usual()
        }
    }

    fn guard(&self) -> Word {
        if self.prober.read().guard_holding {
            Word::bad("most of what is probed seems lost at once: changes to unhealthy are held")
        } else {
            Word::good("the mass-failure guard holds nothing any more").usual()
        }
    }
}

/// What SQLite says may hold paths, so only what is our own sentence is passed on.
fn failed(error: &WriteError) -> Cow<'static, str> {
    match error {
        WriteError::FileLost | WriteError::DiskFull => format!("writes fail: {error}").into(),
        _ => "writes fail, the log says why; reads go on".into(),
    }
}

impl Words for LocalWords {
    fn words(&mut self) -> Vec<(Part, Word)> {
        vec![
            (Part::Server, self.server()),
            (Part::Store, self.store()),
            (Part::Prober, self.prober()),
            (Part::Guard, self.guard()),
        ]
    }
}
