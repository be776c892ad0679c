//! Tunnels to a broker that says what it hears, with certificates of every kind.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use crate::{Files, Identity, TlsError, Tunnel};
use rcgen::{BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::RootCertStore;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// An authority.
struct Authority {
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

/// What it signed.
struct Signed {
    certificate: Certificate,
    key: KeyPair,
}

impl Authority {
    fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    /// For a name, from one year to another.
    fn sign(&self, name: &str, (from, to): (i32, i32)) -> Signed {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(to, 1, 1));
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Signed { certificate, key }
    }
}

const VALID: (i32, i32) = (2020, 4000);

/// A broker, a gateway's files, and who signed them.
struct Shop {
    folder: TempDir,
    authority: Authority,
    port: u16,
    broker: JoinHandle<()>,
}

impl Shop {
    /// With a certificate for `localhost` of these years, and whether it asks for one.
    async fn open(years: (i32, i32), asks: bool) -> Self {
        let authority = Authority::new("chain");
        let shop = authority.sign("localhost", years);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let provider = Arc::new(ring::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = if asks {
            let mut roots = RootCertStore::empty();
            roots.add(authority.certificate.der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        } else {
            builder.with_no_client_auth()
        };
        let chain: Vec<CertificateDer<'static>> = vec![shop.certificate.der().clone()];
        let key = PrivateKeyDer::try_from(shop.key.serialize_der()).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(builder.with_single_cert(chain, key).unwrap()));
        let broker = tokio::spawn(async move {
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let Ok(mut tls) = acceptor.accept(tcp).await else { return };
                    let mut heard = [0; 64];
                    while let Ok(count @ 1..) = tls.read(&mut heard).await {
                        tls.write_all(&heard[..count]).await.unwrap();
                    }
                });
            }
        });
        let shop = Self { folder: tempfile::tempdir().unwrap(), authority, port, broker };
        shop.write("ca.pem", &shop.authority.certificate.pem());
        shop
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    fn files(&self, signed: Option<&Signed>) -> Files {
        Files {
            authorities: self.folder.path().join("ca.pem"),
            identity: signed.map(|signed| Identity {
                certificate: self.write("gateway.pem", &signed.certificate.pem()),
                key: self.write("gateway.key", &signed.key.serialize_pem()),
            }),
        }
    }

    async fn tunnel(&self, files: &Files) -> Result<Tunnel, TlsError> {
        Tunnel::open("localhost", self.port, files).await
    }

    async fn fault(&self, files: &Files) -> String {
        self.tunnel(files).await.unwrap_err().to_string()
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        self.broker.abort();
    }
}

/// What comes back, or why nothing does.
async fn echo(tunnel: Tunnel) -> Result<Vec<u8>, String> {
    let mut client = UnixStream::connect(tunnel.socket()).await.unwrap();
    let mut heard = [0; 5];
    let _ = client.write_all(b"hello").await;
    match client.read_exact(&mut heard).await {
        Ok(_) => Ok(heard.to_vec()),
        Err(_) => Err(tunnel.why().await.map_or_else(|| "closed".into(), |why| why.to_string())),
    }
}

#[tokio::test]
async fn bytes_go_through_for_who_shows_a_good_certificate_and_the_socket_takes_one_client() {
    let shop = Shop::open(VALID, true).await;
    let gateway = shop.authority.sign("gw-1", VALID);
    let tunnel = shop.tunnel(&shop.files(Some(&gateway))).await.unwrap();
    let socket = tunnel.socket().to_owned();
    let folder = fs::metadata(socket.parent().unwrap()).unwrap();
    assert_eq!(folder.permissions().mode() & 0o777, 0o700, "nobody else speaks as this machine");
    assert_eq!(echo(tunnel).await.unwrap(), b"hello");
    assert!(!socket.exists());
}

