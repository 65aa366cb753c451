//! Certificates from ConfigMaps and Secrets that a check names.

use std::sync::{Arc, Weak};
use std::time::Duration;

use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use tokio::time::{Instant, timeout_at};

use super::super::trace::Ending;
use crate::crypto::pem::{self, Authorities};
use crate::crypto::verifier::Verifier;
use crate::model::certificates::{CertificateError, CertificateObject, ObjectPart, Pem};
use crate::model::check::TlsCheck;
use crate::model::outcome::Reason;
use crate::model::ports::CertificateObjects;

/// How long a probe waits for the first reading of an object.
const FIRST_READING: Duration = Duration::from_secs(2);
/// What is left of the probe's time after that, so that the object is at fault and not the server.
const REST: Duration = Duration::from_millis(100);

/// Where objects are read; none outside of a cluster.
#[derive(Debug, Clone)]
pub(super) struct Objects(pub(super) Option<Arc<dyn CertificateObjects>>);

/// The texts of the objects that a check names.
#[derive(Debug, Clone, Default)]
pub(super) struct NamedTexts {
    pub(super) ca: Option<Text>,
    pub(super) pair: Option<Text>,
}

/// The text of an object.
#[derive(Debug, Clone)]
pub(super) struct Text {
    object: CertificateObject,
    pub(super) pem: Arc<Pem>,
}

/// That an object may have changed since it was read.
#[derive(Debug)]
pub(super) struct Doubt {
    objects: Arc<dyn CertificateObjects>,
    object: CertificateObject,
}

impl Doubt {
    pub(super) fn report(&self) {
        self.objects.doubt(&self.object);
    }
}

impl Objects {
    /// The texts that this check needs; none if it names no object.
    ///
    /// # Errors
    /// Inconclusive: Portolan cannot show or trust what the check names.
    pub(super) async fn get(&self, check: &TlsCheck, deadline: Instant) -> Result<NamedTexts, Ending> {
        if !check.names_objects() {
            return Ok(NamedTexts::default());
        }
        let Some(objects) = &self.0 else {
            return Err(unavailable("certificates of ConfigMaps and Secrets are read in cluster mode only".to_owned()));
        };
        let until = (Instant::now() + FIRST_READING).min(deadline.checked_sub(REST).unwrap_or(deadline));
        let get = async |object: CertificateObject, part: ObjectPart| {
            let got = timeout_at(until, objects.get(object.clone(), part)).await;
            match got.unwrap_or(Err(CertificateError::Pending)) {
                Ok(pem) => Ok(Text { object, pem }),
                Err(CertificateError::Pending) => {
                    let message = format!("{object} {}", CertificateError::Pending);
                    Err(Ending::inconclusive(Reason::Cancelled, message))
                }
                Err(error) => Err(unavailable(format!("{object} {error}"))),
            }
        };
        let ca = match check.ca_object() {
            Some((object, key)) => Some(get(object, ObjectPart::Key(key.to_owned())).await?),
            None if check.ca_from.is_some() && check.verify => return Err(unbound()),
            None => None,
        };
        let pair = match check.client_cert_object() {
            Some(object) => Some(get(object, ObjectPart::Pair).await?),
            None if check.client_cert_from.is_some() => return Err(unbound()),
            None => None,
        };
        Ok(NamedTexts { ca, pair })
    }

    /// Reports that these texts cannot be used.
    pub(super) fn doubt_all(&self, texts: &NamedTexts) {
        let doubts = texts.ca.iter().chain(&texts.pair).filter_map(|text| self.doubt(Some(text)));
        doubts.for_each(|doubt| doubt.report());
    }

    /// How to report that this text did not serve.
    pub(super) fn doubt(&self, text: Option<&Text>) -> Option<Doubt> {
        Some(Doubt { objects: Arc::clone(self.0.as_ref()?), object: text?.object.clone() })
    }
}

impl NamedTexts {
    /// Verifies servers by the bundle.
    pub(super) fn verifier(&self, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>, String> {
        let Text { object, pem } = self.ca.as_ref().ok_or_else(|| super::NO_TLS.to_owned())?;
        let Authorities { roots, named, skipped } =
            pem::authorities_in(pem.expose()).map_err(|error| format!("{object} cannot be used: {error}"))?;
        if skipped > 0 {
            let (namespace, name) = (&object.namespace, &object.name);
            tracing::warn!(%namespace, name, skipped, "certificates of a CA bundle cannot be read, and are not trusted");
        }
        let verifier = Verifier::new(Arc::new(roots), named, Arc::clone(provider));
        verifier.map(|verifier| Arc::new(verifier) as _).ok_or_else(|| super::NO_TLS.to_owned())
    }

    /// The certificate to show, with its key.
    pub(super) fn pair(&self, provider: &CryptoProvider) -> Result<Option<Arc<CertifiedKey>>, String> {
        let read = |Text { object, pem }: &Text| {
            pem::pair_in(pem.expose(), provider).map_err(|error| format!("{object} cannot be used: {error}"))
        };
        self.pair.as_ref().map(read).transpose()
    }

    /// Tells whether the objects still have these texts.
    pub(super) fn weak(&self) -> Vec<Weak<Pem>> {
        self.ca.iter().chain(&self.pair).map(|text| Arc::downgrade(&text.pem)).collect()
    }
}

fn unavailable(message: String) -> Ending {
    Ending::inconclusive(Reason::CaUnavailable, message)
}

fn unbound() -> Ending {
    unavailable("the check names an object, but its service has no namespace".to_owned())
}
