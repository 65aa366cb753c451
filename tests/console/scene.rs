//! A console without a terminal: a fixed clock, a fixed cast, keys and events by hand.

use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use portolan::console::app::{Effect, Msg, settle, update};
use portolan::console::data::{
    Availability, HistoryEntry, Instance, Outage, ProbingOfInstance, ProbingOfService, Sample, ServerEvent, Service,
    Streak,
};
use portolan::console::outage::OutageList;
use portolan::console::source::{Abilities, Link, SourceEvent};
use portolan::console::state::{Options, State, ThemeName};
use portolan::console::view;
use portolan::console::window::Window;
use portolan::model::outcome::{Health, Outcome, Reason, Stage, Timings, Verdict};
use portolan::model::time::UnixMs;
use portolan::wire::Owner;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use uuid::Uuid;

/// Noon of 2026-01-01.
pub(crate) const NOON: UnixMs = UnixMs(1_767_268_800_000);

pub(crate) const CHECKOUT: Uuid = Uuid::from_u128(1);
pub(crate) const CART: Uuid = Uuid::from_u128(2);
pub(crate) const LEDGER: Uuid = Uuid::from_u128(3);
pub(crate) const HOSTILE: Uuid = Uuid::from_u128(4);
pub(crate) const CRON: Uuid = Uuid::from_u128(5);

/// So many seconds before noon.
pub(crate) fn ago(seconds: i64) -> UnixMs {
    UnixMs(NOON.0 - seconds * 1000)
}

pub(crate) fn options() -> Options {
    Options { theme: ThemeName::Normal, ..Options::default() }
}

/// A console without a terminal.
pub(crate) struct TestConsole {
    pub(crate) state: State,
}

impl TestConsole {
    /// Before the first event.
    pub(crate) fn waiting(size: (u16, u16)) -> Self {
        let abilities = Abilities { acts: true, live_probing: true };
        Self::with(State::new("server http://127.0.0.1:8080", abilities, options(), size, NOON))
    }

    pub(crate) fn with(state: State) -> Self {
        Self { state }
    }

    /// With all sample services, and everything about the first.
    pub(crate) fn loaded(size: (u16, u16)) -> Self {
        let mut console = Self::waiting(size);
        console.load();
        console
    }

    pub(crate) fn load(&mut self) {
        self.receive(SourceEvent::Link(Link::Live));
        self.receive(SourceEvent::Snapshot(cast()));
        self.receive(SourceEvent::Probing(CHECKOUT, Some(Box::new(probing()))));
        self.receive(SourceEvent::History(CHECKOUT, history(0), None));
        for instance in [None, Some("a")] {
            let strips = Window::ALL.map(|window| (window, availability(CHECKOUT, instance, window)));
            self.receive(SourceEvent::Strips((CHECKOUT, instance.map(Into::into)), Ok(strips.into())));
        }
        self.tick(0);
    }

    pub(crate) fn receive(&mut self, event: SourceEvent) -> Vec<Effect> {
        update(&mut self.state, Msg::Source(Box::new(event)))
    }

    pub(crate) fn change(&mut self, service: Service) {
        self.receive(SourceEvent::Changes(vec![service], vec![]));
    }

    /// Sets the clock to that many milliseconds after noon.
    pub(crate) fn tick(&mut self, millis: u64) -> Vec<Effect> {
        update(&mut self.state, Msg::Tick(NOON.plus(Duration::from_millis(millis))))
    }

    pub(crate) fn press(&mut self, code: KeyCode) -> Vec<Effect> {
        update(&mut self.state, Msg::Key(KeyEvent::new(code, KeyModifiers::NONE)))
    }

    pub(crate) fn ctrl(&mut self, c: char) -> Vec<Effect> {
        update(&mut self.state, Msg::Key(KeyEvent::new(KeyCode::Char(c), KeyModifiers::CONTROL)))
    }

    /// Types characters; a line break is Enter.
    pub(crate) fn keys(&mut self, text: &str) -> Vec<Effect> {
        let code = |c| match c {
            '\n' => KeyCode::Enter,
            '\t' => KeyCode::Tab,
            c => KeyCode::Char(c),
        };
        text.chars().flat_map(|c| self.press(code(c))).collect()
    }

    /// The frame.
    pub(crate) fn frame(&mut self) -> Buffer {
        settle(&mut self.state);
        let (width, height) = self.state.size;
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a backend");
        terminal.draw(|frame| view::draw(frame, &self.state)).expect("draws");
        terminal.backend().buffer().clone()
    }

    /// The frame as text.
    pub(crate) fn text(&mut self) -> String {
        lines(&self.frame()).join("\n")
    }

    /// The names that are listed, in order.
    pub(crate) fn listed(&mut self) -> Vec<String> {
        settle(&mut self.state);
        let index = self.state.listing();
        index.shown().iter().map(|id| index.get(id).expect("it is known").name.to_string()).collect()
    }
}

