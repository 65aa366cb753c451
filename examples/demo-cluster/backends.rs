//! What the samples point to, on loopback.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result};
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};

/// The addresses of the samples that have a backend here. The provider over https has none: it is somebody else's.
const ADDRESSES: &[&str] = &[
    "10.0.0.5:8080",
    "10.0.0.6:8080",
    "10.0.0.6:9000",
    "10.20.0.11:5432",
    "10.20.0.12:5432",
    "broker.corp.example:5672",
    "kube-dns.kube-system.svc:53",
    "search.shop.svc:9200",
];
const GRPC: &[&str] = &["10.0.1.10:50051", "10.0.1.11:50051"];

/// A server that can be stopped and started again at its address.
pub(crate) struct Backend {
    sample: &'static str,
    address: SocketAddr,
    serving: Option<JoinHandle<()>>,
}

/// All of them.
pub(crate) struct Backends(Vec<Backend>);

impl Backends {
    pub(crate) async fn start() -> Result<Self> {
        let mut all = Vec::new();
        for sample in ADDRESSES {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            let address = listener.local_addr()?;
            all.push(Backend { sample, address, serving: Some(tokio::spawn(answer(listener))) });
        }
        for sample in GRPC {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            let address = listener.local_addr()?;
            all.push(Backend { sample, address, serving: Some(tokio::spawn(grpc(listener))) });
        }
        Ok(Self(all))
    }

    /// A manifest with the samples' addresses replaced by those here, and probed every two seconds.
    pub(crate) fn localised(&self, manifest: &str) -> String {
        let mut text = manifest.to_owned();
        for backend in &self.0 {
            text = text.replace(backend.sample, &backend.address.to_string());
        }
        let quick = |line: &str| match line.split_once("intervalSeconds: ") {
            Some((before, seconds)) => {
                let after = seconds.trim_start_matches(|c: char| c.is_ascii_digit());
                format!("{before}intervalSeconds: 2{after}")
            }
            None => line.to_owned(),
        };
        text.lines().map(quick).collect::<Vec<_>>().join("\n")
    }

    pub(crate) fn address(&self, sample: &str) -> Result<SocketAddr> {
        let backend = self.0.iter().find(|backend| backend.sample == sample);
        Ok(backend.with_context(|| format!("no backend for {sample}"))?.address)
    }

    /// Closes its port: connections are refused.
    pub(crate) async fn stop(&mut self, sample: &str) {
        for backend in self.0.iter_mut().filter(|backend| backend.sample == sample) {
            if let Some(serving) = backend.serving.take() {
                serving.abort();
                // Cancelled is what it is to be.
                drop(serving.await);
            }
        }
    }

    pub(crate) async fn resume(&mut self, sample: &str) -> Result<()> {
        for backend in self.0.iter_mut().filter(|backend| backend.sample == sample && backend.serving.is_none()) {
            let listener = TcpListener::bind(backend.address).await?;
            backend.serving = Some(tokio::spawn(answer(listener)));
        }
        Ok(())
    }
}

/// 200 to whoever asks; those who only connect need no answer.
async fn answer(listener: TcpListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let reply = async move {
            let mut request = [0; 1024];
            if matches!(stream.read(&mut request).await, Ok(1..)) {
                write(&mut stream).await;
            }
        };
        tokio::spawn(tokio::time::timeout(std::time::Duration::from_secs(2), reply));
    }
}

async fn write(stream: &mut TcpStream) {
    // A client that went away is not a loss.
    drop(stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok").await);
}

async fn grpc(listener: TcpListener) {
    let reporter = HealthReporter::new();
    reporter.set_service_status("shop.Inventory", ServingStatus::Serving).await;
    let service = HealthServer::new(HealthService::from_health_reporter(reporter));
    while let Ok((stream, _)) = listener.accept().await {
        let connection = http2::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service.clone()));
        tokio::spawn(connection);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_sample_stays_yaml_wherever_its_interval_stands() {
        let backends = Backends::start().await.expect("they start");
        let dns = backends.address("kube-dns.kube-system.svc:53").expect("a backend");
        let sample =
            "check: {tcp: {}, intervalSeconds: 10}\n  intervalSeconds: 30\nbaseUrl: tcp://kube-dns.kube-system.svc:53";
        let here = backends.localised(sample);
        assert_eq!(
            here,
            format!("check: {{tcp: {{}}, intervalSeconds: 2}}\n  intervalSeconds: 2\nbaseUrl: tcp://{dns}")
        );
    }
}
