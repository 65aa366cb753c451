//! Identifies the cluster: all replicas use the same epoch, so that each can resume the others' cursors.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::LEASE_NAME;
use crate::catalog::Epoch;
use crate::model::name::Namespace;

/// Our CustomResourceDefinition.
const CRD: &str = "services.portolan.dev";
/// Time for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// Time between two attempts.
const RETRY_PAUSE: Duration = Duration::from_secs(2);

/// Why the epoch is unknown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EpochError {
    /// The custom resource is unknown to the cluster.
    #[error(
        "the custom resource {CRD} is not installed in this cluster; install it with `portolan crd | kubectl apply --server-side -f -`"
    )]
    NotInstalled,
    /// No answer.
    #[error("the Kubernetes API does not answer")]
    NoAnswer,
    /// Refused.
    #[error("the Kubernetes API refused: {0}")]
    Refused(String),
}

/// The mirror's file belongs to another cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the mirror belongs to another cluster; the next start creates a new one")]
pub struct OtherCluster;

/// Reads the epoch from the Kubernetes API: the uid of our CustomResourceDefinition, or, if that may not be read, of our Lease.
#[derive(Clone)]
pub struct Registry {
    definitions: Api<CustomResourceDefinition>,
    leases: Api<Lease>,
}

impl Registry {
    /// For the cluster of `client`, with the Lease in `namespace`.
    pub fn new(client: &Client, namespace: &Namespace) -> Self {
        Self { definitions: Api::all(client.clone()), leases: Api::namespaced(client.clone(), namespace.as_str()) }
    }

    /// Asks once, for at most a few seconds.
    ///
    /// # Errors
    /// [`EpochError`].
    pub async fn epoch(&self) -> Result<Epoch, EpochError> {
        let metadata = match answer(self.definitions.get_metadata(CRD)).await {
            Ok(found) => found.metadata,
            Err(Answer::Code(404, _)) => return Err(EpochError::NotInstalled),
            // A namespaced Role cannot grant it.
            Err(Answer::Code(403, _)) => self.lease().await?,
            Err(other) => return Err(other.into()),
        };
        let uid = metadata.uid.and_then(|uid| Uuid::parse_str(&uid).ok());
        uid.map(|uid| Epoch::of(&uid)).ok_or_else(|| EpochError::Refused("an object without a uid".to_owned()))
    }

    async fn lease(&self) -> Result<ObjectMeta, EpochError> {
        if let Some(lease) = answer(self.leases.get_opt(LEASE_NAME)).await? {
            return Ok(lease.metadata);
        }
        let metadata = ObjectMeta { name: Some(LEASE_NAME.to_owned()), ..ObjectMeta::default() };
        let lease = Lease { metadata, spec: None };
        // If another replica is faster, the next attempt finds its Lease.
        Ok(answer(self.leases.create(&PostParams::default(), &lease)).await?.metadata)
    }

    /// Asks until it gets an answer; `on_error` gets every error.
    pub async fn wait(&self, mut on_error: impl FnMut(&EpochError)) -> Epoch {
        loop {
            match self.epoch().await {
                Ok(epoch) => return epoch,
                Err(error) => on_error(&error),
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    /// After a start without the Kubernetes API: once that answers, compares its epoch with the one taken from the file.
    ///
    /// # Errors
    /// [`OtherCluster`].
    pub async fn confirm(self, taken: Epoch, stop: CancellationToken) -> Result<(), OtherCluster> {
        let found = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            found = self.wait(|_| {}) => found,
        };
        if found != taken {
            return Err(OtherCluster);
        }
        stop.cancelled().await;
        Ok(())
    }
}

enum Answer {
    None,
    Code(u16, String),
    Other(String),
}

impl From<Answer> for EpochError {
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::None => Self::NoAnswer,
            Answer::Code(_, why) | Answer::Other(why) => Self::Refused(why),
        }
    }
}

async fn answer<T>(asked: impl Future<Output = kube::Result<T>>) -> Result<T, Answer> {
    match timeout(ANSWER_TIMEOUT, asked).await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(kube::Error::Api(status))) => Err(Answer::Code(status.code, status.message.clone())),
        Ok(Err(kube::Error::Service(_) | kube::Error::HyperError(_))) | Err(_) => Err(Answer::None),
        Ok(Err(error)) => Err(Answer::Other(error.to_string())),
    }
}
