//! What a key may hold, for the program and in words. Enters: a value of TOML. Leaves: what it means, if it
//! may be held.

use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;

use hangtag_agent_core::intake::{LoyaltyPattern, Mac};
use hangtag_protocol::enrol;
use hangtag_protocol::epc::Epc;
use hangtag_protocol::id::MAX_NAME;
use jiff::tz::TimeZone;
use serde::Deserialize;
use serde::de::value::StrDeserializer;
use toml::de::DeValue;

use crate::enrol::door::Place;

/// What a key may hold.
pub(super) struct Allowed<T> {
    /// After "must be".
    pub(super) words: String,
    pub(super) read: Reading<T>,
}

/// What a value of TOML means; none if it may not be held.
type Reading<T> = Box<dyn Fn(&DeValue<'_>) -> Option<T>>;

impl<T> Allowed<T> {
    fn new(words: impl Into<String>, read: impl Fn(&DeValue<'_>) -> Option<T> + 'static) -> Self {
        Self { words: words.into(), read: Box::new(read) }
    }
}

/// A name: of a store, a zone, a reader.
pub(super) fn name<T: FromStr>() -> Allowed<T> {
    let words = format!("1 to {MAX_NAME} of the characters a-z, 0-9 and -, in quotation marks");
    Allowed::new(words, |value| value.as_str()?.parse().ok())
}

/// A whole number; the range must be one of `T`'s.
pub(super) fn whole<T: TryFrom<i64>>(range: RangeInclusive<i64>) -> Allowed<T> {
    let words = format!("a whole number from {} to {}", range.start(), range.end());
    Allowed::new(words, move |value| {
        let number = i64::from_str_radix(value.as_integer()?.as_str(), value.as_integer()?.radix()).ok()?;
        T::try_from(number).ok().filter(|_| range.contains(&number))
    })
}

/// A number with or without a fraction.
pub(super) fn number(range: RangeInclusive<f64>) -> Allowed<f64> {
    let words = format!("a number from {} to {}", range.start(), range.end());
    Allowed::new(words, move |value| {
        let text = value.as_float().map(|float| float.as_str());
        let text = text.or_else(|| value.as_integer().map(|whole| whole.as_str()))?;
        text.parse().ok().filter(|number| range.contains(number))
    })
}

/// One of the words of an enum.
pub(super) fn one_of<T: for<'d> Deserialize<'d>>() -> Allowed<T> {
    let words = words_of::<T>().iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ");
    Allowed::new(format!("one of {words}"), |value| word(value.as_str()?))
}

/// Yes or no.
pub(super) fn flag() -> Allowed<bool> {
    Allowed::new("true or false, without quotation marks", |value| value.as_bool())
}

/// Text that is not empty.
pub(super) fn text() -> Allowed<String> {
    let read = |value: &DeValue<'_>| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    Allowed::new("text in quotation marks", read)
}

/// A path that is not empty.
pub(super) fn path() -> Allowed<PathBuf> {
    let read = |value: &DeValue<'_>| value.as_str().filter(|text| !text.is_empty()).map(PathBuf::from);
    Allowed::new("a path in quotation marks", read)
}

/// Windows of a week, not yet read.
pub(super) fn windows() -> Allowed<Vec<String>> {
    let words = "a list of windows in quotation marks, as in [\"mon-sat 09:00-20:30\", \"sun 12:00-18:00\"]";
    Allowed::new(words, |value| {
        let windows = value.as_array()?.iter();
        let texts: Option<Vec<String>> =
            windows.map(|text| text.get_ref().as_str().map(str::to_owned)).collect();
        texts.filter(|texts| !texts.is_empty())
    })
}

/// A time zone and its name.
pub(super) fn time_zone() -> Allowed<(TimeZone, String)> {
    Allowed::new("a time zone in quotation marks, as in \"Europe/Paris\"", |value| {
        let name = value.as_str()?;
        TimeZone::get(name).ok().map(|zone| (zone, name.to_owned()))
    })
}

/// The address of a sensor tag.
pub(super) fn mac() -> Allowed<Mac> {
    let words = "six pairs of hexadecimal digits with colons between them, as it is printed on the sensor and as \
                 \"hangtag-agent watch\" shows it, in quotation marks";
    Allowed::new(words, |value| {
        let pairs: Vec<&str> = value.as_str()?.split(':').collect();
        let byte = |pair: &&str| {
            let digits = pair.len() == 2 && pair.bytes().all(|c| c.is_ascii_hexdigit());
            if digits { u8::from_str_radix(pair, 16).ok() } else { None }
        };
        let bytes = pairs.iter().map(byte).collect::<Option<Vec<u8>>>()?;
        Some(Mac(bytes.try_into().ok()?))
    })
}

/// A garment's tag.
pub(super) fn epc() -> Allowed<Epc> {
    let words = "an EPC in hexadecimal, in quotation marks";
    Allowed::new(words, |value| Epc::from_hex(value.as_str()?).ok())
}

/// What loyalty codes look like.
pub(super) fn patterns() -> Allowed<Vec<LoyaltyPattern>> {
    let words = "a list of patterns in quotation marks: characters that stand for themselves, at least one, \
                 # for a digit, ? for a letter or digit, * at the end for any rest";
    Allowed::new(words, |value| {
        let patterns = value.as_array()?.iter();
        patterns.map(|pattern| LoyaltyPattern::new(pattern.get_ref().as_str()?).ok()).collect()
    })
}

/// Where to listen.
pub(super) fn socket() -> Allowed<SocketAddr> {
    let words = "an address with a port in quotation marks, as in \"127.0.0.1:9464\"";
    Allowed::new(words, |value| value.as_str()?.parse().ok())
}

/// The name or address of a machine, and nothing else of a URL.
pub(super) fn host() -> Allowed<String> {
    let words = "a name or an address in quotation marks, without a port, without \"mqtt://\"";
    Allowed::new(words, |value| {
        let text = value.as_str()?;
        let is_address = text.parse::<std::net::IpAddr>().is_ok();
        let is_name =
            !text.is_empty() && !text.contains([':', '/', '@']) && !text.contains(char::is_whitespace);
        (is_address || is_name).then(|| text.to_owned())
    })
}

/// The name or address of a machine, with or without a port.
pub(super) fn place(port: u16) -> Allowed<Place> {
    let words = format!("HOST or HOST:PORT in quotation marks; the port is {port} where none is named");
    Allowed::new(words, move |value| {
        let (host, port) = enrol::place(value.as_str()?, port).ok()?;
        Some(Place { host: host.to_owned(), port })
    })
}

/// What an enum calls a word.
pub(super) fn word<T: for<'d> Deserialize<'d>>(text: &str) -> Option<T> {
    T::deserialize(StrDeserializer::<Refusal>::new(text)).ok()
}

/// The words of an enum.
pub(super) fn words_of<T: for<'d> Deserialize<'d>>() -> &'static [&'static str] {
    // No enum has a word without letters: it answers with those that it has.
    let refused = T::deserialize(StrDeserializer::<Refusal>::new(""));
    refused.err().map_or(&[], |Refusal(words)| words)
}

/// Why an enum refuses a word: it has these.
#[derive(Debug)]
struct Refusal(&'static [&'static str]);

impl serde::de::Error for Refusal {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self(&[])
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self(expected)
    }
}

impl std::error::Error for Refusal {}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "is none of {:?}", self.0)
    }
}
