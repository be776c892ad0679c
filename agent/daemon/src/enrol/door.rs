//! Asks central's enrolment door, by HTTPS. Enters: where it is, what is asked. Leaves: a certificate, or why there is none.

use std::time::Duration;

use hangtag_protocol::enrol::{Application, Granted, MAX_BYTES, Refused};
use hangtag_tls::{Files, Peer, TlsError, connect};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

/// How long the answer may take, after the connection is there.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where the door is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Name or address.
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DoorError {
    /// There is no connection.
    #[error("{0}")]
    Tls(TlsError),
    /// It broke.
    #[error("the connection to central broke: {0}")]
    Broken(hyper::Error),
    /// Central said nothing.
    #[error("central did not answer within {} s", PATIENCE.as_secs())]
    Silent,
    /// Central said no.
    #[error("central refuses: {}", .0.why)]
    Refused(Refused),
    /// What answers is not central's enrolment door.
    #[error("what answers at {0}:{1} is not central's enrolment door: {2}")]
    Stranger(String, u16, String),
}

/// Asks for a certificate.
///
/// # Errors
/// When there is none.
pub(crate) async fn ask(
    place: &Place,
    files: &Files,
    path: &str,
    application: &Application,
) -> Result<Granted, DoorError> {
    let Place { host, port } = place;
    let broken = |why: hyper::Error| match TlsError::within(&why, Peer::Central, host) {
        Some(fault) => DoorError::Tls(fault),
        None => DoorError::Broken(why),
    };
    let stream = connect(host, *port, files, Peer::Central).await.map_err(DoorError::Tls)?;
    let answer = async {
        let (mut sender, connection) =
            http1::handshake::<_, Full<Bytes>>(TokioIo::new(stream)).await.map_err(broken)?;
        let request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(header::HOST, host)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::from(serde_json::to_vec(application).expect("plain texts")))
            .map_err(|why| stranger(place, &why))?;
        let asking = async {
            let answer = sender.send_request(request).await.map_err(broken)?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), MAX_BYTES).collect().await;
            Ok((status, body.map_err(|why| stranger(place, &why))?.to_bytes()))
        };
        tokio::pin!(asking, connection);
        // The connection carries the request; what it ends with is the request's error too.
        tokio::select! {
            answer = &mut asking => answer,
            ended = &mut connection => match asking.await {
                Ok(answer) => Ok(answer),
                Err(why) => Err(ended.err().map_or(why, broken)),
            },
        }
    };
    let (status, body) = timeout(PATIENCE, answer).await.map_err(|_| DoorError::Silent)??;
    if status == StatusCode::OK {
        return serde_json::from_slice(&body).map_err(|why| stranger(place, &why));
    }
    Err(match serde_json::from_slice(&body) {
        Ok(refused) => DoorError::Refused(refused),
        Err(_) => stranger(place, &format_args!("it says {status}")),
    })
}

fn stranger(Place { host, port }: &Place, why: &dyn std::fmt::Display) -> DoorError {
    DoorError::Stranger(host.clone(), *port, why.to_string())
}
