//! The page through its router, without a socket.

use axum::body::{Body, to_bytes};
use axum::http::Request;
use hangtag_central_core::feed::Form;
use hangtag_protocol::clock::UNKNOWN_ERROR;
use hangtag_protocol::clock::Uptime;
use hangtag_protocol::epc::{Gtin, Serial, Sgtin};
use hangtag_protocol::event::{self, Event, ReaderState, What};
use hangtag_protocol::id::{ReaderId, Seq, StoreId};
use hangtag_protocol::key::KeyId;
use hangtag_protocol::range::SeqRange;
use hangtag_protocol::scan::{Code, SEAL_BYTES, Sealed};
use hangtag_protocol::topic::{Channel, Gateway};
use tower::ServiceExt;

use super::*;
use crate::catalogue::Catalogue;
use crate::ingest::Broker;
use crate::shop;
use crate::store::tests::loyalty::scanned;
use crate::store::tests::{Bench, anchor, batch, fitting, gateway, picked, retraction};
use crate::store::{Failing, Message};

const TAG: &str = "3074257bf7194e4000001a85";
const TWIN: &str = "3074257bf7194e4000001a86";
const UNKNOWN: &str = "e28068900000500e88c6a4a7";
/// 2026-10-25 02:30 in Paris, for the first time: the day has 25 hours.
const NIGHT: i64 = 1_792_888_200_000;

pub(super) struct Answer {
    status: StatusCode,
    headers: axum::http::HeaderMap,
    pub(super) text: String,
}

pub(super) fn site(bench: &Bench, catalogue: &str) -> (Arc<Site>, watch::Sender<u64>) {
    let (broker, failing) = (watch::channel(Broker::Connected).1, watch::channel(None).1);
    site_with(bench, catalogue, Vitals { broker, failing, forms: vec![Form::CloudEvents] })
}

fn site_with(bench: &Bench, catalogue: &str, vitals: Vitals) -> (Arc<Site>, watch::Sender<u64>) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("catalogue.csv");
    std::fs::write(&file, format!("gtin,style,colour,size,name,price\n{catalogue}")).unwrap();
    let (changed, commits) = watch::channel(0);
    let (_, stopping) = watch::channel(false);
    let reader = Reader::new(bench.address.clone());
    let goods = Arc::new(Goods::new(Catalogue::read(&file)));
    let mut lyon = shop::tests::paris();
    (lyon.id, lyon.name) = (StoreId::new("lyon-1").unwrap(), "Lyon".into());
    let site = Site {
        days: Days::new(reader.clone(), goods.clone()),
        reader,
        shops: vec![shop::tests::paris(), lyon],
        goods,
        scene: crate::feed::tests::scene(),
        commits,
        vitals,
        stopping,
        now: || Timestamp::from_millisecond(NIGHT + 7_200_000).expect("a moment of our time"),
        turns: turns(),
        // Tests ask for what they have just written.
        made: Made::new(Duration::MAX),
    };
    (Arc::new(site), changed)
}

pub(super) async fn get(site: &Arc<Site>, path: &str) -> Answer {
    let request = Request::get(path).extension(Caller::Anyone).body(Body::empty()).unwrap();
    let answer = router(site.clone()).oneshot(request).await.unwrap();
    let (parts, body) = answer.into_parts();
    let text = String::from_utf8(to_bytes(body, usize::MAX).await.unwrap().to_vec()).unwrap();
    Answer { status: parts.status, headers: parts.headers, text }
}

/// Two try-ons that count, one that is a copy, one retracted; one event before, one without a clock.
fn a_day() -> Bench {
    let mut bench = Bench::new();
    let minute = 60_000;
    let mut message = batch(
        1,
        vec![
            picked(0, TAG),
            picked(minute, TWIN),
            picked(2 * minute, UNKNOWN),
            fitting(3 * minute, TAG, 4, What::CarriedIn),
            fitting(4 * minute, TAG, 4, What::TriedOn),
            fitting(5 * minute, TAG, 4, What::TriedOn),
            fitting(6 * minute, TWIN, 4, What::TriedOn),
            retraction(7 * minute, 7),
            fitting(60 * minute, TAG, 9, What::TriedOn),
            fitting(61 * minute, TAG, 9, What::CarriedOut),
        ],
    );
    message.anchors = vec![anchor(0, NIGHT, UNKNOWN_ERROR)];
    bench.send(&message);
    let mut stray = batch(11, vec![picked(0, TAG)]);
    stray.events[0].boot.0 = 8;
    bench.send(&stray);
    bench
}

#[tokio::test]
async fn who_goes_away_does_not_let_others_ask_more_at_a_time() {
    let bench = Bench::new();
    let (site, _changed) = site(&bench, "");
    let (begun, mut begins) = tokio::sync::mpsc::unbounded_channel();
    let (go_on, waits) = std::sync::mpsc::channel::<()>();
    let waits = Arc::new(std::sync::Mutex::new(waits));
    for _ in 0..AT_ONCE {
        let (site, begun, waits) = (site.clone(), begun.clone(), waits.clone());
        let asked = tokio::spawn(async move {
            let make = move |_: super::Answer| {
                begun.send(()).unwrap();
                waits.lock().unwrap().recv().unwrap();
                Ok(())
            };
            answer(site, String::new(), &HeaderMap::new(), make).await.map_err(drop)
        });
        begins.recv().await.unwrap();
        asked.abort();
        assert!(asked.await.unwrap_err().is_cancelled());
    }
    assert_eq!(site.turns.available_permits(), 0, "all of them still work");
    (0..AT_ONCE).for_each(|_| go_on.send(()).unwrap());
    let all = site.turns.acquire_many(u32::try_from(AT_ONCE).unwrap()).await.unwrap();
    drop(all);
}

