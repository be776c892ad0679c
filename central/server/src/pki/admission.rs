//! Who gets a certificate at the enrolment door. Enters: what a gateway asks for, and what it shows for it: a token, or the
//! certificate that it has. Leaves: its certificate, or why it gets none.

use hangtag_protocol::enrol::{Application, Refusal};
use hangtag_protocol::id::{GatewayId, StoreId};
use hangtag_protocol::identity::Identity;
use hangtag_tls::Certificate;
use jiff::{SignedDuration, Timestamp};
use rand::RngExt as _;
use zeroize::Zeroizing;

use super::PkiError;
use super::authority::{Authority, Order, Signed, fingerprint};
use super::register::{Book, Given, How, Record, Token};
use super::request::{Request, RequestError};

/// How tokens begin, so that they are known where somebody left one.
const TOKEN: &str = "htenrol-";
/// A certificate may be renewed when so much of its life is over: half.
const RENEWED_FROM: i32 = 2;

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Denied {
    /// It is not to have one.
    #[error("{why}")]
    Refused {
        /// For programs.
        refusal: Refusal,
        /// For people.
        why: String,
    },
    /// Central is at fault.
    #[error("{0}")]
    Failed(#[from] PkiError),
}

impl Denied {
    fn new(refusal: Refusal, why: impl Into<String>) -> Self {
        Self::Refused { refusal, why: why.into() }
    }
}

impl From<RequestError> for Denied {
    fn from(why: RequestError) -> Self {
        let refusal = match why {
            RequestError::Unreadable(_) => Refusal::Unreadable,
            RequestError::OtherName { .. } | RequestError::More => Refusal::OtherName,
        };
        Self::new(refusal, why.to_string())
    }
}

impl Authority {
    /// Makes a token that lets a gateway in once. An earlier one that was not used is of no use any more.
    ///
    /// # Errors
    /// When the gateway's name is too long for a certificate, or the register cannot be written.
    pub(crate) fn give_token(
        &self,
        (store, gateway): (StoreId, GatewayId),
        valid: SignedDuration,
        now: Timestamp,
    ) -> Result<(Zeroizing<String>, Token), PkiError> {
        Identity::gateway(store, gateway)?;
        let secret: [u8; 32] = rand::rng().random();
        let text = Zeroizing::new(format!("{TOKEN}{}", *Zeroizing::new(hex::encode(secret))));
        let at = Timestamp::from_second(now.as_second()).unwrap_or(now);
        let token = Token { at, hash: fingerprint(text.as_bytes()), store, gateway, until: at + valid };
        self.register.change(|_| Ok((vec![Record::Token(token.clone())], (text, token))))
    }

    /// Certifies the key of a gateway that shows a token. The same token and the same key get the same certificate again:
    /// the first answer may have been lost on its way.
    ///
    /// # Errors
    /// When the gateway is not to have one, or central cannot sign.
    pub(crate) fn enrol(
        &self,
        application: &Application,
        valid: SignedDuration,
        now: Timestamp,
    ) -> Result<Signed, Denied> {
        let (identity, request) = self.read(application)?;
        let token = application.token.as_deref().unwrap_or_default();
        let hash = fingerprint(token.trim().as_bytes());
        let signer = self.signer()?;
        self.register.change(|book| {
            let given = look_up(book, &hash, application, now)?;
            if let Some(serial) = &given.used {
                let entry = book.certificate(serial);
                let entry = entry.filter(|entry| entry.issued.key == request.fingerprint());
                let used = || Denied::new(Refusal::TokenUsed, "the token was used already; it lets in once");
                let entry = entry.filter(|entry| entry.is_good(now)).ok_or_else(used)?;
                let (issued, pem) = (entry.issued.clone(), self.issued(serial)?);
                return Ok((Vec::new(), Signed { issued, pem }));
            }
            let order = Order { identity, hosts: &[], valid, how: How::Token };
            let signed = self.sign(&signer, &order, &request.key, now)?;
            let (at, serial) = (signed.issued.at, signed.issued.serial.clone());
            let records = vec![Record::Issued(signed.issued.clone()), Record::TokenUsed { at, hash, serial }];
            Ok((records, signed))
        })
    }

    /// Certifies the next key of a gateway that shows the certificate it has.
    ///
    /// # Errors
    /// When the gateway is not to have one, or central cannot sign.
    pub(crate) fn renew(
        &self,
        application: &Application,
        shown: Option<&Certificate>,
        valid: SignedDuration,
        now: Timestamp,
    ) -> Result<Signed, Denied> {
        let missing = || Denied::new(Refusal::NoCertificate, "no certificate was shown: enrol with a token");
        let shown = shown.ok_or_else(missing)?;
        let (identity, request) = self.read(application)?;
        let signer = self.signer()?;
        self.register.change(|book| {
            let unknown = || {
                let why = format!("the certificate {} is in no register: enrol with a token", shown.serial);
                Denied::new(Refusal::NoCertificate, why)
            };
            let entry = book.certificate(&shown.serial).ok_or_else(unknown)?;
            if entry.revoked.is_some() {
                let why = format!("the certificate {} was revoked", shown.serial);
                return Err(Denied::new(Refusal::Revoked, why));
            }
            if entry.issued.identity != identity {
                let why =
                    format!("the certificate shown is that of {}, not {identity}", entry.issued.identity);
                return Err(Denied::new(Refusal::OtherGateway, why));
            }
            let life = entry.issued.until.duration_since(entry.issued.from);
            let first = entry.issued.from + life / RENEWED_FROM;
            if now < first {
                let why = format!("the certificate is renewed from {first} on");
                return Err(Denied::new(Refusal::TooEarly, why));
            }
            let order = Order { identity, hosts: &[], valid, how: How::Renewal };
            let signed = self.sign(&signer, &order, &request.key, now)?;
            Ok((vec![Record::Issued(signed.issued.clone())], signed))
        })
    }

    /// Who asks, and for which key.
    fn read(&self, application: &Application) -> Result<(Identity, Request), Denied> {
        let Application { tenant, store, gateway, csr, .. } = application;
        let own = self.register.book()?.tenant;
        if *tenant != own {
            let why = format!("this is the authority of {own}, not of {tenant}");
            return Err(Denied::new(Refusal::OtherGateway, why));
        }
        let identity = Identity::gateway(*store, *gateway)
            .map_err(|why| Denied::new(Refusal::OtherName, why.to_string()))?;
        Ok((identity, Request::read(csr, identity)?))
    }
}

fn look_up<'b>(
    book: &'b Book,
    hash: &str,
    application: &Application,
    now: Timestamp,
) -> Result<&'b Given, Denied> {
    let unknown = "nobody made this token, or another one was made for the same gateway since";
    let given = book.tokens.get(hash).ok_or_else(|| Denied::new(Refusal::UnknownToken, unknown))?;
    let Token { store, gateway, until, .. } = &given.token;
    if (*store, *gateway) != (application.store, application.gateway) {
        return Err(Denied::new(Refusal::OtherGateway, "the token is another gateway's"));
    }
    if now >= *until {
        let why = format!("the token was good until {until}");
        return Err(Denied::new(Refusal::TokenExpired, why));
    }
    Ok(given)
}
