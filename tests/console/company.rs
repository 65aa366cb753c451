//! A company for the pictures: its services on three hosts, and what became of them in the last six days. The store records it as it would
//! have then, with a clock that is moved; what is down now is really down.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use portolan::model::health::CheckState;
use portolan::model::name::{CheckName, Namespace};
use portolan::model::outcome::{Health, Outcome, Reason, Stage, Timings, Transition, Verdict};
use portolan::model::ports::{DrainChange, DrainOrder, InstanceRef, Registrar, Registration, ServiceRef};
use portolan::model::probe::{HealthChange, ProbeRow};
use portolan::model::service::{Instance, InstanceSpec};
use portolan::model::time::{Now, UnixMs};
use portolan::model::url::EndpointUrl;

use crate::store::{Running, anyone, leads, settings};

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// Namespace, service, instance, the last part of its host's address, version.
type Member = (&'static str, &'static str, &'static str, u8, &'static str);

/// Nothing listens on host 13.
const MEMBERS: [Member; 20] = [
    ("shop", "catalog", "a", 11, "2.3.0"),
    ("shop", "catalog", "b", 12, "2.3.0"),
    ("shop", "cart", "a", 11, "1.9.4"),
    ("shop", "checkout", "a", 13, "3.1.0"),
    ("shop", "checkout", "b", 12, "3.1.0"),
    ("shop", "reviews", "default", 13, "1.4.2"),
    ("shop", "search", "default", 11, "5.0.1"),
    ("shop", "recommendations", "default", 12, "0.9.0"),
    ("pay", "ledger", "default", 13, "4.2.0"),
    ("pay", "invoices", "default", 11, "2.0.3"),
    ("pay", "payments", "a", 12, "6.1.0"),
    ("pay", "payments", "b", 13, "6.1.0"),
    ("pay", "fraud", "default", 13, "1.1.0"),
    ("pay", "payouts", "default", 12, "1.7.2"),
    ("infra", "mail", "default", 11, "1.0.0"),
    ("infra", "sessions", "default", 13, "2.8.1"),
    ("infra", "audit", "default", 12, "0.4.0"),
    ("infra", "metrics", "a", 11, "1.2.0"),
    ("infra", "metrics", "b", 12, "1.2.0"),
    ("infra", "flags", "default", 12, "1.3.3"),
];

/// What answers 503 now.
const BROKEN: &str = "search";

/// Outages: the service, how long ago it began, how long it lasted, and why.
const OUTAGES: [(&str, i64, i64, Reason); 9] = [
    ("ledger", 5 * DAY + 4 * HOUR, 12 * MINUTE, Reason::ConnectRefused),
    ("mail", 4 * DAY + 9 * HOUR, 55 * MINUTE, Reason::ConnectTimeout),
    ("checkout", 3 * DAY + 2 * HOUR, 31 * MINUTE, Reason::UnexpectedStatus),
    ("payouts", 2 * DAY + 6 * HOUR, 2 * HOUR + 5 * MINUTE, Reason::NameNotFound),
    ("reviews", 26 * HOUR, 4 * MINUTE, Reason::ConnectRefused),
    ("cart", 9 * HOUR + 20 * MINUTE, 45, Reason::Timeout),
    ("invoices", 6 * HOUR + 10 * MINUTE, 18 * MINUTE, Reason::UnexpectedStatus),
    ("cart", 5 * HOUR, 3 * MINUTE, Reason::Timeout),
    ("sessions", 2 * HOUR + 30 * MINUTE, 7 * MINUTE, Reason::ConnectRefused),
];

/// A step of the story, at that many seconds before now.
struct Moment {
    ago: i64,
    service: &'static str,
    /// Only this instance; all of the service otherwise.
    instance: Option<&'static str>,
    becomes: Becomes,
}

enum Becomes {
    Healthy,
    Unhealthy(Reason),
    Drained,
    Undrained,
}

/// Everything that happened, in order.
fn story() -> Vec<Moment> {
    let of = |ago, service, instance, becomes| Moment { ago, service, instance, becomes };
    let mut all: Vec<Moment> = Vec::new();
    for (service, ago, lasted, reason) in OUTAGES {
        all.push(of(ago, service, None, Becomes::Unhealthy(reason)));
        all.push(of(ago - lasted, service, None, Becomes::Healthy));
    }
    all.push(of(3 * DAY + 20 * HOUR, "cart", None, Becomes::Drained));
    all.push(of(3 * DAY + 14 * HOUR, "cart", None, Becomes::Undrained));
    all.push(of(40 * MINUTE, BROKEN, None, Becomes::Unhealthy(Reason::UnexpectedStatus)));
    for (_, service, instance, host, _) in MEMBERS {
        if host == 13 {
            all.push(of(4 * MINUTE, service, Some(instance), Becomes::Unhealthy(Reason::ConnectRefused)));
        }
    }
    all.sort_by_key(|moment| std::cmp::Reverse(moment.ago));
    all
}

/// Writes the file that a server has after these six days, and answers at the addresses of what is up as long as this process runs.
pub(crate) async fn write(path: &Path) {
    let today = UnixMs::wall();
    let ago = |seconds: i64| {
        let at = UnixMs(today.0 - seconds * 1000);
        Now { steady: at, wall: at }
    };
    let began = 6 * DAY + 3 * HOUR;
    let store = Running::open_at(settings(path), ago(began)).expect("opens");
    for member in MEMBERS {
        store.register(registration(member)).await.expect("registers");
    }
    store.clock.set(ago(began - 5));
    for (namespace, service, name, ..) in MEMBERS {
        turn(&store, &instance(&store, namespace, service, name), &Becomes::Healthy, ago(began - 5)).await;
    }
    for moment in story() {
        let at = ago(moment.ago);
        store.clock.set(at);
        for (namespace, service, name, ..) in MEMBERS {
            if service == moment.service && moment.instance.is_none_or(|wanted| wanted == name) {
                turn(&store, &instance(&store, namespace, service, name), &moment.becomes, at).await;
            }
        }
    }
    store.clock.set(ago(2));
    // The last sign of life, so that the time until the server starts is known.
    turn(&store, &instance(&store, "infra", "flags", "default"), &Becomes::Healthy, ago(2)).await;
    store.stop().await;
}

