//! The elector's task: reads and writes the Lease, and logs changes.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::api::PostParams;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::decide::{Candidate, Decision};
use super::state::{Holder, State};
use super::{LEASE, NAME};
use crate::model::ports::Role;
use crate::model::text::escape;
use crate::operator::kubernetes::rights::is_namespace_ending;

/// Time between two reads of the Lease, and between two renewals.
pub const POLL: Duration = Duration::from_secs(2);
/// Time for an answer: a claim outlasts two missed ones.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(4);
/// Time to release the Lease at the end.
const RELEASE: Duration = Duration::from_secs(2);
/// Most writes in a round: a write that lost to another replica's is retried after a read.
const TRIES: usize = 3;

/// Why a round failed.
#[derive(Debug, thiserror::Error)]
enum ElectionError {
    #[error("the Kubernetes API did not answer within {} s", ANSWER_TIMEOUT.as_secs())]
    NoAnswer,
    #[error(
        "this replica is not allowed to {0} the Lease: {1}; give this ServiceAccount get, create and update on leases.coordination.k8s.io in its own namespace"
    )]
    Forbidden(&'static str, String),
    #[error("this replica cannot {0} the Lease: {1}")]
    Other(&'static str, String),
    #[error("other replicas wrote first each time, or the Lease's namespace is being deleted")]
    Outrun,
}

/// Runs until it is stopped; then it releases the Lease.
pub struct ElectorTask {
    leases: Api<Lease>,
    candidate: Candidate,
    state: Arc<State>,
    last_error: Option<String>,
    role: Role,
    last_holder: Option<Holder>,
}

impl ElectorTask {
    pub(super) fn new(leases: Api<Lease>, candidate: Candidate, state: Arc<State>) -> Self {
        Self { leases, candidate, state, last_error: None, role: Role::Follows, last_holder: None }
    }

    /// Takes part in the election until `stop`.
    ///
    /// # Errors
    /// Never fails; failures are retried.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), Infallible> {
        loop {
            let round = async {
                let pause = self.round().await;
                tokio::time::sleep(pause).await;
            };
            tokio::select! {
                () = stop.cancelled() => break,
                () = round => {}
            }
        }
        self.step_down().await;
        Ok(())
    }

    /// One read or one renewal. Returns the pause until the next.
    async fn round(&mut self) -> Duration {
        let started = self.state.now();
        let outcome = self.compete().await;
        if outcome.is_err() {
            self.candidate.invalidate();
        }
        self.log_changes(&outcome);
        let spent = self.state.now().saturating_sub(started);
        match outcome {
            Ok(Decision::Wait(left)) => left.min(POLL.mul_f64(rand::random_range(0.9..1.1))),
            // A renewal is due two seconds after the last was sent.
            Ok(_) => POLL.saturating_sub(spent),
            Err(_) => POLL,
        }
    }

    async fn compete(&mut self) -> Result<Decision, ElectionError> {
        for _ in 0..TRIES {
            if self.candidate.must_read() {
                let lease = answer("read", self.leases.get_opt(NAME)).await?;
                self.candidate.observe(lease, self.state.now());
            }
            let decision = self.candidate.decide(self.state.now());
            let sent = self.state.now();
            let written = match decision {
                Decision::Wait(_) => {
                    self.follow();
                    return Ok(decision);
                }
                Decision::Create => self.create().await?,
                Decision::Claim => self.replace(self.candidate.claim(Timestamp::now())).await?,
            };
            match written {
                Some(lease) => {
                    self.candidate.observe(Some(lease), self.state.now());
                    self.state.renewed(sent);
                    return Ok(decision);
                }
                None => self.candidate.invalidate(),
            }
        }
        Err(ElectionError::Outrun)
    }

    fn follow(&mut self) {
        if let Some((identity, address)) = self.candidate.other() {
            self.state.follows(Holder { identity, address });
        }
        // The next round has to read it again.
        self.candidate.invalidate();
    }

    /// None if another was faster.
    async fn create(&self) -> Result<Option<Lease>, ElectionError> {
        let mut lease = self.candidate.claim(Timestamp::now());
        lease.metadata.name = Some(NAME.to_owned());
        unless_outrun(answer("create", self.leases.create(&PostParams::default(), &lease)).await)
    }

    /// None if another was faster.
    async fn replace(&self, lease: Lease) -> Result<Option<Lease>, ElectionError> {
        unless_outrun(answer("write", self.leases.replace(NAME, &PostParams::default(), &lease)).await)
    }

    /// Releases the Lease, so that another replica need not wait until it expires.
    async fn step_down(&mut self) {
        let may_be_ours = self.state.role() != Role::Follows;
        self.state.gives_up();
        if may_be_ours && let Ok(Err(error)) = timeout(RELEASE, self.release()).await {
            tracing::warn!(
                "the Lease was not released, so the others wait {} s until it expires: {error}",
                LEASE.as_secs()
            );
        }
    }

    async fn release(&mut self) -> Result<(), ElectionError> {
        // The stop may have interrupted a renewal.
        let lease = answer("read", self.leases.get_opt(NAME)).await?;
        self.candidate.observe(lease, self.state.now());
        if let Some(lease) = self.candidate.release(Timestamp::now())
            && self.replace(lease).await?.is_some()
        {
            tracing::info!("released the Lease");
        }
        Ok(())
    }

    /// Logs each change once.
    fn log_changes(&mut self, outcome: &Result<Decision, ElectionError>) {
        let (before, role) = (self.role, self.state.role());
        self.role = role;
        match role {
            _ if role == before => {}
            Role::Leads => tracing::info!("this replica now leads: it probes, and writes status for all replicas"),
            Role::Alone => tracing::warn!(
                "the Lease could not be renewed: this replica writes nothing until it holds it again, and probes for its own readers"
            ),
            Role::Follows => {}
        }
        let holder = self.state.holder();
        if self.last_holder != holder
            && let Some(holder) = &holder
        {
            tracing::info!("{} leads", escape(&holder.identity, 300));
        }
        self.last_holder = holder;
        let error = outcome.as_ref().err().map(ToString::to_string);
        match &error {
            Some(text) if self.last_error != error => tracing::warn!("the election failed: {text}"),
            None if self.last_error.is_some() => tracing::info!("the Lease can be read and written again"),
            _ => {}
        }
        self.last_error = error;
    }
}

