//! One MQTT payload: a header that is frozen for ever, then a body of the format that it names.
//!
//! ```text
//!  0   4  magic "HTAG"
//!  4   1  format of the body (1 or 2)
//!  5   1  flags: bit 0 = replayed (sent again after an outage); others are zero and ignored
//!  6   8  epoch, little-endian
//! 14   8  number of the first event, little-endian, at least 1
//! 22   4  how many events, little-endian, at most 65,536; the numbers follow one another
//! 26      tenant, store, gateway: each a length byte (1 to 32) and that many of [a-z0-9-]
//!  …   4  CRC-32C (Castagnoli, as in RFC 3720), little-endian, over everything before it and after it
//!  …      body, to the end of the payload
//! ```
//!
//! Every central of any age reads the header, so that a body it cannot read is still settled. Body
//! format 1 is a postcard struct: the lowest number still held, the lost ranges, the clock anchors of
//! the boots in it, and the events as [`columns::v1`] has them. Format 2 has the
//! [`lineage`](crate::lineage) before the events, and those as [`columns`] have them.

use alloc::vec::Vec;

use crc::{CRC_32_ISCSI, Crc, Table};
use serde::{Deserialize, Serialize};

use crate::clock::ClockAnchor;
use crate::columns::{self, UnpackError};
use crate::event::Event;
use crate::id::{Epoch, GatewayId, NameError, Seq, StoreId, TenantId};
use crate::lineage::Lineage;
use crate::range::SeqRange;
use crate::topic::Gateway;

/// The format that is written. All formats from [`MIN_FORMAT`] to here are read.
pub const FORMAT: u8 = 2;
/// The oldest format that is read. It rises only when no gateway can still hold it.
pub const MIN_FORMAT: u8 = 1;
/// The largest payload, in bytes.
pub const MAX_BYTES: usize = 65_536;
/// The most events that a header may count.
pub const MAX_COUNT: u32 = 65_536;

/// CRC-32C, sixteen bytes at a time.
pub static CRC: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISCSI);

const MAGIC: [u8; 4] = *b"HTAG";
const REPLAYED: u8 = 1;
const CRC_BYTES: usize = 4;

/// What every reader of any age understands of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The format of the body.
    pub format: u8,
    /// Whether the events were sent before or waited out an outage.
    pub replayed: bool,
    /// Who sends.
    pub gateway: Gateway,
    /// The spool's life.
    pub epoch: Epoch,
    /// The number of the first event.
    pub first: Seq,
    /// How many events; their numbers follow one another.
    pub count: u32,
}

impl Header {
    /// The numbers of the events; empty when there are none.
    #[must_use]
    pub fn range(&self) -> SeqRange {
        SeqRange { first: self.first, last: Seq(self.first.0 - 1 + u64::from(self.count)) }
    }
}

/// One MQTT payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Who, which epoch, which numbers.
    pub header: Header,
    /// The lowest number that the agent still holds: everything below is settled or lost.
    pub oldest_held: Seq,
    /// Ranges that the agent had to drop.
    pub lost: Vec<SeqRange>,
    /// The clock anchors of the boots in which the events happened, as far as known.
    pub anchors: Vec<ClockAnchor>,
    /// The runs that wrote the epoch, from the last one on that central is known to have recorded; empty
    /// in format 1.
    pub lineage: Lineage,
    /// The events.
    pub events: Vec<Event>,
}

/// Why a payload is not a batch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// It is larger than a batch may be.
    #[error("{0} bytes; a batch has at most {MAX_BYTES}")]
    TooLarge(usize),
    /// It ends within the header.
    #[error("ends within the header, after {0} bytes")]
    Short(usize),
    /// It does not begin with the magic bytes.
    #[error("begins with \"{}\" and not with \"HTAG\"", .0.escape_ascii())]
    Magic([u8; 4]),
    /// The checksum does not match.
    #[error("CRC-32C is {found:08x}, the header says {expected:08x}")]
    Checksum {
        /// What the header says.
        expected: u32,
        /// What the bytes give.
        found: u32,
    },
    /// An id in the header is not a name.
    #[error("{field} {why}")]
    Name {
        /// Which id.
        field: &'static str,
        /// What is wrong with it.
        why: NameError,
    },
    /// The numbers are impossible.
    #[error("counts {count} events from number {first}")]
    Numbers {
        /// The first number.
        first: u64,
        /// How many.
        count: u32,
    },
}

