//! Somebody who asks twice and subtracts. It is Sunday, 25 October 2026, in Paris.

use hangtag_protocol::clock::UnixMillis;
use hangtag_protocol::epc::{Epc, Serial, Sgtin};
use hangtag_protocol::event::What;

use super::super::tests::{get, site};
use crate::store::Message;
use crate::store::tests::{Bench, anchor, batch, fitting};

/// 2026-10-12 12:00 in Paris, a Monday.
const MONDAY: i64 = 1_791_799_200_000;
const DAY: u64 = 86_400_000;

fn tag(item: u64) -> Epc {
    let serial = Serial::Number(7);
    Sgtin { filter: 1, company: 614_141, company_digits: 7, item, serial }.encode_96().unwrap()
}

/// From Monday the 12th on, so many visits a day to which both styles are taken, and as many to each of them alone.
fn shop(days: &[(u64, u64)]) -> Bench {
    let mut bench = Bench::new();
    let mut events = Vec::new();
    for (day, visits) in days {
        for visit in 0..*visits {
            let at = day * DAY + visit * 600_000;
            for items in [&[1, 2][..], &[1], &[2]] {
                let opened_by = events.len() as u64 + 1;
                for item in items {
                    let garment = tag(*item).to_string();
                    events.push(fitting(at + opened_by, &garment, opened_by, What::TriedOn));
                }
            }
        }
    }
    let mut message = batch(1, events);
    message.anchors = vec![anchor(0, MONDAY, 10)];
    bench.send(&message);
    bench
}

async fn rows(bench: &Bench, table: &str, query: &str) -> Vec<serde_json::Value> {
    let gtin = |item| tag(item).sgtin().unwrap().gtin();
    let catalogue = format!("{},S1,red,M,Dress,1\n{},S2,red,M,Skirt,1\n", gtin(1), gtin(2));
    let (site, _changed) = site(bench, &catalogue);
    let text = get(&site, &format!("/api/v1/measures/{table}?store=paris-1&{query}")).await.text;
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    json["rows"].as_array().unwrap_or_else(|| panic!("{text}")).clone()
}

/// The visits with both styles, by the days that are asked for.
async fn together(bench: &Bench, from: &str, to: &str) -> Option<u64> {
    let rows = rows(bench, "pairs", &format!("from=2026-10-{from}&to=2026-10-{to}")).await;
    rows.first().map(|row| row["visits"].as_u64().unwrap())
}

#[tokio::test]
async fn neighbouring_days_cannot_be_subtracted() {
    // Twenty visits of each kind on Monday, one on Sunday; twenty on the Monday after.
    let bench = shop(&[(0, 20), (6, 1), (7, 20)]);
    let told = together(&bench, "12", "18").await;
    assert!(told == Some(20) || told == Some(25), "{told:?}");
    for (from, to, told) in [
        ("12", "18", told),
        ("12", "17", None),
        ("18", "18", told),
        ("13", "18", told),
        ("11", "19", told),
        ("12", "24", told),
        // The week after is not over.
        ("12", "25", told),
        ("19", "25", None),
    ] {
        assert_eq!(together(&bench, from, to).await, told, "{from} to {to}");
    }
}

#[tokio::test]
async fn goods_cannot_be_subtracted() {
    let bench = shop(&[(0, 2)]);
    let week = "from=2026-10-12&to=2026-10-18";
    assert_eq!(together(&bench, "12", "18").await, None, "two visits");
    // Those with one, those with the other, those with either: the sum of the first two less the third had both.
    for goods in ["style=S1", "style=S2", "style=S1&style=S2"] {
        let asked = format!("{week}&{goods}");
        for (table, columns) in
            [("summary", &["visits", "stay_median"][..]), ("zones", &["visits", "stay_p90"])]
        {
            for row in rows(&bench, table, &asked).await {
                for column in columns {
                    assert!(row[column].is_null(), "{goods} {table} {column}: {row}");
                }
            }
        }
        assert!(rows(&bench, "shapes", &asked).await.iter().all(|row| row["visits"].is_null()));
        let tried: u64 = rows(&bench, "summary", &asked).await[0]["tried_on"].as_u64().unwrap();
        assert_eq!(tried, if goods.len() > 8 { 8 } else { 4 }, "garments are counted");
    }
    let page = get(&site(&bench, "").0, &format!("/?store=paris-1&{week}&style=S1")).await.text;
    assert!(!page.contains("visits to a fitting room"), "nor on the page");
    assert!(page.contains("is told of all goods only"), "{page}");
}

