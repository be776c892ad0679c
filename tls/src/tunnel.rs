//! One connection. Enters: a broker, files. Leaves: a path to connect to, once; what goes in there comes out at the
//! broker.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustls::pki_types::ServerName;
use tempfile::TempDir;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpStream, UnixListener};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::{Files, Peer, TlsError};

/// How long the other end may take to be reached, and then the handshake.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long after the client's end the broker's last word may take.
const LAST_WORD: Duration = Duration::from_secs(1);

/// A connection to a broker, behind a local socket that takes one client. It ends with this.
#[derive(Debug)]
pub struct Tunnel {
    socket: PathBuf,
    task: JoinHandle<Result<(), TlsError>>,
}

impl Tunnel {
    /// Connects, and says who it is.
    ///
    /// # Errors
    /// When a file is of no use, the broker cannot be reached, or one of both does not trust the other.
    pub async fn open(host: &str, port: u16, files: &Files) -> Result<Self, TlsError> {
        let tls = connect(host, port, files, Peer::Broker).await?;
        // A folder that is this user's alone: whoever connects to the socket is this machine to the broker.
        let mut folder = tempfile::Builder::new();
        let folder = folder.prefix("hangtag-").permissions(Permissions::from_mode(0o700));
        let folder = folder.tempdir().map_err(TlsError::Socket)?;
        let socket = folder.path().join("broker");
        let listener = UnixListener::bind(&socket).map_err(TlsError::Socket)?;
        let task = tokio::spawn(carry(listener, folder, tls, host.to_owned()));
        Ok(Self { socket, task })
    }

    /// What to connect to.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Why the connection ended, for who has just seen that it did; `None` if the broker just closed it.
    pub async fn why(mut self) -> Option<TlsError> {
        timeout(LAST_WORD, &mut self.task).await.ok()?.ok()?.err()
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Connects, and says who this machine is; whoever speaks to the other end itself needs no socket.
///
/// # Errors
/// When a file is of no use, the other end cannot be reached, or is not to be trusted. That it does not trust this
/// machine may be said only when something is read.
pub async fn connect(
    host: &str,
    port: u16,
    files: &Files,
    peer: Peer,
) -> Result<TlsStream<TcpStream>, TlsError> {
    let config = files.read()?;
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| TlsError::Handshake(peer, format!("{host} is no name that a certificate can have")))?;
    let silent = |_| TlsError::Silent(host.to_owned(), port, PATIENCE);
    let unreachable = |why| TlsError::Unreachable(host.to_owned(), port, why);
    let tcp = timeout(PATIENCE, TcpStream::connect((host, port))).await.map_err(silent)?;
    let tcp = tcp.map_err(unreachable)?;
    tcp.set_nodelay(true).map_err(unreachable)?;
    let tls = timeout(PATIENCE, TlsConnector::from(config).connect(name, tcp)).await.map_err(silent)?;
    tls.map_err(|why| TlsError::new(why, peer, host))
}

/// Takes the client, and carries until one side ends.
async fn carry(
    listener: UnixListener,
    folder: TempDir,
    mut tls: TlsStream<TcpStream>,
    host: String,
) -> Result<(), TlsError> {
    let (mut client, _) = listener.accept().await.map_err(TlsError::Socket)?;
    // Nobody else.
    drop((listener, folder));
    match copy_bidirectional(&mut client, &mut tls).await {
        Ok(_) => Ok(()),
        // Brokers close without the goodbye that TLS has for it.
        Err(why) if why.kind() == std::io::ErrorKind::UnexpectedEof => Ok(()),
        Err(why) => Err(TlsError::new(why, Peer::Broker, &host)),
    }
}
