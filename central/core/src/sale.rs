//! What a till sold and took back, and what was counted on the floor and in the back room. Enters: the fields of a
//! line or a count, each already read. Leaves: a checked line or count, or which field cannot be and why.
//!
//! A line's key is its shop, receipt, number and kind. Where a line names both a tag and a product, they agree; a
//! line that names a tag whose EPC is an SGTIN is of that product.

use alloc::string::String;
use core::fmt;
use core::num::NonZeroU32;

use hangtag_protocol::clock::UnixMillis;
use hangtag_protocol::epc::{Epc, Gtin};

/// The longest receipt number, in characters.
pub const MAX_RECEIPT: usize = 64;
/// The most pieces that one line or one count has.
pub const MAX_QUANTITY: u32 = 1_000_000;
/// The largest price of a line, in the currency's minor unit: what a JSON number holds exactly in every program.
pub const MAX_AMOUNT: i64 = 9_007_199_254_740_991;
/// The earliest and the latest time of a line or a count, in Unix milliseconds: the years 2000 to 2099. What is
/// outside was written with another unit, or by a clock that was never set.
pub const TIMES: core::ops::RangeInclusive<i64> = 946_684_800_000..=4_102_444_799_999;

/// One line of a receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The receipt; unique in its shop for ever.
    pub receipt: Receipt,
    /// The line's number on it.
    pub line: u32,
    /// When it was paid.
    pub at: UnixMillis,
    /// Whether goods left the shop or came back.
    pub kind: Kind,
    /// Which goods.
    pub goods: Goods,
    /// How many of them: 1 to [`MAX_QUANTITY`], and 1 where they are named by a tag.
    pub quantity: NonZeroU32,
    /// What was paid for the line, or paid back.
    pub price: Option<Price>,
}

/// What a line does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A shopper bought.
    Sale,
    /// A shopper brought back.
    Return,
}

/// How many of a product there were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StockCount {
    /// The product.
    pub gtin: Gtin,
    /// Where.
    pub place: Place,
    /// When they were counted.
    pub at: UnixMillis,
    /// How many: 0 to [`MAX_QUANTITY`].
    pub quantity: u32,
}

/// What part of a shop a count is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Where shoppers are.
    Floor,
    /// Where they are not.
    BackRoom,
    /// Both together.
    All,
}

/// The number of a receipt: 1 to [`MAX_RECEIPT`] characters, none of them a control character, and no space at
/// either end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Receipt(String);

/// A product, a tag, or a tag with its product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Goods {
    gtin: Option<Gtin>,
    epc: Option<Epc>,
}

/// An amount of money.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Price {
    /// How much, in the currency's minor unit: 0 to [`MAX_AMOUNT`].
    pub minor: i64,
    /// Of what.
    pub currency: Currency,
}

/// The alphabetic code of a currency, as ISO 4217 gives them: three letters A to Z.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency([u8; 3]);

/// Why fields make no line and no count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SaleError {
    /// The text is empty, too long, or has characters that no receipt has.
    #[error(
        "is not a receipt number: 1 to {MAX_RECEIPT} characters, no control characters, no space at an end"
    )]
    Receipt,
    /// Neither a tag nor a product is named.
    #[error("neither gtin nor epc is given")]
    NoGoods,
    /// The tag is of another product.
    #[error("the tag is of product {of}, the line is of {line}")]
    OtherProduct {
        /// What the tag says.
        of: Gtin,
        /// What the line says.
        line: Gtin,
    },
    /// A tag is on one piece.
    #[error("is {0}, but the line names a tag, which is on one piece")]
    PiecesOfTag(u32),
    /// No pieces, or too many.
    #[error("is not a number of pieces from 1 to {MAX_QUANTITY}")]
    Pieces,
    /// Too many pieces.
    #[error("is not a count from 0 to {MAX_QUANTITY}")]
    Count,
    /// Not in this century.
    #[error("is not between the years 2000 and 2099")]
    Time,
    /// Not three letters.
    #[error("is not a currency: three letters A to Z, like EUR")]
    Currency,
    /// The price is no plain decimal number.
    #[error("is not a price: a number that is not negative, like 39.90")]
    Amount,
    /// The price is finer than its currency.
    #[error("has {found} decimals; {currency} has {right}")]
    Decimals {
        /// The currency.
        currency: Currency,
        /// How many it has.
        right: u8,
        /// How many were written.
        found: usize,
    },
}

impl Line {
    /// The product, where it is known.
    #[must_use]
    pub fn gtin(&self) -> Option<Gtin> {
        self.goods.gtin
    }

    /// The tag, where the till read it.
    #[must_use]
    pub fn epc(&self) -> Option<Epc> {
        self.goods.epc
    }
}

impl Kind {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::Sale, Self::Return];

    /// Its name in messages, files and tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sale => "sale",
            Self::Return => "return",
        }
    }
}

