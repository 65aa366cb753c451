//! A TCP proxy that breaks as networks do.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Pass,
    /// Bytes wait; connections are accepted. What a server that hangs looks like.
    Freeze,
    /// What the server answers on a connection that is there is lost with it; new ones are closed. A server that stops right after it has
    /// done what it was asked to do.
    LoseAnswers,
    /// Connections are closed as they come, and those that were there.
    Refuse,
}

/// What connections look at: the mode, and how often they were cut.
#[derive(Debug, Clone, Copy)]
struct State {
    mode: Mode,
    cuts: u64,
}

/// Stands in front of a server on `127.0.0.1`, on the runtime that started it, until it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    state: watch::Sender<State>,
    listening: JoinHandle<()>,
}

impl Proxy {
    /// A proxy on a free port that passes everything to `target`.
    ///
    /// # Errors
    /// When it cannot listen.
    pub async fn start(target: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("cannot listen")?;
        let address = listener.local_addr()?;
        let (state, state_of_proxy) = watch::channel(State { mode: Mode::Pass, cuts: 0 });
        Ok(Self { address, state, listening: tokio::spawn(listen(listener, target, state_of_proxy)) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes every connection that is open now; new ones pass.
    pub fn cut(&self) {
        self.state.send_modify(|state| state.cuts += 1);
    }

    /// From now on nothing passes and nothing fails.
    pub fn freeze(&self) {
        self.state.send_modify(|state| state.mode = Mode::Freeze);
    }

    /// Closes each connection once the server sends something on it, which is lost, and new ones at once.
    pub fn lose_answers(&self) {
        self.state.send_modify(|state| state.mode = Mode::LoseAnswers);
    }

    /// Closes every connection, and new ones at once.
    pub fn refuse(&self) {
        self.state.send_modify(|state| state.mode = Mode::Refuse);
    }

    /// Ends [`Proxy::freeze`], [`Proxy::lose_answers`] and [`Proxy::refuse`].
    pub fn pass(&self) {
        self.state.send_modify(|state| state.mode = Mode::Pass);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listening.abort();
        self.refuse();
    }
}

async fn listen(listener: TcpListener, target: SocketAddr, state_of_proxy: watch::Receiver<State>) {
    while let Ok((client, _)) = listener.accept().await {
        if matches!(state_of_proxy.borrow().mode, Mode::Pass | Mode::Freeze) {
            tokio::spawn(connection(client, target, state_of_proxy.clone()));
        }
    }
}

async fn connection(client: TcpStream, target: SocketAddr, mut state_of_proxy: watch::Receiver<State>) {
    let cuts = state_of_proxy.borrow().cuts;
    let Ok(server) = TcpStream::connect(target).await else { return };
    drop((client.set_nodelay(true), server.set_nodelay(true)));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        () = copy(from_client, to_server, &[Mode::Pass, Mode::LoseAnswers], state_of_proxy.clone()) => {}
        () = copy(from_server, to_client, &[Mode::Pass], state_of_proxy.clone()) => {}
        _ = state_of_proxy.wait_for(|state| state.mode == Mode::Refuse || state.cuts != cuts) => {}
    }
}

/// Passes bytes in the modes of `passing`, and waits while the proxy is frozen. Ends when either side does: for HTTP over TLS half a connection
/// is of no use.
async fn copy(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    passing: &[Mode],
    mut state_of_proxy: watch::Receiver<State>,
) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let state = state_of_proxy.wait_for(|state| state.mode != Mode::Freeze).await;
        let passes = state.is_ok_and(|state| passing.contains(&state.mode));
        if !passes || to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
