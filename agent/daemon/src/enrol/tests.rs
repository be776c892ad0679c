//! Files of an enrolment, and the configuration that it completes.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use hangtag_protocol::id::{GatewayId, StoreId, TenantId};
use hangtag_protocol::topic::Gateway;
use hangtag_tls::{Files, Identity};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use super::identity::{Folder, application};
use super::settings::{Learned, Settings};

fn gateway(name: &str) -> Gateway {
    Gateway {
        tenant: TenantId::new("acme").unwrap(),
        store: StoreId::new("paris-1").unwrap(),
        gateway: GatewayId::new(name).unwrap(),
    }
}

/// An authority's certificate, and what signs with it.
fn authority() -> (String, Issuer<'static, KeyPair>) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    (params.self_signed(&key).unwrap().pem(), Issuer::new(params, key))
}

fn signed(issuer: &Issuer<'_, KeyPair>, key: &KeyPair, name: &str) -> String {
    let mut params = CertificateParams::new([]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.signed_by(key, issuer).unwrap().pem()
}

#[test]
fn only_what_is_this_gateways_is_taken_and_the_same_key_is_asked_for_until_then() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::within(dir.path());
    let own = gateway("gw-1");
    let key = folder.key().unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir.path().join("identity")), 0o700);
    assert_eq!(mode(&dir.path().join("identity/next.key")), 0o600);
    let again = folder.key().unwrap();
    assert_eq!(again.public_key_raw(), key.public_key_raw());
    let asked = application(&own, &key, Some("htenrol-1".into())).unwrap();
    assert!(asked.csr.contains("CERTIFICATE REQUEST") && !asked.csr.contains("PRIVATE"));

    let (ca, issuer) = authority();
    let (_, stranger) = authority();
    let candidate = folder.candidate(&ca).unwrap();
    let other = KeyPair::generate().unwrap();
    for (certificate, why) in [
        (signed(&issuer, &key, "gw/paris-1/gw-2"), "is that of \"gw/paris-1/gw-2\", not of gw/paris-1/gw-1"),
        (signed(&issuer, &other, "gw/paris-1/gw-1"), "is for another key"),
        (signed(&stranger, &key, "gw/paris-1/gw-1"), "was signed by another authority"),
        ("no certificate".to_owned(), "holds no certificate"),
    ] {
        let said = folder.take(&own, &key, &certificate, &candidate).unwrap_err().to_string();
        assert!(said.contains(why), "{why} in {said}");
        let left: Vec<_> = fs::read_dir(dir.path().join("identity")).unwrap().collect();
        assert_eq!(left.len(), 2, "the key and the authority wait: {left:?}");
    }
    folder.take(&own, &key, &signed(&issuer, &key, "gw/paris-1/gw-1"), &candidate).unwrap();
    assert_eq!(mode(&folder.gateway()), 0o600);
    let (certificate, key) = (folder.gateway(), folder.gateway());
    let files = Files { authorities: folder.authority(), identity: Some(Identity { certificate, key }) };
    files.read().unwrap();
    // Whoever is stopped now asks with the same key, and gets the same certificate.
    assert_eq!(folder.key().unwrap().public_key_raw(), again.public_key_raw());
    folder.settle().unwrap();
    assert_eq!(fs::read_dir(dir.path().join("identity")).unwrap().count(), 2);
    assert_ne!(folder.key().unwrap().public_key_raw(), again.public_key_raw());
}

#[test]
fn a_folder_that_leads_elsewhere_is_left_alone() {
    let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::os::unix::fs::symlink(elsewhere.path(), dir.path().join("identity")).unwrap();
    let folder = Folder::within(dir.path());
    let said = folder.key().unwrap_err().to_string();
    assert!(said.contains("identity: not a directory"), "{said}");
    let own = fs::metadata(dir.path()).unwrap();
    assert!(folder.give_to((own.uid(), own.gid())).is_err());
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
}

#[test]
fn the_configuration_keeps_all_that_enrolling_does_not_teach() {
    let text = "# mine\ntenant = \"acme\"  # the chain\nstore = \"old\"\ngateway = 'gw-9'\ndata = \"/data\"\n\n[mqtt]\n\
                host = \"localhost\"    # the broker\nport = 1883\nuser = \"u\"\npassword_file = \"p\"\n# tail\n\n[[zone]]\nid = \"a\"\n";
    let own = gateway("gw-1");
    let learned = |door| Learned {
        gateway: &own,
        broker: ("mqtt.example", 8_883),
        door,
        authority: Path::new("/data/identity/ca.pem"),
        identity: Path::new("/data/identity/gateway.pem"),
    };
    let mut settings = Settings::new(Some(text)).unwrap();
    assert_eq!(settings.data(), Path::new("/data"));
    assert_eq!(settings.other(&own).as_deref(), Some("acme/old/gw-9"));
    settings.learn(&learned(Some("central.example:8444".into())));
    assert_eq!(settings.other(&own), None);
    let written = settings.text_of_file();
    for kept in [
        "# mine\n",
        "\"acme\"  # the chain\n",
        "host = \"mqtt.example\"    # the broker\n",
        "[[zone]]\nid = \"a\"\n",
    ] {
        assert!(written.contains(kept), "{kept} in {written}");
    }
    let read: toml::Table = written.parse().unwrap();
    let mqtt = read["mqtt"].as_table().unwrap();
    assert!(!mqtt.contains_key("user") && !mqtt.contains_key("password_file"), "{written}");
    assert_eq!(
        (mqtt["port"].as_integer(), mqtt["tls"]["key"].as_str()),
        (Some(8_883), Some("/data/identity/gateway.pem"))
    );
    assert_eq!(mqtt["tls"]["renew"].as_str(), Some("central.example:8444"));
    settings.learn(&learned(None));
    assert!(!settings.text_of_file().contains("renew"));

    let mut empty = Settings::new(None).unwrap();
    assert_eq!((empty.data().to_str(), empty.other(&own)), (Some("/var/lib/hangtag-agent"), None));
    empty.learn(&learned(None));
    let read: toml::Table = empty.text_of_file().parse().unwrap();
    assert_eq!(read["gateway"].as_str(), Some("gw-1"));
    assert!(Settings::new(Some("tenant = ")).is_err());
}
