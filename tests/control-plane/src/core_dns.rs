//! The DNS server that most clusters have, with its plugin for Kubernetes.

use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tokio::net::TcpStream;

use crate::{Assets, ControlPlane, Guarded, ports};

const PATIENCE: Duration = Duration::from_mins(3);

/// Serves the zone `cluster.test` of one namespace. It ends with the value.
#[derive(Debug)]
pub struct CoreDns {
    address: SocketAddr,
    _process: Guarded,
}

impl CoreDns {
    /// Starts it, and waits until it listens. Its program is built at the first use.
    ///
    /// # Errors
    /// When it cannot be built or started.
    pub async fn start(plane: &ControlPlane, namespace: &str) -> Result<Self> {
        let program = tokio::task::spawn_blocking(Assets::core_dns).await??;
        let [port, ..] = ports::free()?;
        let file = plane.folder().join(format!("Corefile-{namespace}"));
        let kubeconfig = plane.admin().path().display();
        let text = format!(
            "cluster.test:{port} {{\n  bind 127.0.0.1\n  errors\n  kubernetes cluster.test {{\n    kubeconfig {kubeconfig}\n    \
             namespaces {namespace}\n    ttl 0\n  }}\n}}\n"
        );
        std::fs::write(&file, text)?;
        let mut command = Command::new(program);
        command.arg("-conf").arg(&file);
        let log = plane.folder().join(format!("coredns-{namespace}.log"));
        let mut process = Guarded::start(&command, &log)?;
        let (address, started) = (SocketAddr::from(([127, 0, 0, 1], port)), Instant::now());
        while TcpStream::connect(address).await.is_err() {
            if process.has_ended() || started.elapsed() > PATIENCE {
                bail!("CoreDNS does not start: {}", std::fs::read_to_string(&log).unwrap_or_default());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(Self { address, _process: process })
    }

    /// Where it answers, by UDP and TCP.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}
