//! A bound address and the connections that arrive on it.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, fchmod};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use thiserror::Error;
use tokio::net::{TcpListener, UnixListener};
use tracing::{debug, warn};

use crate::address::{Host, ListenAddress};
use crate::counters::{TransportCounters, count};
use crate::pacing;
use crate::peer::{LocalAddress, PeerAddress};
use crate::stream::Stream;

/// Connections the system may hold before they are accepted; the kernel cuts it to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// How long to wait after a failed accept. It fails most often for want of descriptors, and asking again at
/// once would only burn a core.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How often a failing accept is logged.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

/// A listening socket.
///
/// `[::]` serves IPv4 as well; every other address serves its own family only. Several tasks may accept on
/// one listener. A Unix socket's file is made with mode 0600 and removed when the listener is dropped.
#[derive(Debug)]
pub struct Listener {
    socket: Bound,
    local: LocalAddress,
    counters: Arc<TransportCounters>,
    complaints: Complaints,
}

#[derive(Debug)]
enum Bound {
    Tcp(TcpListener),
    Unix { listener: UnixListener, _file: SocketFile },
}

/// A connection that has not said anything yet.
#[derive(Debug)]
pub struct Accepted {
    /// Its bytes.
    pub stream: Stream,
    /// Who is at the other end.
    pub peer: PeerAddress,
    /// The listener it came in by.
    pub local: LocalAddress,
}

impl Listener {
    /// Starts to listen.
    ///
    /// A name is looked up and the first of its addresses that can be bound is used. The file of a Unix
    /// socket nobody listens on any more is replaced.
    ///
    /// # Errors
    /// [`BindError`] names the address and what to do about it.
    pub async fn bind(address: &ListenAddress, counters: Arc<TransportCounters>) -> Result<Self, BindError> {
        let (socket, local) = match address {
            ListenAddress::Tcp(at) => bind_tcp(&at.host, at.port).await,
            ListenAddress::Unix(path) => bind_unix(path),
        }
        .map_err(|source| BindError::new(address, source))?;
        Ok(Self { socket, local, counters, complaints: Complaints::default() })
    }

    /// Where it listens, with the real port.
    #[must_use]
    pub fn local_addr(&self) -> &LocalAddress {
        &self.local
    }

    /// The next connection. It may be cancelled without losing one.
    ///
    /// It never fails: an error of `accept` is counted, logged at most once a minute and followed by a pause.
    pub async fn accept(&self) -> Accepted {
        loop {
            match self.accept_once().await {
                Ok((stream, peer)) => {
                    count(&self.counters.accepted);
                    return Accepted { stream, peer, local: self.local.clone() };
                }
                Err(error) => self.recover(&error).await,
            }
        }
    }

    async fn accept_once(&self) -> io::Result<(Stream, PeerAddress)> {
        match &self.socket {
            Bound::Tcp(listener) => {
                let (socket, peer) = listener.accept().await?;
                // Fails only when the peer has already gone, which the next read will tell.
                if let Err(error) = socket.set_nodelay(true) {
                    debug!(%peer, %error, "TCP_NODELAY could not be set");
                }
                Ok((Stream::Tcp(socket), PeerAddress::tcp(peer)))
            }
            Bound::Unix { listener, .. } => {
                let (socket, _) = listener.accept().await?;
                Ok((Stream::Unix(socket), PeerAddress::Unix))
            }
        }
    }