#[tokio::test]
async fn a_broker_that_refuses_the_certificate_is_quoted() {
    let shop = Shop::open(VALID, true).await;
    let expired = shop.authority.sign("gw-1", (2020, 2021));
    let foreign = Authority::new("other").sign("gw-1", VALID);
    let same_name = Authority::new("chain").sign("gw-1", VALID);
    for (signed, wanted) in [
        (None, "there is none, and the broker asks for one"),
        (Some(&expired), "it has expired"),
        (Some(&foreign), "the broker does not know who signed it"),
        (Some(&same_name), "it is not of the authority whose name it bears"),
    ] {
        let tunnel = shop.tunnel(&shop.files(signed)).await.unwrap();
        let said = echo(tunnel).await.unwrap_err();
        assert_eq!(said, format!("the broker refuses this machine's certificate: {wanted}"));
    }
}

#[tokio::test]
async fn a_broker_that_is_not_to_be_trusted_is_named_by_what_is_wrong_with_it() {
    let shop = Shop::open(VALID, false).await;
    let files = shop.files(None);
    assert_eq!(echo(shop.tunnel(&files).await.unwrap()).await.unwrap(), b"hello");
    let other = Tunnel::open("127.0.0.1", shop.port, &files).await.unwrap_err().to_string();
    assert_eq!(other, "the broker's certificate is not for the name 127.0.0.1");
    for name in ["other", "chain"] {
        shop.write("ca.pem", &Authority::new(name).certificate.pem());
        let foreign = shop.fault(&files).await;
        assert!(foreign.contains("was signed by nobody whom this machine believes"), "{foreign}");
    }
    for (years, wanted) in
        [((2020, 2021), "has expired, by this"), ((3000, 4000), "is not valid yet, by this")]
    {
        let shop = Shop::open(years, false).await;
        let said = shop.fault(&shop.files(None)).await;
        assert!(said.starts_with("the broker's certificate ") && said.contains(wanted), "{said}");
    }
}

#[tokio::test]
async fn what_does_not_speak_tls_or_is_not_there_is_told_apart() {
    let shop = Shop::open(VALID, false).await;
    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = plain.local_addr().unwrap().port();
    let answer = tokio::spawn(async move {
        let (mut tcp, _) = plain.accept().await.unwrap();
        tcp.write_all(b"\x20\x03\x00\x00\x00 no TLS at all").await.unwrap();
        tcp
    });
    let said = Tunnel::open("localhost", port, &shop.files(None)).await.unwrap_err().to_string();
    assert_eq!(said, "no TLS with the broker: what answers does not speak it");
    drop(answer.await.unwrap());
    let said = Tunnel::open("localhost", port, &shop.files(None)).await.unwrap_err().to_string();
    assert!(said.starts_with(&format!("cannot reach localhost:{port}: ")), "{said}");
}

#[tokio::test]
async fn files_are_named_with_what_is_wrong_and_renewed_ones_count_from_then_on() {
    let shop = Shop::open(VALID, true).await;
    let (old, new) = (shop.authority.sign("gw-1", (2020, 2021)), shop.authority.sign("gw-1", VALID));
    let files = shop.files(Some(&old));
    assert!(echo(shop.tunnel(&files).await.unwrap()).await.is_err());
    shop.files(Some(&new));
    assert_eq!(echo(shop.tunnel(&files).await.unwrap()).await.unwrap(), b"hello");

    let key = shop.folder.path().join("gateway.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let said = shop.fault(&files).await;
    assert!(
        said.contains("gateway.key has the mode 0644: a private key must be its owner's alone"),
        "{said}"
    );
    shop.write("gateway.key", &old.key.serialize_pem());
    let said = shop.fault(&files).await;
    assert!(said.contains("gateway.key is not the key of ") && said.ends_with("gateway.pem"), "{said}");
    shop.write("gateway.key", "");
    assert!(shop.fault(&files).await.ends_with("gateway.key holds no private key in PEM format"));
    shop.write("gateway.pem", "-----BEGIN CERTIFICATE-----\n");
    let said = shop.fault(&files).await;
    assert!(said.contains("gateway.pem is no PEM"), "{said}");
    fs::remove_file(&files.authorities).unwrap();
    let said = shop.fault(&files).await;
    assert!(said.contains("ca.pem cannot be read: No such file"), "{said}");
}
