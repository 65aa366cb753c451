//! Candidates against one linearizable store, with clocks that differ, messages that are held up or lost, and processes that stand still
//! anywhere: no two of them ever believe at once that they hold the Lease.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use proptest::prelude::*;

use super::decide::{Candidate, Decision, LEASE, LeaseView, RENEW, decide};

/// The API server: a write passes if it carries the version that is stored.
#[derive(Default)]
struct Server {
    lease: Option<Lease>,
    version: u64,
    /// Writes whose sender has given up.
    late: Vec<Lease>,
}

impl Server {
    fn write(&mut self, mut lease: Lease) -> Option<Lease> {
        let stored = self.lease.as_ref().and_then(|lease| lease.metadata.resource_version.clone());
        if lease.metadata.resource_version != stored {
            return None;
        }
        self.version += 1;
        lease.metadata.resource_version = Some(self.version.to_string());
        self.lease = Some(lease.clone());
        Some(lease)
    }
}

/// Where a candidate's round stands.
enum Doing {
    Nothing,
    ReadSent,
    ReadDone(Option<Box<Lease>>),
    WriteSent(Box<Lease>, Duration),
    WriteDone(Option<Box<Lease>>, Duration),
}

/// A replica: a candidate with a clock of its own.
struct Replica {
    candidate: Candidate,
    doing: Doing,
    until: Duration,
    /// Its clock runs this many thousandths as fast as the true one.
    pace: u32,
    offset: Duration,
    wall: i64,
}

impl Replica {
    fn now(&self, time: Duration) -> Duration {
        self.offset + time * self.pace / 1000
    }

    fn leads(&self, time: Duration) -> bool {
        self.now(time) < self.until
    }

    /// Its wall clock stands nearly still: nobody goes by it.
    fn wall(&mut self) -> Timestamp {
        self.wall += 1;
        Timestamp::from_microsecond(self.wall).expect("a time")
    }

    /// Goes on by one step; `lost` loses the message that is under way.
    fn step(&mut self, server: &mut Server, time: Duration, lost: bool) {
        let now = self.now(time);
        self.doing = match std::mem::replace(&mut self.doing, Doing::Nothing) {
            Doing::Nothing if self.candidate.must_read() => Doing::ReadSent,
            Doing::Nothing => self.decided(now),
            Doing::ReadSent if lost => Doing::Nothing,
            Doing::ReadSent => Doing::ReadDone(server.lease.clone().map(Box::new)),
            Doing::ReadDone(lease) => {
                self.candidate.observe(lease.map(|lease| *lease), now);
                self.decided(now)
            }
            // The sender gives up; it may arrive yet.
            Doing::WriteSent(lease, _) if lost => {
                server.late.push(*lease);
                self.invalidate()
            }
            Doing::WriteSent(lease, sent) => Doing::WriteDone(server.write(*lease).map(Box::new), sent),
            Doing::WriteDone(Some(lease), sent) if !lost => {
                self.candidate.observe(Some(*lease), now);
                self.until = sent + RENEW;
                Doing::Nothing
            }
            // Refused; or written, and nobody heard.
            Doing::WriteDone(_, _) => self.invalidate(),
        };
    }

    fn invalidate(&mut self) -> Doing {
        self.candidate.invalidate();
        Doing::Nothing
    }

    fn decided(&mut self, now: Duration) -> Doing {
        if let Decision::Wait(_) = self.candidate.decide(now) {
            self.until = Duration::ZERO;
            return self.invalidate();
        }
        let wall = self.wall();
        Doing::WriteSent(Box::new(self.candidate.claim(wall)), now)
    }

    fn release(&mut self, server: &mut Server) {
        self.until = Duration::ZERO;
        let wall = self.wall();
        if let Some(lease) = self.candidate.release(wall) {
            let _ = server.write(lease);
        }
        self.candidate.invalidate();
        self.doing = Doing::Nothing;
    }
}

/// What happens next: which replica does something, after how many milliseconds, and how it goes wrong.
#[derive(Debug, Clone, Copy)]
struct Event {
    replica: usize,
    after: u64,
    lost: bool,
    release: bool,
    /// A late write arrives before.
    late: bool,
}

fn event() -> impl Strategy<Value = Event> {
    let pause = prop_oneof![8 => 0_u64..200, 4 => 200_u64..3_000, 2 => 3_000_u64..12_000, 1 => 12_000_u64..40_000];
    (0_usize..3, pause, 0_u8..10, 0_u8..40, any::<bool>()).prop_map(|(replica, after, lost, release, late)| Event {
        replica,
        after,
        lost: lost == 0,
        release: release == 0,
        late,
    })
}

