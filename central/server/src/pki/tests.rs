//! An authority in a folder of a test's own: who gets a certificate, and who does not.

use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::pem::PemObject as _;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;

use hangtag_protocol::enrol::{Application, Refusal};
use hangtag_protocol::id::{GatewayId, StoreId, TenantId};
use hangtag_protocol::identity::Identity;
use hangtag_tls::Certificate;
use jiff::{SignedDuration, Timestamp};
use rcgen::{CertificateParams, DnType, KeyPair};
use tempfile::TempDir;

use super::acl::rules;
use super::admission::Denied;
use super::authority::{Authority, Order, Signed, parse_valid};
use super::register::How;

const DAY: SignedDuration = SignedDuration::from_hours(24);
const YEAR: SignedDuration = SignedDuration::from_hours(24 * 365);

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + second).unwrap()
}

fn founded() -> (TempDir, Authority) {
    let folder = tempfile::tempdir().unwrap();
    let tenant = TenantId::new("acme").unwrap();
    let authority = Authority::found(&folder.path().join("pki"), tenant, YEAR * 10, at(0)).unwrap();
    (folder, authority)
}

/// A request that is signed with the key, under a name.
fn csr(key: &KeyPair, name: &str, hosts: &[&str]) -> String {
    let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
    let mut params = CertificateParams::new(hosts).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.serialize_request(key).unwrap().pem().unwrap()
}

fn place(gateway: &str) -> (StoreId, GatewayId) {
    (StoreId::new("paris-1").unwrap(), GatewayId::new(gateway).unwrap())
}

fn application(gateway: &str, token: Option<&str>, csr: String) -> Application {
    let (store, gateway) = place(gateway);
    let tenant = TenantId::new("acme").unwrap();
    Application { tenant, store, gateway, token: token.map(str::to_owned), csr }
}

fn refused(denied: Result<Signed, Denied>) -> Refusal {
    match denied.unwrap_err() {
        Denied::Refused { refusal, .. } => refusal,
        Denied::Failed(why) => panic!("{why}"),
    }
}

fn read(pem: &str) -> Certificate {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.pem");
    fs::write(&path, pem).unwrap();
    Certificate::read(&path).unwrap()
}

