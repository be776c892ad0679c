//! Frames around payloads, with good checksums: a fuzzer alone would hardly ever get past them. Enters: what a frame
//! is to hold. Leaves: its bytes. The layouts are drawn in the drivers.

use crc::{CRC_16_GENIBUS, CRC_16_IBM_3740, CRC_16_MCRF4XX, Crc};

/// Longer payloads than a length byte can tell are cut.
fn length(payload: &[u8], most: usize) -> (&[u8], u8) {
    let payload = &payload[..payload.len().min(most)];
    (payload, u8::try_from(payload.len()).expect("at most 255"))
}

/// A message of a ThingMagic module: code, status(2), data.
#[must_use]
pub fn thingmagic(payload: &[u8]) -> Vec<u8> {
    let [code, high, low, data @ ..] = payload else { return payload.to_vec() };
    let (data, length) = length(data, 248);
    let mut frame = vec![0xFF, length, *code, *high, *low];
    frame.extend(data);
    let nibbles = frame[1..].iter().flat_map(|byte| [byte >> 4, byte & 0xF]);
    let crc = nibbles
        .fold(0xFFFF, |crc: u16, nibble| (crc << 4 | u16::from(nibble)) ^ (crc >> 12).wrapping_mul(0x1021));
    frame.extend(crc.to_be_bytes());
    frame
}

/// A message of an R200: type, command, parameters. The first bit of the type says which framing.
#[must_use]
pub fn r200(payload: &[u8]) -> Vec<u8> {
    let [kind, command, parameters @ ..] = payload else { return payload.to_vec() };
    let (head, end) = if kind & 0x80 == 0 { (0xBB, 0x7E) } else { (0xAA, 0xDD) };
    let (parameters, length) = length(parameters, 255);
    let mut frame = vec![head, kind & 3, *command, 0, length];
    frame.extend(parameters);
    frame.push(frame[1..].iter().fold(0, |sum: u8, byte| sum.wrapping_add(*byte)));
    frame.push(end);
    frame
}

/// A reply of a Chafon reader: address, command, status, data.
#[must_use]
pub fn chafon(payload: &[u8]) -> Vec<u8> {
    let (payload, length) = length(payload, 250);
    let mut frame = vec![length + 2];
    frame.extend(payload);
    frame.extend(Crc::<u16>::new(&CRC_16_MCRF4XX).checksum(&frame).to_le_bytes());
    frame
}

/// A message of a receiver of sensor tags: command, payload.
#[must_use]
pub fn ruuvi(payload: &[u8]) -> Vec<u8> {
    let [command, payload @ ..] = payload else { return payload.to_vec() };
    let (payload, length) = length(payload, 255);
    let mut frame = vec![0xCA, length, *command];
    frame.extend(payload);
    let crc = Crc::<u16>::new(&CRC_16_IBM_3740).checksum(&frame[1..]);
    frame.extend(crc.to_le_bytes());
    frame.push(0x0A);
    frame
}

/// A line of a scanner.
#[must_use]
pub fn line(payload: &[u8]) -> Vec<u8> {
    [payload, b"\r\n"].concat()
}

/// What a Gen2 tag sends: protocol control word, EPC, checksum.
#[must_use]
pub fn tag(epc: &[u8]) -> Vec<u8> {
    let words = u16::try_from(epc.len().div_ceil(2)).expect("short");
    let mut sent = (words << 11).to_be_bytes().to_vec();
    sent.extend(epc);
    sent.extend(Crc::<u16>::new(&CRC_16_GENIBUS).checksum(&sent).to_be_bytes());
    sent
}