async fn answer<T>(
    what: &'static str,
    asked: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, ElectionError> {
    match timeout(ANSWER_TIMEOUT, asked).await {
        Err(_) => Err(ElectionError::NoAnswer),
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(kube::Error::Api(status))) => Err(match status.code {
            // Written, created or deleted by another meanwhile.
            404 | 409 => ElectionError::Outrun,
            403 if is_namespace_ending(&status) => ElectionError::Outrun,
            403 => ElectionError::Forbidden(what, status.message.clone()),
            _ => ElectionError::Other(what, status.message.clone()),
        }),
        Ok(Err(error)) => Err(ElectionError::Other(what, error.to_string())),
    }
}

fn unless_outrun(written: Result<Lease, ElectionError>) -> Result<Option<Lease>, ElectionError> {
    match written {
        Err(ElectionError::Outrun) => Ok(None),
        written => written.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn only_a_lack_of_rights_is_called_one() {
        let ending =
            json!({ "causes": [{ "reason": "NamespaceTerminating", "message": "", "field": "metadata.namespace" }] });
        for (status, rights) in [
            (json!({ "code": 403, "message": "cannot create resource" }), true),
            (json!({ "code": 403, "message": "unable to create new content", "details": ending }), false),
            (json!({ "code": 409 }), false),
        ] {
            let error = kube::Error::Api(serde_json::from_value(status.clone()).expect("a status"));
            let error = answer("create", std::future::ready(Err::<(), _>(error))).await.expect_err("it fails");
            assert_eq!(matches!(error, ElectionError::Forbidden(..)), rights, "{status}: {error}");
            assert_eq!(matches!(error, ElectionError::Outrun), !rights, "{status}: {error}");
        }
    }
}