/// Sums of the columns `picked_up` … `tried_on` of a CSV table.
fn sums(table: &str) -> [u64; 4] {
    let mut reader = ::csv::Reader::from_reader(table.as_bytes());
    let first = reader.headers().unwrap().iter().position(|name| name == "picked_up").unwrap();
    let mut sums = [0; 4];
    for record in reader.records().map(Result::unwrap) {
        for (at, sum) in sums.iter_mut().enumerate() {
            // What was not measured is empty.
            *sum += record[first + at].parse::<u64>().unwrap_or(0);
        }
    }
    sums
}

/// The day of `a_day`.
const DAY: &str = "store=paris-1&from=2026-10-25";

#[tokio::test]
async fn page_and_tables_say_the_same_and_retracted_events_do_not_count() {
    let bench = a_day();
    let (site, _changed) = site(&bench, "");
    let page = get(&site, &format!("/?{DAY}")).await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.text);
    assert!(page.text.contains("Tried on</p><p class=\"value\">2</p>"), "{}", page.text);
    assert!(page.text.contains("in 2 visits to a fitting room"));
    assert!(page.text.contains("Picked up</p><p class=\"value\">3</p>"));
    assert!(page.text.contains("1 of 3</p>"));
    assert!(page.text.contains("1 event is not counted on any day: their gateway has not seen a clock yet"));
    assert!(
        page.text
            .contains("vouched for: systemd-timesyncd has not set it. Where something else keeps it right")
    );
    for table in ["hours", "days", "week", "products", "styles", "zones", "stores"] {
        let csv = get(&site, &format!("/{table}.csv?{DAY}")).await;
        assert_eq!(sums(&csv.text), [3, 0, 1, 2], "{table}: {}", csv.text);
        assert!(csv.text.contains("\r\n2026-10-25,2026-10-25,"), "{}", csv.text);
    }
    let other = get(&site, "/hours.csv?from=2026-10-24").await;
    assert_eq!(sums(&other.text), [0; 4]);
}

#[tokio::test]
async fn json_says_the_same_as_csv_page_by_page() {
    let bench = a_day();
    let (site, _changed) = site(&bench, "80614141123458,S1,red,M,Dress,39.90\n");
    for name in tables::NAMES {
        let csv = get(&site, &format!("/{name}.csv?{DAY}")).await.text;
        let records: Vec<_> =
            ::csv::Reader::from_reader(csv.as_bytes()).into_records().map(Result::unwrap).collect();
        let mut found = 0;
        let mut path = format!("/api/v1/measures/{name}?{DAY}&limit=1");
        loop {
            let answer = get(&site, &path).await;
            assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text);
            let json: serde_json::Value = serde_json::from_str(&answer.text).unwrap();
            assert_eq!(json["total"], records.len(), "{name}");
            for row in json["rows"].as_array().unwrap() {
                let record = &records[found];
                for (key, value) in row.as_object().unwrap() {
                    let texts =
                        value.as_str().map(str::to_owned).or_else(|| Some(value.as_u64()?.to_string()));
                    if let Some(text) = texts {
                        assert!(
                            record.iter().any(|field| field == text),
                            "{name}.{key}: {text} in {record:?}"
                        );
                    }
                }
                found += 1;
            }
            match json["next"].as_str() {
                Some(next) => path = next.to_owned(),
                None => break,
            }
        }
        assert_eq!(found, records.len(), "{name}");
    }
}

#[tokio::test]
async fn an_answer_that_has_not_changed_is_not_sent_again() {
    let mut bench = a_day();
    let (site, _changed) = site(&bench, "");
    let path = format!("/api/v1/measures/summary?{DAY}");
    let first = get(&site, &path).await;
    let tag = first.headers[header::ETAG].clone();
    let ask = || Request::get(&path).header(header::IF_NONE_MATCH, tag.clone()).body(Body::empty()).unwrap();
    let again = router(site.clone()).oneshot(ask()).await.unwrap();
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    let mut late = batch(20, vec![picked(30 * 60_000, TWIN)]);
    late.anchors = vec![anchor(0, NIGHT, UNKNOWN_ERROR)];
    bench.send(&late);
    let changed = router(site.clone()).oneshot(ask()).await.unwrap();
    assert_eq!(changed.status(), StatusCode::OK, "a late event is counted at once");
}

#[tokio::test]
async fn a_wrong_question_of_a_program_is_a_problem() {
    let bench = Bench::new();
    let (site, _changed) = site(&bench, "");
    for (path, status, said) in [
        ("/api/v1/measures/nothing", 404, "there is no table \\\"nothing\\\": there are summary"),
        ("/api/v1/measures/styles?limit=0", 400, "parameter limit: \\\"0\\\""),
        ("/api/v1/measures/styles?limit=1001", 400, "parameter limit"),
        ("/api/v1/measures/styles?offset=-1", 400, "parameter offset"),
        ("/api/v1/measures/styles?store=x", 400, "names no store"),
        (
            "/api/v1/measures/styles?page=2",
            400,
            "is not one of store, period, from, to, compare, category, style, colour, size, lang, limit, offset",
        ),
    ] {
        let answer = get(&site, path).await;
        assert_eq!(answer.status.as_u16(), status, "{path}");
        assert_eq!(answer.headers[header::CONTENT_TYPE], "application/problem+json");
        assert!(answer.text.contains(said), "{path}: {}", answer.text);
    }
}

#[tokio::test]
async fn the_hour_that_comes_twice_is_two_hours() {
    let bench = a_day();
    let (site, _changed) = site(&bench, "");
    let csv = get(&site, &format!("/hours.csv?{DAY}")).await.text;
    assert!(csv.contains("paris-1,2026-10-25T02:00:00+02:00,3,0,1,1,0.00\r\n"), "{csv}");
    assert!(csv.contains("paris-1,2026-10-25T02:00:00+01:00,0,0,0,1,0.00\r\n"), "{csv}");
}

