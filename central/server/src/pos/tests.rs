//! What tills tell, good and wrong, in every form.

use hangtag_central_core::sale::{Kind, Place as StockPlace};
use proptest::prelude::*;

use super::*;
use crate::shop::tests::paris;

const LINE: &str = r#"{"receipt":"T1-42","line":1,"time":"2026-11-22T14:03:11+01:00","gtin":"4006381333931",
    "quantity":2,"amount":"79.80","currency":"EUR"}"#;
const TAG: &str = "3074257bf7194e4000001a85";
const AT: i64 = 1_795_352_591_000;

fn store() -> StoreId {
    StoreId::new("paris-1").unwrap()
}

fn door(about: About) -> Door<'static> {
    Door { about, store: Some(store()), is_told: false, shops: None }
}

fn lines(told: &Told) -> &[(StoreId, Line)] {
    let Rows::Lines(lines) = &told.rows else { panic!("{:?}", told.rows) };
    lines
}

fn counts(told: &Told) -> &[(StoreId, StockCount)] {
    let Rows::Counts(counts) = &told.rows else { panic!("{:?}", told.rows) };
    counts
}

fn said(told: &Told) -> Vec<String> {
    told.faults.iter().map(Fault::to_string).collect()
}

#[test]
fn json_and_csv_say_the_same() {
    let told = json(LINE.as_bytes(), door(About::Sale));
    assert_eq!(said(&told), [""; 0]);
    let [(store, line)] = lines(&told) else { panic!("one line") };
    assert_eq!((store.as_str(), line.at.0, line.quantity.get(), line.kind), ("paris-1", AT, 2, Kind::Sale));
    assert_eq!(line.price.unwrap().to_string(), "79.80 EUR");

    let shops = [paris()];
    let door = Door { about: About::Sale, store: None, is_told: false, shops: Some(&shops) };
    // The same line in the shop's own time, as spreadsheets of much of Europe write it.
    let text = "\u{feff}Store;Receipt;Line;Kind;Time;GTIN;EPC;Quantity;Amount;Currency;Cashier\n\
        paris-1;T1-42;1;sale;2026-11-22 14:03:11;4006381333931;;2;79,80;EUR;Ana\n";
    let sheet = sheet(text.as_bytes(), door);
    assert_eq!(said(&sheet), [""; 0]);
    assert_eq!(lines(&sheet), lines(&told));
    assert_eq!(sheet.notes, ["column \"cashier\" is not used"]);
    assert_eq!((&sheet.places[..], &told.places[..]), (&[Place::Line(2)][..], &[Place::Element(1)][..]));
}

