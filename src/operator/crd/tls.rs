//! `tls` of a check: which certificates are trusted, and which one is shown.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules;
use crate::model::certificates::ObjectKind;
use crate::model::check::{CaFrom, DEFAULT_CA_KEY, MAX_OBJECT_NAME, TlsCheck};

/// How a server's certificate is judged.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::tls()))]
pub struct TlsSpec {
    /// Whether the certificate is verified at all. Left out, true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify: Option<bool>,
    /// The name expected in the certificate, and sent in the handshake, instead of the URL's host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[A-Za-z0-9._:-]+$"))]
    pub server_name: Option<String>,
    /// The name of a file in Portolan's PORTOLAN_CA_DIR with the authority to trust instead of the system's; never a path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255), regex(pattern = "^[A-Za-z0-9_-][A-Za-z0-9._-]*$"))]
    pub ca: Option<String>,
    /// The name of a pair in PORTOLAN_CA_DIR to show to a server that asks for a client certificate: NAME.crt with NAME.key, or one
    /// PEM file of that name with both; never a path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 251), regex(pattern = "^[A-Za-z0-9_-][A-Za-z0-9._-]*$"))]
    pub client_cert: Option<String>,
    /// The certificate authority to trust instead of the system's, in a ConfigMap or Secret of this namespace. Portolan must be granted the right
    /// to get that one object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_from: Option<CaFromSpec>,
    /// The client certificate to show to a server that asks for one, in a Secret of this namespace. Portolan must be granted the right to get
    /// that one Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_cert_from: Option<ClientCertFromSpec>,
}

/// One key of a ConfigMap or of a Secret, in the namespace of the service.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::ca_from()))]
pub struct CaFromSpec {
    /// The name of a ConfigMap, such as a bundle of trust-manager.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = MAX_OBJECT_NAME), regex(pattern = rules::OBJECT))]
    pub config_map: Option<String>,
    /// The name of a Secret, such as one that cert-manager writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = MAX_OBJECT_NAME), regex(pattern = rules::OBJECT))]
    pub secret: Option<String>,
    /// The key whose value holds the certificates, in PEM. Left out, ca.crt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = MAX_OBJECT_NAME), regex(pattern = "^[A-Za-z0-9._-]+$"))]
    pub key: Option<String>,
}

/// A Secret in the namespace of the service.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct ClientCertFromSpec {
    /// The name of a Secret with tls.crt and tls.key, as kubectl create secret tls and cert-manager write it.
    #[schemars(length(min = 1, max = MAX_OBJECT_NAME), regex(pattern = rules::OBJECT))]
    pub secret: String,
}

/// Reads the TLS settings of a check.
///
/// # Errors
/// A sentence that names the first field that is wrong.
pub(super) fn read_tls(spec: Option<&TlsSpec>) -> Result<TlsCheck, String> {
    let Some(tls) = spec else { return Ok(TlsCheck::default()) };
    Ok(TlsCheck {
        verify: tls.verify.unwrap_or(true),
        server_name: tls.server_name.clone(),
        ca: tls.ca.clone(),
        ca_from: tls.ca_from.as_ref().map(read_ca).transpose()?.map(Box::new),
        client_cert: tls.client_cert.clone(),
        client_cert_from: tls.client_cert_from.as_ref().map(|from| from.secret.as_str().into()),
        namespace: None,
    })
}

fn read_ca(spec: &CaFromSpec) -> Result<CaFrom, String> {
    let (kind, name) = match (&spec.config_map, &spec.secret) {
        (Some(name), None) => (ObjectKind::ConfigMap, name),
        (None, Some(name)) => (ObjectKind::Secret, name),
        _ => return Err("tls.caFrom names either a configMap or a secret".to_owned()),
    };
    let key = spec.key.as_deref().unwrap_or(DEFAULT_CA_KEY);
    Ok(CaFrom { kind, name: name.clone(), key: key.to_owned() })
}

/// Writes the TLS settings of a check; none for the default ones. The inverse of [`read_tls`].
pub(super) fn tls_spec(tls: &TlsCheck) -> Option<TlsSpec> {
    (*tls != TlsCheck::default()).then(|| TlsSpec {
        verify: (!tls.verify).then_some(false),
        server_name: tls.server_name.clone(),
        ca: tls.ca.clone(),
        ca_from: tls.ca_from.as_deref().map(ca_spec),
        client_cert: tls.client_cert.clone(),
        client_cert_from: tls.client_cert_from.as_ref().map(|name| ClientCertFromSpec { secret: name.to_string() }),
    })
}

fn ca_spec(from: &CaFrom) -> CaFromSpec {
    let named = |kind: ObjectKind| (from.kind == kind).then(|| from.name.clone());
    CaFromSpec {
        config_map: named(ObjectKind::ConfigMap),
        secret: named(ObjectKind::Secret),
        key: (from.key != DEFAULT_CA_KEY).then(|| from.key.clone()),
    }
}
