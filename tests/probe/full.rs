//! Full caches: probing continues, and each is counted.

use portolan::model::check::{Target, TlsCheck};
use portolan::model::url::Host;
use portolan::prober::{DialSettings, Dialer};
use portolan::telemetry::metrics::Metrics;
use tokio::time::Instant;

use super::harness::*;
use super::tls::House;

fn rejected(metrics: &Metrics, reason: &str) -> usize {
    let text = metrics.render().expect("renders");
    let series = format!("portolan_rejected_total{{reason=\"{reason}\"}} ");
    let line = text.lines().find_map(|line| line.strip_prefix(&series));
    line.map_or(0, |count| count.parse().expect("a number"))
}

#[tokio::test]
async fn names_beyond_the_cache_resolve_and_are_counted() {
    let metrics = Metrics::default();
    let dialer = Dialer::new(DialSettings { metrics: metrics.clone(), ..settings() });
    let pin = async |n: usize| {
        let target = Target::Tcp { host: Host::Name(format!("n{n}.localhost")), port: 9 };
        dialer.pin(&target, Instant::now() + AMPLE).await.expect("this machine");
    };
    for n in 0..16_384 {
        pin(n).await;
    }
    assert_eq!(rejected(&metrics, "name_cache_full"), 0, "so many are kept");
    pin(16_384).await;
    assert_eq!(rejected(&metrics, "name_cache_full"), 1);
}

#[tokio::test]
async fn ca_files_beyond_the_cache_verify_and_are_counted() {
    let metrics = Metrics::default();
    let house = House::counting(metrics.clone());
    let server = house.serving().await;
    for n in 0..514 {
        house.ca.write(&house.folder(), &format!("ca{n}.pem"));
        let check = TlsCheck { ca: Some(format!("ca{n}.pem")), ..TlsCheck::default() };
        assert_pass(&house.probe(&server, check).await);
        assert_eq!(rejected(&metrics, "ca_cache_full"), usize::from(n >= 512), "{n}");
    }
}
