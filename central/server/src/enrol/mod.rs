//! The enrolment door: a port of its own, on which gateways get their certificates. Enters: connections by TLS, with a
//! gateway's certificate or without. Leaves: certificates, or why there is none, and every answer in the log. It reads its
//! own certificate at every connection, so that a renewed one counts at once.
//!
//! The authority's key must be on this machine while the door is open. Whoever takes the machine over can make
//! certificates that the broker believes: where that is too much, the door stays closed and certificates are signed
//! elsewhere.

mod answer;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use hangtag_tls::{Certificate, Files};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use jiff::{SignedDuration, Timestamp};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::config;
use crate::pki::authority::Authority;
use answer::Call;

/// Connections at the same time; further ones wait.
const ROOM: usize = 64;
/// How long one may take from its handshake to its answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long the head of a request may take.
const HEAD: Duration = Duration::from_secs(10);
/// The pause after a connection that could not be taken, because there are too many open files.
const AGAIN: Duration = Duration::from_secs(1);
/// Central's own certificate is over soon when so much of it is left, in seconds.
const SOON_S: i64 = 30 * 86_400;
/// How often it is looked whether something is over soon.
const LOOK: Duration = Duration::from_secs(3_600);

/// What is behind the door.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    /// Who signs.
    pub authority: Authority,
    /// Whom it believes, and who it is.
    pub files: Files,
    /// How long a gateway's certificate is good.
    pub valid: SignedDuration,
    /// How long a list of revoked certificates is good.
    pub crl_valid: SignedDuration,
}

impl Door {
    /// Opens what the configuration names.
    ///
    /// # Errors
    /// When the authority, its key or the door's own certificate is not in order.
    pub(crate) fn new(config: &config::Enrol) -> anyhow::Result<Self> {
        let authority = Authority::open(&config.authority).context("enrol.authority")?;
        let files = config.files(authority.certificate_path());
        files.read_for_server().context("enrol.certificate")?;
        let door = Self { authority, files, valid: config.valid, crl_valid: config.crl_valid };
        door.authority.check_key().context("enrol.authority")?;
        Ok(door)
    }

    /// Signs the list of revoked certificates anew when a third of its time is left, and tells of central's own
    /// certificate before that is over.
    fn keep(&self, now: Timestamp) {
        if let Some(Ok(own)) = self.files.identity.as_ref().map(|own| Certificate::read(&own.certificate))
            && own.left(now.as_second()) < SOON_S
        {
            let days_left = own.left(now.as_second()).div_euclid(86_400);
            tracing::warn!(
                days_left,
                "central's certificate is over soon: hangtag-central pki central makes another"
            );
        }
        let kept = self.authority.register.book().and_then(|book| {
            let is_good = book.crl.is_some_and(|(_, until)| until - self.crl_valid / 3 > now);
            if is_good { Ok(None) } else { self.authority.renew_crl(self.crl_valid, now).map(Some) }
        });
        match kept {
            Ok(None) => {}
            Ok(Some((count, until))) => {
                tracing::info!(count, %until, "signed the list of revoked certificates anew: the broker must get it");
            }
            Err(why) => tracing::error!(%why, "the list of revoked certificates is not renewed"),
        }
    }
}

/// Takes connections until told to stop.
pub(crate) async fn serve(listener: TcpListener, door: Door, mut stopping: watch::Receiver<bool>) {
    let (door, room) = (Arc::new(door), Arc::new(Semaphore::new(ROOM)));
    let keeper = Arc::clone(&door);
    let keeping = async move {
        loop {
            let door = Arc::clone(&keeper);
            // A panic in it is in the log.
            let _ = tokio::task::spawn_blocking(move || door.keep(Timestamp::now())).await;
            sleep(LOOK).await;
        }
    };
    let taking = async {
        loop {
            // The semaphore is never closed.
            let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((tcp, from)) => {
                    let door = Arc::clone(&door);
                    tokio::spawn(async move {
                        let _place = place;
                        match timeout(PATIENCE, talk(door, tcp, from)).await {
                            Ok(Ok(())) => {}
                            Ok(Err(why)) => tracing::info!(%from, why = format!("{why:#}"), "no enrolment"),
                            Err(_) => tracing::info!(%from, "no enrolment: too slow"),
                        }
                    });
                }
                Err(why) => {
                    tracing::warn!(%why, "the enrolment door cannot take a connection");
                    sleep(AGAIN).await;
                }
            }
        }
    };
    tokio::select! {
        () = keeping => {}
        () = taking => {}
        _ = stopping.wait_for(|stop| *stop) => {}
    }
}

/// One connection, one request.
async fn talk(door: Arc<Door>, tcp: TcpStream, from: SocketAddr) -> anyhow::Result<()> {
    let tls = TlsAcceptor::from(door.files.read_for_server()?);
    let stream = tls.accept(tcp).await.context("TLS")?;
    let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let shown = shown.map(Certificate::parse).transpose();
    let shown = shown.map_err(|why| anyhow::anyhow!("the certificate that was shown {why}"))?;
    let service = TowerToHyperService::new(answer::router(Call { door, shown: shown.map(Arc::new), from }));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    connection.await.context("HTTP")
}
