//! One reading of an object.
//!
//! The client's own calls are not used: they write an answer that they cannot parse to the log, and this one holds a private key.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use k8s_openapi::ByteString;
use kube::Client;
use kube::client::Body;
use secrecy::{ExposeSecret, SecretSlice};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::timeout;

use crate::model::certificates::{CertificateError, CertificateObject, ObjectKind, ObjectPart, PAIR_KEYS, Pem};

/// Time for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest answer, in bytes. An object has at most 1 MiB of data, in base64, and 256 KiB of annotations.
const MAX_ANSWER: usize = 2 * 1024 * 1024;
/// Largest value, in KiB. A bundle of all public authorities has about 220.
const MAX_VALUE_KIB: usize = 512;

/// What the object has of each part.
pub(super) type Parts = BTreeMap<ObjectPart, Result<Pem, CertificateError>>;

/// Reads these parts of the object.
///
/// # Errors
/// When there is nothing to say of any part.
pub(super) async fn read(
    client: Client,
    object: CertificateObject,
    parts: Vec<ObjectPart>,
) -> (CertificateObject, Result<Parts, CertificateError>) {
    let answer = timeout(ANSWER_TIMEOUT, answer(&client, &object)).await;
    let answer = answer.unwrap_or_else(|_| Err(CertificateError::Unavailable(NO_ANSWER.to_owned())));
    let read = answer.and_then(|text| parts_of(object.kind, text.expose_secret(), parts));
    (object, read)
}

const NO_ANSWER: &str = "does not answer";

async fn answer(client: &Client, object: &CertificateObject) -> Result<SecretSlice<u8>, CertificateError> {
    let no_answer = || CertificateError::Unavailable(NO_ANSWER.to_owned());
    let resource = match object.kind {
        ObjectKind::ConfigMap => "configmaps",
        ObjectKind::Secret => "secrets",
    };
    // Both names are made of letters, digits, dashes and dots.
    let path = format!("/api/v1/namespaces/{}/{resource}/{}", object.namespace, object.name);
    let request = Request::get(path).body(Body::empty()).map_err(|_| no_answer())?;
    let response = client.send(request).await.map_err(|_| no_answer())?;
    match response.status() {
        StatusCode::OK => {}
        StatusCode::NOT_FOUND => return Err(CertificateError::NotFound),
        StatusCode::FORBIDDEN => return Err(CertificateError::Forbidden),
        other => return Err(CertificateError::Unavailable(format!("answers with status {}", other.as_u16()))),
    }
    let mut body = response.into_body();
    let mut text = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| no_answer())?;
        let Some(piece) = frame.data_ref() else { continue };
        if text.len() + piece.len() > MAX_ANSWER {
            return Err(CertificateError::TooLarge(MAX_VALUE_KIB));
        }
        text.extend_from_slice(piece);
    }
    Ok(SecretSlice::from(text))
}

/// An object as the API server writes it; values stay unread until they are wanted.
#[derive(Deserialize)]
struct Object<'a> {
    #[serde(borrow, default)]
    data: Option<HashMap<Cow<'a, str>, &'a RawValue>>,
}

fn parts_of(kind: ObjectKind, answer: &[u8], parts: Vec<ObjectPart>) -> Result<Parts, CertificateError> {
    // An error of the parser may quote what it read.
    let object: Object<'_> = serde_json::from_slice(answer).map_err(|_| CertificateError::Malformed)?;
    let data = object.data.unwrap_or_default();
    let value = |key: &str| {
        let raw = data.get(key).ok_or_else(|| CertificateError::NoKey(key.to_owned()))?;
        let value = match kind {
            ObjectKind::ConfigMap => serde_json::from_str::<String>(raw.get()).map(String::into_bytes),
            ObjectKind::Secret => serde_json::from_str::<ByteString>(raw.get()).map(|bytes| bytes.0),
        };
        let value = value.map_err(|_| CertificateError::Malformed)?;
        if value.len() > MAX_VALUE_KIB * 1024 { Err(CertificateError::TooLarge(MAX_VALUE_KIB)) } else { Ok(value) }
    };
    let read = |part: &ObjectPart| match part {
        ObjectPart::Key(key) => value(key).map(Pem::new),
        ObjectPart::Pair => {
            let [certificate, key] = PAIR_KEYS.map(|key| value(key).map(SecretSlice::from));
            let (certificate, key) = (certificate?, key?);
            Ok(Pem::new([certificate.expose_secret(), key.expose_secret()].join(&b'\n')))
        }
    };
    Ok(parts.into_iter().map(|part| (part.clone(), read(&part))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> ObjectPart {
        ObjectPart::Key(name.to_owned())
    }

    fn texts(kind: ObjectKind, answer: &str, parts: &[ObjectPart]) -> Vec<Result<String, CertificateError>> {
        let parts = parts_of(kind, answer.as_bytes(), parts.to_vec()).expect("an object");
        let text = |pem: Pem| String::from_utf8(pem.expose().to_vec()).expect("UTF-8");
        parts.into_values().map(|part| part.map(text)).collect()
    }

    #[test]
    fn a_config_map_has_text_and_a_secret_has_base64() {
        let map = r#"{"kind":"ConfigMap","metadata":{"name":"a"},"data":{"ca.crt":"one\ntwo","other":"\u00e4"}}"#;
        assert_eq!(texts(ObjectKind::ConfigMap, map, &[key("ca.crt")]), [Ok("one\ntwo".to_owned())]);
        let secret = r#"{"kind":"Secret","data":{"tls.crt":"YQ==","tls.key":"Yg==","ca.crt":"Yw=="}}"#;
        let both = [key("ca.crt"), ObjectPart::Pair];
        assert_eq!(texts(ObjectKind::Secret, secret, &both), [Ok("c".to_owned()), Ok("a\nb".to_owned())]);
    }

    #[test]
    fn what_is_missing_or_too_large_is_said_of_the_part() {
        let no_key = |name: &str| Err(CertificateError::NoKey(name.to_owned()));
        assert_eq!(
            texts(ObjectKind::Secret, r#"{"data":{"tls.crt":"YQ=="}}"#, &[ObjectPart::Pair]),
            [no_key("tls.key")]
        );
        assert_eq!(texts(ObjectKind::ConfigMap, r#"{"data":null}"#, &[key("ca.crt")]), [no_key("ca.crt")]);
        let large = format!(r#"{{"data":{{"a":"{}","b":"x"}}}}"#, "x".repeat(512 * 1024 + 1));
        let read = texts(ObjectKind::ConfigMap, &large, &[key("a"), key("b")]);
        assert_eq!(read, [Err(CertificateError::TooLarge(512)), Ok("x".to_owned())]);
    }

    #[test]
    fn no_error_quotes_what_was_read() {
        let answer = r#"{"data":{"tls.crt":"YQ==","tls.key":"PRIVATE!"}}"#;
        let read = texts(ObjectKind::Secret, answer, &[ObjectPart::Pair]);
        assert_eq!(read, [Err(CertificateError::Malformed)]);
        assert!(!format!("{read:?}").contains("PRIVATE"));
        let broken = parts_of(ObjectKind::Secret, br#"{"data":{"tls.key":"PRIVATE"#, vec![ObjectPart::Pair]);
        assert_eq!(broken.map(|_| ()), Err(CertificateError::Malformed));
    }
}
