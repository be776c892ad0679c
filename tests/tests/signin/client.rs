//! A client as browsers and programs are, but for what they hide: it shows every answer as it is, follows nothing, and
//! may come from any address of this machine. Enters: requests. Leaves: status, headers, text.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

const PATIENCE: Duration = Duration::from_secs(30);

/// Who asks.
pub(crate) struct Client {
    /// From where.
    pub(crate) from: IpAddr,
    to: SocketAddr,
    tls: Option<TlsConnector>,
    cookies: Vec<(String, String)>,
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) text: String,
}

impl Answer {
    /// A header, by its name in small letters; empty when it is not there.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    /// The hidden field of a form.
    pub(crate) fn form(&self) -> anyhow::Result<&str> {
        let rest = self.text.split("name=\"form\" value=\"").nth(1);
        rest.and_then(|rest| rest.split('"').next()).with_context(|| format!("no form in {}", self.text))
    }
}

impl Client {
    /// One that asks a port of this machine.
    pub(crate) fn new(port: u16) -> Self {
        let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Self { from: here, to: SocketAddr::new(here, port), tls: None, cookies: Vec::new() }
    }

    /// The same by HTTPS, believing whom a certificate in PEM vouches for.
    pub(crate) fn secure(port: u16, authority: &str) -> anyhow::Result<Self> {
        use rustls::pki_types::pem::PemObject as _;
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.as_bytes())?)?;
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { tls: Some(TlsConnector::from(Arc::new(config))), ..Self::new(port) })
    }

    /// Opens a connection, and says nothing.
    pub(crate) async fn connect(&self) -> anyhow::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(self.from, 0))?;
        Ok(timeout(PATIENCE, socket.connect(self.to)).await??)
    }

    pub(crate) async fn get(&mut self, path: &str, headers: &[(&str, &str)]) -> anyhow::Result<Answer> {
        self.ask("GET", path, headers, "").await
    }

    pub(crate) async fn post(
        &mut self,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> anyhow::Result<Answer> {
        self.ask("POST", path, headers, body).await
    }

    /// Fills in the form of the sign-in page.
    pub(crate) async fn sign_in(&mut self, name: &str, password: &str) -> anyhow::Result<Answer> {
        let page = self.get("/sign-in", &[]).await?;
        let body =
            format!("name={name}&password={}&form={}&next=%2F", password.replace(' ', "+"), page.form()?);
        self.post("/sign-in", &[("content-type", "application/x-www-form-urlencoded")], &body).await
    }

    async fn ask(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> anyhow::Result<Answer> {
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", self.to);
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        if !self.cookies.is_empty() {
            let pairs: Vec<String> =
                self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            request += &format!("Cookie: {}\r\n", pairs.join("; "));
        }
        request += &format!("Content-Length: {}\r\n\r\n{body}", body.len());
        let stream = self.connect().await?;
        let bytes = match &self.tls {
            None => exchange(stream, &request).await?,
            Some(tls) => {
                let name = ServerName::try_from("localhost")?;
                exchange(timeout(PATIENCE, tls.connect(name, stream)).await??, &request).await?
            }
        };
        let answer = parse(&bytes).with_context(|| format!("{method} {path}"))?;
        self.remember(&answer);
        Ok(answer)
    }

    /// Keeps cookies as a browser does.
    fn remember(&mut self, answer: &Answer) {
        for (_, set) in answer.headers.iter().filter(|(name, _)| name == "set-cookie") {
            let Some((name, value)) = set.split(';').next().and_then(|pair| pair.split_once('=')) else {
                continue;
            };
            self.cookies.retain(|(known, _)| known != name);
            if !set.contains("Max-Age=0") {
                self.cookies.push((name.to_owned(), value.to_owned()));
            }
        }
    }
}

async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let work = async {
        stream.write_all(request.as_bytes()).await?;
        // Who ends without a word of farewell has said everything: the answer tells its own length.
        match stream.read_to_end(&mut bytes).await {
            Err(why) if why.kind() != std::io::ErrorKind::UnexpectedEof => Err(why),
            Ok(_) | Err(_) => Ok(()),
        }
    };
    timeout(PATIENCE, work).await??;
    Ok(bytes)
}

fn parse(bytes: &[u8]) -> anyhow::Result<Answer> {
    let text = String::from_utf8_lossy(bytes);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { bail!("no answer: {text:?}") };
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).context("no status")?.parse()?;
    let pair =
        |line: &str| line.split_once(": ").map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()));
    Ok(Answer { status, headers: lines.filter_map(pair).collect(), text: body.to_owned() })
}
