//! A socket that no other user of the machine can connect to, and that leaves nothing behind.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tokio::net::UnixListener;

use crate::cli::exit::{Exit, Failure};

/// A bound socket, and the path by which this process connects to it.
#[derive(Debug)]
pub(super) struct Socket {
    path: PathBuf,
    _guard: PathGuard,
}

/// What keeps the path valid.
#[derive(Debug)]
enum PathGuard {
    /// A handle of the socket, which is in no folder any more: not even `kill -9` leaves a file.
    #[cfg(target_os = "linux")]
    Handle { _handle: std::os::fd::OwnedFd },
    /// A private folder, removed with this.
    Folder { _folder: TempDir },
}

impl Socket {
    /// Binds a socket in a private folder.
    ///
    /// # Errors
    /// A [`Failure`]: no such folder can be made there.
    pub(super) fn bind() -> Result<(Self, UnixListener), Failure> {
        let failed = |error: std::io::Error| {
            Failure::new(Exit::Unreachable, format!("no private socket could be made: {error}"))
                .hint("TMPDIR names the folder for it; its path must be short, and you must be able to write there")
        };
        let private = Permissions::from_mode(0o700);
        let folder = tempfile::Builder::new().prefix("portolan-").permissions(private).tempdir().map_err(failed)?;
        let path = folder.path().join("s");
        let listener = UnixListener::bind(&path).map_err(failed)?;
        Ok((Self::guarded(folder, path), listener))
    }

    /// Keeps the socket by its handle, where the system has a path for that.
    #[cfg(target_os = "linux")]
    fn guarded(folder: TempDir, path: PathBuf) -> Self {
        use rustix::fs::{Mode, OFlags, open};
        use std::os::fd::AsRawFd;
        if let Ok(handle) = open(&path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
            let own = PathBuf::from(format!("/proc/self/fd/{}", handle.as_raw_fd()));
            if own.exists() {
                drop(folder);
                return Self { path: own, _guard: PathGuard::Handle { _handle: handle } };
            }
        }
        Self { path, _guard: PathGuard::Folder { _folder: folder } }
    }

    #[cfg(not(target_os = "linux"))]
    fn guarded(folder: TempDir, path: PathBuf) -> Self {
        Self { path, _guard: PathGuard::Folder { _folder: folder } }
    }

    /// The path to connect to, valid in this process alone.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixStream;

    #[tokio::test]
    async fn it_is_reached_again_and_again_though_its_folder_is_gone() {
        let (socket, listener) = Socket::bind().expect("a socket");
        for _ in 0..3 {
            let mut client = UnixStream::connect(socket.path()).await.expect("it is found");
            let (mut server, _) = listener.accept().await.expect("a connection");
            client.write_all(b"x").await.expect("written");
            assert_eq!(server.read_u8().await.expect("read"), b'x');
        }
    }
}
