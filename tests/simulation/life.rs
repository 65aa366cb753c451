//! One life: a seed decides who registers, what fails when, and for how long; in the end everything recovers, and is shown as healthy.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use portolan::model::outcome::{Health, Verdict};
use portolan::model::ports::{Caller, OnDemand as _, Registrar as _, Removal, RemovalScope, ServiceRef};
use portolan::model::service::Owner;
use portolan::prober::ProberSettings;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use crate::network::{Bounds, FakeNetwork, Mood, Weather};
use crate::observer::{Observer, Strict, aim_of};
use crate::programs::{Programs, TURN};
use crate::server::{Disk, Server};
use crate::spec::{self, Member, Places};
use crate::truth::{At, World};

/// How old what is not stored yet may be: rows go every two seconds.
const UNSTORED: At = 5_000;

/// How a life is: each seed has a climate of its own.
#[derive(Debug, Clone, Copy)]
struct Climate {
    most: usize,
    concurrency: usize,
    /// Mean time between two events, in milliseconds.
    pace: u64,
    /// Programs that report of themselves.
    programs: usize,
    /// Weights of: moods, weather, registry, requests, disk, clock, programs, restarts.
    weights: [u32; 8],
}

fn climate(dice: &mut StdRng) -> Climate {
    let calm = [60, 2, 20, 10, 1, 1, 4, 1];
    let stormy = [40, 20, 15, 10, 5, 2, 8, 5];
    let restless = [30, 5, 40, 20, 5, 5, 15, 20];
    let (weights, pace) = [(calm, 60_000), (stormy, 20_000), (restless, 15_000)][dice.random_range(0..3)];
    let most = [5, 12, 30, 60][dice.random_range(0..4)];
    let concurrency = [4, 32, 256, 1024][dice.random_range(0..4)];
    let programs = [0, 1, 4, 9][dice.random_range(0..4)];
    Climate { most, concurrency, pace, programs, weights }
}

/// What came of a life.
#[derive(Debug)]
pub(crate) struct Summary {
    pub(crate) hours: f64,
    pub(crate) probes: u64,
    pub(crate) transitions: u64,
    pub(crate) runs: u32,
    pub(crate) digest: u64,
    pub(crate) broken: Option<String>,
    pub(crate) last_lines: String,
}

struct Life {
    world: World,
    dice: StdRng,
    climate: Climate,
    network: Arc<FakeNetwork>,
    disk: Disk,
    settings: ProberSettings,
    places: Places,
    /// What was acknowledged, by place.
    members: BTreeMap<String, Member>,
    programs: Programs,
    server: Option<Server>,
    /// Requests whose answers are awaited beside all else.
    waiting: JoinSet<()>,
    weather_until: Option<At>,
    disk_until: Option<At>,
    clock_was_set: bool,
}

/// Lives through `length` of the seed's story.
pub(crate) async fn live(seed: u64, length: Duration, aloud: bool) -> Summary {
    let folder = crate::folder();
    let world = World::new(aloud);
    let mut dice = StdRng::seed_from_u64(seed);
    let climate = climate(&mut dice);
    let settings = ProberSettings {
        concurrency: climate.concurrency,
        per_address: [3, 20][dice.random_range(0..2)],
        loopback_exempt: false,
        ..ProberSettings::default()
    };
    world.tell(format!("seed {seed}: {climate:?}, {} a second and address", settings.per_address));
    let bounds = Bounds { at_once: climate.concurrency, per_second: settings.per_address as usize };
    let network = FakeNetwork::new(&world, seed, bounds);
    let disk = Disk::new(folder.path());
    let capacity = climate.concurrency >= 256 && settings.per_address >= 20;
    let observer = Observer::new(&world, Strict { capacity });
    let server = Server::start(&world, &disk, &network, &settings, observer);
    let programs = Programs::new(climate.programs, &mut dice);
    let mut life = Life {
        world: world.clone(),
        dice,
        climate,
        network,
        disk,
        settings,
        places: Places::default(),
        members: BTreeMap::new(),
        programs,
        server: Some(server),
        waiting: JoinSet::new(),
        weather_until: None,
        disk_until: None,
        clock_was_set: false,
    };
    let end = At::try_from(length.as_millis()).expect("short enough");
    while world.now() < end && !world.is_broken() {
        life.step().await;
    }
    life.end_well().await;
    let truth = world.truth();
    Summary {
        hours: Duration::from_millis(truth.now().unsigned_abs()).as_secs_f64() / 3600.0,
        probes: truth.probes,
        transitions: truth.transitions,
        runs: truth.run,
        digest: truth.digest(),
        broken: truth.broken.clone(),
        last_lines: truth.last_lines(),
    }
}

