//! The instances of the demo, and the incidents that happen to them.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::backends::{Backend, Kind, Mode};
use crate::cli::client::Client;

/// One instance of the demo.
#[derive(Debug, Clone, Copy)]
pub(super) struct Role {
    pub(super) service: &'static str,
    pub(super) instance: &'static str,
    version: &'static str,
    weight: u16,
    zone: &'static str,
    scheme: &'static str,
    kind: Kind,
    description: &'static str,
}

const fn http(service: &'static str, instance: &'static str, version: &'static str) -> Role {
    Role {
        service,
        instance,
        version,
        weight: 100,
        zone: "eu-1a",
        scheme: "http",
        kind: Kind::Http(Duration::from_millis(5)),
        description: "",
    }
}

/// Steady, slow, flapping, dying, tcp, grpc, unchecked, replaced, reporting by itself; some in two versions.
const CAST: [Role; 12] = [
    Role { description: "Accounts and logins", ..http("user-service", "a", "1.4.2") },
    Role { weight: 20, zone: "eu-1b", description: "Accounts and logins", ..http("user-service", "b", "1.5.0") },
    Role { description: "Orders; one of two dies and comes back", ..http("order-service", "a", "2.0.1") },
    Role {
        zone: "eu-1b",
        description: "Orders; one of two dies and comes back",
        ..http("order-service", "b", "2.0.1")
    },
    Role { description: "Payments; hangs now and then", ..http("payment-service", "default", "3.1.0") },
    Role {
        kind: Kind::Http(Duration::from_millis(350)),
        description: "Reports; slow, and still passing",
        ..http("report-service", "default", "0.9.4")
    },
    Role { description: "Search; flaps until it is held", ..http("search-service", "default", "1.0.0") },
    Role {
        kind: Kind::Tcp,
        scheme: "postgres",
        description: "A database, proved by a TCP connection",
        ..http("ledger-db", "default", "16.4")
    },
    Role {
        kind: Kind::Grpc,
        scheme: "grpc",
        description: "Stock, proved by gRPC health",
        ..http("inventory-service", "default", "1.2.0")
    },
    Role { description: "Mail; registered without a check", ..http("mail-service", "default", "0.3.0") },
    Role { description: "Invoices; another program takes its port", ..http("invoice-service", "default", "2.2.0") },
    Role {
        kind: Kind::Worker,
        description: "Exports at night; reports by itself that it is alive",
        ..http("export-worker", "default", "1.1.0")
    },
];

/// The role that flaps by itself.
const FLAPPER: usize = 6;
/// How long it is healthy, and then failing.
const FLAP_INTERVAL: Duration = Duration::from_secs(4);
/// The role that nobody probes.
const UNCHECKED: usize = 9;
/// The role whose port another program takes.
const REPLACED: usize = 10;
/// The role that reports by itself.
const WORKER: usize = 11;
/// Time within which it reports again, in seconds.
const WORKER_TTL: u64 = 5;
/// Time between its reports.
const BEAT_INTERVAL: Duration = Duration::from_secs(2);
/// After this time the incidents start again. Longer than the window of flap damping, so that only the flapper is held.
const ROUND_LENGTH: Duration = Duration::from_secs(620);

/// One instance misbehaves for a while.
#[derive(Debug, Clone, Copy)]
struct Incident {
    at: Duration,
    role: usize,
    mode: Mode,
    lasts: Duration,
}

const fn incident(at: u64, role: usize, mode: Mode, lasts: u64) -> Incident {
    Incident { at: Duration::from_secs(at), role, mode, lasts: Duration::from_secs(lasts) }
}

const INCIDENTS: [Incident; 10] = [
    incident(4, 3, Mode::Closed, 8),
    incident(13, REPLACED, Mode::Taken, 8),
    incident(22, 4, Mode::Hanging, 10),
    incident(34, WORKER, Mode::Hanging, 12),
    incident(50, 8, Mode::Failing, 10),
    incident(85, 7, Mode::Closed, 12),
    incident(140, 0, Mode::Failing, 15),
    incident(210, 5, Mode::Hanging, 12),
    incident(300, 2, Mode::Closed, 15),
    incident(400, 1, Mode::Hanging, 15),
];

/// The running backends, in the order of the cast.
#[derive(Debug)]
pub(super) struct Stage {
    backends: Vec<Backend>,
}

impl Stage {
    /// Opens every backend.
    pub(super) async fn open(tasks: &mut JoinSet<()>) -> std::io::Result<Self> {
        let mut backends = Vec::with_capacity(CAST.len());
        for role in CAST {
            backends.push(Backend::start(role.kind, role.service, tasks).await?);
        }
        Ok(Self { backends })
    }