    async fn recover(&self, error: &io::Error) {
        count(&self.counters.accept_errors);
        if is_of_one_connection(error) {
            return;
        }
        if let Some(unlogged) = self.complaints.due() {
            warn!(
                listener = %self.local, %error, unlogged,
                "no connection can be accepted; if descriptors ran out, raise the limit (ulimit -n) or lower \
                 limits.connections_per_address"
            );
        }
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}

/// Errors that concern the one connection that was to be accepted: it is gone, the next may be fine.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}

async fn bind_tcp(host: &Host, port: u16) -> io::Result<(Bound, LocalAddress)> {
    let mut failure = None;
    for address in host.resolve(port).await? {
        match listen_tcp(address) {
            Ok(listener) => {
                let local = LocalAddress::Tcp(listener.local_addr()?);
                return Ok((Bound::Tcp(listener), local));
            }
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    Err(failure.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into()))
}

fn listen_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for the connections of its predecessor to time out.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // Said explicitly, because the system's default (net.ipv6.bindv6only) differs between machines.
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::from(address))?;
    pacing::spare(&socket, address.ip());
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn bind_unix(path: &Path) -> io::Result<(Bound, LocalAddress)> {
    remove_stale(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // On Linux the file inherits the mode of the socket, so there is no moment in which it is open to others.
    fchmod(&socket, Mode::from_raw_mode(0o600))?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::unix(path)?)?;
    let file = SocketFile::new(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    socket.listen(BACKLOG)?;
    let listener = UnixListener::from_std(socket.into())?;
    Ok((Bound::Unix { listener, _file: file }, LocalAddress::Unix(Arc::from(path))))
}

/// Removes the socket of a hub that died. One that still answers, or a file of another kind, stays.
fn remove_stale(path: &Path) -> io::Result<()> {
    let found = match std::fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !found.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "a file that is no socket is in the way"));
    }
    // Without blocking: a living hub whose queue is full answers `WouldBlock`, and waiting for it leads nowhere.
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    probe.set_nonblocking(true)?;
    match probe.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        Ok(()) | Err(_) => Err(io::ErrorKind::AddrInUse.into()),
    }
}

/// The file of a Unix socket, removed when dropped, unless somebody has put another in its place.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    fn new(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), identity: identity(path)? })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|now| now == self.identity)
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            warn!(path = %self.path.display(), %error, "the socket's file could not be removed");
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let file = std::fs::symlink_metadata(path)?;
    Ok((file.dev(), file.ino()))
}

/// When a recurring trouble was last mentioned, and how often it came since.
#[derive(Debug, Default)]
struct Complaints {
    last: std::sync::Mutex<Option<Instant>>,
    unlogged: AtomicU64,
}

impl Complaints {
    /// `Some` when it is time for a line, with the number of those that were swallowed.
    fn due(&self) -> Option<u64> {
        let mut last = self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if last.is_some_and(|then| then.elapsed() < COMPLAIN_EVERY) {
            self.unlogged.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        *last = Some(Instant::now());
        Some(self.unlogged.swap(0, Ordering::Relaxed))
    }
}

/// An address that cannot be listened on.
#[derive(Debug, Error)]
#[error("cannot listen on {address}: {source}{hint}")]
pub struct BindError {
    address: ListenAddress,
    source: io::Error,
    hint: &'static str,
}

impl BindError {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the system's errors are an open set")]
    fn new(address: &ListenAddress, source: io::Error) -> Self {
        let hint = match source.kind() {
            io::ErrorKind::AddrInUse => {
                "; is another hub running there? port 0 lets the system choose a free one"
            }
            io::ErrorKind::PermissionDenied => "; ports below 1024 and foreign folders need more rights",
            io::ErrorKind::AddrNotAvailable => "; no interface of this machine has that address",
            io::ErrorKind::NotFound => "; the name or the folder does not exist",
            _ => "",
        };
        Self { address: address.clone(), source, hint }
    }

    /// What kind of trouble it is.
    #[must_use]
    pub fn kind(&self) -> io::ErrorKind {
        self.source.kind()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recurring_trouble_is_mentioned_once_a_minute() {
        let complaints = Complaints::default();
        assert_eq!(complaints.due(), Some(0));
        assert_eq!(complaints.due(), None);
        assert_eq!(complaints.due(), None);
        let Some(past) = Instant::now().checked_sub(COMPLAIN_EVERY) else { return };
        *complaints.last.lock().expect("unpoisoned") = Some(past);
        assert_eq!(complaints.due(), Some(2));
    }
}