/// The lines of a frame; a wide character stands in its first cell alone.
pub(crate) fn lines(buffer: &Buffer) -> Vec<String> {
    let rows = buffer.content.chunks(usize::from(buffer.area.width.max(1)));
    rows.map(|row| {
        let line: String = row.iter().map(ratatui::buffer::Cell::symbol).collect();
        line.trim_end().to_owned()
    })
    .collect()
}

pub(crate) fn instance(name: &str, health: Health, reason: &str, seconds: i64) -> Instance {
    Instance {
        warning: None,
        drain: None,
        name: name.into(),
        base_url: format!("http://10.0.0.5:80{}", name.len()).into(),
        health_url: Box::default(),
        health,
        reason: reason.into(),
        since: Some(ago(seconds)),
        weight: 100,
        zone: "eu-1a".into(),
        version: "1.4.2".into(),
        generation: 3,
        ..Instance::default()
    }
}

pub(crate) fn service(id: Uuid, namespace: &str, name: &str, mut instances: Vec<Instance>) -> Service {
    let metadata: portolan::console::data::Metadata = [("team", namespace)].into_iter().collect();
    for instance in &mut instances {
        instance.metadata = metadata.clone();
    }
    let has = |health| instances.iter().any(|i| i.health == health);
    let health = match (has(Health::Healthy), has(Health::Unhealthy)) {
        (true, _) => Health::Healthy,
        (false, true) => Health::Unhealthy,
        (false, false) => Health::Unknown,
    };
    let mut service = Service {
        id,
        namespace: namespace.into(),
        name: name.into(),
        version: "1.4.2".into(),
        description: "Takes orders".into(),
        health,
        reason: instances.first().map(|i| i.reason.clone()).unwrap_or_default(),
        source: "rest".into(),
        revision: 7,
        registered_at: Some(ago(86_400)),
        updated_at: instances.iter().filter_map(|i| i.since).max(),
        last_health_check: Some(ago(2)),
        metadata,
        acknowledged: None,
        instances,
    };
    service.arrange();
    service
}

/// Down, degraded, healthy, hostile, unchecked, and 35 that are well.
pub(crate) fn cast() -> Vec<Service> {
    use Health::{Healthy, Unhealthy, Unknown};
    let down = |name, seconds| instance(name, Unhealthy, "ConnectRefused", seconds);
    let well = |name| instance(name, Healthy, "Passed", 7200);
    let mut checkout = service(CHECKOUT, "shop", "checkout", vec![down("a", 252), down("b", 240)]);
    for instance in &mut checkout.instances {
        instance.owner = Some(Box::new(Owner { issuer: "".into(), subject: "payments-ci".into() }));
    }
    let cart = service(CART, "shop", "cart", vec![well("a"), instance("b", Unhealthy, "UnexpectedStatus", 75)]);
    let mut ledger = service(LEDGER, "pay", "ledger", vec![well("a"), well("b"), well("c")]);
    ledger.source = "manifest".into();
    let cron = service(CRON, "infra", "cron", vec![instance("default", Unknown, "NotChecked", 3600)]);
    let many = (6..41).map(|n| service(Uuid::from_u128(n), "infra", &format!("svc-{n:02}"), vec![well("default")]));
    [checkout, cart, ledger, hostile(), cron].into_iter().chain(many).collect()
}

/// Each of its texts is harmful: escape sequences, line breaks, overrides, wide and combining characters.
pub(crate) fn hostile() -> Service {
    let mut bad = instance("in\u{1b}[2Jst", Health::Unhealthy, "Reason\u{7}\u{202e}evil", 12);
    bad.base_url = "http://a\r\n\u{9b}31mb".into();
    bad.zone = "東京リージョン".into();
    bad.version = "1.0\u{1b}]52;c;aGk=\u{7}".into();
    let mut service = service(HOSTILE, "pay\u{200b}", "na\u{1b}]0;title\u{7}me", vec![bad]);
    service.description = format!("line\nbreak, 漢字, e{} end", "\u{301}".repeat(60)).into();
    service.version = format!("v{}", "\u{301}".repeat(60)).into();
    let odd = ("k\u{1b}c", "👩‍🚀 \u{85}\u{2028} ☺\u{fe0f}☺\u{fe0f}");
    service.metadata = service.metadata.iter().chain([odd]).collect();
    service.instances[0].metadata = service.metadata.clone();
    service
}

pub(crate) fn passed(seconds: i64) -> Outcome {
    Outcome {
        verdict: Verdict::Pass,
        reason: Reason::Passed,
        stage: Stage::Status,
        at: ago(seconds),
        address: Some("10.0.0.5:801".parse().expect("an address")),
        code: Some(200),
        certificate_expires_at: None,
        message: "200 OK".into(),
        timings: Timings {
            resolve_us: Some(310),
            connect_us: Some(820),
            tls_us: None,
            request_us: Some(2_450),
            status_us: Some(40),
        },
    }
}

pub(crate) fn refused(seconds: i64) -> Outcome {
    Outcome {
        verdict: Verdict::Fail,
        reason: Reason::ConnectRefused,
        stage: Stage::Connect,
        at: ago(seconds),
        code: None,
        certificate_expires_at: None,
        message: "10.0.0.5:801 refuses connections".into(),
        timings: Timings { resolve_us: Some(290), connect_us: Some(400), ..Timings::default() },
        ..passed(seconds)
    }
}

