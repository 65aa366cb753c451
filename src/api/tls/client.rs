//! The subject that a client's certificate names.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::pki_types::{CertificateDer, UnixTime};
use tokio_util::sync::CancellationToken;

use super::{Loaded, ServerTls};
use crate::crypto::certificate::{AltName, Certificate};
use crate::model::name::Namespace;
use crate::model::service::MAX_OWNER;
use crate::model::time::UnixMs;

/// Most names of a client's certificate; one with more names nobody.
const MAX_NAMES: usize = 64;
/// Longest sleep until a certificate ends: a timer counts neither jumps of the wall clock nor the time that the machine is suspended.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The verified peer of a connection, in the extensions of its requests.
#[derive(Debug, Clone)]
pub(in crate::api) enum Peer {
    /// A client with a certificate of a trusted CA.
    Client(Arc<ClientCertificate>),
    /// A replica of this server: it shows the server's own certificate.
    Replica(Arc<ReplicaCertificate>),
}

/// A verified certificate.
#[derive(Debug)]
pub(in crate::api) struct ClientCertificate {
    /// The subject that it names, if any.
    pub(in crate::api) subject: Option<Arc<str>>,
    /// When it expires.
    pub(in crate::api) ends: UnixMs,
    /// Cancelled once the server no longer trusts the CAs that verified it.
    revoked: CancellationToken,
}

/// A replica's certificate, judged again whenever the server's files change, so that a former key no longer identifies a replica.
#[derive(Debug)]
pub(in crate::api) struct ReplicaCertificate {
    /// As the replica showed it, its own certificate first.
    chain: Vec<CertificateDer<'static>>,
    ends: UnixMs,
    tls: ServerTls,
    /// The files that it was last found to be a replica's by.
    judged_by: ArcSwap<Loaded>,
}

impl Peer {
    /// The peer of a handshake that these files of `tls` verified.
    pub(in crate::api) fn verified(chain: &[CertificateDer<'_>], by: &Arc<Loaded>, tls: &ServerTls) -> Option<Self> {
        let (shown, above) = chain.split_first()?;
        if by.replicas.contain(shown, above, UnixTime::now()) {
            return Some(Self::Replica(Arc::new(ReplicaCertificate {
                chain: chain.iter().map(|one| one.clone().into_owned()).collect(),
                ends: UnixMs(Certificate::read(shown)?.not_after.saturating_mul(1000)),
                tls: tls.clone(),
                judged_by: ArcSwap::new(Arc::clone(by)),
            })));
        }
        let certificate = Certificate::read(shown)?;
        Some(Self::Client(Arc::new(ClientCertificate {
            subject: subject(&certificate.alt_names_by_kind(MAX_NAMES + 1)),
            ends: UnixMs(certificate.not_after.saturating_mul(1000)),
            revoked: by.client_trust.clone(),
        })))
    }

    /// Resolves when the certificate no longer counts: it expired, or changed files of the server exclude it.
    pub(in crate::api) async fn ended(&self) {
        match self {
            Self::Client(certificate) => {
                tokio::select! {
                    () = passed(certificate.ends, UnixMs::wall) => {}
                    () = certificate.revoked.cancelled() => {}
                }
            }
            Self::Replica(certificate) => certificate.ended().await,
        }
    }
}

impl ReplicaCertificate {
    /// Whether the files in force identify it as a replica's.
    pub(in crate::api) fn is_trusted(&self) -> bool {
        if UnixMs::wall() > self.ends {
            return false;
        }
        let current = self.tls.current();
        if Arc::ptr_eq(&current, &self.judged_by.load()) {
            return true;
        }
        let trusted = self
            .chain
            .split_first()
            .is_some_and(|(shown, above)| current.replicas.contain(shown, above, UnixTime::now()));
        if trusted {
            self.judged_by.store(current);
        }
        trusted
    }

    async fn ended(&self) {
        while self.is_trusted() {
            let judged_by = self.judged_by.load_full();
            tokio::select! {
                () = passed(self.ends, UnixMs::wall) => return,
                () = judged_by.superseded.cancelled() => {}
            }
        }
    }
}

impl ClientCertificate {
    /// Whether the CAs that verified it are still those of the server.
    pub(in crate::api) fn is_trusted(&self) -> bool {
        !self.revoked.is_cancelled()
    }
}

/// Resolves once the wall clock has reached `end`.
async fn passed(end: UnixMs, wall: impl Fn() -> UnixMs) {
    loop {
        let left = end.since(wall());
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left.min(LOOK_EVERY)).await;
    }
}