    /// Position of the registration of the service that reports by itself.
    pub(super) const WORKER: usize = WORKER;

    /// The registrations, as a program would send them.
    pub(super) fn registrations(&self) -> Vec<Value> {
        CAST.iter().zip(&self.backends).enumerate().map(|(n, (role, backend))| registration(n, role, backend)).collect()
    }

    /// Makes instances flap, fail and report until the task is dropped. `worker` is the service that reports by itself.
    pub(super) async fn play(self, client: Client, worker: Uuid) {
        let flapping = async {
            let mut turns = tokio::time::interval(FLAP_INTERVAL);
            let mut well = false;
            loop {
                turns.tick().await;
                well = !well;
                self.set(FLAPPER, if well { Mode::Up } else { Mode::Failing });
            }
        };
        tokio::join!(flapping, self.run_incidents(), self.report(client, worker));
    }

    /// Sends the worker's heartbeats.
    async fn report(&self, client: Client, worker: Uuid) {
        let Some(mode) = self.backends.get(WORKER).map(Backend::mode) else { return };
        let id = worker.to_string();
        let path = ["services", id.as_str(), "instances", "default", "heartbeat"];
        let mut turns = tokio::time::interval(BEAT_INTERVAL);
        loop {
            turns.tick().await;
            if *mode.borrow() == Mode::Up {
                // One that is lost is only late.
                let _ = client.put(&path, &[], None).await;
            }
        }
    }

    async fn run_incidents(&self) {
        loop {
            let round = tokio::time::Instant::now();
            for incident in INCIDENTS {
                tokio::time::sleep_until(round + incident.at).await;
                self.set(incident.role, incident.mode);
                tokio::time::sleep(incident.lasts).await;
                self.set(incident.role, Mode::Up);
            }
            tokio::time::sleep_until(round + ROUND_LENGTH).await;
        }
    }

    fn set(&self, role: usize, mode: Mode) {
        if let Some(backend) = self.backends.get(role) {
            backend.set(mode);
        }
    }
}

fn registration(n: usize, role: &Role, backend: &Backend) -> Value {
    let address = backend.address();
    let mut body = json!({
        "name": role.service,
        "instance": role.instance,
        "version": role.version,
        "description": role.description,
        "base_url": format!("{}://{address}", role.scheme),
        "weight": role.weight,
        "zone": role.zone,
        "metadata": {"demo": "true"},
    });
    if n == UNCHECKED {
        return body;
    }
    if n == WORKER {
        body["ttl_seconds"] = WORKER_TTL.into();
        return body;
    }
    let mut check = json!({"interval_seconds": 2, "timeout_seconds": 1});
    match role.kind {
        Kind::Http(_) if n == REPLACED => {
            check["http"] = json!({"path": "/health", "identity": {"json": {"/service": "$service"}}});
        }
        Kind::Http(_) | Kind::Worker => body["health_url"] = format!("http://{address}/health").into(),
        Kind::Tcp => check["tcp"] = json!({}),
        Kind::Grpc => check["grpc"] = json!({}),
    }
    if n == FLAPPER {
        check["unhealthy_threshold"] = 1.into();
    }
    body["check"] = check;
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn incidents_follow_one_another_and_spare_the_flapper() {
        let mut free = Duration::ZERO;
        for i in INCIDENTS {
            assert!(i.at >= free && i.role < CAST.len() && i.role != FLAPPER && i.role != UNCHECKED, "{i:?}");
            free = i.at + i.lasts;
        }
        assert!(free < ROUND_LENGTH);
    }

    #[test]
    fn the_worker_is_silent_for_longer_than_its_lease() {
        let silence = INCIDENTS.iter().find(|i| i.role == WORKER).expect("an incident");
        assert!(silence.lasts > Duration::from_secs(WORKER_TTL) + BEAT_INTERVAL && CAST[WORKER].kind == Kind::Worker);
        assert!(BEAT_INTERVAL * 2 < Duration::from_secs(WORKER_TTL));
    }

    #[test]
    fn no_role_fails_often_enough_to_be_held() {
        for (n, role) in CAST.iter().enumerate() {
            assert!(INCIDENTS.iter().filter(|i| i.role == n).count() <= 1, "{}", role.service);
        }
    }

    #[tokio::test]
    async fn every_registration_is_one_that_the_model_takes() {
        let mut tasks = JoinSet::new();
        let stage = Stage::open(&mut tasks).await.expect("ports");
        for body in stage.registrations() {
            crate::model::url::EndpointUrl::base(body["base_url"].as_str().expect("a URL")).expect("a base URL");
            if let Some(check) = body.get("check") {
                serde_json::from_value::<crate::model::check::Check>(check.clone()).expect("a check");
            }
        }
    }
}
