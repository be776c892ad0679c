//! The order of sizes. Enters: sizes as catalogues write them. Leaves: which comes first on a page.
//!
//! Letters come first, from the smallest: `XXS XS S S/M M L XL 2XL XXXL`. Then numbers: `30`, `30/32`, `W30 L34`,
//! `38`, `38.5`, `38½`; then everything else by its text, and no size last. Two texts that mean the same size, such as
//! `XXL` and `2XL`, stand side by side.

use alloc::string::String;
use core::cmp::Ordering;

/// Compares two sizes; equal are only equal texts.
#[must_use]
pub fn compare(a: &str, b: &str) -> Ordering {
    rank(a).cmp(&rank(b)).then_with(|| a.cmp(b))
}

/// Where a size stands. Ranks derive their order: earlier variants come first.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// Steps from M, of the smaller and the larger of the two where a garment is for both.
    Letters(i64, i64),
    /// The first number and, where there is one, the second, in hundredths.
    Numbers(i64, Option<i64>),
    Text(String),
    None,
}

fn rank(size: &str) -> Rank {
    let text = size.trim().to_uppercase();
    if text.is_empty() {
        return Rank::None;
    }
    let (first, second) = text.split_once(['/', '-']).unwrap_or((&text, &text));
    if let (Some(first), Some(second)) = (letters(first.trim()), letters(second.trim())) {
        return Rank::Letters(first, second);
    }
    let (first, second) = {
        let mut numbers = numbers(&text);
        (numbers.next(), numbers.next())
    };
    first.map_or(Rank::Text(text), |first| Rank::Numbers(first, second))
}

/// Steps from M: `S` is -1, `XS` and `1XS` are -2, `3XL` is 4.
fn letters(text: &str) -> Option<i64> {
    let (more, step) = match text.strip_suffix('S') {
        Some(more) => (more, -1),
        None => match text.strip_suffix('L') {
            Some(more) => (more, 1),
            None => return (text == "M").then_some(0),
        },
    };
    let (count, x) = (more.trim_end_matches('X'), more.trim_start_matches(|c: char| c.is_ascii_digit()));
    if !x.bytes().all(|b| b == b'X') || !count.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let more = match (count, x.len()) {
        ("", letters) => i64::try_from(letters).ok()?,
        // 2XL has one X, which the number counts.
        (count, 1) if count.len() <= 2 => count.parse().ok()?,
        _ => return None,
    };
    Some(step * (1 + more))
}

/// The numbers in a text, in hundredths, with a point, a comma or a ½ for halves.
fn numbers(text: &str) -> impl Iterator<Item = i64> {
    let is_number = |c: char| c.is_ascii_digit() || matches!(c, '.' | ',' | '½');
    text.split(move |c| !is_number(c)).filter_map(|number| {
        let (number, half) = number.strip_suffix('½').map_or((number, 0), |number| (number, 50));
        let (whole, decimals) = number.split_once(['.', ',']).unwrap_or((number, ""));
        let whole: u32 = whole.parse().ok()?;
        let mut hundredths = i64::from(whole) * 100 + half;
        for (digit, worth) in decimals.bytes().zip([10, 1]) {
            hundredths += i64::from(char::from(digit).to_digit(10)?) * worth;
        }
        Some(hundredths)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_stand_as_they_do_on_a_rail() {
        let rail = [
            "3XS", "XXS", "xs", "S", "S/M", "M", "M-L", "L", "XL", "2XL", "XXL", "XXXL", "10XL", "4", "28",
            "30", "30/30", "30/32", "W30 L34", "EU 36", "38", "38.25", "38,5", "38½", "39", "104",
            "One size", "PETITE", "XSL", "",
        ];
        for (at, a) in rail.iter().enumerate() {
            for (other, b) in rail.iter().enumerate() {
                assert_eq!(compare(a, b), at.cmp(&other), "{a} and {b}");
            }
        }
        assert_eq!(rank("XXL"), rank("2XL"));
    }

    proptest! {
        #[test]
        fn any_three_texts_have_an_order(texts in prop::array::uniform3("[0-9XSML/ ,½.-]{0,6}")) {
            let [a, b, c] = &texts;
            prop_assert_eq!(compare(a, b), compare(b, a).reverse());
            prop_assert_eq!(compare(a, b) == Ordering::Equal, a == b);
            if compare(a, b).is_le() && compare(b, c).is_le() {
                prop_assert!(compare(a, c).is_le());
            }
        }
    }
}
