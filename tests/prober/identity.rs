//! Who answers: another program at the same address does not pass.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use portolan::model::check::{Check, CheckKind, HttpCheck, Identity};
use portolan::model::outcome::{Health, Reason};
use portolan::model::service::InstanceSpec;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinSet;

use crate::harness::{Rig, every_second, spec, until};

/// A program that says in its health answer what it is.
struct Program {
    address: SocketAddr,
    tasks: JoinSet<()>,
}

impl Program {
    fn start(listener: TcpListener, body: &'static str) -> Self {
        let address = listener.local_addr().expect("an address");
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let answer = format!(
                    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
                    body.len()
                );
                let mut head = [0; 1024];
                drop(stream.read(&mut head).await);
                drop(stream.write_all(answer.as_bytes()).await);
                drop(stream.read(&mut head).await);
            }
        });
        Self { address, tasks }
    }

    /// Ends, and another program takes its port.
    async fn replaced_by(mut self, body: &'static str) -> Self {
        self.tasks.shutdown().await;
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_reuseaddr(true).expect("may be reused");
        socket.bind(self.address).expect("the port is free");
        Self::start(socket.listen(64).expect("listens"), body)
    }
}

fn check() -> Check {
    let json = BTreeMap::from([("/build/name".to_owned(), "$service".to_owned())]);
    let http = HttpCheck {
        identity: Identity { json, ..Identity::default() },
        version_from: Some("/build/version".to_owned()),
        ..HttpCheck::default()
    };
    Check { kind: Some(CheckKind::Http(http)), ..every_second() }
}

fn registered(program: &Program, version: &str) -> InstanceSpec {
    let url = format!("http://{}/health", program.address);
    InstanceSpec { version: version.to_owned(), ..spec(&url, check()) }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_program_on_the_same_port_is_found_out() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let (rig, program) = (Rig::start(), Program::start(listener, r#"{"build":{"name":"user","version":"1.2.3"}}"#));
    rig.register_spec("user", registered(&program, "1.2.3")).await;
    rig.until_health("user", Health::Healthy).await;
    assert_eq!(rig.instance("user").observed_version.as_deref(), Some("1.2.3"));
    assert!(rig.instance("user").warning.is_none());

    let other = program.replaced_by(r#"{"build":{"name":"billing\u001b[2J"}}"#).await;
    until("it is found out", || rig.health("user") == (Health::Unhealthy, Reason::WrongIdentity)).await;
    let fall = rig.history("user").await.remove(0);
    let evidence = fall.evidence.expect("it was probed");
    assert!(evidence.message.contains(r#""billing\u{1b}[2J", expected "user""#), "{}", evidence.message);
    assert_eq!(evidence.code, Some(200));

    drop(other.replaced_by(r#"{"build":{"name":"user","version":"1.2.3"}}"#).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_is_never_found_is_warned_of() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let (rig, program) = (Rig::start(), Program::start(listener, r#"{"build":{"name":"user","release":"1.2.3"}}"#));
    rig.register_spec("user", registered(&program, "1.2.3")).await;
    until("it warns", || rig.instance("user").warning.is_some()).await;
    let instance = rig.instance("user");
    let warning = instance.warning.expect("it warns");
    assert_eq!((instance.health, warning.reason), (Health::Healthy, Reason::VersionNotFound));
    assert_eq!(warning.message, "version not found: the answer has no text at /build/version");
    assert_eq!(instance.observed_version, None);
    let _fixed = program.replaced_by(r#"{"build":{"name":"user","version":"1.2.3"}}"#).await;
    until("the version is found", || rig.instance("user").warning.is_none()).await;
    assert_eq!(rig.instance("user").observed_version.as_deref(), Some("1.2.3"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_differs_is_shown_and_warned_of() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let (rig, program) = (Rig::start(), Program::start(listener, r#"{"build":{"name":"user","version":"1.3.0"}}"#));
    rig.register_spec("user", registered(&program, "1.2.3")).await;
    until("it warns", || rig.instance("user").warning.is_some()).await;
    let instance = rig.instance("user");
    let warning = instance.warning.expect("it warns");
    assert_eq!((instance.health, warning.reason), (Health::Healthy, Reason::VersionDiffers));
    assert_eq!(warning.message, "version 1.3.0 answers, but 1.2.3 is registered");
    assert_eq!(instance.observed_version.as_deref(), Some("1.3.0"));
    let rig = Box::pin(rig.restart()).await;
    assert_eq!(rig.instance("user").observed_version.as_deref(), Some("1.3.0"), "readers see it after a restart");

    rig.register_spec("user", registered(&program, "v1.3.0")).await;
    until("the registered version is that which runs", || rig.instance("user").warning.is_none()).await;
    assert_eq!(rig.instance("user").observed_version.as_deref(), Some("1.3.0"));
}
