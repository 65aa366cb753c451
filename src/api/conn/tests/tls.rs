//! The same bounds with TLS.

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::ServerName;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;
use crate::api::tls::TlsSettings;
use crate::crypto::client::trusting;
use crate::crypto::tls_client;

/// A server with TLS, and a client that trusts it.
struct Https {
    server: Running,
    connector: TlsConnector,
    _folder: tempfile::TempDir,
}

impl Https {
    fn start(settings: ConnSettings) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let [cert, key] = ["tls.crt", "tls.key"].map(|name| folder.path().join(name));
        let pair = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec!["a.test".to_owned()]).expect("a name");
        std::fs::write(&cert, params.self_signed(&pair).expect("a certificate").pem()).expect("written");
        std::fs::write(&key, pair.serialize_pem()).expect("written");
        let client = tls_client(trusting(&cert).expect("a certificate"), None).expect("a client");
        let files = TlsSettings { cert, key, client_ca: None, peer_ca: None };
        let tls = ServerTls::load(files, Metrics::default()).expect("files that fit");
        let server = start(ConnSettings { tls: Some(tls), ..settings });
        Self { server, connector: TlsConnector::from(Arc::new(client)), _folder: folder }
    }

    async fn connect(&self) -> TlsStream<TcpStream> {
        let name = ServerName::try_from("a.test").expect("a name");
        let connected = self.connector.connect(name, self.server.connect().await);
        tokio::time::timeout(HANG, connected).await.expect("no handshake").expect("a handshake")
    }
}

#[tokio::test]
async fn a_reader_that_takes_nothing_is_cut_off_and_a_slow_one_gets_everything() {
    let settings = ConnSettings { head: HANG, write: Duration::from_secs(2), write_rate: 1, ..quick() };
    let https = Https::start(settings);
    let mut slow = https.connect().await;
    slow.write_all(b"GET /sly HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.expect("sent");
    let mut bytes = Vec::new();
    slow.read_to_end(&mut bytes).await.expect("ended by a close_notify");
    assert!(bytes.ends_with(&sly()), "{} bytes", bytes.len());

    let mut stalled = https.connect().await;
    stalled.write_all(b"GET /big HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("sent");
    https.server.until(|server| server.rejected("stalled_write")).await;
    let mut bytes = Vec::new();
    assert!(stalled.read_to_end(&mut bytes).await.is_err(), "a reset");
    https.server.stop().await;
}

#[tokio::test]
async fn a_refusal_of_the_connection_itself_is_encrypted() {
    let https = Https::start(ConnSettings { head: Duration::from_millis(900), ..ConnSettings::default() });
    let mut slow = https.connect().await;
    slow.write_all(b"GET / HT").await.expect("sent");
    let mut answer = String::new();
    slow.read_to_string(&mut answer).await.expect("ended by a close_notify");
    assert_envelope(&answer, "408", "request_timeout");
    let mut wrong = https.connect().await;
    wrong.write_all(b"nonsense\r\n\r\n").await.expect("sent");
    let mut answer = String::new();
    wrong.read_to_string(&mut answer).await.expect("ended by a close_notify");
    assert_envelope(&answer, "400", "bad_request");
    https.server.stop().await;
}

#[tokio::test]
async fn handshakes_that_stall_make_room_for_one_that_does_not() {
    let https = Https::start(ConnSettings { head: HANG, total: 16, per_client: 16, ..ConnSettings::default() });
    let mut stalled = Vec::new();
    for _ in 0..16 {
        stalled.push(https.server.send([22, 3, 1, 2, 0, 1, 0, 1]).await);
    }
    let mut client = https.connect().await;
    client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.expect("sent");
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.expect("ended by a close_notify");
    assert!(answer.contains("hello"), "{answer}");
    assert!(https.server.rejected("unfinished_request"));
    https.server.stop().await;
}

#[tokio::test]
async fn a_shutdown_waits_for_no_handshake() {
    let https = Https::start(ConnSettings { head: HANG, grace: HANG, ..ConnSettings::default() });
    let mut stalled = https.server.send([22, 3, 1, 2, 0, 1, 0, 1]).await;
    https.server.until(|server| server.metrics.connections.get() == 1).await;
    https.server.stop().await;
    let mut rest = Vec::new();
    let _ = stalled.read_to_end(&mut rest).await;
    assert!(rest.is_empty());
}
