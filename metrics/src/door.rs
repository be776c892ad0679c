//! The door. Enters: HTTP requests. Leaves: for `GET /metrics` a sheet that was made for it. It holds a few connections at a
//! time, each of them briefly, so that nobody who opens many of them costs the program more than these.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::{debug, error, info, warn};

use crate::listen::Listen;
use crate::sheet::{self, Sheet};

/// Connections at a time; others wait.
const AT_ONCE: usize = 4;
/// How long a request's head may take to come.
const HEAD: Duration = Duration::from_secs(5);
/// How long a connection may last: whoever scrapes once a minute opens another one.
const LASTS: Duration = Duration::from_secs(90);
/// How long after the port could not be opened it is tried again.
const AGAIN: Duration = Duration::from_secs(10);
/// How long to wait when the system has no connection to give.
const PAUSE: Duration = Duration::from_millis(200);

/// Serves for ever, or only stays where there is no address; whoever asks gets a sheet that `make` makes. Where the port
/// cannot be opened that is said, and tried again: what is monitored does not depend on who monitors it. When this is
/// dropped, so are all connections.
pub async fn serve<F, M>(listen: Option<Listen>, make: F)
where
    F: Fn() -> M + Clone + Send + Sync + 'static,
    M: Future<Output = Sheet> + Send + 'static,
{
    let Some(address) = listen.map(Listen::address) else { return std::future::pending().await };
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => {
                info!(%address, "metrics are served");
                return attend_all(&listener, make).await;
            }
            Err(why) => error!(%address, %why, "metrics.listen: cannot serve metrics there, will try again"),
        }
        sleep(AGAIN).await;
    }
}

async fn attend_all<F, M>(listener: &TcpListener, make: F)
where
    F: Fn() -> M + Clone + Send + Sync + 'static,
    M: Future<Output = Sheet> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut connections = JoinSet::new();
    loop {
        let place = Arc::clone(&places).acquire_owned().await.expect("it is never closed");
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(why) => {
                warn!(%why, "cannot take a connection of who asks for metrics");
                sleep(PAUSE).await;
                continue;
            }
        };
        // Those that have ended; a panic of one has told itself.
        while connections.try_join_next().is_some() {}
        let make = make.clone();
        connections.spawn(async move {
            let _place = place;
            attend(stream, make).await;
        });
    }
}

async fn attend<F, M>(stream: TcpStream, make: F)
where
    F: Fn() -> M,
    M: Future<Output = Sheet>,
{
    let service = service_fn(|request| answer(request, &make));
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEAD);
    match timeout(LASTS, server.serve_connection(TokioIo::new(stream), service)).await {
        Ok(Ok(())) => {}
        Ok(Err(why)) => debug!(%why, "a connection of who asks for metrics failed"),
        Err(_) => debug!("a connection of who asks for metrics lasted long enough"),
    }
}

async fn answer<F, M>(request: Request<Incoming>, make: &F) -> Result<Response<Full<Bytes>>, Infallible>
where
    F: Fn() -> M,
    M: Future<Output = Sheet>,
{
    let mut response = Response::new(Full::default());
    if request.uri().path() != "/metrics" {
        *response.status_mut() = StatusCode::NOT_FOUND;
        *response.body_mut() = Full::from("there is nothing here but /metrics\n");
    } else if request.method() != Method::GET {
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
    } else {
        *response.body_mut() = Full::from(make().await.text());
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(sheet::CONTENT_TYPE));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    async fn ask(address: std::net::SocketAddr, line: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("{line} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn whoever_asks_for_metrics_gets_them_and_nothing_else_is_there() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let make = || async {
            let mut sheet = Sheet::new("shop");
            sheet.counter("visits", "Visits", 7);
            sheet
        };
        tokio::spawn(async move { attend_all(&listener, make).await });
        let metrics = ask(address, "GET /metrics").await;
        assert!(
            metrics.starts_with("HTTP/1.1 200 ") && metrics.contains("\nshop_visits_total 7\n"),
            "{metrics}"
        );
        assert!(metrics.contains("content-type: application/openmetrics-text"), "{metrics}");
        assert!(ask(address, "GET /").await.starts_with("HTTP/1.1 404 "));
        let refused = ask(address, "POST /metrics").await;
        assert!(refused.starts_with("HTTP/1.1 405 ") && refused.contains("allow: GET"), "{refused}");
    }

    #[tokio::test]
    async fn whoever_holds_all_connections_and_says_nothing_is_let_go() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { attend_all(&listener, || async { Sheet::new("shop") }).await });
        let mut silent = Vec::new();
        for _ in 0..AT_ONCE {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        let asked = timeout(HEAD * 3, ask(address, "GET /metrics")).await;
        assert!(asked.unwrap().starts_with("HTTP/1.1 200 "));
    }
}