impl Place {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Floor, Self::BackRoom, Self::All];

    /// Its name in messages, files and tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::BackRoom => "back_room",
            Self::All => "all",
        }
    }
}

impl Receipt {
    /// Checks a text.
    ///
    /// # Errors
    /// When it cannot be a receipt's number.
    pub fn new(text: &str) -> Result<Self, SaleError> {
        let fits = (1..=MAX_RECEIPT).contains(&text.chars().count());
        if !fits || text.trim() != text || text.chars().any(char::is_control) {
            return Err(SaleError::Receipt);
        }
        Ok(Self(text.into()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Goods {
    /// Brings together what a line says of its goods. The product of a tag is filled in.
    ///
    /// # Errors
    /// When the line names nothing, or a tag of another product.
    pub fn new(gtin: Option<Gtin>, epc: Option<Epc>) -> Result<Self, SaleError> {
        let of_tag = epc.and_then(|epc| epc.sgtin()).map(|sgtin| sgtin.gtin());
        match (gtin, of_tag) {
            (Some(line), Some(of)) if line != of => Err(SaleError::OtherProduct { of, line }),
            (None, None) if epc.is_none() => Err(SaleError::NoGoods),
            _ => Ok(Self { gtin: gtin.or(of_tag), epc }),
        }
    }

    /// The product; none for a tag that is no SGTIN and of which nothing else is known.
    #[must_use]
    pub fn gtin(&self) -> Option<Gtin> {
        self.gtin
    }

    /// The tag.
    #[must_use]
    pub fn epc(&self) -> Option<Epc> {
        self.epc
    }

    /// Checks how many of these goods a line can have.
    ///
    /// # Errors
    /// When it is none, too many, or more than one with the same tag.
    pub fn pieces(&self, quantity: u32) -> Result<NonZeroU32, SaleError> {
        match NonZeroU32::new(quantity).filter(|_| quantity <= MAX_QUANTITY) {
            None => Err(SaleError::Pieces),
            Some(_) if quantity > 1 && self.epc.is_some() => Err(SaleError::PiecesOfTag(quantity)),
            Some(pieces) => Ok(pieces),
        }
    }
}

/// Checks when a line was paid or a count was made.
///
/// # Errors
/// When it is not in [`TIMES`].
pub fn time(at: UnixMillis) -> Result<UnixMillis, SaleError> {
    if TIMES.contains(&at.0) { Ok(at) } else { Err(SaleError::Time) }
}

impl Price {
    /// Reads a decimal number with a point, such as `39.90`. It may have fewer decimals than the currency, and
    /// zeros beyond them.
    ///
    /// # Errors
    /// When it is no number, negative, too large, or finer than the currency's minor unit.
    pub fn parse(text: &str, currency: Currency) -> Result<Self, SaleError> {
        let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(decimals) {
            return Err(SaleError::Amount);
        }
        let decimals = decimals.trim_end_matches('0');
        let right = currency.decimals();
        if decimals.len() > usize::from(right) {
            return Err(SaleError::Decimals { currency, right, found: decimals.len() });
        }
        let zeros = core::iter::repeat_n('0', usize::from(right) - decimals.len());
        let minor = whole.chars().chain(decimals.chars()).chain(zeros).try_fold(0_i64, |minor, digit| {
            minor.checked_mul(10)?.checked_add(i64::from(digit.to_digit(10)?))
        });
        let minor = minor.filter(|minor| *minor <= MAX_AMOUNT).ok_or(SaleError::Amount)?;
        Ok(Self { minor, currency })
    }
}

impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimals = usize::from(self.currency.decimals());
        let unit = 10_i64.pow(self.currency.decimals().into());
        write!(f, "{}", self.minor / unit)?;
        if decimals > 0 {
            write!(f, ".{:0decimals$}", self.minor % unit)?;
        }
        write!(f, " {}", self.currency)
    }
}

impl Currency {
    /// Checks a text.
    ///
    /// # Errors
    /// When it is not three letters A to Z.
    pub fn new(text: &str) -> Result<Self, SaleError> {
        match <[u8; 3]>::try_from(text.as_bytes()) {
            Ok(code) if code.iter().all(u8::is_ascii_uppercase) => Ok(Self(code)),
            _ => Err(SaleError::Currency),
        }
    }

    /// The code.
    #[must_use]
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(&self.0).expect("letters")
    }

    /// How many decimals its amounts have (ISO 4217, list one, column "Minor unit"): 2 for all that are not listed.
    #[must_use]
    pub fn decimals(self) -> u8 {
        match &self.0 {
            b"BIF" | b"CLP" | b"DJF" | b"GNF" | b"ISK" | b"JPY" | b"KMF" | b"KRW" | b"PYG" | b"RWF"
            | b"UGX" | b"UYI" | b"VND" | b"VUV" | b"XAF" | b"XOF" | b"XPF" => 0,
            b"BHD" | b"IQD" | b"JOD" | b"KWD" | b"LYD" | b"OMR" | b"TND" => 3,
            b"CLF" | b"UYW" => 4,
            _ => 2,
        }
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use proptest::prelude::*;

    const TAG: &str = "3074257bf7194e4000001a85";
    const OF_TAG: &str = "80614141123458";
    const OTHER: &str = "4006381333931";

    fn price(text: &str, currency: &str) -> Result<i64, SaleError> {
        Price::parse(text, Currency::new(currency).unwrap()).map(|price| price.minor)
    }

    #[test]
    fn a_tag_and_a_product_agree() {
        let (tag, of, other) =
            (Epc::from_hex(TAG).unwrap(), Gtin::new(OF_TAG).unwrap(), Gtin::new(OTHER).unwrap());
        assert_eq!(Goods::new(None, Some(tag)).unwrap().gtin(), Some(of));
        assert_eq!(Goods::new(Some(of), Some(tag)).unwrap().epc(), Some(tag));
        assert_eq!(Goods::new(Some(other), Some(tag)), Err(SaleError::OtherProduct { of, line: other }));
        assert_eq!(Goods::new(None, None), Err(SaleError::NoGoods));
        // A tag that says nothing of its product is of the one that the till says.
        let own = Epc::from_hex("e28068900000500e88c6a4a7").unwrap();
        assert_eq!(Goods::new(Some(other), Some(own)).unwrap().gtin(), Some(other));
        assert_eq!(Goods::new(None, Some(own)).unwrap().gtin(), None);
    }

    #[test]
    fn a_tag_is_on_one_piece() {
        let product = Goods::new(Some(Gtin::new(OTHER).unwrap()), None).unwrap();
        let tag = Goods::new(None, Some(Epc::from_hex(TAG).unwrap())).unwrap();
        assert_eq!(product.pieces(MAX_QUANTITY).map(NonZeroU32::get), Ok(MAX_QUANTITY));
        assert_eq!(product.pieces(MAX_QUANTITY + 1), Err(SaleError::Pieces));
        assert_eq!(product.pieces(0), Err(SaleError::Pieces));
        assert_eq!(tag.pieces(1).map(NonZeroU32::get), Ok(1));
        assert_eq!(tag.pieces(2), Err(SaleError::PiecesOfTag(2)));
    }

    #[test]
    fn prices_are_exact_in_every_currency() {
        assert_eq!(price("39.90", "EUR"), Ok(3_990));
        assert_eq!(price("39.9", "EUR"), Ok(3_990));
        assert_eq!(price("39", "EUR"), Ok(3_900));
        assert_eq!(price("39.9000", "EUR"), Ok(3_990));
        assert_eq!(price("4500", "JPY"), Ok(4_500));
        assert_eq!(price("4500.0", "JPY"), Ok(4_500));
        assert_eq!(price("1.234", "KWD"), Ok(1_234));
        let euro = Currency::new("EUR").unwrap();
        assert_eq!(price("39.905", "EUR"), Err(SaleError::Decimals { currency: euro, right: 2, found: 3 }));
        for wrong in ["", "-1", "+1", "1e3", "1,5", ".5", "5.", "1.2.3", "99999999999999999999", "٣"] {
            assert_eq!(price(wrong, "EUR"), Err(SaleError::Amount), "{wrong}");
        }
    }

    #[test]
    fn receipts_currencies_and_times_are_checked() {
        assert_eq!(Receipt::new("T1/2026-11-22/0042").unwrap().as_str(), "T1/2026-11-22/0042");
        for wrong in ["", " 1", "1\n2", &"9".repeat(65)] {
            assert_eq!(Receipt::new(wrong), Err(SaleError::Receipt), "{wrong:?}");
        }
        for wrong in ["", "eur", "EURO", "E1R"] {
            assert_eq!(Currency::new(wrong), Err(SaleError::Currency), "{wrong:?}");
        }
        assert_eq!(time(UnixMillis(1_700_000_000)), Err(SaleError::Time), "seconds, not milliseconds");
        assert!(time(UnixMillis(1_700_000_000_000)).is_ok());
    }

    proptest! {
        #[test]
        fn a_price_is_read_as_it_is_shown(minor in 0..=MAX_AMOUNT, currency in prop::sample::select(&["EUR", "JPY", "KWD", "CLF"][..])) {
            let shown = Price { minor, currency: Currency::new(currency).unwrap() }.to_string();
            let (amount, shown_currency) = shown.split_once(' ').unwrap();
            prop_assert_eq!(shown_currency, currency);
            prop_assert_eq!(price(amount, currency), Ok(minor));
        }
    }
}