#[test]
fn a_token_lets_one_key_of_one_gateway_in_until_its_time_is_over() {
    let (_folder, authority) = founded();
    let (token, _) = authority.give_token(place("gw-1"), DAY, at(0)).unwrap();
    let (key, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let good = application("gw-1", Some(&token), csr(&key, "gw/paris-1/gw-1", &[]));
    let enrol = |application: &Application, second| authority.enrol(application, YEAR, at(second));

    let stranger = Application { token: Some("htenrol-00".into()), ..good.clone() };
    assert_eq!(refused(enrol(&stranger, 1)), Refusal::UnknownToken);
    assert_eq!(refused(enrol(&Application { token: None, ..good.clone() }, 1)), Refusal::UnknownToken);
    let elsewhere = application("gw-2", Some(&token), csr(&key, "gw/paris-1/gw-2", &[]));
    assert_eq!(refused(enrol(&elsewhere, 1)), Refusal::OtherGateway);
    let tenant = Application { tenant: TenantId::new("other").unwrap(), ..good.clone() };
    assert_eq!(refused(enrol(&tenant, 1)), Refusal::OtherGateway);
    for (name, hosts) in
        [("gw/paris-1/gw-2", &[][..]), ("central", &[]), ("gw/paris-1/gw-1", &["mqtt.example"])]
    {
        let named = application("gw-1", Some(&token), csr(&key, name, hosts));
        assert_eq!(refused(enrol(&named, 1)), Refusal::OtherName, "{name} {hosts:?}");
    }
    // A request that was signed with another key than the one in it.
    let forged = forge(&good.csr);
    assert_eq!(refused(enrol(&Application { csr: forged, ..good.clone() }, 1)), Refusal::Unreadable);
    assert_eq!(refused(enrol(&good, 24 * 3_600)), Refusal::TokenExpired);

    let first = enrol(&good, 2).unwrap();
    let certificate = read(&first.pem);
    assert_eq!((certificate.name.as_str(), &certificate.serial), ("gw/paris-1/gw-1", &first.issued.serial));
    assert_eq!(certificate.until, at(2).as_second() + YEAR.as_secs());
    assert!(certificate.is_signed_by(&read(&authority.certificate().unwrap())));
    // The answer may have been lost: the same key gets the same again, another one nothing.
    assert_eq!(enrol(&good, 3).unwrap().pem, first.pem);
    let second = application("gw-1", Some(&token), csr(&other, "gw/paris-1/gw-1", &[]));
    assert_eq!(refused(enrol(&second, 4)), Refusal::TokenUsed);
    assert_eq!(authority.register.book().unwrap().certificates.len(), 1);
}

/// Changes a byte of the signature, which is the last thing in a request.
fn forge(pem: &str) -> String {
    let end = pem.find("-----END").unwrap();
    let at = pem[..end].trim_end().rfind(|c: char| c.is_ascii_alphanumeric()).unwrap() - 4;
    let other = if &pem[at..=at] == "A" { "B" } else { "A" };
    format!("{}{other}{}", &pem[..at], &pem[at + 1..])
}

#[test]
fn another_token_makes_the_one_before_useless_and_so_does_revoking() {
    let (_folder, authority) = founded();
    let key = KeyPair::generate().unwrap();
    let ask = |token: &str, second| {
        authority.enrol(
            &application("gw-1", Some(token), csr(&key, "gw/paris-1/gw-1", &[])),
            YEAR,
            at(second),
        )
    };
    let (lost, _) = authority.give_token(place("gw-1"), DAY, at(0)).unwrap();
    let (token, _) = authority.give_token(place("gw-1"), DAY, at(1)).unwrap();
    let (others, _) = authority.give_token(place("gw-2"), DAY, at(1)).unwrap();
    assert_eq!(refused(ask(&lost, 2)), Refusal::UnknownToken);
    let first = ask(&token, 2).unwrap();
    let (again, _) = authority.give_token(place("gw-1"), DAY, at(3)).unwrap();
    authority.revoke(|_| Ok(vec![first.issued.serial.clone()]), DAY, at(4)).unwrap();
    assert_eq!(refused(ask(&again, 5)), Refusal::UnknownToken);
    assert_eq!(refused(ask(&token, 5)), Refusal::TokenUsed, "what was revoked is not given out again");
    let _ = others;
    let two = application("gw-2", Some(&others), csr(&key, "gw/paris-1/gw-2", &[]));
    authority.enrol(&two, YEAR, at(5)).unwrap();
}

#[test]
fn a_certificate_is_renewed_in_the_second_half_of_its_life_by_its_gateway_unless_it_was_revoked() {
    let (_folder, authority) = founded();
    let (token, _) = authority.give_token(place("gw-1"), DAY, at(0)).unwrap();
    let (key, next) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let first = application("gw-1", Some(&token), csr(&key, "gw/paris-1/gw-1", &[]));
    let first = authority.enrol(&first, DAY, at(0)).unwrap();
    let shown = read(&first.pem);
    let renew = |shown: Option<&Certificate>, gateway: &str, second| {
        let name = format!("gw/paris-1/{gateway}");
        authority.renew(&application(gateway, None, csr(&next, &name, &[])), shown, DAY, at(second))
    };
    assert_eq!(refused(renew(None, "gw-1", 60_000)), Refusal::NoCertificate);
    assert_eq!(refused(renew(Some(&shown), "gw-1", 40_000)), Refusal::TooEarly);
    assert_eq!(refused(renew(Some(&shown), "gw-2", 60_000)), Refusal::OtherGateway);
    let second = renew(Some(&shown), "gw-1", 60_000).unwrap();
    assert_eq!(second.issued.how, How::Renewal);
    assert_eq!(read(&second.pem).until, at(60_000 + 86_400).as_second());
    let revoke = || authority.revoke(|_| Ok(vec![first.issued.serial.clone()]), DAY, at(60_001));
    // What cannot be published is not recorded, so that the same command can be given again.
    std::fs::create_dir(authority.crl_path()).unwrap();
    revoke().unwrap_err();
    assert_eq!(authority.register.book().unwrap().certificate(&first.issued.serial).unwrap().revoked, None);
    std::fs::remove_dir(authority.crl_path()).unwrap();
    revoke().unwrap();
    let list = CertificateRevocationListDer::from_pem_file(authority.crl_path()).unwrap();
    let is_listed = |serial: &str| {
        let serial = hex::decode(serial).unwrap();
        list.as_ref().windows(serial.len()).any(|at| at == serial)
    };
    assert!(is_listed(&first.issued.serial) && !is_listed(&second.issued.serial));
    assert_eq!(refused(renew(Some(&shown), "gw-1", 60_002)), Refusal::Revoked);
    let (_elsewhere, stranger) = founded();
    let order = Order { identity: second.issued.identity, hosts: &[], valid: DAY, how: How::Operator };
    let foreign = read(&stranger.make(&order, at(0)).unwrap().0.pem);
    assert_eq!(refused(renew(Some(&foreign), "gw-1", 60_003)), Refusal::NoCertificate);
}

#[test]
fn the_rules_name_systems_and_tills_and_let_gateways_in_by_a_pattern() {
    let (_folder, authority) = founded();
    for identity in ["gw/paris-1/gw-1", "consumer/bi", "till/paris-1", "broker", "central"] {
        let order = Order { identity: identity.parse().unwrap(), hosts: &[], valid: DAY, how: How::Operator };
        authority.make(&order, at(0)).unwrap();
    }
    let book = authority.register.book().unwrap();
    let text = rules(&book, at(1));
    let users: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("user ")).collect();
    assert_eq!(users, ["central", "consumer/bi", "till/paris-1"]);
    assert!(text.contains("\npattern write hangtag/v1/acme/%u/events\n"), "{text}");
    let bi = &text[text.find("user consumer/bi").unwrap()..text.find("user till").unwrap()];
    assert!(bi.contains("topic read hangtag/v1/acme/feed/+/+") && !bi.contains("write"), "{bi}");
    assert!(text.ends_with(
        "user till/paris-1\ntopic deny hangtag/v1/acme/till/paris-1/#\ntopic write hangtag/v1/acme/pos/paris-1/+\n\
         topic read hangtag/v1/acme/schema/+/+\n"
    ));
    // Who has none any more is not named any more.
    let later: Vec<String> = rules(&book, at(90_000)).lines().map(str::to_owned).collect();
    assert!(later.iter().any(|line| line == "user central") && !later.iter().any(|line| line.contains("bi")));
}

