//! Programs that report of themselves: they register with a lease, renew it, fall silent, and come back. What readers see of them is compared with
//! what they did.

use std::time::Duration;

use portolan::model::check::{Check, CheckKind, HeartbeatCheck};
use portolan::model::name::ServiceKey;
use portolan::model::outcome::{Health, Reason};
use portolan::model::ports::{Beat, BeatError, BeatStatus, Caller, Heartbeats as _, Registrar as _, Registration};
use portolan::model::service::{Instance, InstanceSpec, Owner};
use portolan::model::url::EndpointUrl;
use rand::RngExt as _;
use rand::rngs::StdRng;
use uuid::Uuid;

use crate::moment::{HOLD, SLACK};
use crate::server::Server;
use crate::truth::{At, World};

/// The time between two looks.
pub(crate) const TURN: Duration = Duration::from_secs(1);
/// A removal that had no effect is tried again after a minute.
const RETRY: At = 60_000;

#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts of a program")]
struct Program {
    registration: Registration,
    ttl: At,
    /// How long its lease may be expired before its registration ends.
    after: At,
    /// Whether it gave that time. Otherwise it stays while it is the last instance of its service.
    asked: bool,
    alive: bool,
    /// What it was registered as.
    service: Option<Uuid>,
    /// When it reports next.
    next: At,
    /// When it was last heard.
    heard: At,
    /// Silent for longer than its lease lasts, since it was last heard.
    lapsed: bool,
    /// Since when it is heard without a lapse.
    steady_from: At,
    /// Time of silence, without the time in which no server ran.
    silent: At,
    /// Time of this silence in which the guard held.
    excused: At,
    /// Whether a run ended before it stored for certain that it was heard: an older silence may go on.
    doubtful: bool,
}

impl Program {
    fn new(number: usize, dice: &mut StdRng) -> Self {
        let ttl = [5, 10, 30][dice.random_range(0..3)];
        let asked = [None, Some(60), Some(200)][dice.random_range(0..3)];
        let heartbeat = CheckKind::Heartbeat(HeartbeatCheck { ttl_seconds: ttl });
        let spec = InstanceSpec {
            check: Check { kind: Some(heartbeat), ..Check::default() },
            deregister_after_seconds: asked,
            ..InstanceSpec::at(EndpointUrl::base(&format!("http://10.0.1.{number}:80")).expect("a base url"))
        };
        let registration = Registration {
            namespace: "programs".parse().expect("a namespace"),
            // Some share a service.
            service: format!("p{}", number / 2).parse().expect("a name"),
            instance: format!("i{number}").parse().expect("a name"),
            derived: false,
            spec,
        };
        Self {
            registration,
            ttl: At::from(ttl) * 1000,
            after: At::from(asked.unwrap_or((ttl * 10).max(300))) * 1000,
            asked: asked.is_some(),
            alive: true,
            service: None,
            next: 0,
            heard: 0,
            lapsed: true,
            steady_from: 0,
            silent: 0,
            excused: 0,
            doubtful: false,
        }
    }

    fn place(&self) -> String {
        format!("{}#{}", self.key(), self.registration.instance)
    }

    fn key(&self) -> ServiceKey {
        ServiceKey::new(&self.registration.namespace, &self.registration.service)
    }

    fn was_heard(&mut self, now: At) {
        if std::mem::take(&mut self.lapsed) {
            self.steady_from = now;
        }
        (self.heard, self.silent, self.excused, self.doubtful) = (now, 0, 0, false);
    }

    /// As the guide for developers says: renew; register if that is not known.
    async fn report(&mut self, server: &Server, world: &World) -> bool {
        let now = world.now();
        let Some(service) = self.service else { return self.register(server, world).await };
        let beat = Beat { status: BeatStatus::Pass, note: None };
        match server.handle.beat(service, &self.registration.instance, beat) {
            Ok(_) => {
                self.was_heard(now);
                true
            }
            Err(BeatError::NotFound | BeatError::Leaving) => {
                world.tell(format!("{} is not known any more", self.place()));
                self.service = None;
                false
            }
            Err(error) => {
                world.whisper(|| format!("{} is not heard: {error}", self.place()));
                // The lease is renewed all the same.
                if matches!(error, BeatError::Busy { .. }) {
                    self.was_heard(now);
                }
                false
            }
        }
    }

    async fn register(&mut self, server: &Server, world: &World) -> bool {
        let caller = Caller { owner: Owner::Anonymous, admin: false };
        world.tell(format!("{} registers itself", self.place()));
        match server.store.register(self.registration.clone(), caller).await {
            Ok(done) => {
                if server.handle.registered(done.service.id, &done.instance) == Err(BeatError::Leaving) {
                    world.tell(format!("refused: {} is being removed", self.place()));
                    return false;
                }
                self.service = Some(done.service.id);
                // A new registration.
                self.lapsed = true;
                self.was_heard(world.now());
                true
            }
            Err(error) => {
                world.tell(format!("refused: {error}"));
                false
            }
        }
    }