fn caller() -> Caller {
    Caller { owner: Owner::Anonymous, admin: false }
}

impl Life {
    fn server(&self) -> &Server {
        self.server.as_ref().expect("it runs")
    }

    /// Lets some time pass, then something happens.
    async fn step(&mut self) {
        let wait = self.dice.random_range(0..2 * self.climate.pace);
        self.pass(Duration::from_millis(wait)).await;
        self.clear_up();
        let mut left = self.dice.random_range(0..self.climate.weights.iter().sum::<u32>());
        let weights = self.climate.weights;
        let kind = weights.iter().position(|weight| left.checked_sub(*weight).map(|rest| left = rest).is_none());
        match kind {
            Some(0) => self.change_mood(),
            Some(1) => self.change_weather(),
            Some(2) => self.change_registry().await,
            Some(3) => self.request(),
            Some(4) => self.trouble_disk(),
            Some(5) => self.set_clock(),
            Some(6) => self.programs.change(&self.world, &mut self.dice),
            _ => self.restart().await,
        }
        self.acknowledged_is_there();
    }

    /// Lets time pass, in which programs report of themselves.
    async fn pass(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            sleep_until(end.min(Instant::now() + TURN)).await;
            self.programs.turn(self.server.as_ref(), &self.world, &mut self.dice).await;
        }
    }

    /// Ends what has lasted its time.
    fn clear_up(&mut self) {
        let now = self.world.now();
        if self.weather_until.is_some_and(|until| until <= now) {
            self.weather_until = None;
            self.network.set_weather(Weather::Fair);
            self.world.truth().our_trouble = now;
            self.world.tell("the weather clears");
        }
        if self.disk_until.is_some_and(|until| until <= now) {
            self.mend_disk();
        }
        if self.weather_until.is_some() {
            self.world.truth().our_trouble = now + 3_600_000;
        }
    }

    fn mend_disk(&mut self) {
        self.disk_until = None;
        self.disk.refuse(false);
        self.disk.slow(Duration::ZERO);
        self.world.truth().disk_works();
        self.world.tell("the disk works again");
    }

    fn change_mood(&mut self) {
        let Some((place, member)) = pick(&self.members, &mut self.dice) else { return };
        let port = member.aim.port;
        let mood = match self.dice.random_range(0..10) {
            0..4 => Mood::Up,
            4 => Mood::Refuses,
            5 => Mood::Errs,
            6 => Mood::Hangs,
            7 => Mood::Slow,
            _ => Mood::Fickle(self.dice.random_range(20..95)),
        };
        self.world.tell(format!("{place} at {port}: {mood:?}"));
        self.network.set_mood(port, mood);
    }

    fn change_weather(&mut self) {
        let now = self.world.now();
        let lasts = self.dice.random_range(2_000..200_000);
        if self.dice.random_range(0..3) == 0 {
            let host = spec::any_host(&mut self.dice);
            self.network.kill_host(host.into(), now + lasts);
            self.world.tell(format!("{host} is dead for {lasts} ms"));
            return;
        }
        let weather = match self.dice.random_range(0..5) {
            0 => Weather::CutOff,
            1 => Weather::NoWay,
            2 => Weather::NoDescriptors,
            3 => Weather::NoResolver,
            _ => Weather::Lossy(self.dice.random_range(10..90)),
        };
        self.world.tell(format!("{weather:?} for {lasts} ms"));
        self.network.set_weather(weather);
        self.weather_until = Some(now + lasts);
        self.world.truth().our_trouble = now + 3_600_000;
    }

    async fn change_registry(&mut self) {
        let kind = self.dice.random_range(0..10);
        if self.members.is_empty() || kind < 4 && self.members.len() < self.climate.most {
            // A storm now and then.
            let count = if self.dice.random_range(0..4) == 0 { self.climate.most / 2 } else { 1 };
            for _ in 0..count {
                let (place, member) = self.places.new_member(&mut self.dice);
                self.register(place, member).await;
            }
            return;
        }
        let Some((place, mut member)) = pick(&self.members, &mut self.dice) else { return };
        match kind {
            0..3 => self.register(place, member).await,
            3 | 4 => {
                self.places.move_away(&mut member, &mut self.dice);
                self.register(place, member).await;
            }
            5 | 6 => {
                spec::check_otherwise(&mut member, &mut self.dice);
                self.register(place, member).await;
            }
            7 => {
                member.weight = self.dice.random_range(0..1000);
                self.register(place, member).await;
            }
            _ => self.deregister(place).await,
        }
    }

    /// What is acknowledged is known from then on; what is refused changes nothing.
    async fn register(&mut self, place: String, member: Member) {
        let registration = member.registration(&place);
        let before = self.server().store.catalog().snapshot().revision();
        let same = self.members.get(&place) == Some(&member);
        self.world.tell(format!("register {place} {member:?}"));
        match self.server().store.register(registration, caller()).await {
            Ok(registered) => {
                if same && (!registered.renewed || self.renewal_moved(before)) {
                    self.world.broken("a repeat is a renewal, and moves no revision", &place);
                }
                self.members.insert(place, member);
            }
            Err(error) => self.world.tell(format!("refused: {error}")),
        }
    }

    /// Health may change at the same moment; with nothing else going on the revision stays.
    fn renewal_moved(&self, before: u64) -> bool {
        let snapshot = self.server().store.catalog().snapshot();
        snapshot.revision() != before && self.server().handle.status().read().tracked == 0
    }

    async fn deregister(&mut self, place: String) {
        let Some(entry) = self.entry(&place) else { return };
        let name = place.split_once('#').map(|(_, name)| name.parse().expect("a name"));
        let removal = Removal {
            service: ServiceRef::Key(entry.service().key.clone()),
            scope: name.map_or(RemovalScope::Service, RemovalScope::Instance),
            all: false,
            if_generation: None,
            why: None,
        };
        self.world.tell(format!("deregister {place}"));
        match self.server().store.deregister(removal, caller()).await {
            Ok(()) => drop(self.members.remove(&place)),
            Err(error) => self.world.tell(format!("refused: {error}")),
        }
    }

    fn entry(&self, place: &str) -> Option<Arc<portolan::catalog::Entry>> {
        let (key, _) = place.split_once('#')?;
        self.server().store.catalog().snapshot().get(key).cloned()
    }

    /// Asks for a check, whose answer must come, and be seen.
    fn request(&mut self) {
        while self.waiting.try_join_next().is_some() {}
        let Some((place, _)) = pick(&self.members, &mut self.dice) else { return };
        let Some(entry) = self.entry(&place) else { return };
        self.world.tell(format!("check {place} now"));
        let (world, run) = (self.world.clone(), self.world.truth().run);
        let (id, handle) = (entry.service().id, self.server().handle.clone());
        let catalog = Arc::clone(self.server().store.catalog());
        self.waiting.spawn(async move {
            let answer = timeout(Duration::from_mins(10), handle.check_now(id, None)).await;
            let mut truth = world.truth();
            let steady = truth.run == run && truth.now() > truth.disk_trouble;
            match answer {
                Err(_) if steady => truth.fail("a check on request is answered", &place),
                Ok(Ok(parts)) if steady => {
                    let snapshot = catalog.snapshot();
                    let Some(entry) = snapshot.by_id(&id) else { return };
                    for part in parts {
                        let Some(instance) = entry.service().instance(part.instance.as_str()) else { continue };
                        let verdict = part.outcome.map(|outcome| outcome.verdict);
                        let newest = aim_of(instance)
                            .and_then(|aim| truth.logs.get(&aim)?.conclusive().next().map(|seen| seen.verdict));
                        let shown = match (verdict, instance.health) {
                            // Another outcome came since.
                            _ if newest != verdict => true,
                            (Some(Verdict::Pass), health) => health == Health::Healthy || part.held,
                            (Some(Verdict::Fail), health) => health == Health::Unhealthy,
                            _ => true,
                        };
                        if !shown {
                            truth.fail("what was checked on request is seen", &format!("{place}: {verdict:?}"));
                        }
                    }
                }
                _ => {}
            }
        });
    }

    fn trouble_disk(&mut self) {
        if self.disk_until.is_some() {
            return;
        }
        let lasts = self.dice.random_range(1_000..90_000);
        self.disk_until = Some(self.world.now() + lasts);
        self.world.truth().disk_fails();
        if self.dice.random_range(0..2) == 0 {
            self.world.tell(format!("the disk refuses for {lasts} ms"));
            self.disk.refuse(true);
        } else {
            let pause = Duration::from_millis(self.dice.random_range(10..3_000));
            self.world.tell(format!("each transaction takes {pause:?} for {lasts} ms"));
            self.disk.slow(pause);
        }
    }

    fn set_clock(&mut self) {
        let by = [-86_400_000, -3_600_000, -5_000, 5_000, 3_600_000, 86_400_000][self.dice.random_range(0..6)];
        self.world.tell(format!("the wall clock is set by {by} ms"));
        self.world.truth().set_wall(by);
        self.clock_was_set = true;
    }

    async fn restart(&mut self) {
        let Some(server) = self.server.take() else { return };
        let crash = self.dice.random_range(0..2) == 0;
        self.world.tell(if crash { "the server is killed" } else { "the server stops" });
        // On a slow disk it takes its time to stop, in which nothing is probed.
        self.world.truth().run_began = At::MAX;
        let mut observer = if crash { server.crash().await } else { server.stop().await };
        {
            let mut truth = self.world.truth();
            let behind = truth.behind_since().unwrap_or(truth.now());
            if crash || self.disk_until.is_some() {
                truth.doubt(behind - UNSTORED);
                self.programs.doubt(behind - UNSTORED);
            }
        }
        if self.disk_until.is_some() {
            self.mend_disk();
        }
        let away = if self.dice.random_range(0..2) == 0 { 0 } else { self.dice.random_range(0..240_000) };
        self.pass(Duration::from_millis(away)).await;
        if std::mem::take(&mut self.clock_was_set) {
            let next = self.world.truth().run + 1;
            observer.past.forget_flaps(next);
        }
        self.world.tell("the server starts");
        self.server = Some(Server::start(&self.world, &self.disk, &self.network, &self.settings, observer));
        // The observer looks before anything else happens.
        tokio::task::yield_now().await;
    }

    /// Everything that was acknowledged is there, as it was registered.
    fn acknowledged_is_there(&self) {
        for (place, member) in &self.members {
            let entry = self.entry(place);
            let instance = entry.as_ref().and_then(|e| e.service().instance(place.split_once('#')?.1));
            let as_registered = |i: &portolan::model::service::Instance| {
                aim_of(i) == Some(member.aim) && i.spec.weight == member.weight
            };
            if !instance.is_some_and(as_registered) {
                self.world.broken("what was acknowledged is there", format!("{place}: {instance:?}"));
            }
        }
    }

    /// All is mended: after the longest hold everything is healthy.
    async fn end_well(&mut self) {
        if self.world.is_broken() {
            return;
        }
        self.world.tell("all is mended");
        self.network.heal();
        self.mend_disk();
        self.world.trouble_ends();
        self.programs.come_back();
        self.pass(Duration::from_secs(400)).await;
        self.acknowledged_is_there();
        self.programs.all_are_well(self.server(), &self.world);
        for place in self.members.keys() {
            let entry = self.entry(place);
            let instance = entry.as_ref().and_then(|e| e.service().instance(place.split_once('#')?.1));
            if instance.is_none_or(|i| i.health != Health::Healthy) {
                self.world.broken("what is well is healthy in the end", format!("{place}: {instance:?}"));
            }
        }
        if let Some(server) = self.server.take()
            && !self.world.is_broken()
        {
            server.end().await;
        }
    }
}

fn pick(members: &BTreeMap<String, Member>, dice: &mut StdRng) -> Option<(String, Member)> {
    let at = dice.random_range(0..members.len().max(1));
    members.iter().nth(at).map(|(place, member)| (place.clone(), member.clone()))
}
