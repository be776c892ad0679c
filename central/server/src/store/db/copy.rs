//! Rows as PostgreSQL's COPY takes them in its binary form. Enters: rows. Leaves: bytes.
//!
//! ```text
//!  0  11  PGCOPY \n \xff \r \n \0
//! 11   4  flags, 0
//! 15   4  bytes of extensions, 0
//! then per row    2  columns, and per column  4  bytes that follow, or -1: absent
//! at the end      2  -1
//! ```

use std::io::Cursor;

use super::Bind;
use super::postgres::text_of_postgres;

/// So many bytes are sent at once, about.
const ENOUGH: usize = 4 << 20;

/// Rows of one table.
pub(super) struct Rows {
    /// The table.
    pub table: String,
    bytes: Vec<u8>,
}

impl Rows {
    /// None yet.
    pub(super) fn of(table: &str) -> Self {
        let mut bytes = b"PGCOPY\n\xff\r\n\0".to_vec();
        bytes.extend_from_slice(&[0; 8]);
        Self { table: table.to_owned(), bytes }
    }

    /// Adds one.
    pub(super) fn add<const COLUMNS: usize>(&mut self, row: &[Bind<'_>; COLUMNS]) {
        let columns = i16::try_from(COLUMNS).expect("tables have few columns");
        self.bytes.extend_from_slice(&columns.to_be_bytes());
        for bind in row {
            match bind {
                Bind::Int(Some(number)) => self.field(&number.to_be_bytes()),
                Bind::Real(Some(number)) => self.field(&number.to_be_bytes()),
                Bind::Text(Some(text)) => self.field(text_of_postgres(text).as_bytes()),
                Bind::Bytes(Some(bytes)) => self.field(bytes),
                Bind::Int(None) | Bind::Real(None) | Bind::Text(None) | Bind::Bytes(None) => {
                    self.bytes.extend_from_slice(&(-1i32).to_be_bytes());
                }
            }
        }
    }

    fn field(&mut self, value: &[u8]) {
        let length = i32::try_from(value.len()).expect("values are of batches, which have 64 KiB");
        self.bytes.extend_from_slice(&length.to_be_bytes());
        self.bytes.extend_from_slice(value);
    }

    /// Whether they should be sent before more are added.
    pub(super) fn are_enough(&self) -> bool {
        self.bytes.len() >= ENOUGH
    }

    /// All of them, as they are sent.
    pub(super) fn packed(mut self) -> Cursor<Vec<u8>> {
        self.bytes.extend_from_slice(&(-1i16).to_be_bytes());
        Cursor::new(self.bytes)
    }
}
