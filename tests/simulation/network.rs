//! The network: targets that follow the script, behind faults of their hosts and of our own.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use portolan::model::check::Target;
use portolan::model::outcome::{Outcome, Reason, Stage, Timings, Verdict};
use portolan::prober::Network;
use portolan::prober::Unresolved;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::time::{Instant, sleep, sleep_until};

use crate::truth::{Aim, At, World};

/// How a target behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    Up,
    Refuses,
    Errs,
    Hangs,
    /// Passes, late in its time.
    Slow,
    /// Passes so many times in a hundred.
    Fickle(u8),
}

/// How we fare ourselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weather {
    Fair,
    /// Nothing is reached: connections time out.
    CutOff,
    /// Nothing is reached, and the network says so at once.
    NoWay,
    /// No descriptor is left.
    NoDescriptors,
    /// The resolver is silent.
    NoResolver,
    /// So many probes in a hundred get lost.
    Lossy(u8),
}

#[derive(Debug)]
struct Sky {
    moods: BTreeMap<u16, Mood>,
    dead_hosts: BTreeMap<IpAddr, At>,
    weather: Weather,
    starts: BTreeMap<IpAddr, VecDeque<At>>,
    under_way: BTreeMap<IpAddr, usize>,
    all_under_way: usize,
    dice: StdRng,
}

/// What the network must not see more of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) at_once: usize,
    pub(crate) per_second: usize,
}

pub(crate) struct FakeNetwork {
    world: World,
    bounds: Bounds,
    sky: Mutex<Sky>,
}

impl fmt::Debug for FakeNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FakeNetwork")
    }
}

/// Most probes of one address at once (SECURITY.md).
const PER_ADDRESS_AT_ONCE: usize = 8;

/// `host-12.sim` is 10.0.0.12.
pub(crate) fn host_of(name: &str) -> Option<Ipv4Addr> {
    let number: u8 = name.strip_prefix("host-")?.strip_suffix(".sim")?.parse().ok()?;
    Some(Ipv4Addr::new(10, 0, 0, number))
}

impl FakeNetwork {
    pub(crate) fn new(world: &World, seed: u64, bounds: Bounds) -> Arc<Self> {
        let sky = Sky {
            moods: BTreeMap::new(),
            dead_hosts: BTreeMap::new(),
            weather: Weather::Fair,
            starts: BTreeMap::new(),
            under_way: BTreeMap::new(),
            all_under_way: 0,
            dice: StdRng::seed_from_u64(seed ^ 0x5eed),
        };
        Arc::new(Self { world: world.clone(), bounds, sky: Mutex::new(sky) })
    }

    fn sky(&self) -> MutexGuard<'_, Sky> {
        self.sky.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_mood(&self, port: u16, mood: Mood) {
        self.sky().moods.insert(port, mood);
    }

    pub(crate) fn set_weather(&self, weather: Weather) {
        self.sky().weather = weather;
    }

    pub(crate) fn weather(&self) -> Weather {
        self.sky().weather
    }

    pub(crate) fn kill_host(&self, host: IpAddr, until: At) {
        self.sky().dead_hosts.insert(host, until);
    }

    /// Another process probes from now on, with budgets of its own.
    pub(crate) fn restarted(&self) {
        self.sky().starts.clear();
    }

    /// Everything works from now on.
    pub(crate) fn heal(&self) {
        let mut sky = self.sky();
        sky.weather = Weather::Fair;
        sky.dead_hosts.clear();
        sky.moods.values_mut().for_each(|mood| *mood = Mood::Up);
    }

    /// What a probe will come to, and when.
    fn decide(&self, aim: Aim, address: IpAddr) -> (Verdict, Reason, Stage, Duration) {
        use Verdict::{Fail, Inconclusive, Pass};
        const NEVER: Duration = Duration::from_hours(1);
        let now = self.world.now();
        let mut sky = self.sky();
        let quick = Duration::from_millis(sky.dice.random_range(1..40));
        let chance = sky.dice.random_range(0..100_u8);
        let cut_off = (Fail, Reason::ConnectTimeout, Stage::Connect, NEVER);
        match sky.weather {
            Weather::CutOff => return cut_off,
            Weather::NoWay => return (Fail, Reason::Unreachable, Stage::Connect, quick),
            Weather::NoDescriptors => return (Inconclusive, Reason::NoDescriptors, Stage::Connect, quick),
            Weather::Lossy(share) if chance < share => return cut_off,
            Weather::Fair | Weather::NoResolver | Weather::Lossy(_) => {}
        }
        if sky.dead_hosts.get(&address).is_some_and(|until| now < *until) {
            return cut_off;
        }
        let late = Duration::from_millis(sky.dice.random_range(400..950));
        let chance = sky.dice.random_range(0..100_u8);
        match sky.moods.get(&aim.port).copied().unwrap_or(Mood::Up) {
            Mood::Refuses => (Fail, Reason::ConnectRefused, Stage::Connect, quick),
            Mood::Errs => (Fail, Reason::UnexpectedStatus, Stage::Status, quick),
            Mood::Hangs => (Fail, Reason::Timeout, Stage::Request, NEVER),
            Mood::Slow => (Pass, Reason::Passed, Stage::Status, late),
            Mood::Fickle(passes) if chance >= passes => (Fail, Reason::UnexpectedStatus, Stage::Status, quick),
            Mood::Up | Mood::Fickle(_) => (Pass, Reason::Passed, Stage::Status, quick),
        }
    }
}

