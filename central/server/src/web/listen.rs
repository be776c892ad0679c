//! The page's door. Enters: connections. Leaves: requests with the address that they come from, and answers. How many
//! connections there are, and how long each may take for what it says, is bounded; whoever comes beyond that waits, or is
//! turned away.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs;
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt as _;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hangtag_tls::{Identity, TlsError};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;

use super::guard::Peer;

/// Connections at a time, and of one address that is neither the proxy's nor this machine's.
const CONNECTIONS: usize = 512;
const OF_ONE: usize = 128;
/// How long a handshake may take; and the line and the headers of a request, from the end of the last answer on.
const HANDSHAKE: Duration = Duration::from_secs(10);
const HEADERS: Duration = Duration::from_secs(20);
/// The most bytes of line and headers.
const HEADER_BYTES: usize = 32_768;
/// How long to wait when no connection can be taken, as when there are no file descriptors.
const PAUSE: Duration = Duration::from_millis(500);
/// How often it is looked whether the certificate has changed.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a stop waits for open answers.
const DRAIN: Duration = Duration::from_secs(2);

/// A certificate, as it was when it was last good.
pub(super) struct Certificate {
    identity: Identity,
    config: Arc<ServerConfig>,
    stamp: Stamp,
    looked: Instant,
}

/// What changes with a file.
type Stamp = [Option<(u64, i64, i64, u64)>; 2];

impl Certificate {
    /// Reads it.
    ///
    /// # Errors
    /// When it is of no use.
    pub(super) fn read(identity: Identity) -> Result<Self, TlsError> {
        let stamp = stamp(&identity);
        let config = identity.server()?;
        Ok(Self { identity, config, stamp, looked: Instant::now() })
    }

    /// What counts for the next connection. While the files are being replaced, and when the new ones are of no use, the
    /// old ones count.
    fn current(&mut self) -> Arc<ServerConfig> {
        if self.looked.elapsed() >= LOOK_EVERY {
            self.looked = Instant::now();
            let stamp = stamp(&self.identity);
            if stamp != self.stamp {
                self.stamp = stamp;
                match self.identity.server() {
                    Ok(config) => {
                        tracing::info!(certificate = %self.identity.certificate.display(), "the page has a new certificate");
                        self.config = config;
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the page keeps its old certificate: the new one is of no use");
                    }
                }
            }
        }
        Arc::clone(&self.config)
    }
}

fn stamp(identity: &Identity) -> Stamp {
    [&identity.certificate, &identity.key].map(|path| {
        let is = fs::metadata(path).ok()?;
        // A key is often put there first, and closed to others then: that changes neither its content nor its age.
        Some((is.ino(), is.ctime(), is.ctime_nsec(), is.len()))
    })
}

/// Who has how many connections.
#[derive(Clone, Debug, Default)]
struct Crowd(Arc<Mutex<BTreeMap<IpAddr, usize>>>);

/// One of them; it is given back when it is dropped.
struct Seat {
    crowd: Crowd,
    address: IpAddr,
    _of_all: OwnedSemaphorePermit,
}

impl Crowd {
    fn seat(&self, address: IpAddr, is_many: bool, of_all: OwnedSemaphorePermit) -> Option<Seat> {
        let mut crowd = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = crowd.entry(address).or_default();
        if *count >= OF_ONE && !is_many {
            return None;
        }
        *count += 1;
        Some(Seat { crowd: self.clone(), address, _of_all: of_all })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut crowd = self.crowd.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = crowd.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                crowd.remove(&self.address);
            }
        }
    }
}

/// Serves until told to stop. `is_many`: whether an address stands for many people.
pub(super) async fn listen(
    listener: TcpListener,
    mut certificate: Option<Certificate>,
    app: Router,
    is_many: impl Fn(IpAddr) -> bool,
    mut stopping: watch::Receiver<bool>,
) {
    let (seats, crowd) = (Arc::new(Semaphore::new(CONNECTIONS)), Crowd::default());
    let mut open = JoinSet::new();
    loop {
        while open.try_join_next().is_some() {}
        let of_all = Arc::clone(&seats).acquire_owned().await.expect("it is never closed");
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopping.wait_for(|stop| *stop) => break,
        };
        let (stream, address) = match accepted {
            Ok((stream, address)) => (stream, address.ip().to_canonical()),
            Err(error) => {
                if !matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset) {
                    tracing::warn!(%error, "the page can take no connection");
                    sleep(PAUSE).await;
                }
                continue;
            }
        };
        let Some(seat) = crowd.seat(address, address.is_loopback() || is_many(address), of_all) else {
            tracing::debug!(%address, "has too many connections");
            continue;
        };
        let config = certificate.as_mut().map(Certificate::current);
        let (app, stopping) = (app.clone(), stopping.clone());
        open.spawn(async move {
            let _seat = seat;
            if let Err(error) = converse(stream, config, address, app, stopping).await {
                tracing::debug!(%address, %error, "a connection ended");
            }
        });
    }
    drop(listener);
    // A client that keeps its connection open must not keep the program.
    drop(timeout(DRAIN, async { while open.join_next().await.is_some() {} }).await);
}

async fn converse(
    stream: TcpStream,
    config: Option<Arc<ServerConfig>>,
    address: IpAddr,
    app: Router,
    stopping: watch::Receiver<bool>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    stream.set_nodelay(true)?;
    match config {
        None => Ok(answer(stream, address, app, stopping).await?),
        Some(config) => {
            let slow = |_| io::Error::new(ErrorKind::TimedOut, "the handshake takes too long");
            let stream =
                timeout(HANDSHAKE, TlsAcceptor::from(config).accept(stream)).await.map_err(slow)??;
            Ok(answer(stream, address, app, stopping).await?)
        }
    }
}

async fn answer(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    address: IpAddr,
    app: Router,
    mut stopping: watch::Receiver<bool>,
) -> hyper::Result<()> {
    let service = service_fn(move |request: Request<Incoming>| {
        let app = app.clone();
        async move {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(Peer(address));
            app.oneshot(request).await.map_err(|never: Infallible| never)
        }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADERS).max_buf_size(HEADER_BYTES);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        ended = connection.as_mut() => return ended,
        _ = stopping.wait_for(|stop| *stop) => {}
    }
    connection.as_mut().graceful_shutdown();
    connection.await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_address_cannot_take_all_seats() {
        let (seats, crowd) = (Arc::new(Semaphore::new(CONNECTIONS)), Crowd::default());
        let sit = |address: [u8; 4], is_many| {
            let of_all = Arc::clone(&seats).try_acquire_owned().ok()?;
            crowd.seat(address.into(), is_many, of_all)
        };
        let taken: Vec<Seat> = (0..OF_ONE).map(|_| sit([10, 0, 0, 1], false).unwrap()).collect();
        assert!(sit([10, 0, 0, 1], false).is_none());
        assert!(sit([10, 0, 0, 1], true).is_some(), "behind a proxy are many");
        assert!(sit([10, 0, 0, 2], false).is_some());
        drop(taken);
        assert!(sit([10, 0, 0, 1], false).is_some());
        assert_eq!(seats.available_permits(), CONNECTIONS);
        assert!(crowd.0.lock().unwrap().is_empty());
    }
}
