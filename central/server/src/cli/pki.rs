//! The command `pki`. Enters: the authority's folder, and what is wanted of it. Leaves: files for gateways, central, the
//! broker and other systems; what there is, for people. Private keys are written, and never shown.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use hangtag_protocol::enrol::{Invitation, NoPlace, place};
use hangtag_protocol::id::{ConsumerId, GatewayId, StoreId, TenantId};
use hangtag_protocol::identity::Identity;
use jiff::{SignedDuration, Timestamp};

use crate::pki::acl;
use crate::pki::authority::{Authority, CRL_VALID, GATEWAY_VALID, Order, Signed, parse_valid};
use crate::pki::register::{Book, Entry, How};
use crate::pki::request::Request;
use crate::pki::write;

/// Where the authority is unless something else is said.
const FOLDER: &str = "/var/lib/hangtag-central/pki";
/// How long things are good unless something else is said.
const AUTHORITY_VALID: SignedDuration = SignedDuration::from_hours(3_650 * 24);
const SERVER_VALID: SignedDuration = SignedDuration::from_hours(730 * 24);
const TOKEN_VALID: SignedDuration = SignedDuration::from_hours(24);

#[derive(Args)]
pub(crate) struct Place {
    /// The folder of the authority.
    #[arg(long, global = true, value_name = "FOLDER", default_value = FOLDER)]
    dir: PathBuf,
}

#[derive(Args)]
pub(crate) struct Valid {
    /// How long it is good, like 90d or 24h.
    #[arg(long, value_name = "TIME", value_parser = parse_valid)]
    valid: Option<SignedDuration>,
}

#[derive(Args)]
pub(crate) struct Out {
    /// The folder that the files are written to.
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    out: PathBuf,
}

