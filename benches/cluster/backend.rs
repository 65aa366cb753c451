//! What is probed, on loopback.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

use anyhow::Result;
use portolan::operator::crd::ServiceSpec;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// A server that accepts connections and notes when.
pub(crate) struct Backend {
    address: SocketAddr,
    serving: JoinSet<()>,
}

impl Backend {
    /// On a free port; each connection is reported to `probes`.
    pub(crate) async fn start(probes: mpsc::UnboundedSender<Instant>) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (address, mut serving) = (listener.local_addr()?, JoinSet::new());
        serving.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                drop(stream);
                // Nobody may care.
                let _ = probes.send(Instant::now());
            }
        });
        Ok(Self { address, serving })
    }

    /// A service with this one instance, probed by tcp every `interval` seconds; all else is left at its default.
    pub(crate) fn spec(&self, interval: u64) -> Result<ServiceSpec> {
        spec(json!({ "tcp": {}, "intervalSeconds": interval }), &format!("tcp://{}", self.address))
    }

    /// Closes the port: connections are refused from now on.
    pub(crate) async fn die(mut self) -> Instant {
        self.serving.shutdown().await;
        Instant::now()
    }
}

/// A service with one instance.
pub(crate) fn spec(check: Value, url: &str) -> Result<ServiceSpec> {
    let mut spec = json!({
        "version": "1.4.2",
        "description": "Accounts and logins",
        "metadata": { "team": "identity" },
        "instances": [{ "name": "a", "baseUrl": url, "zone": "eu-1a" }],
    });
    spec["check"] = check;
    Ok(serde_json::from_value(spec)?)
}
