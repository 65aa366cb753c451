use std::net::IpAddr;

use tokio::time::timeout;

use super::*;
use crate::api::access::NamespaceFilter;
use crate::api::http::in_flight::InFlightLimits;
use crate::api::watch::limiter::{WatchLimiter, WatchLimits};
use crate::catalog::LastCheck;
use crate::model::outcome::{Health, Reason};
use crate::model::service::{Instance, InstanceSpec};
use crate::model::time::{Clock, Now, UnixMs};
use crate::telemetry::metrics::Metrics;

const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
const HOUR: UnixMs = UnixMs(3_600_000);

/// A watch whose token ends in an hour.
struct Watch {
    clock: Clock,
    in_flight: Arc<InFlight>,
    events: BoxStream<'static, Bytes>,
}

impl Watch {
    /// Of so many services of 20 KB each.
    fn of(services: u128, open_reads: bool) -> Self {
        let mut snapshot = Snapshot::empty(Epoch::random(), 1);
        (1..=services).for_each(|n| snapshot.put(service(n)));
        let catalog = Arc::new(Catalog::new(snapshot));
        let (snapshot, feed) = catalog.subscribe();
        let (clock, pin) = (Clock::manual(at(UnixMs(0))), catalog.pin());
        let in_flight =
            InFlight::new(InFlightLimits { total: IN_FLIGHT_BYTES, per_client: IN_FLIGHT_BYTES }, Metrics::default());
        let watcher = Watcher {
            catalog,
            in_flight: Arc::clone(&in_flight),
            feed,
            server_events: EventReceiver::closed(),
            epoch: snapshot.epoch().clone(),
            replica: None,
            principal: principal(open_reads),
            validity: Some(TokenValidity::until(HOUR, clock.clone())),
            filter: WatchFilter { namespaces: NamespaceFilter::All, name: None },
        };
        let permit = WatchLimiter::new(WatchLimits::default()).acquire(CLIENT).expect("a place");
        Self { clock, in_flight, events: stream(watcher, permit, snapshot, pin, Backlog::Everything) }
    }

    /// The next piece, as text; none once the watch is over.
    async fn next(&mut self) -> Option<String> {
        self.events.next().await.map(|piece| String::from_utf8_lossy(&piece).into_owned())
    }

    /// Nothing is sent in that time.
    async fn silent(&mut self, time: Duration) {
        assert_eq!(timeout(time, self.next()).await.ok(), None);
    }

    /// As after a suspend: the token has ended, and no timer has moved.
    fn jump(&self) {
        self.clock.set(at(HOUR));
    }

    /// The end event comes within the time that SECURITY.md promises, and nothing after it.
    async fn ends(&mut self) {
        let end = timeout(LOOK_EVERY, self.next()).await.expect("within two seconds").expect("an event");
        assert!(end.starts_with("event: end\n") && end.contains("token_expired"), "{end}");
        assert_eq!(self.next().await, None);
    }
}

fn at(wall: UnixMs) -> Now {
    Now { steady: UnixMs(0), wall }
}

fn principal(open_reads: bool) -> Principal {
    Principal { authenticated: true, guarded: true, open_reads, ..Principal::reader() }
}

fn service(n: u128) -> Arc<Entry> {
    let spec = InstanceSpec { description: "x".repeat(20_000), ..InstanceSpec::sample("http://h") };
    let instance = Instance::sample("default", spec, (Health::Healthy, Reason::Passed));
    let service = Service { id: Uuid::from_u128(n), ..Service::sample(&format!("s{n}"), vec![instance]) };
    Arc::new(Entry::new(service, LastCheck::default()))
}

#[tokio::test(start_paused = true)]
async fn a_silent_watch_ends_soon_after_the_wall_clock_has_passed_its_tokens_end() {
    let mut watch = Watch::of(0, false);
    while watch.next().await.is_some_and(|piece| !piece.starts_with("event: snapshot")) {}
    watch.silent(Duration::from_secs(5)).await;
    watch.jump();
    watch.ends().await;
}

#[tokio::test(start_paused = true)]
async fn an_event_that_has_begun_breaks_off_when_the_token_ends() {
    for open_reads in [false, true] {
        let mut watch = Watch::of(1, open_reads);
        assert_eq!(watch.next().await.as_deref(), Some("retry: 1000\n\n"));
        let piece = watch.next().await.expect("the first piece");
        assert!(piece.starts_with("event: snapshot\n") && piece.len() <= PIECE, "{}", piece.len());
        watch.jump();
        assert_eq!(watch.next().await, None, "no more of it, and nothing that a client would take for a part of it");
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_waits_for_memory_ends_with_its_token() {
    let mut watch = Watch::of(3, false);
    let memory = watch.in_flight.take(CLIENT.into(), IN_FLIGHT_BYTES).expect("all of it");
    assert_eq!(watch.next().await.as_deref(), Some("retry: 1000\n\n"));
    watch.silent(Duration::from_mins(1)).await;
    watch.jump();
    watch.ends().await;
    drop(memory);
}
