//! Ports for servers that cannot be given port 0.

use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Result, bail};

/// Below the ephemeral ports, so that no connection takes one while its server is down.
const RANGE: std::ops::Range<u16> = 20_000..32_000;

/// Three ports that were free a moment ago.
pub(crate) fn free() -> Result<[u16; 3]> {
    let mut listeners = Vec::new();
    for _ in 0..1_000 {
        let port = rand::random_range(RANGE);
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            listeners.push((listener, port));
        }
        if let [(_, a), (_, b), (_, c)] = listeners[..] {
            return Ok([a, b, c]);
        }
    }
    bail!("no free ports between {} and {}", RANGE.start, RANGE.end)
}