/// A probe under way, to its end or to where it is cut short.
struct Flight<'a> {
    network: &'a FakeNetwork,
    aim: Aim,
    address: IpAddr,
}

impl<'a> Flight<'a> {
    fn begin(network: &'a FakeNetwork, aim: Aim, address: IpAddr) -> Self {
        let mut truth = network.world.truth();
        let now = truth.now();
        truth.probes += 1;
        let log = truth.logs.entry(aim).or_default();
        log.in_flight += 1;
        log.last_start = Some(now);
        let twice = log.in_flight > 1;
        let mut sky = network.sky();
        sky.all_under_way += 1;
        let under_way = sky.under_way.entry(address).or_default();
        *under_way += 1;
        let crowd = *under_way;
        let starts = sky.starts.entry(address).or_default();
        while starts.front().is_some_and(|at| now - at >= 1000) {
            starts.pop_front();
        }
        starts.push_back(now);
        let rate = starts.len();
        if twice {
            truth.fail("at most one probe of an instance is under way", &format!("two of {aim:?}"));
        }
        if crowd > PER_ADDRESS_AT_ONCE || rate > network.bounds.per_second {
            truth.fail("an address's budget", &format!("{address}: {crowd} at once, {rate} in a second"));
        }
        if sky.all_under_way > network.bounds.at_once {
            truth.fail("probes at once", &format!("{} of {}", sky.all_under_way, network.bounds.at_once));
        }
        Self { network, aim, address }
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        let mut truth = self.network.world.truth();
        if let Some(log) = truth.logs.get_mut(&self.aim) {
            log.in_flight -= 1;
        }
        let mut sky = self.network.sky();
        sky.all_under_way -= 1;
        if let Some(under_way) = sky.under_way.get_mut(&self.address) {
            *under_way -= 1;
        }
    }
}

impl Network for FakeNetwork {
    fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Arc<[IpAddr]>, Unresolved>> {
        async move {
            if self.weather() == Weather::NoResolver {
                sleep(Duration::from_secs(5)).await;
                return Err(Unresolved::ResolverDown);
            }
            let took = self.sky().dice.random_range(0..5);
            sleep(Duration::from_millis(took)).await;
            host_of(name).map(|host| [IpAddr::V4(host)].into()).ok_or(Unresolved::NotFound)
        }
        .boxed()
    }

    fn probe<'a>(&'a self, target: &'a Target, addresses: &'a [IpAddr], deadline: Instant) -> BoxFuture<'a, Outcome> {
        async move {
            let mark = match target {
                Target::Http { expected, .. } => expected.get(1).copied().unwrap_or_default(),
                _ => 0,
            };
            let (aim, address) = (Aim { port: target.port(), mark }, addresses[0]);
            let flight = Flight::begin(self, aim, address);
            let (verdict, reason, stage, took) = self.decide(aim, address);
            let began = Instant::now();
            sleep_until(deadline.min(began + took)).await;
            let mut truth = self.world.truth();
            truth.newest += 1;
            let number = truth.newest;
            let request_us = u32::try_from(began.elapsed().as_micros()).ok();
            let outcome = Outcome {
                verdict,
                reason,
                stage,
                at: truth.wall_now(),
                address: Some(SocketAddr::new(address, target.port())),
                code: None,
                certificate_expires_at: None,
                message: format!("outcome {number} of {}/{}", aim.port, aim.mark),
                timings: Timings { request_us, ..Timings::default() },
            };
            truth.saw(aim, number, &outcome);
            drop(truth);
            drop(flight);
            outcome
        }
        .boxed()
    }
}
