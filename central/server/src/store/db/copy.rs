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

/// Packs rows. None when there are none, or one is too large.
pub(super) fn pack<const COLUMNS: usize>(rows: &[[Bind<'_>; COLUMNS]]) -> Option<Cursor<Vec<u8>>> {
    let mut bytes = Vec::with_capacity(rows.len().checked_mul(ROW)?);
    bytes.extend_from_slice(b"PGCOPY\n\xff\r\n\0");
    bytes.extend_from_slice(&[0; 8]);
    for row in rows {
        bytes.extend_from_slice(&i16::try_from(COLUMNS).ok()?.to_be_bytes());
        for bind in row {
            match bind {
                Bind::Int(Some(number)) => field(&mut bytes, &number.to_be_bytes())?,
                Bind::Real(Some(number)) => field(&mut bytes, &number.to_be_bytes())?,
                Bind::Text(Some(text)) => field(&mut bytes, text_of_postgres(text).as_bytes())?,
                Bind::Bytes(Some(blob)) => field(&mut bytes, blob)?,
                Bind::Int(None) | Bind::Real(None) | Bind::Text(None) | Bind::Bytes(None) => {
                    bytes.extend_from_slice(&(-1i32).to_be_bytes());
                }
            }
        }
    }
    bytes.extend_from_slice(&(-1i16).to_be_bytes());
    (!rows.is_empty()).then(|| Cursor::new(bytes))
}

fn field(bytes: &mut Vec<u8>, value: &[u8]) -> Option<()> {
    bytes.extend_from_slice(&i32::try_from(value.len()).ok()?.to_be_bytes());
    bytes.extend_from_slice(value);
    Some(())
}

/// Bytes of a row, about.
const ROW: usize = 320;