fn registration((namespace, service, name, host, version): Member) -> Registration {
    let address = if host == 13 { "127.0.0.13:8080".parse().expect("an address") } else { answering(host, service) };
    let url = format!("http://{address}");
    let team = match namespace {
        "shop" => "storefront",
        "pay" => "money",
        _ => "platform",
    };
    Registration {
        namespace: namespace.parse::<Namespace>().expect("a name"),
        service: service.parse().expect("a name"),
        instance: name.parse().expect("a name"),
        derived: false,
        spec: InstanceSpec {
            health_url: Some(EndpointUrl::health(&format!("{url}/live")).expect("a URL")),
            version: version.to_owned(),
            zone: format!("rack-{}", host - 10),
            metadata: BTreeMap::from([("team".to_owned(), team.to_owned())]),
            ..InstanceSpec::at(EndpointUrl::base(&url).expect("a URL"))
        },
    }
}

/// An address of that host where something answers.
fn answering(host: u8, service: &str) -> SocketAddr {
    let listener = TcpListener::bind((format!("127.0.0.{host}"), 0)).expect("a port");
    let address = listener.local_addr().expect("an address");
    let status = if service == BROKEN { "503 Service Unavailable" } else { "200 OK" };
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            // Whoever asked has gone otherwise.
            let _ = stream.read(&mut [0; 1024]);
            let _ = write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        }
    });
    address
}

fn instance(store: &Running, namespace: &str, service: &str, name: &str) -> Instance {
    let snapshot = store.catalog().read();
    let entry = snapshot.find(namespace, service).expect("registered");
    entry.service().instance(name).expect("registered").clone()
}

async fn turn(store: &Running, instance: &Instance, becomes: &Becomes, at: Now) {
    let (health, reason) = match becomes {
        Becomes::Healthy => (Health::Healthy, Reason::Passed),
        Becomes::Unhealthy(reason) => (Health::Unhealthy, *reason),
        Becomes::Drained | Becomes::Undrained => {
            return drain(store, instance, matches!(becomes, Becomes::Drained)).await;
        }
    };
    let outcome = outcome(health, reason, at);
    let state = CheckState::shown_as(health, reason, at.wall, at);
    let change = HealthChange {
        instance: instance.id,
        generation: instance.generation,
        health,
        reason,
        since: at.wall,
        message: None,
        check: CheckName::default(),
        warning: None,
        also_failing: Box::default(),
        observed_version: None,
        transition: (instance.health != health).then(|| Transition {
            at: at.wall,
            from: instance.health,
            to: health,
            reason,
            message: outcome.message.clone(),
            check: CheckName::default(),
            evidence: Some(outcome.clone()),
        }),
        state: state.clone(),
    };
    store.store.commit_health(vec![change], leads()).await.expect("is committed");
    let row = ProbeRow {
        instance: instance.id,
        generation: instance.generation,
        check: CheckName::default(),
        state,
        next_due: at.steady,
        last: Some(outcome.clone()),
        last_pass: Some(if health == Health::Healthy {
            outcome
        } else {
            self::outcome(Health::Healthy, Reason::Passed, Now { wall: UnixMs(at.wall.0 - 1000), ..at })
        }),
        samples: Vec::new(),
    };
    store.store.record_probes(vec![row]).await.expect("is saved");
}

async fn drain(store: &Running, instance: &Instance, begins: bool) {
    let snapshot = store.catalog().read();
    let all = snapshot.newest_first(None).map(|entry| entry.service().clone()).collect::<Vec<_>>();
    let of = all.iter().find(|service| service.instances.iter().any(|i| i.id == instance.id)).expect("registered");
    let change = if begins {
        DrainChange::Start(DrainOrder { reason: "new disks".to_owned(), by: "ada".to_owned(), until: None })
    } else {
        DrainChange::End
    };
    let instance = InstanceRef { service: ServiceRef::Id(of.id), instance: instance.name.clone() };
    store.store.drain(instance, change, anyone()).await.expect("is drained");
}

fn outcome(health: Health, reason: Reason, at: Now) -> Outcome {
    let passed = health == Health::Healthy;
    let (stage, code) = match reason {
        Reason::Passed => (Stage::Status, Some(200)),
        Reason::UnexpectedStatus => (Stage::Status, Some(503)),
        Reason::NameNotFound => (Stage::Resolve, None),
        Reason::Timeout => (Stage::Request, None),
        _ => (Stage::Connect, None),
    };
    let known = |from: Stage, us| (stage >= from).then_some(us);
    Outcome {
        verdict: if passed { Verdict::Pass } else { Verdict::Fail },
        reason,
        stage,
        at: at.wall,
        address: (stage > Stage::Resolve).then(|| "127.0.0.13:8080".parse().expect("an address")),
        code,
        certificate_expires_at: None,
        message: if passed { "200 OK".to_owned() } else { format!("{reason}") },
        timings: Timings {
            resolve_us: None,
            connect_us: known(Stage::Connect, 180),
            tls_us: None,
            request_us: known(Stage::Request, 640),
            status_us: known(Stage::Status, 30),
        },
    }
}
