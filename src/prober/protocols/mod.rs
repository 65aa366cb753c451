//! What a probe speaks, from the connection to the verdict.
//!
//! - In: a target, and the addresses that it may be dialled at.
//! - Out: an outcome with its evidence: the stage it reached, the time of each stage, a sentence.
//!
//! Read the files in this order: this one (which protocol a target is probed by), `connect` (the first address that answers), `tcp` (the connection),
//! `time_wait` (who ends it), `tls` (the handshake, the certificate, and what a broken exchange says about the peer), `http` with `http_response`, `http_body` and `identity` (who must answer), `grpc`, and what they share:
//! `trace` (a probe's stages and its outcome).

mod connect;
mod grpc;
mod http;
mod http_body;
mod http_response;
mod identity;
mod tcp;
mod time_wait;
mod tls;
mod trace;

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::client::TlsStream;

pub(crate) use self::connect::Route;
use self::tcp::{Stream, close};
use self::time_wait::TimeWait;
use self::tls::{Alpn, ClientAuth, Tls};
pub(crate) use self::trace::{Ending, Trace};
use crate::model::check::{Demands, Target, TlsCheck};
use crate::model::outcome::{Outcome, Reason, Stage};
use crate::model::ports::CertificateObjects;
use crate::model::url::Host;
use crate::telemetry::metrics::Metrics;

/// Every protocol, with what their probes share.
#[derive(Debug)]
pub(crate) struct Protocols {
    tls: Tls,
    time_wait: Arc<TimeWait>,
    /// For connections that open beside a probe's first one.
    spare: Semaphore,
}

impl Protocols {
    /// `ca_dir` has the files that TLS checks name, and `objects` reads the ConfigMaps and Secrets; at most `time_wait` sockets of this machine
    /// may be in TIME_WAIT. At most `spare` connections at once open beside the first ones of their probes.
    pub(crate) fn new(
        ca_dir: Option<PathBuf>,
        objects: Option<Arc<dyn CertificateObjects>>,
        (time_wait, spare): (u32, usize),
        metrics: Metrics,
    ) -> Self {
        Self {
            tls: Tls::new(ca_dir, objects, metrics),
            time_wait: Arc::new(TimeWait::new(time_wait)),
            spare: Semaphore::new(spare.min(Semaphore::MAX_PERMITS)),
        }
    }

    /// Probes a target. Ends by the deadline. Returns the version that the answer reports, too, where the check reads it.
    pub(crate) async fn probe(
        &self,
        target: &Target,
        route: &Route<'_>,
        mut trace: Trace,
    ) -> (Outcome, Option<String>) {
        // A judgement made in time stands even where draining the body was cut off.
        drop(timeout_at(route.deadline, self.run(target, route, &mut trace)).await);
        let version = trace.take_version();
        (trace.end_judged(late), version)
    }

    async fn run(&self, target: &Target, route: &Route<'_>, trace: &mut Trace) {
        let mut stream = match connect::first(route, &self.time_wait, &self.spare, trace).await {
            Ok(stream) => stream,
            Err(ending) => return trace.judge(ending),
        };
        match target {
            Target::Tcp { .. } => {
                trace.judge(Ending::pass(None, "the connection opened"));
                close(stream).await;
            }
            Target::Http { host, port, target, request_options, tls, expected, demands } => {
                let check = http::Check {
                    host,
                    port: *port,
                    target,
                    request_options: request_options.as_deref(),
                    secure: tls.is_some(),
                    expected,
                    demands: demands.as_deref(),
                };
                match tls {
                    None => {
                        http::probe(&mut stream, &check, trace).await;
                        close(stream).await;
                    }
                    Some(tls) => Box::pin(self.https(stream, tls, &check, route.deadline, trace)).await,
                }
            }
            Target::Grpc { host, port, service, tls } => {
                let check = grpc::Check { host, port: *port, service, secure: tls.is_some() };
                Box::pin(self.grpc(stream, tls.as_ref(), &check, route.deadline, trace)).await;
            }
        }
    }

    async fn https(
        &self,
        stream: Stream,
        tls: &TlsCheck,
        check: &http::Check<'_>,
        deadline: Instant,
        trace: &mut Trace,
    ) {
        let Some((mut stream, client)) = self.secure(stream, tls, (check.host, Alpn::Http1), deadline, trace).await
        else {
            return;
        };
        if let Some(ending) = check.demands.and_then(|demands| wrong_certificate(demands, &stream)) {
            trace.judge(ending);
            return close(stream).await;
        }
        http::probe(&mut stream, check, trace).await;
        trace.amend(|ending| client.explain(ending));
        close(stream).await;
    }

    async fn grpc(
        &self,
        stream: Stream,
        tls: Option<&TlsCheck>,
        check: &grpc::Check<'_>,
        deadline: Instant,
        trace: &mut Trace,
    ) {
        let Some(tls) = tls else { return grpc::probe(stream.unbuffered(), check, trace).await };
        let secure = self.secure(stream, tls, (check.host, Alpn::Http2), deadline, trace).await;
        let Some((stream, client)) = secure else { return };
        grpc::probe(stream, check, trace).await;
        trace.amend(|ending| client.explain(ending));
    }

    /// Shakes hands; where that fails, it is judged and the connection ended.
    async fn secure(
        &self,
        stream: Stream,
        tls: &TlsCheck,
        (host, alpn): (&Host, Alpn),
        deadline: Instant,
        trace: &mut Trace,
    ) -> Option<(TlsStream<Stream>, Arc<ClientAuth>)> {
        trace.enter(Stage::Tls);
        match self.tls.handshake(stream.unbuffered(), tls, (host, alpn), deadline, trace).await {
            Ok(opened) => Some(opened),
            Err((ending, stream)) => {
                trace.judge(ending);
                close(stream).await;
                None
            }
        }
    }
}

/// The failure of a server whose certificate lacks the demanded name.
fn wrong_certificate(demands: &Demands, stream: &TlsStream<Stream>) -> Option<Ending> {
    let wanted = demands.identity.tls_san.as_deref()?;
    let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let shown = shown.map(AsRef::as_ref).unwrap_or_default();
    (!tls::has_name(shown, wanted)).then(|| identity::wrong_names(wanted, &tls::alt_names(shown)))
}

fn late(stage: Stage) -> Ending {
    match stage {
        Stage::Resolve | Stage::Connect => Ending::fail(Reason::ConnectTimeout, "the connection did not open in time"),
        Stage::Tls => Ending::fail(
            Reason::Timeout,
            "connected, but the TLS handshake did not end in time; is TLS spoken on that port?",
        ),
        Stage::Request | Stage::Status => Ending::fail(Reason::Timeout, "connected, but no full answer came in time"),
    }
}