fn replica(name: usize, pace: u32, offset: u64) -> Replica {
    Replica {
        candidate: Candidate::new(format!("replica-{name}"), None),
        doing: Doing::Nothing,
        until: Duration::ZERO,
        pace,
        offset: Duration::from_millis(offset),
        wall: 0,
    }
}

/// Plays the events; returns how often somebody began to lead.
fn play(paces: [u32; 3], offsets: [u64; 3], events: &[Event]) -> Result<usize, TestCaseError> {
    let mut server = Server::default();
    let mut replicas: Vec<_> = (0..3).map(|n| replica(n, paces[n], offsets[n])).collect();
    let (mut time, mut terms) = (Duration::ZERO, 0);
    for event in events {
        time += Duration::from_millis(event.after);
        if event.late
            && let Some(lease) = server.late.pop()
        {
            let _ = server.write(lease);
        }
        let one = &mut replicas[event.replica];
        let led = one.leads(time);
        if event.release {
            one.release(&mut server);
        } else {
            one.step(&mut server, time, event.lost);
        }
        terms += usize::from(!led && one.leads(time));
        let leaders: Vec<usize> = (0..3).filter(|n| replicas[*n].leads(time)).collect();
        prop_assert!(leaders.len() <= 1, "{leaders:?} lead at {time:?}");
    }
    Ok(terms)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn never_do_two_lead(
        paces in prop::array::uniform3(850_u32..1_150),
        offsets in prop::array::uniform3(0_u64..1_000_000),
        events in prop::collection::vec(event(), 1..400),
    ) {
        play(paces, offsets, &events)?;
    }

    #[test]
    fn a_lease_is_taken_exactly_when_its_holder_was_silent(silence in 0_u64..40_000, began in 0_u64..1_000_000) {
        let (began, silence) = (Duration::from_millis(began), Duration::from_millis(silence));
        let mut holder = Candidate::new("a".to_owned(), None);
        holder.observe(None, began);
        let lease = holder.claim(Timestamp::UNIX_EPOCH);
        let mut other = Candidate::new("b".to_owned(), None);
        other.observe(Some(lease.clone()), began);
        other.observe(Some(lease), began + silence);
        let expected =
            if silence < LEASE { Decision::Wait(LEASE.saturating_sub(silence)) } else { Decision::Claim };
        prop_assert_eq!(other.decide(began + silence), expected);
    }
}

#[test]
fn somebody_leads_when_all_goes_well_and_another_when_it_stops() {
    let rounds = |replica: usize, count: usize| {
        let event = Event { replica, after: 500, lost: false, release: false, late: false };
        std::iter::repeat_n(event, count)
    };
    let events: Vec<Event> = rounds(0, 40).chain(rounds(1, 80)).chain(rounds(0, 8)).collect();
    assert_eq!(play([1000; 3], [0, 7, 9], &events).expect("never two"), 2);
}

#[test]
fn what_is_nobodys_or_ours_is_claimed_and_what_is_missing_made() {
    let now = Duration::from_secs(9);
    assert_eq!(decide(None::<&LeaseView>, "a", now), Decision::Create);
    let mut a = Candidate::new("a".to_owned(), Some("10.0.0.1:8080".parse().expect("an address")));
    a.observe(None, now);
    let lease = a.claim(Timestamp::UNIX_EPOCH);
    a.observe(Some(lease.clone()), now);
    assert_eq!((a.decide(now), a.other()), (Decision::Claim, None));

    let mut b = Candidate::new("b".to_owned(), None);
    b.observe(Some(lease), now);
    assert_eq!(b.decide(now), Decision::Wait(LEASE));
    assert_eq!(b.other(), Some(("a".to_owned(), "10.0.0.1:8080".parse().ok())));
    assert!(b.release(Timestamp::UNIX_EPOCH).is_none(), "not b's to give");

    let released = a.release(Timestamp::UNIX_EPOCH).expect("a's");
    b.observe(Some(released), now);
    assert_eq!((b.decide(now), b.other()), (Decision::Claim, None));
    let spec = b.claim(Timestamp::UNIX_EPOCH).spec.expect("a spec");
    assert_eq!((spec.holder_identity.as_deref(), spec.lease_transitions), (Some("b"), Some(1)));
}

#[test]
fn a_lease_of_other_durations_is_respected() {
    let now = Duration::from_secs(100);
    let mut a = Candidate::new("a".to_owned(), None);
    a.observe(None, now);
    let mut lease = a.claim(Timestamp::UNIX_EPOCH);
    lease.spec.get_or_insert_default().lease_duration_seconds = Some(60);
    let mut b = Candidate::new("b".to_owned(), None);
    b.observe(Some(lease), now);
    assert_eq!(b.decide(now + LEASE), Decision::Wait(Duration::from_secs(45)));
}