/// The probing of `checkout`: `a` confirmed down, `b` on its way up.
pub(crate) fn probing() -> ProbingOfService {
    let sample = |n: i64| Sample {
        at: ago(700 - 10 * n),
        total_us: (n % 7 != 3).then(|| u32::try_from(900 + 137 * (n % 11)).expect("small")),
        code: Some(200),
    };
    let of = |name: &str, passing, count, of| ProbingOfInstance {
        instance: name.into(),
        streak: Streak { passing, count, of },
        next_due: Some(NOON.plus(Duration::from_millis(400))),
        held: None,
        last: Some(if passing { passed(1) } else { refused(1) }.into()),
        last_pass: Some(passed(if passing { 1 } else { 260 }).into()),
        last_fail: Some(refused(if passing { 250 } else { 1 }).into()),
        samples: (0..40).map(sample).collect(),
        ..ProbingOfInstance::default()
    };
    ProbingOfService { id: CHECKOUT, instances: vec![of("a", false, 12, 3), of("b", true, 2, 3)], live: true }
}

/// A page of twelve entries, newest first, older by pages.
pub(crate) fn history(page: i64) -> Vec<HistoryEntry> {
    let entry = |n: i64| {
        let down = n % 2 == 0;
        HistoryEntry {
            id: 1000 - 12 * page - n,
            event: "health".into(),
            instance: "a".into(),
            at: ago(252 + 600 * (12 * page + n)),
            from: if down { Health::Healthy } else { Health::Unhealthy },
            to: Some(if down { Health::Unhealthy } else { Health::Healthy }),
            reason: Some(if down { "ConnectRefused" } else { "Passed" }.into()),
            check: None,
            message: if down { "3 failures in a row: 10.0.0.5:801 refuses" } else { "passed" }.into(),
            evidence: down.then(|| refused(252).into()),
        }
    };
    (0..12).map(entry).collect()
}

/// An availability with every state in it: recorded since 20 days.
pub(crate) fn availability(id: Uuid, instance: Option<&str>, window: Window) -> Availability {
    let known = i64::try_from(window.read().length().as_secs()).expect("small");
    let letter = |n: usize| match (window, n) {
        (Window::Month, 0..20) => '-',
        (_, 9 | 10) => 'd',
        (_, 12) => '?',
        (Window::Day, 47) | (_, 30 | 31) => 'u',
        (_, 33) => 'g',
        _ => 'h',
    };
    Availability {
        id,
        instance: instance.map(Into::into),
        from: ago(known),
        until: NOON,
        since: ago(known.min(20 * 86_400)),
        status: "unhealthy".into(),
        percent: Some(if window == Window::Day { 99.953 } else { 99.9 }),
        known_seconds: 80_000.0,
        unhealthy_seconds: 252.0,
        unknown_seconds: 1_800.0,
        drained_seconds: 3_600.0,
        outage_count: 2,
        longest_outage_seconds: 252.0,
        recovery_seconds: (window != Window::Day).then_some(181.0),
        strip: Some((0..window.cells()).map(letter).collect::<String>().into()),
        ..Availability::default()
    }
}

/// Five outages, the newest first: one lasts, one is of a service that was removed.
pub(crate) fn outages() -> OutageList {
    let outage =
        |service, (namespace, name): (&str, &str), began: i64, lasted: i64, reason: &str, instances: &[&str]| Outage {
            id: -began,
            service,
            namespace: namespace.into(),
            name: name.into(),
            from: ago(began),
            until: (lasted != began).then(|| ago(began - lasted)),
            seconds: f64::from(i32::try_from(lasted).expect("small")),
            reason: reason.into(),
            instances: instances.iter().map(|name| (*name).into()).collect(),
            instance_count: instances.len(),
            ..Outage::default()
        };
    let gone = Uuid::from_u128(999);
    OutageList {
        outages: vec![
            outage(CHECKOUT, ("shop", "checkout"), 252, 252, "ConnectRefused", &["a", "b"]),
            outage(CART, ("shop", "cart"), 3600, 45, "Timeout", &["b"]),
            outage(LEDGER, ("pay", "ledger"), 30_000, 7_325, "UnexpectedStatus", &["c"]),
            outage(CART, ("shop", "cart"), 40_000, 600, "Timeout", &["b"]),
            outage(gone, ("shop", "retired"), 80_000, 300, "ConnectRefused", &["default"]),
        ],
        more: false,
        since: Some(ago(86_400)),
    }
}

pub(crate) fn events() -> Vec<ServerEvent> {
    let event = |seconds, part: &str, good, message: &str| ServerEvent {
        at: ago(seconds),
        part: part.into(),
        good,
        message: message.into(),
    };
    vec![
        event(600, "guard", false, "12 of 16 targets failed at once: transitions are held"),
        event(540, "guard", true, "most of the others pass: released"),
    ]
}