#[tokio::test]
async fn a_filter_chooses_which_pairs_are_shown() {
    let bench = shop(&[(0, 20)]);
    let all = rows(&bench, "pairs", "from=2026-10-12&to=2026-10-18").await;
    assert_eq!(
        (all.len(), &all[0]["confidence"]["part"], &all[0]["confidence"]["whole"]),
        (1, &20.into(), &40.into())
    );
    assert_eq!(all[0]["beyond_chance"], "no");
    assert_eq!(rows(&bench, "pairs", "from=2026-10-12&to=2026-10-18&style=S2").await, all);
    assert!(rows(&bench, "pairs", "from=2026-10-12&to=2026-10-18&style=4006381333931").await.is_empty());
    let page = async |query: &str| get(&site(&bench, "").0, &format!("/?store=paris-1&{query}")).await.text;
    let week = "from=2026-10-12&to=2026-10-18";
    assert!(page(week).await.contains("No two styles were tried on together more often than by chance"));
    let filtered = page(&format!("{week}&style=4006381333931")).await;
    assert!(filtered.contains("None of these goods was counted together with another style in 20 visits"));
    assert!(filtered.contains("so that no shopper can be found"), "{filtered}");
}

fn counted(bench: &mut Bench, counts: &[String]) {
    let payload = format!("[{}]", counts.join(",")).into_bytes();
    let topic = "hangtag/v1/demo/pos/paris-1/stock".into();
    bench.store.append(&[Message { topic, payload, received: UnixMillis(5) }]).unwrap();
}

/// The dress is tried in S and M; of L none is left, or nobody knows.
#[tokio::test]
async fn a_neighbouring_size_that_was_counted_as_none_is_told() {
    let gtin = |item| tag(item).sgtin().unwrap().gtin();
    let lines = [(1, "S"), (2, "M"), (3, "L"), (4, "XL")];
    let catalogue: String =
        lines.iter().map(|(item, size)| format!("{},D1,red,{size},Dress,1\n", gtin(*item))).collect();
    let told = async |bench: &Bench| {
        let (site, _changed) = site(bench, &catalogue);
        let path = "/?store=paris-1&from=2026-10-12&to=2026-10-18";
        let csv = get(&site, &path.replace("/?", "/sizes.csv?")).await.text;
        let of = csv
            .lines()
            .find(|line| line.contains(",L,"))
            .map(|line| line.rsplit(',').next().unwrap().to_owned());
        let page = get(&site, path).await.text;
        let text = get(&site, &path.replace("/?", "/api/v1/measures/styles?")).await.text;
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        (
            json["rows"][0]["lost_size"].clone(),
            page.contains("In 10 of 10 comparisons of a style’s sizes"),
            of,
        )
    };
    let mut bench = shop(&[(1, 10)]);
    assert_eq!(told(&bench).await, (serde_json::Value::Null, false, None), "nobody counted");
    let count = |item: u64, day: &str| {
        format!(r#"{{"gtin":"{}","time":"{day}T08:00:00Z","quantity":0}}"#, gtin(item))
    };
    // One count is too old, the other was made afterwards.
    counted(&mut bench, &[count(3, "2026-10-05"), count(3, "2026-10-15")]);
    assert_eq!(told(&bench).await.0, serde_json::Value::Null);
    counted(&mut bench, &[count(3, "2026-10-12")]);
    let (share, is_said, of_size) = told(&bench).await;
    assert_eq!((&share["part"], &share["whole"], is_said), (&10.into(), &10.into(), true));
    assert_eq!(of_size.as_deref(), Some("10"), "although nothing of size L was handled");
}
