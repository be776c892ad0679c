//! Lines of a scanner: their ends, their kinds, and what must not be seen of them.

use super::super::Settings;
use super::super::decoder::Decoder;
use super::*;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use proptest::prelude::*;

fn pattern(text: &str) -> LoyaltyPattern {
    LoyaltyPattern::new(text).unwrap()
}

fn decoder() -> Decoder {
    Decoder::new(&Settings::Scanner { loyalty: vec![pattern("LC-????##"), pattern("29*")] })
}

fn scanned(chunks: &[&[u8]]) -> (Vec<Code>, u64) {
    let mut decoder = decoder();
    let mut codes = Vec::new();
    for chunk in chunks {
        decoder.handle_bytes(chunk, |message| match message {
            Message::Scanned(code) => codes.push(code),
            other => panic!("{other:?}"),
        });
    }
    decoder.give_up(|message| panic!("{message:?}"));
    (codes, decoder.garbage())
}

fn product(gtin: &str) -> Code {
    Code::Product(Gtin::new(gtin).unwrap())
}

fn loyalty(code: &str) -> Code {
    Code::Loyalty(LoyaltyCode::new(code))
}

#[test]
fn lines_end_with_cr_or_lf_or_both() {
    for end in ["\r", "\n", "\r\n"] {
        let lines = format!("4006381333931{end}LC-ab1Z09{end}{end}hello{end}");
        let expected = vec![product("4006381333931"), loyalty("LC-ab1Z09"), Code::Unknown];
        assert_eq!(scanned(&[lines.as_bytes()]), (expected, 0), "{end:?}");
    }
    let framed = b"\x024006381333931\x03\r\n";
    assert_eq!(scanned(&[framed]), (vec![product("4006381333931")], 0));
}

#[test]
fn kinds_are_told_apart() {
    for (line, code) in [
        ("96385074", product("96385074")),
        ("036000291452", product("036000291452")),
        ("4006381333931", product("4006381333931")),
        ("80614141123458", product("80614141123458")),
        ("]E04006381333931", product("4006381333931")),
        ("]C10180614141123458", product("80614141123458")),
        ("]d201806141411234582132a/b", product("80614141123458")),
        ("https://id.example.com/01/09521141123454/21/32a?17=271231", product("09521141123454")),
        ("HTTP://SHOP.EXAMPLE/A/01/9521141123454", product("9521141123454")),
        // A wrong check digit, another number of digits, no GTIN in the path, another scheme.
        ("4006381333932", Code::Unknown),
        ("40063813339", Code::Unknown),
        ("https://example.com/10/09521141123454", Code::Unknown),
        ("ftp://example.com/01/09521141123454", Code::Unknown),
        ("https://example.com/?x=/01/09521141123454", Code::Unknown),
        // Without the scanner's word that it is GS1's, the same characters may be anything.
        ("0180614141123458", Code::Unknown),
        // Numbers for a shop's own use: 21, UPC-A of system 4, EAN-8 of 2, a coupon.
        ("2112345678900", Code::Unknown),
        ("412345678903", Code::Unknown),
        ("20123451", Code::Unknown),
        ("9912345678909", Code::Unknown),
        ("LC-ab1Z09", loyalty("LC-ab1Z09")),
        ("]A0LC-ab1Z09", loyalty("LC-ab1Z09")),
        ("2912345678906", loyalty("2912345678906")),
        (&format!("29{}", "1".repeat(MAX_CODE - 2)), loyalty(&format!("29{}", "1".repeat(MAX_CODE - 2)))),
        (&format!("29{}", "1".repeat(MAX_CODE - 1)), Code::Unknown),
        ("LC-ab1Z0x", Code::Unknown),
        ("LC-ab1Z090", Code::Unknown),
        ("lc-ab1Z09", Code::Unknown),
    ] {
        let (codes, garbage) = scanned(&[line.as_bytes(), b"\r"]);
        assert_eq!((codes, garbage), (vec![code], 0), "{line}");
    }
}

#[test]
fn what_is_no_line_is_counted_and_costs_no_other() {
    let long = "4".repeat(LONGEST + 1);
    let lines = format!("{long}\r4006381333931\rcaf\u{e9}\r96385074\r");
    let (codes, garbage) = scanned(&[lines.as_bytes()]);
    assert_eq!(codes, [product("4006381333931"), product("96385074")]);
    assert_eq!(garbage, (LONGEST + 1 + 1 + 5 + 1) as u64);
    // The last bytes of a line that is too long are no line.
    let (codes, _) = scanned(&[&[b'x'; 600], b"4006381333931\r96385074\r"]);
    assert_eq!(codes, [product("96385074")]);
}

#[test]
fn a_line_without_an_end_is_no_code() {
    let mut decoder = decoder();
    decoder.handle_bytes(b"2912345678906", |message| panic!("{message:?}"));
    decoder.give_up(|message| panic!("{message:?}"));
    let mut codes = 0;
    decoder.handle_bytes(b"4006381333931\r", |_| codes += 1);
    assert_eq!((codes, decoder.garbage()), (1, 13));
}

#[test]
fn a_loyalty_code_is_never_seen() {
    let secret = "2912345678906";
    let mut decoder = decoder();
    let mut messages = Vec::new();
    decoder.handle_bytes(format!("{secret}\r{secret}").as_bytes(), |message| messages.push(message));
    let seen = format!("{decoder:?} {messages:?} {messages:#?}");
    assert!(seen.contains("LoyaltyCode(13 characters)"), "{seen}");
    let as_list: String = secret.bytes().map(|byte| format!("{byte}, ")).collect();
    for form in [secret, &hex::encode(secret), &as_list[..12]] {
        assert!(!seen.contains(form), "{seen}");
    }
    let Some(Message::Scanned(Code::Loyalty(code))) = messages.pop() else { panic!() };
    assert_eq!(code.seal(<[u8]>::len), 13);
}

#[test]
fn patterns_that_describe_too_much_are_refused() {
    for (text, why) in [
        ("", PatternError::Length),
        ("*", PatternError::Everything),
        ("#############", PatternError::Everything),
        ("L*C", PatternError::Star),
        ("L\u{e9}*", PatternError::Character('\u{e9}')),
    ] {
        assert_eq!(LoyaltyPattern::new(text), Err(why), "{text}");
    }
    assert!(pattern("L*").describes("L") && pattern("L*").describes("L 1/x"));
    assert!(!pattern("L#").describes("L") && !pattern("L#").describes("L12"));
}

proptest! {
    #[test]
    fn any_chunking_of_any_bytes_decodes_alike(
        bytes in prop::collection::vec(prop_oneof![any::<u8>(), Just(b'\r'), Just(b'\n'), b'0'..=b'9'], 0..2_000),
        cuts in prop::collection::vec(0usize..2_000, 0..20),
    ) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let chunks: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
        prop_assert_eq!(scanned(&chunks), scanned(&[&bytes]));
    }

    #[test]
    fn every_line_behind_garbage_is_read(
        garbage in prop::collection::vec(any::<u8>(), 0..700),
        digits in 100_000_000_000u64..199_999_999_999,
    ) {
        let check = (0..10).find(|check| Gtin::from_number(digits * 10 + check).is_ok()).unwrap();
        let gtin = format!("{:013}", digits * 10 + check);
        let mut bytes = garbage;
        bytes.push(b'\n');
        bytes.extend(gtin.bytes());
        bytes.push(b'\r');
        prop_assert_eq!(scanned(&[&bytes]).0.pop(), Some(product(&gtin)));
    }
}