#[tokio::test]
async fn a_filter_lets_through_what_it_names_and_is_carried_on_in_links() {
    let bench = a_day();
    let rows = "80614141123458,S1,red,M,Dress,39.90\n4006381333931,S2,blue,L,Coat,1\n";
    let (site, _changed) = site(&bench, rows);
    let count = async |query: &str| {
        let csv = get(&site, &format!("/products.csv?{DAY}&{query}")).await.text;
        sums(&csv)
    };
    assert_eq!(count("style=S1").await, [2, 0, 1, 2]);
    assert_eq!(count("colour=red&size=M").await, [2, 0, 1, 2]);
    assert_eq!(count("colour=blue").await, [0; 4]);
    assert_eq!(count("store=lyon-1").await, [3, 0, 1, 2], "both shops");
    let page = get(&site, &format!("/?{DAY}&style=S1&lang=zh-CN")).await;
    assert!(page.text.contains("<html lang=\"zh-CN\">") && page.text.contains("试穿"));
    assert!(page.headers[header::SET_COOKIE].to_str().unwrap().starts_with("lang=zh-CN;"));
    for link in [
        "/zones.csv?store=paris-1&#38;period=custom&#38;from=2026-10-25&#38;to=2026-10-25&#38;style=S1&#38;lang=zh-CN",
        "name=\"style\" value=\"S1\"",
        "lang=en\" lang=\"en\"",
    ] {
        assert!(page.text.contains(link), "{link} in {}", page.text);
    }
}

