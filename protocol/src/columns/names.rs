//! Names of zones and readers. Enters: names. Leaves: decisions; a name is spelled out once, where it is
//! met first.
//!
//! ```text
//! spelling   characters shared with the start of the name spelled out before, reader or zone: number
//!            characters after those: number; one less if none is shared, for there must be one
//!            each of them: tree of 6 bits, by the character before: none or - comes first, then a digit,
//!            then a letter; - is 0, the digits are 1 to 10, the letters 11 to 36
//! ```

use alloc::string::String;

use super::UnpackError;
use super::coder::Coder;
use super::model::Model;
use super::place;
use crate::id::MAX_NAME;

/// The name that was spelled out last.
#[derive(Default)]
pub(super) struct Speller {
    last: String,
}

impl Speller {
    /// Spells a name out. The result is a name, whatever is read.
    pub(super) fn spell<C: Coder>(
        &mut self,
        model: &mut Model<C>,
        column: &'static str,
        name: Option<&str>,
    ) -> Result<&str, UnpackError> {
        let given = name.unwrap_or("");
        let alike = self.last.bytes().zip(given.bytes()).take_while(|(a, b)| a == b).count();
        let shared = model.number(place::SHARED, alike as u64);
        let keep = usize::try_from(shared).ok().filter(|n| *n <= self.last.len());
        let keep = keep.ok_or(UnpackError::Value { column, value: shared })?;
        let least = usize::from(keep == 0);
        let more = model.number(place::MORE, given.len().saturating_sub(keep + least) as u64);
        let length = usize::try_from(more).ok().and_then(|more| more.checked_add(keep + least));
        let length = length.filter(|n| *n <= MAX_NAME).ok_or(UnpackError::Value { column, value: more })?;
        self.last.truncate(keep);
        while self.last.len() < length {
            let at = self.last.len();
            let before = match self.last.as_bytes().last() {
                None | Some(b'-') => 0,
                Some(b'0'..=b'9') => 1,
                Some(_) => 2,
            };
            let letter = given.as_bytes().get(at).map_or(0, |letter| number(*letter));
            let letter = model.tree(place::LETTER + before * 63, 6, letter);
            let known = LETTERS.get(letter as usize).ok_or(UnpackError::Value { column, value: letter })?;
            self.last.push(char::from(*known));
        }
        Ok(&self.last)
    }
}

const LETTERS: &[u8; 37] = b"-0123456789abcdefghijklmnopqrstuvwxyz";

fn number(letter: u8) -> u64 {
    let place = LETTERS.iter().position(|known| *known == letter);
    place.expect("a name has no other characters") as u64
}
