//! Whether what is said to a server is kept from others. Enters: a URL with `sslmode` and `sslrootcert`. Leaves: the rest of
//! the URL, and what makes connections; or what is wrong with these two.
//!
//! ```text
//! sslmode=disable, prefer or none    in the clear
//!         require                    encrypted, whoever the server is: keeps out who only listens
//!         verify-full                encrypted, and the server has a certificate for its name that sslrootcert,
//!                                    a PEM file, vouches for
//! ```

use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::{BoxStream, poll_fn};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::{AsyncMessage, Client, Config, NoTls, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

/// How connections are made.
#[derive(Clone)]
pub(super) enum Tls {
    /// In the clear.
    Off,
    /// Encrypted.
    On(MakeRustlsConnect),
}

/// What a server says by itself; whoever opened a session polls it, or the session stands still.
pub(super) type Messages = BoxStream<'static, Result<AsyncMessage, tokio_postgres::Error>>;

impl Tls {
    /// Takes what is about encryption out of a URL.
    ///
    /// # Errors
    /// What is wrong with that, without the URL.
    pub(super) fn split(url: &str) -> Result<(String, Self), String> {
        let Some((base, query)) = url.split_once('?') else { return Ok((url.to_owned(), Self::Off)) };
        let (mut mode, mut roots, mut rest) = (None, None, Vec::new());
        for pair in query.split('&') {
            let value =
                || form_urlencoded::parse(pair.as_bytes()).next().map(|(_, value)| value.into_owned());
            match pair.split('=').next() {
                Some("sslmode") => mode = value(),
                Some("sslrootcert") => roots = value(),
                _ => rest.push(pair),
            }
        }
        let left = if rest.is_empty() { base.to_owned() } else { format!("{base}?{}", rest.join("&")) };
        let tls = match (mode.as_deref(), roots) {
            (None | Some("disable" | "prefer"), None) => Self::Off,
            (Some("require"), None) => Self::On(MakeRustlsConnect::new(anybody()?)),
            (Some("verify-full"), Some(file)) => Self::On(MakeRustlsConnect::new(known(&file)?)),
            (Some("verify-full"), None) => {
                return Err(
                    "asks for sslmode=verify-full without sslrootcert: name the PEM file of who vouches for \
                            the server, such as sslrootcert=/etc/ssl/certs/ca-certificates.crt"
                        .into(),
                );
            }
            (None | Some("disable" | "prefer" | "require"), Some(_)) => {
                return Err("names an sslrootcert, which is of use with sslmode=verify-full alone".into());
            }
            (Some(_), _) => {
                return Err(
                    "has an sslmode that is not known: there are disable, require and verify-full".into()
                );
            }
        };
        Ok((left, tls))
    }

    /// Opens a session.
    ///
    /// # Errors
    /// When the server cannot be reached, is not who it should be, or refuses.
    pub(super) async fn connect(self, config: &Config) -> Result<(Client, Messages), tokio_postgres::Error> {
        match self {
            Self::Off => connect(config, NoTls).await,
            Self::On(tls) => connect(config, tls).await,
        }
    }
}

async fn connect<T>(config: &Config, tls: T) -> Result<(Client, Messages), tokio_postgres::Error>
where
    T: MakeTlsConnect<Socket>,
    T::Stream: Send + 'static,
    T::TlsConnect: Send,
    <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
{
    let (client, mut connection) = config.connect(tls).await?;
    Ok((client, poll_fn(move |context| connection.poll_message(context)).boxed()))
}

/// Believes whom the file vouches for.
fn known(file: &str) -> Result<ClientConfig, String> {
    let wrong = |why: String| format!("names an sslrootcert that cannot be used: {file}: {why}");
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(|why| wrong(why.to_string()))? {
        let certificate = certificate.map_err(|why| wrong(why.to_string()))?;
        roots.add(certificate).map_err(|why| wrong(why.to_string()))?;
    }
    if roots.is_empty() {
        return Err(wrong("there is no certificate in it".into()));
    }
    Ok(builder()?.with_root_certificates(roots).with_no_client_auth())
}

/// Believes anybody.
fn anybody() -> Result<ClientConfig, String> {
    let verifier = Arc::new(Anybody(Arc::new(ring::default_provider())));
    Ok(builder()?.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

fn builder() -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, String> {
    let provider = Arc::new(ring::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|why| why.to_string())
}

/// Takes any certificate, of whose key the server proves that it has it.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
