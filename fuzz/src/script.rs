//! A conversation out of a fuzzer's bytes. Enters: bytes. Leaves: what comes in at a line, and when.
//!
//! ```text
//! choice(1), then pieces: how(1) length(1) bytes
//!    how mod 4   0 the bytes   1 a frame that holds them   2 a known frame, by the first byte
//!                3 time passes: the first byte, squared, in milliseconds
//! ```
//!
//! Any bytes are a script: what is missing at the end is left out.

/// What happens at a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Bytes come in.
    Bytes(Vec<u8>),
    /// Nothing comes in for so many milliseconds, 0 to 65,025.
    Pause(u64),
}

/// A conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// What a target may choose by.
    pub choice: u8,
    /// What happens, in turn.
    pub pieces: Vec<Piece>,
}

impl Script {
    /// Reads a script. `seal` frames a payload; `known` are whole frames.
    #[must_use]
    pub fn new(bytes: &[u8], seal: fn(&[u8]) -> Vec<u8>, known: &[Vec<u8>]) -> Self {
        let (&choice, mut rest) = bytes.split_first().unwrap_or((&0, &[]));
        let mut pieces = Vec::new();
        while let [how, length, tail @ ..] = rest {
            let (bytes, tail) = tail.split_at(tail.len().min(usize::from(*length)));
            rest = tail;
            let first = bytes.first().copied().unwrap_or_default();
            pieces.push(match how % 4 {
                0 => Piece::Bytes(bytes.to_vec()),
                1 => Piece::Bytes(seal(bytes)),
                2 if !known.is_empty() => Piece::Bytes(known[usize::from(first) % known.len()].clone()),
                2 => Piece::Bytes(Vec::new()),
                _ => Piece::Pause(u64::from(first).pow(2)),
            });
        }
        Self { choice, pieces }
    }

    /// A script whose pieces are these bytes as they are.
    #[must_use]
    pub fn of_bytes(choice: u8, pieces: &[&[u8]]) -> Vec<u8> {
        let mut script = vec![choice];
        for piece in pieces.iter().flat_map(|piece| piece.chunks(255)) {
            script.extend([0, u8::try_from(piece.len()).expect("a chunk")]);
            script.extend(piece);
        }
        script
    }

    /// A script whose pieces are frames that hold these payloads.
    #[must_use]
    pub fn of_payloads(choice: u8, payloads: &[&[u8]]) -> Vec<u8> {
        let mut script = vec![choice];
        for payload in payloads {
            let payload = &payload[..payload.len().min(255)];
            script.extend([1, u8::try_from(payload.len()).expect("cut")]);
            script.extend(payload);
        }
        script
    }

    /// How many bytes come in.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.pieces.iter().map(|piece| if let Piece::Bytes(bytes) = piece { bytes.len() } else { 0 }).sum()
    }
}