#[tokio::test]
async fn a_stretch_is_compared_with_the_one_before() {
    let bench = a_day();
    let (site, _changed) = site(&bench, "");
    let summary = async |query: &str| {
        let text = get(&site, &format!("/api/v1/measures/summary?{query}")).await.text;
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        json["rows"].as_array().unwrap().iter().map(|row| row["picked_up"].as_u64()).collect::<Vec<_>>()
    };
    assert_eq!(summary(DAY).await, [Some(3), None], "nobody listened the day before");
    assert_eq!(summary("from=2026-10-26").await, [None, Some(3)]);
    assert_eq!(summary("from=2026-10-26&compare=none").await, [None]);
    assert_eq!(summary("store=lyon-1&from=2026-10-25&compare=store-paris-1").await, [None, Some(3)]);
    let page = get(&site, "/?from=2026-10-26").await.text;
    assert!(page.contains("before: 3<") && !page.contains("▼"), "{page}");
    let page = get(&site, "/?from=2026-10-25").await.text;
    assert!(page.contains("before: not measured<") && !page.contains("▲"), "{page}");
    // The rows tell their days and their store.
    let csv = get(&site, "/summary.csv?store=lyon-1&from=2026-10-25&compare=store-paris-1").await.text;
    assert!(csv.contains("2026-10-25,2026-10-25,compared,paris-1,"), "{csv}");
    let csv = get(&site, &format!("/summary.csv?{DAY}")).await.text;
    assert!(csv.contains("2026-10-25,2026-10-25,asked,paris-1,"), "{csv}");
    assert!(csv.contains("2026-10-24,2026-10-24,compared,paris-1,"), "{csv}");
    let json = get(&site, &format!("/api/v1/measures/summary?{DAY}")).await.text;
    assert!(json.contains(r#""from":"2026-10-24""#), "{json}");
}

/// It is 04:30 by the shop's clock, two hours after the first pick-ups, and the day has begun 5 ½ hours ago.
#[tokio::test]
async fn a_day_that_is_not_over_is_compared_with_as_much_of_the_day_before() {
    let mut bench = Bench::new();
    let hour = 3_600_000;
    let day = 24 * u64::from(3_600_000_u32);
    let mut message = batch(1, vec![picked(0, TAG), picked(6 * hour, TWIN), picked(day, TAG)]);
    message.anchors = vec![anchor(0, NIGHT - 86_400_000, 10)];
    bench.send(&message);
    let (site, _changed) = site(&bench, "");
    let text = get(&site, "/api/v1/measures/summary?period=today").await.text;
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let picked: Vec<_> =
        json["rows"].as_array().unwrap().iter().map(|row| row["picked_up"].as_u64()).collect();
    assert_eq!(picked, [Some(1), Some(1)], "not the one at half past eight the day before");
}

#[tokio::test]
async fn texts_of_the_catalogue_cannot_become_markup_or_formulas() {
    let bench = a_day();
    let row = "80614141123458,=cmd(),+1,-M,\"<script>alert(1)</script>\",1\n";
    let (site, _changed) = site(&bench, row);
    let page = get(&site, "/?from=2026-10-25").await.text;
    assert!(!page.contains("<script>alert") && page.contains("alert(1)"), "{page}");
    assert!(page.contains("Paris &#60;Rivoli&#62;") || page.contains("Paris &lt;Rivoli&gt;"));
    let csv = get(&site, "/products.csv?from=2026-10-25").await.text;
    assert!(csv.contains("<script>alert(1)</script>,'=cmd(),'+1,'-M,1,"), "{csv}");
}

#[tokio::test]
async fn a_wrong_parameter_is_named() {
    let bench = Bench::new();
    let (site, _changed) = site(&bench, "");
    for (path, said) in [
        ("/?store=nowhere", "parameter store"),
        ("/?from=yesterday", "parameter from"),
        ("/?to=2026-02-30", "parameter to"),
        ("/zones.csv?from=9999-99-99", "parameter from"),
        ("/?date=2026-02-03", "parameter &#34;date&#34; is not one of"),
        ("/?store=<b>", "&#60;b&#62;"),
    ] {
        let path = path.replace('<', "%3C").replace('>', "%3E");
        let answer = get(&site, &path).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path}");
        assert!(answer.text.contains(said), "{path}: {}", answer.text);
    }
    assert_eq!(get(&site, "/?store=&from=").await.status, StatusCode::OK, "an empty value is none");
}

#[tokio::test]
async fn only_the_pages_own_script_and_style_are_allowed() {
    let bench = Bench::new();
    let (site, _changed) = site(&bench, "");
    let page = get(&site, "/").await;
    let policy = page.headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
    let nonce = policy.split("script-src 'nonce-").nth(1).unwrap().split('\'').next().unwrap();
    assert!(policy.starts_with("default-src 'none'"));
    assert_eq!(page.text.matches("<script").count(), 1);
    assert!(page.text.contains(&format!("<script nonce=\"{nonce}\">")));
    assert_eq!(page.headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
    let other = get(&site, "/").await;
    assert_ne!(other.headers[header::CONTENT_SECURITY_POLICY], policy);
}

#[tokio::test]
async fn health_counts_events_gaps_and_quarantine() {
    let mut bench = a_day();
    bench.send_bytes(Channel::Events, b"junk".into());
    let (site, _changed) = site(&bench, "");
    let answer: serde_json::Value = serde_json::from_str(&get(&site, "/health").await.text).unwrap();
    let wanted = serde_json::json!({
        "status": "ok", "broker": "connected", "writer": "ok",
        "events": 11, "gaps": 0, "lost": 0, "unexplained": 0, "quarantined": 1,
        "not_recording": [], "unopened": [], "deleted": [],
        "feed": { "unclocked": 1, "unpublished": [
            { "form": "cloudevents", "events": 10, "oldest_s": (NIGHT + 7_200_000 - 5) / 1_000 }
        ] },
        "quarantine": { "payloads": 1, "bytes": 4, "only_copies": 0 },
    });
    assert_eq!(answer, wanted);
    bench.batch(
        "INSERT INTO feed_sent VALUES ('paris-1', 'cloudevents', 10);
         INSERT INTO deleted VALUES ('paris-1', 'event', 1700000000000, 7)",
    );
    let answer: serde_json::Value = serde_json::from_str(&get(&site, "/health").await.text).unwrap();
    let unpublished = serde_json::json!([{ "form": "cloudevents", "events": 0, "oldest_s": null }]);
    assert_eq!(answer["feed"]["unpublished"], unpublished);
    let deleted = serde_json::json!([
        { "store": "paris-1", "table": "event", "before": "2023-11-14T22:13:20Z", "rows": 7 }
    ]);
    assert_eq!(answer["deleted"], deleted);
    let page = get(&site, "/").await.text;
    assert!(page.contains("Messages that could not be used: 1"), "{page}");
    assert!(page.contains("begins with &#34;junk&#34; and not with &#34;HTAG&#34;"), "{page}");
}

#[tokio::test]
async fn a_writer_that_fails_is_told_to_monitors() {
    let bench = a_day();
    let why = Failing { since: Timestamp::UNIX_EPOCH, why: "disk full".into() };
    let (_broker, broker) = watch::channel(Broker::unknown());
    let (writer, failing) = watch::channel(Some(why));
    let (site, _changed) = site_with(&bench, "", Vitals { broker, failing, forms: vec![Form::CloudEvents] });
    let answer = get(&site, "/health").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    for said in ["\"failing\"", "\"connecting\"", "1970-01-01T00:00:00Z", "disk full", "\"events\":11"] {
        assert!(answer.text.contains(said), "{said} in {}", answer.text);
    }
    assert!(get(&site, "/").await.text.contains("Central cannot store what comes at present"));
    writer.send_replace(None);
    assert!(!get(&site, "/").await.text.contains("cannot store"));
    let answer = get(&site, "/health").await;
    assert_eq!(answer.status, StatusCode::OK, "the broker may be away for a while: {}", answer.text);
    bench.destroy();
    assert_eq!(get(&site, "/health").await.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn a_broker_that_stays_away_is_told_to_monitors() {
    let bench = a_day();
    let since = tokio::time::Instant::now() - Duration::from_secs(61);
    let why = Some("connection refused".to_owned());
    let (connection, broker) = watch::channel(Broker::Connecting { since, why });
    let (_writer, failing) = watch::channel(None);
    let (site, _changed) = site_with(&bench, "", Vitals { broker, failing, forms: vec![Form::CloudEvents] });
    let answer = get(&site, "/health").await;
    assert_eq!(answer.status, StatusCode::OK, "starting central anew would not help");
    let told: serde_json::Value = serde_json::from_str(&answer.text).unwrap();
    assert_eq!((&told["status"], &told["broker"]), (&"degraded".into(), &"connecting".into()));
    assert_eq!(told["broker_why"], "connection refused");
    assert!(told["disconnected_s"].as_u64() >= Some(61), "{told}");
    let page = get(&site, "/").await.text;
    assert!(page.contains("Central has had no connection to the broker for 1 min: what happened"), "{page}");
    connection.send_replace(Broker::unknown());
    assert!(!get(&site, "/").await.text.contains("no connection to the broker"), "it has just been lost");
    assert!(get(&site, "/health").await.text.contains(r#""status":"ok","broker":"connecting""#));
}

#[tokio::test]
async fn a_gateway_that_keeps_no_events_is_told_to_everybody() {
    let mut bench = a_day();
    let (site, _changed) = site(&bench, "");
    let status = |more: &str| {
        format!(
            r#"{{"v":1,"state":"online","agent":"1.0","health":{{"boot":"0000000000000007","uptime_ms":1,
            "epoch":"0000000000000abc","next":9,"waiting":1234,"oldest_ms":0,"lost":0,{more}"readers":[]}}}}"#
        )
        .into_bytes()
    };
    bench.send_bytes(Channel::Status, status(r#""spool_percent":83,"#));
    let page = get(&site, "/").await.text;
    assert!(page.contains("spool 83 % full") && page.contains("<td>1,234</td>"), "{page}");
    assert!(page.contains("Complete"), "nothing is missing yet: {page}");
    assert!(!page.contains("records nothing"), "{page}");

    let column = |name: &str| page.find(&format!("<th scope=\"col\"{name}</th>")).unwrap();
    assert!(
        column(">Events lost") < column(" class=\"text\">Readers"),
        "many readers do not push it out of sight"
    );

    bench.send_bytes(Channel::Status, status(r#""spool_fault":"the disk is full: 12 KiB","#));
    let page = get(&site, "/").await.text;
    assert!(page.contains("records nothing: cannot keep events: the disk is full: 12 KiB</span>"), "{page}");
    assert!(!page.contains("Complete"), "{page}");
    let answer = get(&site, "/health").await;
    assert_eq!(answer.status, StatusCode::OK, "central is well");
    let told: serde_json::Value = serde_json::from_str(&answer.text).unwrap();
    let wanted =
        serde_json::json!([{"store": "paris-1", "gateway": "gw-1", "why": "the disk is full: 12 KiB"}]);
    assert_eq!((&told["status"], &told["not_recording"]), (&"ok".into(), &wanted));
}

#[tokio::test]
async fn missing_events_are_told_lost_and_unexplained() {
    let mut bench = a_day();
    let (site, _changed) = site(&bench, "");
    assert!(get(&site, "/").await.text.contains("Complete: no event was lost"));
    let mut message = batch(40, vec![picked(0, TAG)]);
    (message.lost, message.oldest_held) = (vec![SeqRange::new(20, 29)], Seq(40));
    bench.send(&message);
    let page = get(&site, "/").await.text;
    assert!(!page.contains("Complete"));
    assert!(page.contains("Events missing: 28, in 3 gaps"), "{page}");
    for gap in ["20..=29 of epoch 0000000000000abc: lost", "30..=39 of epoch 0000000000000abc: unexplained"] {
        assert!(page.contains(gap), "{gap} in {page}");
    }
}

#[tokio::test(start_paused = true)]
async fn many_commits_are_told_as_one_change() {
    use futures_util::StreamExt;
    let (changed, commits) = watch::channel(0);
    let (stop, stopping) = watch::channel(false);
    let mut stream = std::pin::pin!(changes(commits, stopping));
    for commit in 1..=50 {
        changed.send_replace(commit);
    }
    assert!(stream.next().await.is_some());
    let quiet = tokio::time::timeout(Duration::from_secs(60), stream.next()).await;
    assert!(quiet.is_err(), "nothing was committed since");
    stop.send_replace(true);
    assert!(stream.next().await.is_none());
}

#[tokio::test]
async fn scans_are_counted_per_zone_and_sealed_codes_are_told() {
    let mut bench = Bench::new();
    let product = Code::Product(Gtin::new("4006381333931").unwrap());
    let sealed = || Code::Loyalty(Sealed::new(KeyId(*b"key-id-1"), vec![7; SEAL_BYTES]).unwrap());
    let mut message = batch(
        1,
        vec![
            fitting(1_000, TAG, 1, What::CarriedIn),
            scanned(2_000, Some(1), sealed()),
            scanned(3_000, Some(1), sealed()),
            scanned(4_000, None, product),
            retraction(5_000, 3),
        ],
    );
    message.anchors = vec![anchor(0, NIGHT, 10)];
    bench.send(&message);
    let (site, _changed) = site(&bench, "");
    let page = get(&site, "/").await.text;
    assert!(page.contains(">Loyalty scans</th>"), "{page}");
    assert!(page.contains("Loyalty codes that wait for key 6b65792d69642d31: 2."), "{page}");
    let zones = get(&site, "/zones.csv").await.text;
    let header = zones.lines().next().unwrap_or_default();
    assert!(header.ends_with("visits,stay_median_s,stay_p90_s,loyalty_scans,product_scans"), "{zones}");
    assert!(zones.lines().any(|line| line.ends_with(",booth-1,paris-1,0,0,1,0,1,,,1,1")), "{zones}");
    let health: serde_json::Value = serde_json::from_str(&get(&site, "/health").await.text).unwrap();
    let told = serde_json::json!([{"key": "6b65792d69642d31", "state": "sealed", "scans": 2}]);
    assert_eq!((&health["unopened"], &health["status"]), (&told, &"ok".into()));
}

/// A stretch in which a reader was in a state, from one moment after the clock's beginning to another.
fn coverage(state: ReaderState, from: u64, to: u64) -> Event {
    let of = event::Coverage { reader: ReaderId::new("a").unwrap(), state, from: Uptime(from) };
    Event { at: Uptime(to), what: What::Coverage(of), ..picked(0, TAG) }
}

#[tokio::test]
async fn time_that_nobody_listened_to_is_told_as_not_measured_everywhere() {
    let bench = a_day();
    let (site, _changed) = site(&bench, "");
    let days = get(&site, "/days.csv?store=paris-1&from=2026-10-24&to=2026-10-25").await.text;
    assert!(days.contains(",2026-10-24,,,,,0.00\r\n"), "open, and nobody listened: {days}");
    assert!(days.contains(",2026-10-25,3,0,1,2,\r\n"), "closed, and something was told: {days}");
    let hours = get(&site, "/hours.csv?store=paris-1&from=2026-10-24").await.text;
    assert!(hours.contains("paris-1,2026-10-24T10:00:00+02:00,,,,,0.00\r\n"), "{hours}");
    let stores = get(&site, "/stores.csv?from=2026-10-25").await.text;
    assert!(stores.contains(",Lyon,lyon-1,,,,,\r\n"), "{stores}");
    for table in ["summary", "days", "hours", "week", "stores"] {
        let text =
            get(&site, &format!("/api/v1/measures/{table}?store=paris-1&from=2026-10-24&compare=none"))
                .await
                .text;
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        let row = &json["rows"][0];
        assert_eq!(
            (&row["picked_up"], &row["listened_percent"]),
            (&().into(), &0.0.into()),
            "{table}: {text}"
        );
    }
    let page = get(&site, "/?store=paris-1&from=2026-10-24").await.text;
    assert!(page.contains("No reader listened in this time"), "{page}");
    assert!(!page.contains("Nothing ") && page.contains("<p class=\"value\">–</p>"), "{page}");
    let page = get(&site, "/?store=paris-1&from=2026-10-24&lang=zh-CN").await.text;
    assert!(page.contains("该时段没有读写器在工作") && !page.contains("没有任何事件"), "{page}");
}

/// The Saturday of `OPENS`: from then on a reader listens for nine hours and a half.
#[tokio::test]
async fn a_day_that_was_listened_to_and_on_which_nothing_happened_is_zero() {
    /// 2026-10-24 10:00 in Paris.
    const OPENS: i64 = 1_792_828_800_000;
    let mut bench = Bench::new();
    let mut message = batch(1, vec![coverage(ReaderState::Listening, 0, 19 * 1_800_000)]);
    message.anchors = vec![anchor(0, OPENS, 10)];
    bench.send(&message);
    let (site, _changed) = site(&bench, "");
    let days = get(&site, "/days.csv?store=paris-1&from=2026-10-23&to=2026-10-24").await.text;
    assert!(
        days.contains(",2026-10-23,,,,,\r\n") && days.contains(",2026-10-24,0,0,0,0,100.00\r\n"),
        "{days}"
    );
    let hours = get(&site, "/hours.csv?store=paris-1&from=2026-10-24").await.text;
    assert!(hours.contains("T19:00:00+02:00,0,0,0,0,50.00\r\n"), "half of the last hour: {hours}");
    let page = get(&site, "/?store=paris-1&from=2026-10-24").await.text;
    assert!(page.contains("Nothing happened while readers listened."), "{page}");
    // A week of which one day is known is no measure for a day, nor the other way round.
    let page = get(&site, "/?store=paris-1&from=2026-10-24&to=2026-10-26&compare=none").await.text;
    assert!(page.contains("Nothing happened while readers listened."), "{page}");
}

#[tokio::test]
async fn stretches_of_which_not_as_much_is_known_are_not_compared() {
    const HOUR: u64 = 3_600_000;
    const DAY_MS: i64 = 86_400_000;
    /// 2026-10-17 10:00 in Paris, a Saturday; the store is open on Mondays and Saturdays.
    const BEGIN: i64 = 1_792_828_800_000 - 7 * DAY_MS;
    let mut bench = Bench::new();
    let listening = |day: u64| coverage(ReaderState::Listening, day * 24 * HOUR, day * 24 * HOUR + 9 * HOUR);
    // Saturday the 17th and the 24th; the Monday between is not listened to.
    let (week, now) = (picked(HOUR, TAG), [picked(7 * 24 * HOUR, TAG), picked(7 * 24 * HOUR + 1, TAG)]);
    let mut message = batch(1, [&[week, listening(0), listening(7)][..], &now].concat());
    message.anchors = vec![anchor(0, BEGIN, 10)];
    bench.send(&message);
    let (site, _changed) = site(&bench, "");
    let page = get(&site, "/?store=paris-1&from=2026-10-24&to=2026-10-24&compare=none").await.text;
    assert!(page.contains("Picked up</p><p class=\"value\">2</p>"), "{page}");
    let days = "store=paris-1&from=2026-10-24&to=2026-10-24";
    assert!(get(&site, &format!("/?{days}")).await.text.contains("before: not measured"));
    // A week before: the 18th to the 24th, of whose two open days one is known, beside the 11th to the 17th with as much.
    let page = get(&site, "/?store=paris-1&from=2026-10-18&to=2026-10-24").await.text;
    assert!(page.contains("▲ 100 % more than 1<"), "{page}");
    let page = get(&site, "/?store=paris-1&from=2026-10-20&to=2026-10-24").await.text;
    assert!(page.contains("before: 1; days measured: 1 then, 1 now<") && !page.contains("▲ 100 %"), "{page}");
}

/// Tried on half an hour ago, while a till sells something else.
#[tokio::test]
async fn what_is_bought_is_not_known_before_the_time_has_passed() {
    let mut bench = Bench::new();
    let mut message = batch(1, vec![fitting(90 * 60_000, TAG, 1, What::TriedOn)]);
    message.anchors = vec![anchor(0, NIGHT, 10)];
    bench.send(&message);
    let line = format!(
        r#"{{"receipt":"r","line":1,"time":"{}","gtin":"4006381333931","quantity":1}}"#,
        Timestamp::from_millisecond(NIGHT).unwrap()
    );
    let topic = "hangtag/v1/demo/pos/paris-1/sale".into();
    bench.store.append(&[Message { topic, payload: line.into_bytes(), received: UnixMillis(5) }]).unwrap();
    let (site, _changed) = site(&bench, "");
    let page = get(&site, &format!("/?{DAY}&compare=none")).await.text;
    let funnel = page.split("<section id=\"summary\">").nth(1).unwrap().split("</section>").next().unwrap();
    assert!(
        funnel.contains("0 pick-ups, 1 try-on; what was bought is known two hours after each."),
        "{funnel}"
    );
    assert!(
        funnel.contains("Bought after trying: –") && funnel.contains("no try-on has an outcome yet"),
        "{funnel}"
    );
    // Another one, three hours ago: of it that is known.
    let mut more = batch(2, vec![fitting(0, TWIN, 2, What::TriedOn)]);
    more.anchors = vec![anchor(0, NIGHT - 3_600_000, 5)];
    more.header.epoch = hangtag_protocol::id::Epoch(0xdef);
    more.header.first = Seq(1);
    more.events[0].boot.0 = 9;
    more.anchors[0].boot.0 = 9;
    bench.send(&more);
    let page = get(&site, &format!("/?{DAY}&compare=none")).await.text;
    assert!(
        page.contains("2 try-ons. Of 1 it is known what became of them: 0 bought within two hours."),
        "{page}"
    );
    assert!(page.contains(": of 1 try-on with a known outcome, 0 bought"), "{page}");
}

#[tokio::test]
async fn what_nothing_can_have_is_refused_for_programs_and_said_to_people() {
    let bench = a_day();
    let (site, _changed) = site(&bench, "80614141123458,S1,red,M,Dress,39.90\n");
    for (query, said, words) in [
        ("lang=fr", "parameter lang: \"fr\" is not one of en, zh-CN", "This page does not speak “fr”."),
        (
            "style=9999",
            "parameter style: the catalogue has no \"9999\"",
            "Style: the catalogue has no “9999”",
        ),
        ("colour=blue", "parameter colour: the catalogue has no", "Colour: the catalogue has no “blue”"),
        ("size=XXL", "parameter size: the catalogue has no", "Size: the catalogue has no “XXL”"),
        ("category=x", "parameter category: the catalogue has no", "Category: the catalogue has no “x”"),
    ] {
        for path in ["/api/v1/measures/styles", "/styles.csv"] {
            let answer = get(&site, &format!("{path}?{DAY}&{query}")).await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path}?{query}");
            let text = answer.text.replace("\\\"", "\"").replace("&#34;", "\"");
            assert!(text.contains(said), "{said} in {text}");
        }
        let page = get(&site, &format!("/?{DAY}&{query}")).await;
        assert!(page.status == StatusCode::OK && page.text.contains(words), "{words} in {}", page.text);
    }
    for query in ["style=S1", "style=4006381333931", "lang=en-GB", "lang="] {
        assert_eq!(
            get(&site, &format!("/api/v1/measures/styles?{query}")).await.status,
            StatusCode::OK,
            "{query}"
        );
    }
}

#[tokio::test]
async fn what_is_not_there_is_a_problem_for_programs_and_a_page_for_people() {
    let bench = Bench::new();
    let (site, _changed) = site(&bench, "");
    for path in ["/api/v1/nothing", "/api/v2/events", "/api/"] {
        let answer = get(&site, path).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.headers[header::CONTENT_TYPE]),
            (404, &"application/problem+json".parse().unwrap())
        );
        let problem: serde_json::Value = serde_json::from_str(&answer.text).unwrap();
        assert_eq!(problem["status"], 404);
        assert!(
            problem["detail"].as_str().unwrap().contains(&format!("there is nothing at {path}; ")),
            "{problem}"
        );
    }
    let page = get(&site, "/nothing.csv").await;
    assert!(
        page.status == StatusCode::NOT_FOUND && page.text.contains("there is nothing at /nothing.csv"),
        "{}",
        page.text
    );
    let request = Request::post("/api/v1/events").body(Body::empty()).unwrap();
    let answer = router(site.clone()).oneshot(request).await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()[header::ALLOW]),
        (405, &"GET,HEAD".parse().unwrap())
    );
    assert_eq!(answer.headers()[header::CONTENT_TYPE], "application/problem+json");
}

#[tokio::test]
async fn tags_that_are_no_product_have_a_name() {
    let bench = a_day();
    let (site, _changed) = site(&bench, "");
    for (lang, name) in [("en", "Tags without a product"), ("zh-CN", "无对应商品的标签")] {
        let page = get(&site, &format!("/?{DAY}&lang={lang}")).await.text;
        assert_eq!(page.matches(&format!("<th scope=\"row\">{name}</th>")).count(), 2, "{page}");
    }
    let csv = get(&site, &format!("/products.csv?{DAY}")).await.text;
    assert!(csv.contains("2026-10-25,2026-10-25,no_product,,"), "{csv}");
}

#[tokio::test]
async fn readers_are_told_of_the_days_that_were_asked_for() {
    const HOUR: u64 = 3_600_000;
    let mut bench = Bench::new();
    // Monday the 19th, silent after an hour; on Saturday it listens all day.
    let events = vec![
        coverage(ReaderState::Listening, 0, HOUR),
        coverage(ReaderState::Silent, HOUR, 5 * HOUR),
        coverage(ReaderState::Listening, 5 * 24 * HOUR, 5 * 24 * HOUR + 19 * HOUR / 2),
    ];
    let mut message = batch(1, events);
    message.anchors = vec![anchor(0, 1_792_828_800_000 - 5 * 86_400_000, 10)];
    bench.send(&message);
    let (site, _changed) = site(&bench, "");
    let row = async |days: &str| {
        let text = get(&site, &format!("/api/v1/measures/readers?store=paris-1&{days}")).await.text;
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        json["rows"][0].clone()
    };
    let week = row("from=2026-10-19&to=2026-10-25").await;
    assert_eq!(
        (&week["listened_hours"], &week["silent_hours"], &week["untold_hours"]),
        (&10.5.into(), &4.0.into(), &4.5.into()),
        "{week}"
    );
    let saturday = row("from=2026-10-24").await;
    assert_eq!(
        (&saturday["listened_percent"], &saturday["gateway"]),
        (&100.0.into(), &"gw-1".into()),
        "{saturday}"
    );
    let page = get(&site, "/?store=paris-1&from=2026-10-19&to=2026-10-25").await.text;
    assert!(page.contains("1 gateway listened in less than nine tenths of the opening hours: gw-1 (Paris &#60;Rivoli&#62;) 55 %."), "{page}");
    let page = get(&site, "/?store=paris-1&from=2026-10-24").await.text;
    assert!(page.contains("Every gateway listened in nine tenths"), "{page}");
}

#[tokio::test]
async fn days_on_which_nobody_listened_are_no_zero() {
    let bench = a_day();
    let (site, _changed) = site(&bench, "");
    let page = get(&site, "/?store=paris-1&from=2026-10-24&to=2026-10-25").await.text;
    let bars = page.split("<section id=\"days\">").nth(1).unwrap().split("</svg>").next().unwrap();
    assert!(bars.contains("24 October 2026: not measured"), "{bars}");
    assert!(!bars.contains("25 October 2026: not measured"), "{bars}");
    assert!(!page.contains("corner-"), "every text is said");
    assert!(page.contains("No till has told of a sale"), "and no style is drawn as unsold");
}

#[tokio::test]
async fn sizes_are_drawn_as_unsold_only_where_a_till_tells() {
    let mut bench = a_day();
    let catalogue = "80614141123458,S1,red,M,Dress,39.90\n";
    let drawn = async |bench: &Bench| {
        let (site, _changed) = site(bench, catalogue);
        let page = get(&site, &format!("/?{DAY}")).await.text;
        let of = page.split("<section id=\"sizes\">").nth(1).unwrap();
        of.split("</svg>").next().unwrap().to_owned()
    };
    let before = drawn(&bench).await;
    assert!(before.contains("M · Tried on: 2") && !before.contains("· Sold:"), "{before}");
    let line = format!(
        r#"{{"receipt":"r","line":1,"time":"{}","gtin":"4006381333931","quantity":1}}"#,
        Timestamp::from_millisecond(NIGHT).unwrap()
    );
    let topic = "hangtag/v1/demo/pos/paris-1/sale".into();
    bench.store.append(&[Message { topic, payload: line.into_bytes(), received: UnixMillis(5) }]).unwrap();
    let after = drawn(&bench).await;
    assert!(after.contains("M · Sold: 0"), "{after}");
}

/// Three styles are tried as often; one of them is bought by nobody.
#[tokio::test]
async fn the_style_that_is_tried_and_not_bought_is_named() {
    let mut bench = Bench::new();
    let minute = 60_000;
    let tags = [1, 2, 3].map(|item| {
        let serial = Serial::Number(7);
        Sgtin { filter: 1, company: 614_141, company_digits: 7, item, serial }.encode_96().unwrap()
    });
    let gtins = tags.map(|tag| tag.sgtin().unwrap().gtin());
    let texts = tags.map(|tag| tag.to_string());
    let mut events = Vec::new();
    for n in 0..60_u64 {
        let event = fitting(n * minute, &texts[(n % 3) as usize], n + 1, What::TriedOn);
        events.push(event);
    }
    let mut message = batch(1, events);
    message.anchors = vec![anchor(0, NIGHT - 6 * 3_600_000, 10)];
    bench.send(&message);
    let sale = |n: i64, gtin: &Gtin| {
        format!(
            r#"{{"receipt":"r{n}","line":1,"time":"{}","gtin":"{gtin}","quantity":1}}"#,
            Timestamp::from_millisecond(NIGHT - 6 * 3_600_000 + n * 60_000 + 30_000).unwrap()
        )
    };
    let lines: Vec<String> =
        (0..60).filter(|n| n % 3 < 2).map(|n| sale(n, &gtins[(n % 3) as usize])).collect();
    let payload = format!("[{}]", lines.join(",")).into_bytes();
    let topic = "hangtag/v1/demo/pos/paris-1/sale".into();
    bench.store.append(&[Message { topic, payload, received: UnixMillis(5) }]).unwrap();
    let rows: Vec<String> = gtins
        .iter()
        .zip(["A", "B", "C"])
        .map(|(gtin, style)| format!("{gtin},{style},red,M,Dress {style},1\n"))
        .collect();
    let (site, _changed) = site(&bench, &rows.concat());
    let page = get(&site, "/?store=paris-1&from=2026-10-24&to=2026-10-25").await.text;
    // Another shop without a till changes no share: what is bought there nobody knows.
    let lyon = Gateway { store: StoreId::new("lyon-1").unwrap(), ..gateway() };
    let mut elsewhere = message.clone();
    elsewhere.header.gateway = lyon;
    let (topic, payload) = (lyon.topic(Channel::Events), elsewhere.encode().unwrap());
    bench.store.append(&[Message { topic, payload, received: UnixMillis(5) }]).unwrap();
    let text = get(&site, "/api/v1/measures/summary?from=2026-10-24&to=2026-10-25").await.text;
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let row = &json["rows"][0];
    assert_eq!((&row["tried_on"], &row["try_to_buy"]["part"]), (&120.into(), &40.into()), "{text}");
    assert_eq!(row["try_to_buy"]["whole"], 60, "{text}");
    assert!(page.contains("Dress C is tried on much and bought seldom: 0 of 20 try-ons."), "{page}");
    let csv = get(&site, "/styles.csv?store=paris-1&from=2026-10-24&to=2026-10-25").await.text;
    assert!(csv.lines().any(|line| line.contains("Dress A,A,0,0,0,20,")), "{csv}");
}

/// What openapi.json says of tables.
pub(super) fn described() -> jsonschema::Validator {
    let description: serde_json::Value = serde_json::from_str(api::DESCRIPTION).unwrap();
    let schema = serde_json::json!({
        "$ref": "#/components/schemas/Table",
        "components": description["components"],
    });
    jsonschema::validator_for(&schema).unwrap()
}

#[tokio::test]
async fn every_answer_is_what_openapi_says() {
    let bench = a_day();
    let (site, _changed) = site(&bench, "80614141123458,S1,red,M,Dress,39.90\n");
    let told = get(&site, "/api/v1/openapi.json").await.text;
    let description: serde_json::Value = serde_json::from_str(&told).unwrap();
    let validator = described();
    for name in tables::NAMES {
        let answer = get(&site, &format!("/api/v1/measures/{name}?{DAY}&limit=1000")).await;
        let answer: serde_json::Value = serde_json::from_str(&answer.text).unwrap();
        let errors: Vec<String> = validator.iter_errors(&answer).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{name}: {errors:?}");
    }
    let mut wrong = serde_json::json!({"table": "styles", "from": "2026-10-25", "to": "2026-10-25",
        "stores": [], "total": 1, "rows": [{"nothing": 1}]});
    assert!(!validator.is_valid(&wrong), "it does not take everything");
    wrong["rows"] = serde_json::json!([]);
    assert!(validator.is_valid(&wrong));

    let measures = &description["paths"]["/api/v1/measures/{table}"]["get"]["parameters"];
    let names: Vec<&str> =
        measures.as_array().unwrap().iter().map(|parameter| parameter["name"].as_str().unwrap()).collect();
    assert_eq!(names, [&["table"][..], &filter::NAMES, &["limit", "offset"]].concat());
    assert_eq!(measures[0]["schema"]["enum"], serde_json::json!(tables::NAMES));
    for (path, of) in description["paths"].as_object().unwrap() {
        let path = path.replace("{table}", "days").replace("{name}", "event").replace("{version}", "1");
        if of.get("get").is_some() {
            let status = get(&site, &path).await.status;
            assert_ne!(status, StatusCode::NOT_FOUND, "{path}");
        }
    }
}