    /// What must be true of it now.
    fn judge(&self, shown: Option<&Instance>, began: At, now: At) -> Result<(), (&'static str, String)> {
        let (steady, silent) = (now - self.steady_from, self.silent - self.excused);
        let Some(shown) = shown else {
            let least = self.ttl + self.after;
            if self.silent + SLACK < least && !self.doubtful {
                return Err(("nobody leaves before the time", format!("silent for {} of {least} ms", self.silent)));
            }
            return Ok(());
        };
        let expired = shown.health == Health::Unhealthy && shown.reason == Reason::LeaseExpired;
        if expired && !self.lapsed && steady > SLACK {
            return Err(("a lease that is renewed does not expire", format!("renewed since {}", self.steady_from)));
        }
        // A start gives every lease its whole time.
        let silent_here = silent.min(now - began - self.excused);
        if shown.health == Health::Healthy && silent_here > self.ttl + HOLD {
            return Err(("silence ends a lease", format!("silent for {silent_here} ms, {}", shown.health)));
        }
        if self.asked && silent_here > self.ttl + self.after + HOLD + RETRY {
            return Err(("silence ends a registration", format!("silent for {silent_here} ms")));
        }
        Ok(())
    }
}

/// All programs of a life.
#[derive(Debug)]
pub(crate) struct Programs {
    all: Vec<Program>,
    turned: At,
}

impl Programs {
    pub(crate) fn new(count: usize, dice: &mut StdRng) -> Self {
        Self { all: (0..count).map(|number| Program::new(number, dice)).collect(), turned: 0 }
    }

    /// One of them falls silent, or comes back; or all of them.
    pub(crate) fn change(&mut self, world: &World, dice: &mut StdRng) {
        if self.all.is_empty() {
            return;
        }
        let every = dice.random_range(0..6) == 0;
        let one = dice.random_range(0..self.all.len());
        let alive = !self.all[one].alive;
        for (number, program) in self.all.iter_mut().enumerate() {
            if every || number == one {
                program.alive = alive;
                world.tell(format!("{} {}", program.place(), if alive { "comes back" } else { "falls silent" }));
            }
        }
    }

    /// A run ended in a way that may lose what it heard from then on.
    pub(crate) fn doubt(&mut self, from: At) {
        self.all.iter_mut().filter(|program| program.heard >= from).for_each(|program| program.doubtful = true);
    }

    pub(crate) fn come_back(&mut self) {
        self.all.iter_mut().for_each(|program| program.alive = true);
    }

    /// Those that are due report; then all are judged.
    pub(crate) async fn turn(&mut self, server: Option<&Server>, world: &World, dice: &mut StdRng) {
        let Some(server) = server else {
            self.turned = world.now();
            return;
        };
        self.count(server, world);
        for program in self.all.iter_mut().filter(|program| program.alive && program.next <= world.now()) {
            let pace = if program.report(server, world).await { 3 } else { 10 };
            program.next = world.now() + program.ttl * dice.random_range(80..120) / 100 / pace;
        }
        self.judge(server, world);
    }

    /// Counts the time since the last turn.
    fn count(&mut self, server: &Server, world: &World) {
        let (now, began) = (world.now(), world.truth().run_began);
        let holding = server.handle.status().read().guard_holding;
        for program in &mut self.all {
            let passed = now - self.turned.max(began).max(program.heard).min(now);
            program.silent += passed;
            if holding {
                program.excused += passed;
            }
            program.lapsed |= now - program.heard.max(began) >= program.ttl;
        }
        self.turned = now;
    }

    fn judge(&self, server: &Server, world: &World) {
        let snapshot = server.store.catalog().snapshot();
        let mut truth = world.truth();
        let (now, began) = (truth.now(), truth.run_began);
        if now < truth.disk_trouble + HOLD || now < began + SLACK {
            return;
        }
        for program in self.all.iter().filter(|program| program.service.is_some()) {
            let entry = snapshot.get(&program.key().to_string());
            let shown = entry.and_then(|entry| entry.service().instance(program.registration.instance.as_str()));
            if let Err((rule, what)) = program.judge(shown, began, now) {
                truth.fail(rule, &format!("{}: {what}", program.place()));
            }
        }
    }

    /// At the end all of them are heard, and read as healthy.
    pub(crate) fn all_are_well(&self, server: &Server, world: &World) {
        let snapshot = server.store.catalog().snapshot();
        for program in &self.all {
            let entry = snapshot.get(&program.key().to_string());
            let shown = entry.and_then(|entry| entry.service().instance(program.registration.instance.as_str()));
            if shown.is_none_or(|instance| instance.health != Health::Healthy) {
                world.broken("what is well is healthy in the end", format!("{}: {shown:?}", program.place()));
            }
        }
    }
}