/// The only URI, such as a SPIFFE id, else the first DNS name. A certificate with several URIs names nobody: a SPIFFE document must not have
/// them ([X.509-SVID §2](https://github.com/spiffe/spiffe/blob/main/standards/X509-SVID.md#2-spiffe-id)), and which one counts would be a guess.
fn subject(names: &[AltName]) -> Option<Arc<str>> {
    if names.len() > MAX_NAMES {
        return None;
    }
    let mut uris = names.iter().filter_map(|name| if let AltName::Uri(uri) = name { Some(uri) } else { None });
    let holder = match (uris.next(), uris.next()) {
        (Some(uri), None) => uri.clone(),
        (Some(_), Some(_)) => return None,
        (None, _) => names.iter().find_map(|name| match name {
            // A name that looks like a URI must not pass for one.
            AltName::Dns(dns) if !dns.contains(['*', ':', '/']) => Some(dns.to_ascii_lowercase()),
            _ => None,
        })?,
    };
    is_subject(&holder).then(|| holder.into())
}

/// Whether it can be an owner's subject.
pub(in crate::api) fn is_subject(text: &str) -> bool {
    (1..=MAX_OWNER).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The namespace of a workload: `spiffe://DOMAIN/ns/NAMESPACE/sa/NAME`, as Istio, Linkerd and SPIRE write it.
pub(in crate::api) fn namespace(subject: &str) -> Option<Namespace> {
    let (domain, path) = subject.strip_prefix("spiffe://")?.split_once('/')?;
    let mut parts = path.split('/');
    let known = !domain.is_empty() && parts.next() == Some("ns");
    let namespace = parts.next().filter(|_| known)?;
    let account = parts.next() == Some("sa") && parts.next().is_some_and(|name| !name.is_empty());
    (account && parts.next().is_none()).then(|| namespace.parse().ok())?
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;
    use crate::model::time::{Clock, Now};

    #[tokio::test(start_paused = true)]
    async fn a_jump_of_the_wall_clock_past_the_end_is_noticed_within_two_seconds() {
        let at = |wall: i64| Now { steady: UnixMs(0), wall: UnixMs(wall) };
        let clock = Clock::manual(at(0));
        let mut passed = Box::pin(passed(UnixMs(3_600_000), || clock.now().wall));
        assert!(timeout(Duration::from_mins(1), &mut passed).await.is_err(), "an hour is left");
        clock.set(at(3_600_000));
        assert!(timeout(LOOK_EVERY, passed).await.is_ok());
    }

    fn dns(name: &str) -> AltName {
        AltName::Dns(name.to_owned())
    }

    fn uri(name: &str) -> AltName {
        AltName::Uri(name.to_owned())
    }

    #[test]
    fn the_only_uri_comes_first_then_a_dns_name() {
        let id = "spiffe://example.org/ns/shop/sa/web";
        assert_eq!(subject(&[dns("web.example.org"), uri(id)]).as_deref(), Some(id));
        assert_eq!(subject(&[dns("*.example.org"), dns("Web.Example.org")]).as_deref(), Some("web.example.org"));
        assert_eq!(subject(&[uri(id), uri("urn:x"), dns("a")]), None, "which one counts would be a guess");
        assert_eq!(subject(&[dns(id), dns("a")]).as_deref(), Some("a"), "a DNS name is not a URI");
        let many = vec![dns("a"); MAX_NAMES].into_iter().chain([uri(id)]).collect::<Vec<_>>();
        assert_eq!(subject(&many), None, "a URI may be among those that are not looked at");
        for nobody in [vec![], vec![dns("*")], vec![dns("a\nb")], vec![uri("")], vec![uri(&"x".repeat(300))]] {
            assert_eq!(subject(&nobody), None);
        }
    }

    #[test]
    fn a_workloads_namespace_is_read_from_its_spiffe_id_and_from_nothing_else() {
        let read = |text: &str| namespace(text).map(|namespace| namespace.to_string());
        assert_eq!(read("spiffe://cluster.local/ns/shop/sa/web").as_deref(), Some("shop"));
        for other in [
            "spiffe://cluster.local/ns/shop",
            "spiffe://cluster.local/ns/shop/sa/",
            "spiffe://cluster.local/ns/shop/sa/web/x",
            "spiffe://cluster.local/ns/Shop One/sa/web",
            "spiffe:///ns/shop/sa/web",
            "spiffe://cluster.local/x/ns/shop/sa/web",
            "https://cluster.local/ns/shop/sa/web",
            "web.shop",
        ] {
            assert_eq!(read(other), None, "{other}");
        }
    }
}
