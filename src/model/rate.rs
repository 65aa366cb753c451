//! The generic cell rate algorithm ([GCRA](https://en.wikipedia.org/wiki/Generic_cell_rate_algorithm)): a rate limit whose state is one number.

/// One request per interval on average, and after a pause as many at once as fit into the window.
///
/// The caller keeps the state, as a *debt*: the time until the full allowance is back, 0 at first and falling as time passes. All times are
/// in nanoseconds.
///
/// ```
/// use portolan::model::rate::Rate;
///
/// let rate = Rate::new(100, 300); // one per 100 ns, three at once
/// let debt = rate.take(0).and_then(|debt| rate.take(debt)).and_then(|debt| rate.take(debt));
/// assert_eq!(debt, Ok(300));
/// assert_eq!(rate.take(300), Err(100), "the next one comes in 100 ns");
/// assert_eq!(rate.take(200), Ok(300), "which is when the debt is 200");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    interval_ns: u64,
    window_ns: u64,
}

impl Rate {
    /// One request per `interval_ns`, at least 1 ns, and a burst of `window_ns / interval_ns`.
    pub const fn new(interval_ns: u64, window_ns: u64) -> Self {
        Self { interval_ns: if interval_ns == 0 { 1 } else { interval_ns }, window_ns }
    }

    /// The time in which one request comes back.
    pub const fn interval_ns(self) -> u64 {
        self.interval_ns
    }

    /// Takes one request and returns the new debt.
    ///
    /// # Errors
    /// The time until there is one; nothing is taken.
    pub const fn take(self, debt_ns: u64) -> Result<u64, u64> {
        let debt = debt_ns.saturating_add(self.interval_ns);
        if debt > self.window_ns { Err(debt - self.window_ns) } else { Ok(debt) }
    }

    /// How many requests are left.
    pub fn left(self, debt_ns: u64) -> u32 {
        u32::try_from(self.window_ns.saturating_sub(debt_ns) / self.interval_ns).unwrap_or(u32::MAX)
    }
}