/// Why the body of a batch with a good header cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The format is newer, or so old that it is not read any more.
    #[error("body format {0}; this program reads {MIN_FORMAT} to {FORMAT}")]
    Format(u8),
    /// The structure does not decode.
    #[error("the body does not decode: {0}")]
    Structure(postcard::Error),
    /// The events do not unpack.
    #[error("events: {0}")]
    Events(#[from] UnpackError),
}

/// The batch would be larger than a payload may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} bytes; a batch has at most {MAX_BYTES}")]
pub struct TooLarge(pub usize);

#[derive(Serialize, Deserialize)]
struct BodyV1<'a> {
    oldest_held: u64,
    lost: Vec<(u64, u64)>,
    anchors: Vec<ClockAnchor>,
    events: &'a [u8],
}

#[derive(Serialize, Deserialize)]
struct BodyV2<'a> {
    oldest_held: u64,
    lost: Vec<(u64, u64)>,
    anchors: Vec<ClockAnchor>,
    lineage: Lineage,
    #[serde(serialize_with = "at_once")]
    events: &'a [u8],
}

/// serde would write bytes one by one; these are the same bytes.
fn at_once<S: serde::Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(bytes)
}

impl Batch {
    /// Writes the payload.
    ///
    /// # Errors
    /// When it would be larger than [`MAX_BYTES`]: send fewer events.
    ///
    /// # Panics
    /// When the header's format is not [`FORMAT`] or its count is not that of the events.
    pub fn encode(&self) -> Result<Vec<u8>, TooLarge> {
        assert_eq!(usize::try_from(self.header.count), Ok(self.events.len()), "the header counts the events");
        self.encode_packed(&columns::pack(self.header.first, &self.events))
    }

    /// Writes the payload with events that are packed already, instead of its own. The header counts them.
    ///
    /// # Errors
    /// When it would be larger than [`MAX_BYTES`]: send fewer events.
    ///
    /// # Panics
    /// When the header's format is not [`FORMAT`].
    pub fn encode_packed(&self, packed: &[u8]) -> Result<Vec<u8>, TooLarge> {
        let header = &self.header;
        assert_eq!(header.format, FORMAT, "only the current format is written");
        let mut out = Vec::with_capacity(256 + packed.len());
        out.extend(MAGIC);
        out.push(header.format);
        out.push(if header.replayed { REPLAYED } else { 0 });
        out.extend(header.epoch.0.to_le_bytes());
        out.extend(header.first.0.to_le_bytes());
        out.extend(header.count.to_le_bytes());
        for name in
            [header.gateway.tenant.as_str(), header.gateway.store.as_str(), header.gateway.gateway.as_str()]
        {
            out.push(u8::try_from(name.len()).expect("a name has at most 32 bytes"));
            out.extend(name.bytes());
        }
        let crc_at = out.len();
        let body = BodyV2 {
            oldest_held: self.oldest_held.0,
            lost: self.lost.iter().map(|range| (range.first.0, range.last.0)).collect(),
            anchors: self.anchors.clone(),
            lineage: self.lineage.clone(),
            events: packed,
        };
        out.extend([0; CRC_BYTES]);
        let mut out = postcard::to_extend(&body, out).expect("numbers and slices always encode");
        let crc = checksum(&out[..crc_at], &out[crc_at + CRC_BYTES..]);
        out[crc_at..crc_at + CRC_BYTES].copy_from_slice(&crc.to_le_bytes());
        if out.len() > MAX_BYTES { Err(TooLarge(out.len())) } else { Ok(out) }
    }

