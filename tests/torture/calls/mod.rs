//! Each call that touches the file fails once, or from then on until the fault ends: the disk is full, the file system read-only, the device
//! gives errors. What was acknowledged is read, at once and after the next start; what was not was refused with words; no start loses
//! what there was; and it goes on when the fault ends.

mod session;
pub(crate) mod start;

use std::collections::BTreeSet;
use std::sync::Mutex;

use rand::rngs::StdRng;
use rand::seq::IteratorRandom;
use rand::{RngExt, SeedableRng};
use rustix::io::Errno;

use crate::shim::{Failing, kind};
use crate::{from_env, seed};
use session::Session;
use start::Begins;

/// Sessions at once: each mostly waits for its server.
const AT_ONCE: usize = 3;
/// Calls of a kind of fault that are tried, without more being asked for.
const SAMPLE: usize = 4;

/// A kind of fault.
#[derive(Debug, Clone, Copy)]
struct Fault {
    name: &'static str,
    failing: Failing,
}

const fn fault(name: &'static str, kinds: u64, errno: Errno, times: u64) -> Fault {
    Fault { name, failing: Failing { kinds, errno, times } }
}

const FAULTS: [Fault; 6] = [
    fault("a device that fails once", kind::ALL, Errno::IO, 1),
    fault("a device that fails for a while", kind::ALL, Errno::IO, 20),
    fault("a device that no longer writes", kind::CHANGES, Errno::IO, u64::MAX),
    fault("a device that does not sync", kind::SYNC, Errno::IO, u64::MAX),
    fault("a full disk", kind::NEEDS_SPACE, Errno::NOSPC, u64::MAX),
    fault("a read-only file system", kind::NEEDS_LEAVE, Errno::ROFS, u64::MAX),
];

/// One session: what it begins with, what fails, and from which call on.
#[derive(Debug, Clone, Copy)]
struct Case {
    begins: Begins,
    fault: Fault,
    call: u64,
}

/// Every call of each kind of session for each fault, or a sample of them.
fn cases(all: bool, random: &mut StdRng) -> Vec<Case> {
    let mut cases = Vec::new();
    for begins in Begins::ALL {
        let calls = Session::calls_of(begins);
        println!("{begins:?}: {calls} calls");
        for fault in FAULTS {
            let chosen: BTreeSet<u64> =
                if all { (1..=calls).collect() } else { (1..=calls).sample(random, SAMPLE).into_iter().collect() };
            cases.extend(chosen.into_iter().map(|call| Case { begins, fault, call }));
        }
    }
    cases
}

#[test]
fn a_call_that_fails_costs_no_more_than_what_was_asked_then() {
    let mut random = StdRng::seed_from_u64(seed());
    let mut cases = cases(from_env("PORTOLAN_TORTURE_ROUNDS").is_some(), &mut random);
    if let Some(only) = from_env("PORTOLAN_TORTURE_CASE") {
        cases = vec![cases[usize::try_from(only).expect("a number")]];
    }
    let all = cases.len();
    let left = Mutex::new(cases.into_iter().enumerate().collect::<Vec<_>>());
    let (failed, refused) = (Mutex::new(0), Mutex::new(0));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            let seed = random.random();
            let (left, failed, refused) = (&left, &failed, &refused);
            scope.spawn(move || {
                let mut random = StdRng::seed_from_u64(seed);
                while let Some((number, case)) = next(left) {
                    let Case { begins, fault, call } = case;
                    println!("case {number}: {begins:?}, {} at call {call}", fault.name);
                    let done = Session::run(begins, call, fault.failing, random.random());
                    *failed.lock().expect("no panic") += u64::from(done.failed > 0);
                    *refused.lock().expect("no panic") += done.refused;
                }
            });
        }
    });
    let (failed, refused) = (failed.into_inner().expect("no panic"), refused.into_inner().expect("no panic"));
    println!("{all} sessions, calls failed in {failed}, {refused} writes were refused");
    assert!(failed > u64::try_from(all).expect("it fits") / 2, "hardly any call failed: {failed} of {all}");
    assert!(refused > 0, "no write met a fault");
}

fn next(left: &Mutex<Vec<(usize, Case)>>) -> Option<(usize, Case)> {
    left.lock().expect("no panic").pop()
}
