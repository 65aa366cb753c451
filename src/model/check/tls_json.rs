//! The JSON form of a check's TLS settings.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::tls::{CaFrom, DEFAULT_CA_KEY, TlsCheck};
use crate::model::certificates::ObjectKind;

/// How a server's certificate is judged.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TlsCheck)]
pub(super) struct TlsJson {
    /// Whether it is verified; true when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    verify: Option<bool>,
    /// The name expected in it, instead of the URL's host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    server_name: Option<String>,
    /// A file name in the operator's `PORTOLAN_CA_DIR`, trusted instead of the system's roots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ca: Option<String>,
    /// The name of a pair in the operator's `PORTOLAN_CA_DIR`, shown to a server that wants a client certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    client_cert: Option<String>,
    /// A bundle in a ConfigMap or Secret of the service's namespace, trusted instead of the system's roots. Set in manifests only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ca_from: Option<CaFromJson>,
    /// A Secret of the service's namespace with `tls.crt` and `tls.key`, shown to a server that wants a client certificate. Set in manifests only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    client_cert_from: Option<ClientCertFromJson>,
}

/// One key of a ConfigMap or of a Secret.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CaFrom)]
struct CaFromJson {
    /// The ConfigMap's name; give this or `secret`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    config_map: Option<String>,
    /// The Secret's name; give this or `config_map`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
    /// The key of the bundle; `ca.crt` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
}

/// A Secret of the type `kubernetes.io/tls`.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ClientCertFrom)]
struct ClientCertFromJson {
    /// Its name.
    secret: String,
}

pub(super) fn read_tls(json: Option<TlsJson>) -> Result<TlsCheck, String> {
    let Some(json) = json else { return Ok(TlsCheck::default()) };
    Ok(TlsCheck {
        verify: json.verify.unwrap_or(true),
        server_name: json.server_name,
        ca: json.ca,
        ca_from: json.ca_from.map(ca_from).transpose()?.map(Box::new),
        client_cert: json.client_cert,
        client_cert_from: json.client_cert_from.map(|from| from.secret.into()),
        namespace: None,
    })
}

fn ca_from(json: CaFromJson) -> Result<CaFrom, String> {
    let (kind, name) = match (json.config_map, json.secret) {
        (Some(name), None) => (ObjectKind::ConfigMap, name),
        (None, Some(name)) => (ObjectKind::Secret, name),
        _ => return Err("tls.ca_from names either a config_map or a secret".to_owned()),
    };
    Ok(CaFrom { kind, name, key: json.key.unwrap_or_else(|| DEFAULT_CA_KEY.to_owned()) })
}

impl From<CaFrom> for CaFromJson {
    fn from(from: CaFrom) -> Self {
        let (mut config_map, mut secret) = (None, None);
        match from.kind {
            ObjectKind::ConfigMap => config_map = Some(from.name),
            ObjectKind::Secret => secret = Some(from.name),
        }
        Self { config_map, secret, key: (from.key != DEFAULT_CA_KEY).then_some(from.key) }
    }
}

impl From<TlsCheck> for Option<TlsJson> {
    fn from(tls: TlsCheck) -> Self {
        (tls != TlsCheck::default()).then(|| TlsJson {
            verify: (!tls.verify).then_some(false),
            server_name: tls.server_name,
            ca: tls.ca,
            client_cert: tls.client_cert,
            ca_from: tls.ca_from.map(|from| CaFromJson::from(*from)),
            client_cert_from: tls.client_cert_from.map(|secret| ClientCertFromJson { secret: secret.into() }),
        })
    }
}