#[derive(Subcommand)]
pub(crate) enum PkiWhat {
    /// Makes the authority: its key, its certificate, an empty list of revoked ones.
    ///
    /// Whoever has the key (ca.key) can make certificates that the broker believes. It can be kept off this machine, and
    /// brought when something is to be signed; only the enrolment door needs it all the time.
    Init {
        /// The folder.
        #[arg(default_value = FOLDER)]
        folder: PathBuf,
        /// The chain, as in the configurations.
        #[arg(long)]
        tenant: TenantId,
        #[command(flatten)]
        valid: Valid,
    },
    /// Makes the broker's key and certificate: broker.key, broker.pem, and ca.pem beside them.
    Broker {
        #[command(flatten)]
        place: Place,
        /// The names and addresses under which gateways and central reach it.
        #[arg(required = true, value_name = "HOST")]
        hosts: Vec<String>,
        #[command(flatten)]
        valid: Valid,
        #[command(flatten)]
        out: Out,
    },
    /// Makes central's key and certificate, for the broker and the enrolment door: central.key, central.pem, ca.pem.
    Central {
        #[command(flatten)]
        place: Place,
        /// The names and addresses under which gateways reach the enrolment door; none where it is not opened.
        #[arg(value_name = "HOST")]
        hosts: Vec<String>,
        #[command(flatten)]
        valid: Valid,
        #[command(flatten)]
        out: Out,
    },
    /// Makes the key and the certificate of another system that reads the feed: NAME.key, NAME.pem, ca.pem. The broker's
    /// rules must be written anew for it (acl).
    Consumer {
        #[command(flatten)]
        place: Place,
        /// What it is called.
        name: ConsumerId,
        #[command(flatten)]
        valid: Valid,
        #[command(flatten)]
        out: Out,
    },
    /// Makes the key and the certificate of what tells a shop's sales to the broker: STORE-till.key, STORE-till.pem, ca.pem.
    /// The broker's rules must be written anew for it (acl).
    Till {
        #[command(flatten)]
        place: Place,
        /// The shop.
        store: StoreId,
        #[command(flatten)]
        valid: Valid,
        #[command(flatten)]
        out: Out,
    },
    /// Makes a token and the file with which a gateway is enrolled: `hangtag-agent enrol FILE` there.
    ///
    /// Whoever has the file first is that gateway: bring it there as you would a key. The token lets in once, and only
    /// until its time is over; a new one makes an earlier one useless.
    Token {
        #[command(flatten)]
        place: Place,
        /// The shop.
        store: StoreId,
        /// The gateway in it.
        gateway: GatewayId,
        /// Where the gateway reaches central's enrolment door.
        #[arg(long, value_name = "HOST[:PORT]", value_parser = host)]
        central: String,
        /// Where the gateway reaches the broker.
        #[arg(long, value_name = "HOST[:PORT]", value_parser = host)]
        broker: String,
        #[command(flatten)]
        valid: Valid,
        /// The file; STORE-GATEWAY.enrol without it.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Signs a request that was made elsewhere, such as by `hangtag-agent enrol --csr-out`.
    Sign {
        #[command(flatten)]
        place: Place,
        /// Who it is for: STORE/GATEWAY, central, consumer/NAME or till/STORE. The request must name the same.
        #[arg(value_parser = somebody)]
        who: Identity,
        /// The request, in PEM format.
        #[arg(value_name = "FILE")]
        request: PathBuf,
        #[command(flatten)]
        valid: Valid,
        /// Where the certificate goes, and the authority's after it.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Prints the certificates that are good, and the tokens that were not used yet.
    List {
        #[command(flatten)]
        place: Place,
        /// Also those that are over or were revoked.
        #[arg(long)]
        all: bool,
    },
    /// Revokes a certificate by its number, or all of somebody, and writes crl.pem anew. The broker must get that file.
    Revoke {
        #[command(flatten)]
        place: Place,
        /// The number, or STORE/GATEWAY, central, consumer/NAME, till/STORE, broker.
        #[arg(value_name = "SERIAL|WHO")]
        what: String,
        /// How long the new list is good, like 90d.
        #[arg(long, value_name = "TIME", value_parser = parse_valid)]
        crl_valid: Option<SignedDuration>,
    },
    /// Writes the list of revoked certificates anew: when it is over the broker lets nobody in.
    Crl {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        valid: Valid,
    },
    /// Prints the broker's rules, for Mosquitto's `acl_file`.
    Acl {
        #[command(flatten)]
        place: Place,
        /// Writes them to a file instead, in one step.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

impl PkiWhat {
    /// Does what was asked.
    ///
    /// # Errors
    /// When it cannot; the text is for people.
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let now = Timestamp::now();
        match self {
            Self::Init { folder, tenant, valid } => {
                let authority =
                    Authority::found(&folder, tenant, valid.valid.unwrap_or(AUTHORITY_VALID), now)?;
                authority.renew_crl(CRL_VALID, now)?;
                println!("made the authority of {tenant} in {}", folder.display());
                println!("Keep ca.key safe: whoever has it can make certificates that the broker believes.");
            }
            Self::Broker { place, hosts, valid, out } => {
                make(&place, Identity::Broker, &hosts, &valid, &out, "broker", now)?;
            }
            Self::Central { place, hosts, valid, out } => {
                make(&place, Identity::Central, &hosts, &valid, &out, "central", now)?;
            }
            Self::Consumer { place, name, valid, out } => {
                make(&place, Identity::Consumer(name), &[], &valid, &out, name.as_str(), now)?;
                println!("{RULES}");
            }
            Self::Till { place, store, valid, out } => {
                let file = format!("{store}-till");
                make(&place, Identity::Till(store), &[], &valid, &out, &file, now)?;
                println!("{RULES}");
            }
            Self::Token { place, store, gateway, central, broker, valid, out } => {
                token(&place, (store, gateway), (central, broker), &valid, out, now)?;
            }
            Self::Sign { place, who, request, valid, out } => sign(&place, who, &request, &valid, &out, now)?,
            Self::List { place, all } => list(&open(&place)?.register.book()?, all, now)?,
            Self::Revoke { place, what, crl_valid } => {
                let authority = open(&place)?;
                let choose = |book: &Book| chosen(book, &what, now);
                let serials = authority.revoke(choose, crl_valid.unwrap_or(CRL_VALID), now)?;
                serials.iter().for_each(|serial| println!("revoked {serial}"));
                println!("wrote {}. {PUBLISH}", authority.crl_path().display());
            }
            Self::Crl { place, valid } => {
                let authority = open(&place)?;
                let (count, until) = authority.renew_crl(valid.valid.unwrap_or(CRL_VALID), now)?;
                let path = authority.crl_path();
                println!("wrote {}: {count} revoked, good until {until}. {PUBLISH}", path.display());
            }
            Self::Acl { place, out } => {
                let rules = acl::rules(&open(&place)?.register.book()?, now);
                match out {
                    Some(path) => write(&path, &rules, 0o644)?,
                    None => std::io::stdout().write_all(rules.as_bytes())?,
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

const RULES: &str = "Write the broker's rules anew, so that it is let in: `hangtag-central pki acl`";
const PUBLISH: &str = "Bring it to the broker, and restart that: until then whoever is revoked is let in";

fn open(place: &Place) -> anyhow::Result<Authority> {
    Ok(Authority::open(&place.dir)?)
}

/// Makes a key and a certificate, and writes them.
fn make(
    place: &Place,
    identity: Identity,
    hosts: &[String],
    valid: &Valid,
    Out { out }: &Out,
    file: &str,
    now: Timestamp,
) -> anyhow::Result<()> {
    let authority = open(place)?;
    let valid = valid.valid.unwrap_or(SERVER_VALID);
    let (signed, key) = authority.make(&Order { identity, hosts, valid, how: How::Operator }, now)?;
    std::fs::create_dir_all(out).with_context(|| out.display().to_string())?;
    let path = |end: &str| out.join(format!("{file}.{end}"));
    write(&path("key"), &key, 0o600)?;
    write(&path("pem"), &signed.pem, 0o644)?;
    write(&out.join("ca.pem"), &authority.certificate()?, 0o644)?;
    println!("wrote {}, {} and ca.pem beside it", path("key").display(), path("pem").display());
    tell(&signed);
    Ok(())
}

fn tell(Signed { issued, .. }: &Signed) {
    println!("{}: certificate {}, good until {}", issued.identity, issued.serial, issued.until);
}

fn token(
    place: &Place,
    (store, gateway): (StoreId, GatewayId),
    (central, broker): (String, String),
    valid: &Valid,
    out: Option<PathBuf>,
    now: Timestamp,
) -> anyhow::Result<()> {
    let authority = open(place)?;
    // Before the token is made: what cannot be written is of no use.
    let out = out.unwrap_or_else(|| format!("{store}-{gateway}.enrol").into());
    let book = authority.register.book()?;
    let valid = valid.valid.unwrap_or(TOKEN_VALID);
    let (text, made) = authority.give_token((store, gateway), valid, now)?;
    let invitation = Invitation {
        tenant: book.tenant,
        store,
        gateway,
        central,
        broker,
        token: text.to_string(),
        until: made.until.to_string(),
        ca: authority.certificate()?,
    };
    let head = "# Enrols one gateway, once: `hangtag-agent enrol FILE` there. Whoever has this file first is that gateway.\n";
    let body = toml::to_string(&invitation).context("the enrolment file")?;
    write(&out, &format!("{head}{body}"), 0o600)?;
    println!("wrote {}: lets {store}/{gateway} in once, until {}", out.display(), made.until);
    let has =
        |entry: &&Entry| entry.issued.identity == Identity::Gateway(store, gateway) && entry.is_good(now);
    if let Some(entry) = book.certificates.iter().rev().find(has) {
        println!(
            "It has a certificate already, {}, good until {}. If another computer takes its place, revoke that first, \
             hangtag-central pki revoke {store}/{gateway}, and then make a token again: revoking takes this one back",
            entry.issued.serial, entry.issued.until
        );
    }
    Ok(())
}

fn sign(
    place: &Place,
    who: Identity,
    request: &Path,
    valid: &Valid,
    out: &Path,
    now: Timestamp,
) -> anyhow::Result<()> {
    if who == Identity::Broker {
        bail!("the broker needs its hosts in the certificate: hangtag-central pki broker");
    }
    let text = std::fs::read_to_string(request).with_context(|| request.display().to_string())?;
    let request = Request::read(&text, who).with_context(|| request.display().to_string())?;
    let authority = open(place)?;
    let valid = valid.valid.unwrap_or(GATEWAY_VALID);
    let order = Order { identity: who, hosts: &[], valid, how: How::Operator };
    let signed = authority.certify(&order, &request.key, now)?;
    write(out, &format!("{}{}", signed.pem, authority.certificate()?), 0o644)?;
    println!("wrote {}", out.display());
    tell(&signed);
    Ok(())
}

fn list(book: &Book, all: bool, now: Timestamp) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "authority of {}", book.tenant)?;
    for Entry { issued, revoked } in &book.certificates {
        let state = match revoked {
            Some(at) => format!("revoked {at}"),
            None if now >= issued.until => "over".to_owned(),
            None => format!("{} days left", issued.until.duration_since(now).as_hours() / 24),
        };
        if all || (revoked.is_none() && now < issued.until) {
            writeln!(out, "{}  {:<40}  until {}  {state}", issued.serial, issued.identity, issued.until)?;
        }
    }
    for given in book.tokens.values().filter(|given| given.used.is_none() && now < given.token.until) {
        let token = &given.token;
        writeln!(out, "token for {}/{}, until {}, not used yet", token.store, token.gateway, token.until)?;
    }
    match book.crl {
        Some((number, until)) => {
            writeln!(out, "list of revoked certificates number {number}, until {until}")?;
        }
        None => writeln!(out, "no list of revoked certificates: hangtag-central pki crl")?,
    }
    Ok(())
}

/// The numbers of what is to be revoked.
fn chosen(book: &Book, what: &str, now: Timestamp) -> Result<Vec<String>, crate::pki::PkiError> {
    use crate::pki::PkiError::Asked;
    let serial = what.replace(':', "").to_lowercase();
    if let Some(entry) = book.certificate(&serial) {
        return match entry.revoked {
            Some(at) => Err(Asked(format!("{serial} was revoked already, {at}"))),
            None => Ok(vec![serial]),
        };
    }
    let wrong =
        |why: String| Asked(format!("{what:?} is no number of a certificate, and names nobody: {why}"));
    let identity = somebody(what).map_err(wrong)?;
    let is_meant = |entry: &&Entry| entry.issued.identity == identity && entry.is_good(now);
    let serials: Vec<_> =
        book.certificates.iter().filter(is_meant).map(|entry| entry.issued.serial.clone()).collect();
    if serials.is_empty() {
        Err(Asked(format!("{identity} has no certificate that is good")))
    } else {
        Ok(serials)
    }
}

/// Somebody by his name; a gateway's may be written without `gw/`.
fn somebody(text: &str) -> Result<Identity, String> {
    text.parse().or_else(|why: hangtag_protocol::identity::IdentityError| {
        format!("gw/{text}").parse().map_err(|_| why.to_string())
    })
}

fn host(text: &str) -> Result<String, NoPlace> {
    place(text, 1).map(|_| text.to_owned())
}
