//! A serial barcode scanner in a booth or at a till. Enters: bytes in any chunks. Leaves: what kind of code
//! each line holds. A line ends with CR, LF or both; control bytes around it, such as STX and ETX, are left
//! out. It must never show a loyalty code: not in its debug form, not in an error.
//!
//! | kind | is |
//! |---|---|
//! | loyalty | a line that one of the shop's own patterns describes; checked first |
//! | product | EAN-8, UPC-A, EAN-13 or GTIN-14 with a right check digit; a GS1 Digital Link; a GS1 element string |
//! | unknown | everything else, numbers that GS1 leaves to shops among it, and longer codes than can be sealed: its content is not told, as it may be a loyalty code that no pattern describes |

pub mod loyalty;

use alloc::vec::Vec;

use hangtag_protocol::clock::Uptime;
use hangtag_protocol::epc::Gtin;
use hangtag_protocol::scan::MAX_CODE;

use super::{Message, Scan};
pub use loyalty::{LoyaltyCode, LoyaltyPattern, PatternError};

/// The longest line that is taken, in bytes: a Digital Link with all its attributes is half of it.
const LONGEST: usize = 512;

/// What a scanner read, once.
#[derive(Debug, PartialEq, Eq)]
pub struct Scanned {
    /// When the gateway received it.
    pub at: Uptime,
    /// What it is.
    pub code: Code,
}

/// What a scanned code is.
#[derive(Debug, PartialEq, Eq)]
pub enum Code {
    /// A shopper's own.
    Loyalty(LoyaltyCode),
    /// A product's.
    Product(Gtin),
    /// Not to be told what.
    Unknown,
}

/// The lines of one scanner.
#[derive(Debug)]
pub(super) struct Lines {
    loyalty: Vec<LoyaltyPattern>,
    /// The line that is coming in is too long: its rest is skipped too.
    overlong: bool,
}

impl Lines {
    pub(super) fn new(loyalty: Vec<LoyaltyPattern>) -> Self {
        Self { loyalty, overlong: false }
    }

    /// Looks for a line at the start of `bytes`.
    pub(super) fn scan(&mut self, bytes: &[u8]) -> Scan {
        match bytes.iter().position(|byte| is_end(*byte)) {
            None if self.overlong || bytes.len() > LONGEST => {
                self.overlong = true;
                Scan::Garbage(bytes.len())
            }
            None => Scan::More,
            Some(end) => {
                let overlong = core::mem::take(&mut self.overlong) || end > LONGEST;
                let good = !overlong && text(&bytes[..end]).is_some();
                // The second byte of CR LF ends an empty line, which is none.
                if good || end == 0 && !overlong { Scan::Frame(end + 1) } else { Scan::Garbage(end + 1) }
            }
        }
    }

    /// Whether the rest of a line is skipped.
    pub(super) fn waits(&self) -> bool {
        self.overlong
    }

    /// What comes next is a new line.
    pub(super) fn begin_anew(&mut self) {
        self.overlong = false;
    }

    /// What a line with its end says.
    pub(super) fn message(&self, line: &[u8]) -> Option<Message> {
        let (_end, line) = line.split_last()?;
        text(line).map(|text| Message::Scanned(self.code(text)))
    }

    fn code(&self, text: &str) -> Code {
        let (symbology, text) = symbology(text);
        if self.loyalty.iter().any(|pattern| pattern.describes(text)) {
            return if text.len() <= MAX_CODE {
                Code::Loyalty(LoyaltyCode::new(text))
            } else {
                Code::Unknown
            };
        }
        let gtin = match symbology {
            // GS1-128, GS1 DataBar, GS1 DataMatrix, GS1 QR: application identifier 01 stands first.
            Some("]C1" | "]e0" | "]d2" | "]Q3") => text.strip_prefix("01").and_then(|rest| rest.get(..14)),
            _ => None,
        };
        let gtin = gtin.or_else(|| digital_link(text)).unwrap_or(text);
        match Gtin::new(gtin) {
            Ok(gtin) if !is_for_shops_own_use(gtin) => Code::Product(gtin),
            Ok(_) | Err(_) => Code::Unknown,
        }
    }
}

fn is_end(byte: u8) -> bool {
    byte == b'\r' || byte == b'\n'
}

/// The text between the control bytes around it; `None` when it is empty or holds anything but printable
/// ASCII and the separator of GS1 element strings.
fn text(line: &[u8]) -> Option<&str> {
    let start = line.iter().position(|byte| !byte.is_ascii_control())?;
    let end = line.iter().rposition(|byte| !byte.is_ascii_control())?;
    let text = &line[start..=end];
    let printable = text.iter().all(|byte| matches!(byte, b' '..=b'~' | 0x1D));
    core::str::from_utf8(text).ok().filter(|_| printable)
}

/// Splits off the AIM symbology identifier that some scanners are set to send: `]`, a letter, a character.
fn symbology(text: &str) -> (Option<&str>, &str) {
    match text.as_bytes() {
        [b']', b'A'..=b'Z' | b'a'..=b'z', modifier, ..] if modifier.is_ascii_alphanumeric() => {
            let (symbology, text) = text.split_at(3);
            (Some(symbology), text)
        }
        _ => (None, text),
    }
}

/// The GTIN in a GS1 Digital Link: a web address with `/01/` and the number in its path.
fn digital_link(text: &str) -> Option<&str> {
    let (scheme, rest) = text.split_once("://")?;
    if !(scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("http")) {
        return None;
    }
    let path = rest.split(['?', '#']).next()?;
    let (_, behind) = path.split_once("/01/")?;
    behind.split('/').next()
}

/// Prefixes that GS1 leaves to shops and coupons: such a number names no product outside its shop, and may
/// be a loyalty card (GS1 General Specifications, section 1.4).
fn is_for_shops_own_use(gtin: Gtin) -> bool {
    let digits = gtin.number() % 10u64.pow(13);
    if digits < 10u64.pow(8) {
        return matches!(digits / 10u64.pow(5), 0..=99 | 200..=299);
    }
    matches!(digits / 10u64.pow(10), 20..=29 | 40..=49 | 200..=299 | 980..=999)
}

#[cfg(test)]
mod tests;