#[test]
fn every_mistake_is_named_by_its_field_and_value_and_costs_one_line() {
    let wrong = [
        (r#""receipt":"T1-42""#, r#""receipt":"""#, "receipt: is missing"),
        (r#""receipt":"T1-42""#, r#""receipt":42"#, "receipt: is the number 42, not a text"),
        (r#""line":1"#, r#""line":-1"#, "line: \"-1\" is not a whole number from 0"),
        (r#""line":1"#, r#""line":"1""#, "line: is the text \"1\", not a number"),
        ("T14:03:11+01:00", "", "time: \"2026-11-22\" is not a time like"),
        ("+01:00", "", "time: \"2026-11-22T14:03:11\" does not tell its offset"),
        ("2026-", "1970-", "is not between the years 2000 and 2099"),
        ("4006381333931", "4006381333932", "gtin: \"4006381333932\" ends in 2; the check digit"),
        (r#""gtin":"4006381333931","#, "", "neither gtin nor epc is given"),
        (r#""gtin""#, r#""epc""#, "epc: \"4006381333931\" is not hexadecimal at position 13"),
        (r#""quantity":2"#, r#""quantity":0"#, "quantity: \"0\" is not a whole number from 1"),
        (r#""quantity":2"#, r#""quantity":1.5"#, "quantity: \"1.5\" is not a whole number"),
        (r#""quantity":2,"#, "", "quantity: is missing"),
        (r#""79.80""#, r#""79.805""#, "amount: \"79.805\" has 3 decimals; EUR has 2"),
        (r#""79.80""#, "-1", "amount: \"-1\" is not a price"),
        (r#""EUR""#, r#""euro""#, "currency: \"euro\" is not a currency"),
        (r#","currency":"EUR""#, "", "currency: is missing beside the amount 79.80"),
        (r#""line":1"#, r#""line":1,"kind":"refund""#, "kind: \"refund\" is not sale or return"),
        (r#""line":1"#, r#""line":1,"store":"lyon""#, "store: is lyon, and not paris-1"),
        (r#""line":1"#, r#""line":1,"qty":2"#, "\"qty\" is not one of the fields store, receipt"),
    ];
    for (good, bad, what) in wrong {
        let line = LINE.replace(good, bad);
        assert_ne!(line, LINE, "{good}");
        let told = json(format!("[{LINE},{line},{LINE}]").as_bytes(), door(About::Sale));
        let [fault] = &said(&told)[..] else { panic!("one fault of {line}: {:?}", told.faults) };
        assert!(fault.starts_with("element 2: ") && fault.contains(what), "{fault} is not {what}");
        assert_eq!(told.places, [Place::Element(1), Place::Element(3)]);
    }
    let of_tag = LINE.replace(r#""line":1"#, &format!(r#""line":1,"epc":"{TAG}""#));
    assert_eq!(
        said(&json(of_tag.as_bytes(), door(About::Sale))),
        ["element 1: epc: the tag is of product 80614141123458, the line is of 04006381333931"]
    );
    let two = of_tag.replace("4006381333931", "80614141123458");
    assert_eq!(
        said(&json(two.as_bytes(), door(About::Sale))),
        ["element 1: quantity: is 2, but the line names a tag, which is on one piece"]
    );
}

#[test]
fn a_message_that_is_none_says_why() {
    for (text, what) in [
        ("", "is not JSON: EOF"),
        ("{\"receipt\":", "is not JSON: EOF"),
        ("\"x\"", "is the text \"x\", not an object"),
        ("[1]", "element 1: is the number 1, not an object"),
    ] {
        let told = json(text.as_bytes(), door(About::Sale));
        assert!(said(&told)[0].starts_with(what), "{:?}", told.faults);
    }
    assert_eq!(said(&json(b"[]", door(About::Stock))), [""; 0]);
    // A value that fills a message does not fill the log.
    let long = LINE.replace("EUR", &"é".repeat(10_000));
    assert!(said(&json(long.as_bytes(), door(About::Sale)))[0].chars().count() < 400);
}

#[test]
fn a_topic_of_returns_has_returns_only() {
    let kinds = |text: &str, about| {
        let told = json(text.as_bytes(), door(about));
        (lines(&told).iter().map(|(_, line)| line.kind).collect::<Vec<_>>(), said(&told))
    };
    let back = LINE.replace(r#""line":1"#, r#""line":1,"kind":"return""#);
    assert_eq!(kinds(LINE, About::Return).0, [Kind::Return]);
    assert_eq!(kinds(&back, About::Return).0, [Kind::Return]);
    assert_eq!(kinds(&back, About::Sale).0, [Kind::Return]);
    let sale = LINE.replace(r#""line":1"#, r#""line":1,"kind":"sale""#);
    assert_eq!(kinds(&sale, About::Return).1, ["element 1: kind: is a sale among returns"]);
}

#[test]
fn counts_are_of_a_place_or_of_all() {
    let text = r#"[{"gtin":"4006381333931","time":"2026-11-22T13:03:11Z","quantity":0,"place":"back_room"},
        {"gtin":"4006381333931","time":"2026-11-22T13:03:11Z","quantity":3.0},
        {"gtin":"4006381333931","time":"2026-11-22T13:03:11Z","quantity":3,"place":"attic"}]"#;
    let told = json(text.as_bytes(), door(About::Stock));
    let found: Vec<_> = counts(&told).iter().map(|(_, count)| (count.place, count.quantity)).collect();
    assert_eq!(found, [(StockPlace::BackRoom, 0), (StockPlace::All, 3)]);
    assert_eq!(said(&told), ["element 3: place: \"attic\" is not floor, back_room or all"]);
}

#[test]
fn a_file_without_a_column_that_is_needed_is_refused_once() {
    let shops = [paris()];
    let read = |about, store, text: &str| {
        let told = sheet(text.as_bytes(), Door { about, store, is_told: false, shops: Some(&shops) });
        (told.places.len(), said(&told))
    };
    let all = "store,receipt,line,time,gtin,quantity\nparis-1,a,1,2026-11-22T14:03:11Z,4006381333931,1\n";
    let (0, faults) = read(About::Sale, None, all) else { panic!("no kind") };
    assert!(
        faults[0].starts_with("line 1: there is no column kind; the columns are [\"store\""),
        "{faults:?}"
    );
    assert_eq!(faults.len(), 1);
    let by_http = Door { about: About::Sale, store: None, is_told: true, shops: Some(&shops) };
    let told = sheet(all.as_bytes(), by_http);
    assert_eq!((lines(&told)[0].1.kind, said(&told)), (Kind::Sale, vec![]), "the path says it");
    assert_eq!(read(About::Return, None, all), (1, vec![]));
    let without = all.replace("store,", "").replace("paris-1,", "");
    assert!(read(About::Return, None, &without).1[0].contains("no column store;"));
    assert_eq!(read(About::Return, Some(store()), &without), (1, vec![]));
    let twice = all.replace("gtin,quantity", "gtin,line");
    assert!(read(About::Return, None, &twice).1[0].contains("no column quantity;"));
    let (0, faults) = read(
        About::Return,
        None,
        &all.replace("receipt,line", "line,line").replace("store,", "store,receipt,"),
    ) else {
        panic!("twice")
    };
    assert_eq!(faults, ["line 1: column \"line\" is there twice"]);
}

#[test]
fn a_broken_row_of_a_file_is_named_by_its_line_and_costs_no_other() {
    let shops = [paris()];
    let good = "a,1,sale,2026-11-22T14:03:11Z,4006381333931,1\n";
    let text = format!(
        "receipt,line,kind,time,gtin,quantity\n{good}b,1,sale\n{}{}\"c\n\",1,sale,x,y,z\n{}",
        good.replace("a,1", "b,2"),
        good.replace("2026-11-22T14:03:11Z", "22.11.2026 14:03"),
        good.replace("a,1", "d,1"),
    );
    let told = sheet(
        text.as_bytes(),
        Door { about: About::Sale, store: Some(store()), is_told: false, shops: Some(&shops) },
    );
    assert_eq!(told.places, [Place::Line(2), Place::Line(4), Place::Line(8)]);
    let faults = said(&told);
    assert_eq!(faults[0], "line 3: has 3 fields and not 6");
    assert!(faults[1].starts_with("line 5: time: \"22.11.2026 14:03\" is not a time like"), "{faults:?}");
    assert!(faults[2].starts_with("line 6: time: \"x\""), "{faults:?}");
    assert_eq!(faults.len(), 3);
    let elsewhere = Door {
        about: About::Sale,
        store: Some(StoreId::new("lyon").unwrap()),
        is_told: false,
        shops: Some(&shops),
    };
    assert_eq!(said(&sheet(text.as_bytes(), elsewhere))[0], "line 2: store: there is no store lyon");
}

#[test]
fn what_the_database_refuses_is_told_by_its_place() {
    let mut told = json(format!("[{LINE},{{}},{LINE}]").as_bytes(), door(About::Sale));
    told.refused(vec![(1, "is known".into())]);
    assert_eq!(said(&told), ["element 2: receipt: is missing", "element 3: is known"]);
}

/// A good message or file, of which some bytes were changed, taken out or put in.
fn damaged(good: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let changes = prop::collection::vec((0..good.len(), any::<u8>(), 0..3_u8), 0..6);
    changes.prop_map(|changes| {
        let mut bytes = good.as_bytes().to_vec();
        for (at, byte, what) in changes {
            let at = at.min(bytes.len() - 1);
            match what {
                0 => bytes[at] = byte,
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, byte),
            }
        }
        bytes
    })
}

const SHEET: &str = "store;receipt;line;kind;time;gtin;epc;quantity;amount;currency\n\
    paris-1;a;1;sale;2026-11-22 14:03:11;4006381333931;;2;79,80;EUR\n\
    paris-1;b;1;sale;2026-11-22 14:03:11;;3074257bf7194e4000001a85;1;\"79,80\";EUR\n";

proptest! {
    #[test]
    fn whatever_comes_is_taken_or_refused_and_every_good_line_has_its_place(
        message in damaged(LINE),
        file in damaged(SHEET),
        noise in prop::collection::vec(any::<u8>(), 0..80),
    ) {
        let shops = [paris()];
        for about in [About::Sale, About::Return, About::Stock] {
            let open = Door { about, store: None, is_told: false, shops: Some(&shops) };
            for bytes in [&message, &file, &noise] {
                for told in [json(bytes, door(about)), sheet(bytes, open)] {
                    let rows = match &told.rows {
                        Rows::Lines(lines) => lines.len(),
                        Rows::Counts(counts) => counts.len(),
                    };
                    prop_assert_eq!(rows, told.places.len());
                    prop_assert!(told.faults.iter().all(|fault| fault.what.chars().count() <= LONGEST + 1));
                    prop_assert_eq!(told.reason().is_some(), !told.faults.is_empty());
                }
            }
        }
        let told = sheet(&file, Door { about: About::Sale, store: None, is_told: false, shops: Some(&shops) });
        prop_assert!(told.places.len() <= 2 || told.places.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
