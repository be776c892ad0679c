//! How wide a text will be, without a font. Enters: a text. Leaves: user units, rather too many than too few.

use unicode_width::UnicodeWidthStr as _;

/// Size of the writing in drawings, as `templates/chart.css` has it.
const SIZE: f64 = 12.0;
/// Width of a Latin letter or digit as a share of the size; a Chinese one counts twice.
const LETTER: f64 = 0.64;
/// Stands for what was cut off.
const CUT: char = '…';

/// The width of a text in user units.
pub(super) fn width(text: &str) -> f64 {
    text.width() as f64 * SIZE * LETTER
}

/// The text, cut so that it is at most so wide.
pub(super) fn cut(text: &str, room: f64) -> String {
    if width(text) <= room {
        return text.into();
    }
    let mut short = String::new();
    for letter in text.chars() {
        short.push(letter);
        if width(&short) + width("…") > room {
            short.pop();
            break;
        }
    }
    let mut short = short.trim_end().to_owned();
    short.push(CUT);
    short
}

/// Which of evenly spaced labels are shown so that none runs into the next: every so manieth, from the first.
pub(super) fn every(labels: impl Iterator<Item = f64>, room: f64) -> usize {
    let widest = labels.fold(0.0, f64::max);
    let needed = ((widest + SIZE * LETTER * 2.0) / room.max(0.1)).ceil();
    // Bounded, and never 0: a width is neither negative nor without end.
    (needed as usize).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chinese_is_twice_as_wide_and_cuts_say_so() {
        assert!((width("试穿") - width("abcd")).abs() < 0.01);
        assert_eq!(cut("Linen shirt", 100.0), "Linen shirt");
        assert_eq!(cut("Linen shirt", 54.0), "Linen…");
        assert_eq!(cut("亚麻衬衫", 32.0), "亚…");
        assert_eq!(cut("Linen", 0.0), "…");
    }

    #[test]
    fn labels_are_thinned_until_they_fit() {
        let labels = || ["10:00", "11:00"].iter().map(|text| width(text));
        assert_eq!(every(labels(), 60.0), 1);
        assert_eq!(every(labels(), 20.0), 3);
        assert_eq!(every(std::iter::empty(), 20.0), 1);
    }
}
