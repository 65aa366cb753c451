//! The task: reads what probes ask for, a bounded number of requests at a time and per second.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use kube::Client;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::Certificates;
use super::read::{Parts, read};
use crate::model::certificates::{CertificateError, CertificateObject};
use crate::model::ports::Leadership;
use crate::operator::events::bucket::Bucket;

/// Time between two looks at what is due, and at the role.
const TICK: Duration = Duration::from_millis(250);
/// Requests per second, and at once: as many objects as there can be are read within half a minute, and then again each minute.
const RATE: (u32, u32) = (20, 60);
/// Most requests at the same time.
const MAX_READS: usize = 4;

/// The task of [`Certificates`].
pub struct CertificateReader {
    certificates: Certificates,
    client: Client,
    leadership: Arc<dyn Leadership>,
    reads: FuturesUnordered<BoxFuture<'static, (CertificateObject, Result<Parts, CertificateError>)>>,
    bucket: Bucket,
}

impl CertificateReader {
    pub(super) fn new(certificates: Certificates, client: Client, leadership: Arc<dyn Leadership>) -> Self {
        let bucket = Bucket::new(RATE.0, RATE.1);
        Self { certificates, client, leadership, reads: FuturesUnordered::new(), bucket }
    }

    /// Works until `stop`.
    ///
    /// # Errors
    /// Never fails; failures are retried.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), Infallible> {
        let certificates = self.certificates.clone();
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Some((object, read)) = self.reads.next() => self.finish(&object, read),
                () = certificates.0.wanted.notified() => {}
                _ = ticks.tick() => {}
            }
            self.step(Instant::now());
        }
        certificates.table().clear();
        Ok(())
    }

    fn finish(&self, object: &CertificateObject, read: Result<Parts, CertificateError>) {
        if !self.certificates.table().finish(object, read, Instant::now()) {
            self.certificates.0.metrics.reject("certificate_objects_full");
        }
        self.certificates.0.news.send_replace(());
    }

    fn step(&mut self, now: Instant) {
        if !self.leadership.probes() {
            // Another replica probes: this one needs no keys.
            self.reads.clear();
            self.certificates.table().clear();
            return;
        }
        if self.certificates.table().forget_unused(now) {
            return;
        }
        while self.reads.len() < MAX_READS && self.bucket.wait(now).is_zero() {
            let Some((object, parts)) = self.certificates.table().next(now) else { return };
            self.bucket.take(now);
            self.reads.push(Box::pin(read(self.client.clone(), object, parts)));
        }
    }
}
