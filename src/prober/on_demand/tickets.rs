//! The on-demand checks whose probes run, or whose changes are on their way to the store.

use std::cmp::Reverse;
use std::collections::HashMap;

use tokio::sync::oneshot;

use crate::model::outcome::Verdict;
use crate::model::ports::{OnDemandError, OnDemandResult};

/// Checks on request that may be open at once.
const MAX_OPEN: usize = 1024;
/// Outcomes that all of them may wait for or hold, each 1 to 2.5 KB; one more check on request may go beyond it.
const MAX_OUTCOMES: usize = 16 * 1024;

pub(crate) type Reply = oneshot::Sender<Result<Vec<OnDemandResult>, OnDemandError>>;

#[derive(Debug)]
struct Ticket {
    reply: Reply,
    parts: Vec<Option<(Weight, OnDemandResult)>>,
    /// Outcomes that it waits for or holds.
    outcomes: usize,
    /// Probes whose outcomes are awaited.
    open: usize,
    /// The newest change that its probes caused.
    change: u64,
}

/// Which of the outcomes of one instance's checks stands for it: the greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Weight {
    /// Nothing was probed.
    Unprobed,
    /// An advisory check passed or failed.
    Advisory,
    Pass,
    Inconclusive,
    Fail,
}

impl Weight {
    pub(crate) fn of(advisory: bool, verdict: Verdict) -> Self {
        match verdict {
            _ if advisory => Self::Advisory,
            Verdict::Pass => Self::Pass,
            Verdict::Inconclusive => Self::Inconclusive,
            Verdict::Fail => Self::Fail,
        }
    }
}

/// What stands for both, with the checks of both.
fn worse(one: (Weight, OnDemandResult), other: (Weight, OnDemandResult)) -> (Weight, OnDemandResult) {
    let (mut worse, better) = if other.0 > one.0 { (other, one) } else { (one, other) };
    worse.1.checks.extend(better.1.checks);
    worse.1.checks.sort_by_key(|one| (one.advisory, Reverse(Weight::of(false, one.outcome.verdict))));
    worse
}

/// The open checks, each with one part per instance.
#[derive(Debug, Default)]
pub(crate) struct Tickets {
    newest: u64,
    open: HashMap<u64, Ticket>,
    /// Outcomes of all open tickets.
    outcomes: usize,
    complete: Vec<u64>,
}

impl Tickets {
    pub(crate) fn len(&self) -> usize {
        self.open.len()
    }

    pub(crate) fn has_room(&self) -> bool {
        self.open.len() < MAX_OPEN && self.outcomes < MAX_OUTCOMES
    }

    /// Opens a ticket with this many parts, for which this many outcomes are awaited.
    pub(crate) fn open(&mut self, reply: Reply, parts: usize, awaited: usize) -> u64 {
        self.newest += 1;
        self.outcomes += awaited;
        let ticket = Ticket { reply, parts: vec![None; parts], outcomes: awaited, open: awaited, change: 0 };
        self.open.insert(self.newest, ticket);
        self.newest
    }

    /// Fills in one outcome, which is answered once `change` is committed; none where its check is gone.
    pub(crate) fn fill(&mut self, (id, position): (u64, usize), part: Option<(Weight, OnDemandResult)>, change: u64) {
        let Some(ticket) = self.open.get_mut(&id) else { return };
        if ticket.reply.is_closed() {
            self.close(id);
            return;
        }
        if let Some((part, slot)) = part.zip(ticket.parts.get_mut(position)) {
            *slot = Some(match slot.take() {
                Some(known) => worse(known, part),
                None => part,
            });
        }
        ticket.change = ticket.change.max(change);
        ticket.open = ticket.open.saturating_sub(1);
        if ticket.open == 0 {
            self.complete.push(id);
        }
    }

    fn close(&mut self, id: u64) -> Option<Ticket> {
        let ticket = self.open.remove(&id)?;
        self.outcomes = self.outcomes.saturating_sub(ticket.outcomes);
        Some(ticket)
    }

    /// Ends a ticket with an error.
    pub(crate) fn fail(&mut self, id: u64, error: OnDemandError) {
        if let Some(ticket) = self.close(id) {
            // The caller may be gone.
            let _ = ticket.reply.send(Err(error));
        }
    }

    /// Ends all with an error.
    pub(crate) fn fail_all(&mut self, error: &OnDemandError) {
        self.complete.clear();
        self.outcomes = 0;
        for (_, ticket) in self.open.drain() {
            // The caller may be gone.
            let _ = ticket.reply.send(Err(error.clone()));
        }
    }

    /// Answers those that are complete and whose changes are committed.
    pub(crate) fn answer(&mut self, committed: u64) {
        for id in std::mem::take(&mut self.complete) {
            if self.open.get(&id).is_some_and(|ticket| ticket.change > committed) {
                self.complete.push(id);
            } else if let Some(ticket) = self.close(id) {
                let parts: Vec<_> = ticket.parts.into_iter().flatten().map(|(_, part)| part).collect();
                let answer = if parts.is_empty() { Err(OnDemandError::NotFound) } else { Ok(parts) };
                let _ = ticket.reply.send(answer);
            }
        }
    }

    /// Answers those whose changes are committed, and fails the other complete ones, whose changes the store refuses.
    pub(crate) fn give_up(&mut self, committed: u64) {
        self.answer(committed);
        for id in std::mem::take(&mut self.complete) {
            self.fail(id, OnDemandError::Unavailable);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_for_so_many_outcomes_and_not_for_callers_who_left() {
        let mut tickets = Tickets::default();
        let open = |tickets: &mut Tickets| {
            let (reply, answer) = oneshot::channel();
            (tickets.open(reply, 1, MAX_OUTCOMES / 2), answer)
        };
        let (first, gone) = open(&mut tickets);
        assert!(tickets.has_room());
        let (second, mut answer) = open(&mut tickets);
        assert!(!tickets.has_room());
        drop(gone);
        tickets.fill((first, 0), None, 0);
        assert!(tickets.has_room() && tickets.len() == 1);
        let (third, _kept) = open(&mut tickets);
        assert!(!tickets.has_room());
        for _ in 0..MAX_OUTCOMES / 2 {
            tickets.fill((second, 0), None, 7);
        }
        tickets.answer(6);
        assert!(!tickets.has_room() && answer.try_recv().is_err(), "its change is not committed");
        tickets.answer(7);
        assert!(matches!(answer.try_recv(), Ok(Err(OnDemandError::NotFound))));
        assert!(tickets.has_room());
        tickets.fail(third, OnDemandError::Unavailable);
        assert_eq!((tickets.len(), tickets.outcomes), (0, 0));
    }
}
