//! r-nacos, a registry in Rust that takes heartbeats over the HTTP API of Nacos.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::PER_SERVICE;
use crate::outside;
use crate::process::Server;
use crate::registrations::now;

/// Starts it with an empty folder, if there is a program.
pub(super) fn start(folder: &Path) -> Result<Option<Server>> {
    let Some(program) = std::env::var_os("PORTOLAN_BENCH_RNACOS") else { return Ok(None) };
    let [http, grpc, console] = free_ports()?;
    let mut command = Command::new(program);
    command.env("RNACOS_DATA_DIR", folder.join("rnacos")).env("RNACOS_HTTP_PORT", http.to_string());
    command.env("RNACOS_GRPC_PORT", grpc.to_string()).env("RNACOS_HTTP_CONSOLE_PORT", console.to_string());
    Server::listening_on(command, http).context("r-nacos").map(Some)
}

/// Three ports that were free a moment ago: it does not say which ones it takes.
fn free_ports() -> Result<[u16; 3]> {
    let listeners = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0"));
    let mut ports = [0; 3];
    for (port, listener) in ports.iter_mut().zip(&listeners) {
        *port = listener.as_ref().map_err(|error| anyhow::anyhow!("{error}"))?.local_addr()?.port();
    }
    Ok(ports)
}

/// Registers as many instances as Portolan has, and returns the paths of their heartbeats.
pub(super) fn register(server: &Server, instances: usize) -> Result<Vec<String>> {
    let client = portolan::crypto::http_client().build().context("a client")?;
    let mut paths = Vec::new();
    now(async {
        for i in 0..instances {
            let (service, ip) = (format!("service-{:05}", i / PER_SERVICE), format!("10.1.{}.{}", i / 250, i % 250));
            let instance = format!("serviceName={service}&ip={ip}&port=8080");
            let call = client.post(format!("{}/nacos/v1/ns/instance?{instance}&ephemeral=true", server.url));
            let answer = call.send().await?;
            anyhow::ensure!(answer.status().is_success(), "registering failed: {}", answer.text().await?);
            // What Nacos' clients send, and in the form in which they send it.
            let beat = format!(
                r#"{{"ip":"{ip}","port":8080,"serviceName":"DEFAULT_GROUP@@{service}","cluster":"DEFAULT","weight":1.0}}"#
            );
            let beat = percent_encoding::utf8_percent_encode(&beat, percent_encoding::NON_ALPHANUMERIC);
            paths.push(format!("/nacos/v1/ns/instance/beat?serviceName=DEFAULT_GROUP%40%40{service}&beat={beat}"));
        }
        Ok(())
    })?;
    let (head, body) = outside::exchange("PUT", &format!("{}{}", server.url, paths[0]))?;
    anyhow::ensure!(head.starts_with("HTTP/1.1 200"), "a heartbeat failed: {head}{}", String::from_utf8_lossy(&body));
    Ok(paths)
}