    /// Reads the header and checks the checksum over everything; the body is returned unread.
    ///
    /// # Errors
    /// When the payload is not a batch of any format.
    pub fn decode_header(payload: &[u8]) -> Result<(Header, &[u8]), HeaderError> {
        if payload.len() > MAX_BYTES {
            return Err(HeaderError::TooLarge(payload.len()));
        }
        let mut rest = payload;
        let magic: [u8; 4] = array(&mut rest, payload)?;
        if magic != MAGIC {
            return Err(HeaderError::Magic(magic));
        }
        let [format, flags] = array(&mut rest, payload)?;
        let epoch = Epoch(u64::from_le_bytes(array(&mut rest, payload)?));
        let first = u64::from_le_bytes(array(&mut rest, payload)?);
        let count = u32::from_le_bytes(array(&mut rest, payload)?);
        let tenant = text(&mut rest, payload)?;
        let store = text(&mut rest, payload)?;
        let gateway = text(&mut rest, payload)?;
        let before_crc = &payload[..payload.len() - rest.len()];
        let expected = u32::from_le_bytes(array(&mut rest, payload)?);
        let found = checksum(before_crc, rest);
        if found != expected {
            return Err(HeaderError::Checksum { expected, found });
        }
        let gateway = Gateway {
            tenant: name("tenant", tenant, TenantId::new)?,
            store: name("store", store, StoreId::new)?,
            gateway: name("gateway", gateway, GatewayId::new)?,
        };
        if first == 0 || count > MAX_COUNT || first.checked_add(count.into()).is_none() {
            return Err(HeaderError::Numbers { first, count });
        }
        let first = Seq(first);
        Ok((Header { format, replayed: flags & REPLAYED != 0, gateway, epoch, first, count }, rest))
    }

    /// Reads the body that [`decode_header`](Self::decode_header) returned.
    ///
    /// # Errors
    /// When the format is not known, or the bytes are not that format.
    pub fn decode_body(header: Header, body: &[u8]) -> Result<Self, BodyError> {
        let count = usize::try_from(header.count).expect("at most 65,536");
        let (body, events) = match header.format {
            1 => {
                let BodyV1 { oldest_held, lost, anchors, events } = whole(body)?;
                let unpacked = columns::v1::unpack(header.first, count, events)?;
                (BodyV2 { oldest_held, lost, anchors, lineage: Lineage::default(), events }, unpacked)
            }
            2 => {
                let body: BodyV2<'_> = whole(body)?;
                let unpacked = columns::unpack(header.first, count, body.events)?;
                (body, unpacked)
            }
            format => return Err(BodyError::Format(format)),
        };
        Ok(Self {
            header,
            oldest_held: Seq(body.oldest_held),
            lost: body.lost.into_iter().map(|(first, last)| SeqRange::new(first, last)).collect(),
            anchors: body.anchors,
            lineage: body.lineage,
            events,
        })
    }
}

/// Decodes all of the bytes.
fn whole<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, BodyError> {
    let (body, rest) = postcard::take_from_bytes(body).map_err(BodyError::Structure)?;
    if rest.is_empty() { Ok(body) } else { Err(UnpackError::Rest(rest.len()).into()) }
}

fn checksum(before: &[u8], after: &[u8]) -> u32 {
    let mut digest = CRC.digest();
    digest.update(before);
    digest.update(after);
    digest.finalize()
}

fn array<const N: usize>(rest: &mut &[u8], payload: &[u8]) -> Result<[u8; N], HeaderError> {
    let (head, tail) = rest.split_first_chunk().ok_or(HeaderError::Short(payload.len()))?;
    *rest = tail;
    Ok(*head)
}

fn text<'a>(rest: &mut &'a [u8], payload: &[u8]) -> Result<&'a [u8], HeaderError> {
    let [length] = array(rest, payload)?;
    let (text, tail) = rest.split_at_checked(length.into()).ok_or(HeaderError::Short(payload.len()))?;
    *rest = tail;
    Ok(text)
}

fn name<T>(
    field: &'static str,
    bytes: &[u8],
    parse: impl Fn(&str) -> Result<T, NameError>,
) -> Result<T, HeaderError> {
    let wrong = |why| HeaderError::Name { field, why };
    let text = core::str::from_utf8(bytes).map_err(|why| {
        wrong(NameError::Character { at: why.valid_up_to(), found: char::REPLACEMENT_CHARACTER })
    })?;
    parse(text).map_err(wrong)
}
