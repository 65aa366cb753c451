//! Answers of a hostile backend to a probe: the probe ends in time, and passes only where the answer says so.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Duration;

use portolan::model::check::{Demands, Identity, Target, TlsCheck};
use portolan::model::outcome::{Reason, Verdict};
use portolan::model::url::Host;
use portolan::prober::AddressPolicy;
use portolan::prober::{DialSettings, Dialer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::{Instant, timeout};

use super::http::show;
use super::{AMPLE, runtime};

/// Longest probe: a silent peer keeps it that long.
const PATIENCE: Duration = Duration::from_millis(250);

fn dialer() -> &'static Dialer {
    static DIALER: OnceLock<Dialer> = OnceLock::new();
    DIALER.get_or_init(|| {
        let policy = AddressPolicy { allow_loopback: true, ..AddressPolicy::default() };
        // It may need a runtime, and those who ask for it may be in one.
        let _inside = runtime().enter();
        Dialer::new(DialSettings { policy, ..DialSettings::default() })
    })
}

fn target(kind: u8, port: u16) -> Target {
    let host = Host::Ip("127.0.0.1".parse().expect("an address"));
    let tls = (kind & 2 != 0).then(|| TlsCheck { verify: kind & 4 == 0, ..TlsCheck::default() });
    if kind & 1 == 0 {
        Target::Http {
            host,
            port,
            target: "/health".to_owned(),
            request_options: None,
            tls,
            expected: Vec::new(),
            demands: (kind & 8 != 0).then(|| Box::new(demands())),
        }
    } else {
        Target::Grpc { host, port, service: String::new(), tls }
    }
}

/// A body and a header to read, and the version.
fn demands() -> Demands {
    let json = BTreeMap::from([("/build/name".to_owned(), "user".to_owned())]);
    let header = BTreeMap::from([("x-service".to_owned(), "user".to_owned())]);
    Demands { identity: Identity { json, header, tls_san: None }, version_from: Some("/build/version".to_owned()) }
}

/// The first byte chooses the check, the second whether the peer waits for the request and whether it closes; the rest is the answer.
pub(crate) fn answer(data: &[u8]) {
    let [kind, request_options, answer @ ..] = data else { return };
    runtime().block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let target = target(*kind, listener.local_addr().expect("an address").port());
        let backend = async {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            if request_options & 1 != 0 {
                drop(stream.read(&mut [0; 1024]).await);
            }
            drop(stream.write_all(answer).await);
            if request_options & 2 != 0 {
                drop(stream.shutdown().await);
            }
            // Until the probe closes.
            while stream.read(&mut [0; 4096]).await.is_ok_and(|read| read > 0) {}
        };
        let probe = async {
            let deadline = Instant::now() + PATIENCE;
            let pinned = dialer().pin(&target, deadline).await.expect("an address");
            dialer().probe(&target, &pinned, deadline).await
        };
        let both = async {
            tokio::select! {
                outcome = probe => outcome,
                () = async { backend.await; std::future::pending().await } => unreachable!("the probe ends"),
            }
        };
        let outcome =
            Box::pin(timeout(AMPLE, both)).await.unwrap_or_else(|_| panic!("a probe hangs on {}", show(answer)));
        assert!(outcome.message.chars().count() <= 256 && !outcome.message.contains(char::is_control), "{outcome:?}");
        if outcome.verdict == Verdict::Pass {
            let plain_http = kind.trailing_zeros() >= 2;
            assert!(kind & 2 == 0, "nobody here speaks TLS: {outcome:?}");
            assert!(!plain_http || passes(answer), "{outcome:?} for {}", show(answer));
            let demanded = kind & 8 != 0 && kind & 1 == 0;
            assert!(!demanded || says(answer, b"user"), "{outcome:?} for {}", show(answer));
            assert_eq!(outcome.reason, Reason::Passed);
        }
    });
}

fn says(answer: &[u8], text: &[u8]) -> bool {
    answer.windows(text.len()).any(|at| at == text)
}

/// Whether an HTTP answer can be read as 2xx: after any interim ones.
fn passes(answer: &[u8]) -> bool {
    answer.windows(10).any(|at| at.starts_with(b"HTTP/1.") && at[8] == b' ' && at[9] == b'2')
}