#[test]
fn what_a_power_cut_left_of_a_line_was_never_decided_and_a_broken_line_is_named() {
    let (folder, authority) = founded();
    authority.give_token(place("gw-1"), DAY, at(0)).unwrap();
    let path = folder.path().join("pki/register.jsonl");
    let whole = fs::read(&path).unwrap();
    fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"what\":\"iss").unwrap();
    let book = authority.register.book().unwrap();
    assert_eq!(book.tokens.len(), 1);
    authority.give_token(place("gw-2"), DAY, at(0)).unwrap();
    assert_eq!(authority.register.book().unwrap().tokens.len(), 2);
    assert!(fs::read(&path).unwrap().starts_with(&whole));
    fs::write(
        &path,
        [&whole[..], b"{\"what\":\"revoked\",\"at\":\"2026-11-21T09:30:00Z\",\"serial\":\"01\"}\n"].concat(),
    )
    .unwrap();
    let said = authority.register.book().unwrap_err().to_string();
    assert!(said.ends_with("register.jsonl line 3: 01 was never issued"), "{said}");
}

#[test]
fn the_key_must_be_here_closed_and_the_authoritys_own() {
    let (folder, authority) = founded();
    let pki = folder.path().join("pki");
    assert_eq!(fs::metadata(&pki).unwrap().permissions().mode() & 0o777, 0o700);
    let (key, away) = (pki.join("ca.key"), folder.path().join("ca.key"));
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    let tenant = TenantId::new("acme").unwrap();
    let again = Authority::found(&pki, tenant, YEAR, at(0)).unwrap_err().to_string();
    assert!(again.ends_with("holds an authority already: nothing was changed"), "{again}");

    fs::rename(&key, &away).unwrap();
    let said = authority.check_key().unwrap_err().to_string();
    assert!(said.contains("ca.key is not here: bring it"), "{said}");
    // Without it nothing is revoked that nobody would hear of; tokens need no key.
    assert!(authority.revoke(|_| panic!("asked"), DAY, at(1)).is_err());
    authority.give_token(place("gw-1"), DAY, at(1)).unwrap();
    fs::copy(&away, &key).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    assert!(authority.check_key().unwrap_err().to_string().contains("has the mode 0640"));
    fs::write(&key, KeyPair::generate().unwrap().serialize_pem()).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(authority.check_key().unwrap_err().to_string().contains("ca.key is not the key of "));
}

#[test]
fn no_certificate_outlives_its_authority() {
    let (_folder, authority) = founded();
    let order = Order { identity: Identity::Central, hosts: &[], valid: YEAR * 50, how: How::Operator };
    let signed = authority.make(&order, at(0)).unwrap().0;
    assert_eq!(signed.issued.until, at(0) + YEAR * 10);
    let hosts = ["10.0.0.7".to_owned(), "mqtt.example".to_owned()];
    let order = Order { identity: Identity::Broker, hosts: &hosts, valid: YEAR, how: How::Operator };
    authority.make(&order, at(0)).unwrap();
    let wrong = ["mqtts://x".to_owned()];
    let said = authority.make(&Order { hosts: &wrong, ..order }, at(0)).unwrap_err().to_string();
    assert_eq!(said, "\"mqtts://x\" is no name of a host and no address");
}

#[test]
fn lengths_of_time_are_written_as_people_do() {
    assert_eq!(parse_valid("90d"), Ok(DAY * 90));
    assert_eq!(parse_valid("36h"), Ok(SignedDuration::from_hours(36)));
    for wrong in ["", "90", "5s", "-3d", "1mo", "soon", "101y"] {
        assert!(parse_valid(wrong).is_err(), "{wrong}");
    }
}
