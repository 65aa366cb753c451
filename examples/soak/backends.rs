//! The registered services: HTTP servers on loopback that answer, fail, hang or are gone.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// What a backend does.
pub(crate) const MOODS: u8 = 4;
const UP: u8 = 0;
const BROKEN: u8 = 1;
const HUNG: u8 = 2;

pub(crate) struct Backends {
    all: Vec<(SocketAddr, Arc<AtomicU8>)>,
    _tasks: JoinSet<()>,
}

impl Backends {
    pub(crate) async fn start(count: usize) -> Result<Self> {
        let (mut all, mut tasks) = (Vec::new(), JoinSet::new());
        for _ in 0..count {
            let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
            let mood = Arc::new(AtomicU8::new(UP));
            all.push((listener.local_addr()?, Arc::clone(&mood)));
            tasks.spawn(async move {
                let mut connections = JoinSet::new();
                while let Ok((stream, _)) = listener.accept().await {
                    while connections.try_join_next().is_some() {}
                    connections.spawn(answer(stream, mood.load(Ordering::Relaxed)));
                }
            });
        }
        Ok(Self { all, _tasks: tasks })
    }

    pub(crate) fn any(&self) -> SocketAddr {
        self.all[rand::random_range(0..self.all.len())].0
    }

    /// Changes what one backend does; most of the time, most are well.
    pub(crate) fn change_one(&self) {
        let mood = if rand::random_range(0..2) == 0 { UP } else { rand::random_range(0..MOODS) };
        self.all[rand::random_range(0..self.all.len())].1.store(mood, Ordering::Relaxed);
    }

    /// Makes all backends do the same.
    pub(crate) fn change_all(&self, mood: u8) {
        self.all.iter().for_each(|(_, one)| one.store(mood, Ordering::Relaxed));
    }
}

async fn answer(mut stream: TcpStream, mood: u8) {
    let mut head = [0; 4096];
    if !timeout(Duration::from_secs(10), stream.read(&mut head)).await.is_ok_and(|read| read.is_ok_and(|n| n > 0)) {
        return;
    }
    let answer: &[u8] = match mood {
        UP => b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
        BROKEN => b"HTTP/1.1 500 Broken\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        HUNG => {
            // Until the prober gives up.
            drop(timeout(Duration::from_secs(30), stream.read(&mut head)).await);
            return;
        }
        // As if it had crashed.
        _ => return,
    };
    drop(stream.write_all(answer).await);
}
