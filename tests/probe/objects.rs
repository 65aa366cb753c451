//! Certificates of checks that a cluster's objects hold.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use futures::FutureExt as _;
use futures::future::{BoxFuture, pending, ready};
use portolan::model::certificates::{CertificateError, CertificateObject, ObjectKind, ObjectPart, Pem};
use portolan::model::check::{CaFrom, TlsCheck};
use portolan::model::outcome::{Outcome, Reason};
use portolan::model::ports::CertificateObjects;
use portolan::prober::{DialSettings, Dialer};

use super::harness::*;
use super::tls::{Ca, House, wanting_a_client};

type Reading = Result<Arc<Pem>, CertificateError>;

/// Objects as they were read; one that is not among them is never read.
#[derive(Debug, Default)]
struct Cluster {
    objects: Mutex<HashMap<(String, ObjectPart), Reading>>,
    doubted: Mutex<Vec<String>>,
}

impl Cluster {
    fn put(&self, object: &str, part: ObjectPart, read: Result<String, CertificateError>) {
        let read = read.map(|text| Arc::new(Pem::new(text.into_bytes())));
        self.objects.lock().expect("not poisoned").insert((object.to_owned(), part), read);
    }

    fn put_bundle(&self, object: &str, text: &str) {
        self.put(object, ObjectPart::Key("ca.crt".to_owned()), Ok(text.to_owned()));
    }

    /// What was doubted since the last call.
    fn doubted(&self) -> Vec<String> {
        std::mem::take(&mut *self.doubted.lock().expect("not poisoned"))
    }
}

fn key_of(object: &CertificateObject) -> String {
    format!("{} {}/{}", object.kind.as_str(), object.namespace, object.name)
}

impl CertificateObjects for Cluster {
    fn get(&self, object: CertificateObject, part: ObjectPart) -> BoxFuture<'static, Reading> {
        match self.objects.lock().expect("not poisoned").get(&(key_of(&object), part)) {
            Some(read) => ready(read.clone()).boxed(),
            None => pending().boxed(),
        }
    }

    fn doubt(&self, object: &CertificateObject) {
        self.doubted.lock().expect("not poisoned").push(key_of(object));
    }
}

const BUNDLE: &str = "ConfigMap shop/corp-ca";
const PAIR: &str = "Secret shop/probe";

/// A check of a service in this namespace, which trusts `corp-ca` and shows `probe`.
fn check(namespace: &str) -> TlsCheck {
    let ca_from = CaFrom { kind: ObjectKind::ConfigMap, name: "corp-ca".to_owned(), key: "ca.crt".to_owned() };
    TlsCheck {
        ca_from: Some(Box::new(ca_from)),
        client_cert_from: Some("probe".into()),
        namespace: Some(namespace.parse().expect("a namespace")),
        ..TlsCheck::default()
    }
}

fn dialer(objects: Option<Arc<Cluster>>) -> Dialer {
    Dialer::new(DialSettings { objects: objects.map(|objects| objects as _), ..settings() })
}

async fn probe(dialer: &Dialer, server: &Server, tls: TlsCheck) -> Outcome {
    probe_with(dialer, &https(loopback(), server.port(), tls), AMPLE).await
}

#[tokio::test]
async fn a_bundle_is_trusted_and_a_pair_shown_as_they_are_now() {
    let (house, cluster) = (House::new(), Arc::new(Cluster::default()));
    let server = wanting_a_client(&house, &rustls::version::TLS13).await;
    let dialer = dialer(Some(cluster.clone()));
    let pair = |ca: &Ca| {
        let (certificate, key) = ca.issue(&["prober.corp"]);
        Ok(certificate.pem() + &key.serialize_pem())
    };
    cluster.put_bundle(BUNDLE, &house.ca.pem());
    cluster.put(PAIR, ObjectPart::Pair, pair(&house.ca));
    assert_pass(&probe(&dialer, &server, check("shop")).await);
    assert_eq!(cluster.doubted(), Vec::<String>::new());

    let other = Ca::new();
    cluster.put(PAIR, ObjectPart::Pair, pair(&other));
    let outcome = probe(&dialer, &server, check("shop")).await;
    assert!(outcome.message.contains("may not accept"), "{outcome:?}");
    assert_eq!(cluster.doubted(), [PAIR]);
    cluster.put(PAIR, ObjectPart::Pair, pair(&house.ca));
    cluster.put_bundle(BUNDLE, &other.pem());
    assert_fail(&probe(&dialer, &server, check("shop")).await, Reason::CertificateInvalid);
    assert_eq!(cluster.doubted(), [BUNDLE]);
    cluster.put_bundle(BUNDLE, &(other.pem() + &house.ca.pem()));
    assert_pass(&probe(&dialer, &server, check("shop")).await);
}

#[tokio::test]
async fn what_cannot_be_read_or_used_says_nothing_about_the_server() {
    let (house, cluster) = (House::new(), Arc::new(Cluster::default()));
    let server = house.serving().await;
    let dialer = dialer(Some(cluster.clone()));
    let trusting = || TlsCheck { client_cert_from: None, ..check("shop") };
    for (read, words) in [
        (
            Err(CertificateError::Forbidden),
            "the ConfigMap corp-ca of this namespace may not be read by Portolan; let a Role",
        ),
        (Err(CertificateError::NotFound), "the ConfigMap corp-ca of this namespace does not exist"),
        (Ok("nothing".to_owned()), "the ConfigMap corp-ca of this namespace cannot be used: it holds no certificate"),
    ] {
        cluster.put(BUNDLE, ObjectPart::Key("ca.crt".to_owned()), read);
        let outcome = probe(&dialer, &server, trusting()).await;
        assert_inconclusive(&outcome, Reason::CaUnavailable);
        assert!(outcome.message.contains(words), "{outcome:?}");
    }
    assert_eq!(cluster.doubted(), [BUNDLE], "what was read cannot be used");
    cluster.put_bundle(BUNDLE, &house.ca.pem());
    assert_pass(&probe(&dialer, &server, trusting()).await);
    cluster.put(PAIR, ObjectPart::Pair, Ok(house.ca.pem()));
    let outcome = probe(&dialer, &server, check("shop")).await;
    assert_inconclusive(&outcome, Reason::CaUnavailable);
    assert!(outcome.message.contains("the Secret probe of this namespace cannot be used"), "{outcome:?}");
}

#[tokio::test]
async fn a_reading_that_takes_too_long_is_not_held_against_the_server() {
    let (house, cluster) = (House::new(), Arc::new(Cluster::default()));
    let server = house.serving().await;
    let target = https(loopback(), server.port(), check("mail"));
    let outcome = probe_with(&dialer(Some(cluster)), &target, MARGIN).await;
    assert_inconclusive(&outcome, Reason::Cancelled);
    assert!(outcome.message.contains("the ConfigMap corp-ca of this namespace is being read"), "{outcome:?}");
}

#[tokio::test]
async fn without_a_cluster_or_a_namespace_nothing_is_read() {
    let house = House::new();
    let server = house.serving().await;
    let outcome = probe(&dialer(None), &server, check("shop")).await;
    assert_inconclusive(&outcome, Reason::CaUnavailable);
    assert!(outcome.message.contains("in cluster mode only"), "{outcome:?}");
    let cluster = Arc::new(Cluster::default());
    cluster.put_bundle(BUNDLE, &house.ca.pem());
    let unbound = TlsCheck { namespace: None, client_cert_from: None, ..check("shop") };
    assert_inconclusive(&probe(&dialer(Some(cluster)), &server, unbound).await, Reason::CaUnavailable);
}
