//! The door for tills: `POST /api/v1/pos/{store}/{sale|return|stock}`. Enters: JSON or CSV. Leaves: how many lines are
//! new, known and corrected, and what is wrong with the others; sent when they are on stable storage. The schemas of the
//! JSON are at `/api/v1/schema/pos-sale/1` and `pos-stock/1`.
//!
//! Who comes this far has a token for it, or nobody is asked yet (`guard`). Then a page of another site that a browser on
//! this machine shows must not get through: forms cannot send JSON or CSV, and what names another origin is refused.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use hangtag_protocol::clock::UnixMillis;
use hangtag_protocol::id::StoreId;
use hangtag_protocol::topic::About;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use crate::pos::{self, Door, Fault, Place, Told};
use crate::shop::Shop;
use crate::store::{Input, Question, Taken};

/// The largest body, in bytes: some thousands of lines.
const MAX_BODY: usize = 1 << 20;
/// Bodies that are read and stored at a time; others wait.
const AT_ONCE: usize = 2;
/// How long a till waits for the disk, and for its turn.
const PATIENCE: Duration = Duration::from_secs(10);
/// The most mistakes that an answer names.
const NAMED: usize = 100;

/// What the door needs.
pub(crate) struct Tills {
    /// The writer. Weak, because it ends when nobody can ask it any more.
    pub input: mpsc::WeakSender<Input>,
    /// The shops.
    pub shops: Vec<Shop>,
}

struct Room {
    tills: Tills,
    turns: Semaphore,
}

/// Why nothing was taken.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("a page of {0} may not send here")]
    Origin(String),
    #[error("Content-Type is {0:?}, not application/json or text/csv")]
    Type(String),
    #[error("there is no store {0:?}")]
    Store(String),
    #[error("{0:?} is not sale, return or stock")]
    About(String),
    #[error("{0}; a body has at most {MAX_BODY} bytes")]
    Body(#[from] BytesRejection),
    #[error("nothing could be taken")]
    Nothing(Vec<Fault>),
    #[error("it cannot be stored at the moment, or takes long; send it again: what is known is taken once")]
    Busy,
    #[error("{0}")]
    Failed(String),
}

/// The door's path.
pub(crate) fn router(tills: Tills) -> Router {
    let room = Room { tills, turns: Semaphore::new(AT_ONCE) };
    Router::new()
        .route("/api/v1/pos/{store}/{about}", post(tell))
        .method_not_allowed_fallback(super::no_such_method)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(Arc::new(room))
}

async fn tell(
    State(room): State<Arc<Room>>,
    Path((store, about)): Path<(String, String)>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Refusal> {
    from_here(&headers)?;
    let is_json = is_json(&headers)?;
    let known = room.tills.shops.iter().map(|shop| shop.id).find(|id| id.as_str() == store);
    let store = known.ok_or(Refusal::Store(store))?;
    let about = About::named(&about).ok_or(Refusal::About(about))?;
    let body = body?;
    timeout(PATIENCE, take(room, store, about, is_json, body)).await.map_err(|_| Refusal::Busy)?
}

async fn take(
    room: Arc<Room>,
    store: StoreId,
    about: About,
    is_json: bool,
    body: Bytes,
) -> Result<Response, Refusal> {
    let _turn = room.turns.acquire().await.map_err(|_| Refusal::Busy)?;
    let reader = Arc::clone(&room);
    let read = move || {
        let door = Door { about, store: Some(store), is_told: true, shops: Some(&reader.tills.shops) };
        if is_json { pos::json(&body, door) } else { pos::sheet(&body, door) }
    };
    let mut told =
        tokio::task::spawn_blocking(read).await.map_err(|error| Refusal::Failed(error.to_string()))?;
    let mut taken = Taken::default();
    if !told.places.is_empty() {
        let (answer, answered) = oneshot::channel();
        let received = UnixMillis(Timestamp::now().as_millisecond());
        let question = Question { rows: told.rows.clone(), received, answer };
        let input = room.tills.input.upgrade().ok_or(Refusal::Busy)?;
        input.send(Input::Sales(question)).await.map_err(|_| Refusal::Busy)?;
        drop(input);
        taken = answered.await.map_err(|_| Refusal::Busy)?.map_err(Refusal::Failed)?;
        told.refused(std::mem::take(&mut taken.refused));
    }
    if taken.new + taken.known + taken.replaced == 0 && !told.faults.is_empty() {
        return Err(Refusal::Nothing(told.faults));
    }
    Ok(answer(StatusCode::OK, "application/json", &counts(&taken, &told)))
}

/// Refuses what a browser sends for a page of another site.
fn from_here(headers: &HeaderMap) -> Result<(), Refusal> {
    let text = |name| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let Some(origin) = text(header::ORIGIN) else { return Ok(()) };
    let host = text(header::HOST);
    let of = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    if of.is_some() && of == host.as_deref() { Ok(()) } else { Err(Refusal::Origin(origin)) }
}

fn is_json(headers: &HeaderMap) -> Result<bool, Refusal> {
    let text = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
        "application/json" => Ok(true),
        "text/csv" => Ok(false),
        _ => Err(Refusal::Type(text.to_owned())),
    }
}

fn counts(taken: &Taken, told: &Told) -> Value {
    let Taken { new, known, replaced, .. } = taken;
    json!({
        "new": new,
        "known": known,
        "corrected": replaced,
        "wrong": told.faults.len(),
        "problems": problems(&told.faults),
        "notes": told.notes,
    })
}

/// The first mistakes.
fn problems(faults: &[Fault]) -> Vec<Value> {
    let problem = |fault: &Fault| match fault.place {
        Place::Whole => json!({ "detail": fault.what }),
        Place::Line(line) => json!({ "line": line, "detail": fault.what }),
        Place::Element(element) => json!({ "element": element, "detail": fault.what }),
    };
    faults.iter().take(NAMED).map(problem).collect()
}

/// Problem details (RFC 9457).
impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = match &self {
            Self::Origin(_) => StatusCode::FORBIDDEN,
            Self::Type(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Store(_) | Self::About(_) => StatusCode::NOT_FOUND,
            Self::Body(why) => why.status(),
            Self::Nothing(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::Failed(why) => {
                tracing::error!(error = why, "what a till told cannot be stored");
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        let mut body = json!({
            "title": status.canonical_reason(),
            "status": status.as_u16(),
            "detail": self.to_string(),
        });
        if let Self::Nothing(faults) = &self {
            body["wrong"] = faults.len().into();
            body["problems"] = problems(faults).into();
        }
        answer(status, "application/problem+json", &body)
    }
}

fn answer(status: StatusCode, content_type: &'static str, body: &Value) -> Response {
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (status, headers, format!("{body}\n")).into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use tokio::sync::watch;
    use tower::ServiceExt;

    use super::*;
    use crate::shop::tests::paris;
    use crate::store::tests::{Bench, options};
    use crate::store::{Reader, Store, Writer};

    const LINE: &str =
        r#"{"receipt":"a","line":1,"time":"2026-11-22T14:03:11+01:00","gtin":"4006381333931","quantity":1}"#;

    /// The door with a writer behind it.
    struct Shopfront {
        bench: Bench,
        door: Router,
        input: mpsc::Sender<Input>,
        writer: std::thread::JoinHandle<()>,
        changed: watch::Receiver<u64>,
        _output: mpsc::Receiver<crate::store::Settled>,
    }

    fn open() -> Shopfront {
        let bench = Bench::new();
        let (input, writer_input) = mpsc::channel(8);
        let (writer_output, output) = mpsc::channel(100);
        let (commits, changed) = watch::channel(0);
        let writer = Writer {
            address: bench.address.clone(),
            options: options(),
            input: writer_input,
            output: writer_output,
            changed: commits,
            failing: watch::channel(None).0,
            work: crate::store::Work::new(),
        };
        let store = Store::open(&bench.address, options()).unwrap();
        let writer = std::thread::spawn(move || writer.run(store));
        let door = router(Tills { input: input.downgrade(), shops: vec![paris()] });
        Shopfront { bench, door, input, writer, changed, _output: output }
    }

    type Header = (header::HeaderName, &'static str);
    const HERE: Header = (header::HOST, "127.0.0.1:8080");
    const JSON: Header = (header::CONTENT_TYPE, "application/json; charset=utf-8");

    async fn send(door: &Router, path: &str, headers: &[Header], body: impl Into<Body>) -> (u16, Value) {
        let mut request = Request::post(format!("/api/v1/pos/{path}"));
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        let answer = door.clone().oneshot(request.body(body.into()).unwrap()).await.unwrap();
        let status = answer.status();
        let content_type = answer.headers()[header::CONTENT_TYPE].to_str().unwrap().to_owned();
        let wanted = if status.is_success() { "application/json" } else { "application/problem+json" };
        assert_eq!(content_type, wanted);
        let body = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
        (status.as_u16(), serde_json::from_slice(&body).unwrap())
    }

    #[tokio::test]
    async fn an_answer_comes_after_the_commit_and_tells_of_every_line() {
        let mut shop = open();
        let (status, said) = send(&shop.door, "paris-1/sale", &[JSON], LINE).await;
        assert_eq!((status, &said["new"], &said["wrong"]), (200, &json!(1), &json!(0)));
        let stored = |shop: &Shopfront| {
            let reader = Reader::new(shop.bench.address.clone());
            reader.sales(paris().id, UnixMillis(0), UnixMillis(i64::MAX)).unwrap().len()
        };
        assert_eq!(stored(&shop), 1);
        timeout(Duration::from_secs(120), shop.changed.changed()).await.expect("the page is told").unwrap();

        let sheet = "receipt;line;kind;time;gtin;quantity;till\n\
            a;1;sale;2026-11-22 14:03:11;4006381333931;1;7\na;1;sale;2026-11-22 14:03:11;4006381333931;2;7\n\
            b;1;sale;2026-11-22 14:03:11;4006381333932;1;7\na;1;sale;2026-11-25 14:03:11;4006381333931;1;7\n";
        let csv = [(header::CONTENT_TYPE, "text/csv")];
        let (status, said) = send(&shop.door, "paris-1/sale", &csv, sheet).await;
        assert_eq!(
            (status, &said["known"], &said["corrected"], &said["wrong"]),
            (200, &json!(1), &json!(1), &json!(2))
        );
        let [gtin, again] = &said["problems"].as_array().unwrap()[..] else { panic!("{said}") };
        assert_eq!((&gtin["line"], &again["line"]), (&json!(4), &json!(5)));
        assert!(again["detail"].as_str().unwrap().contains("must not come again"), "{said}");
        assert_eq!(said["notes"], json!(["column \"till\" is not used"]));

        let (status, said) = send(&shop.door, "paris-1/stock", &[JSON], LINE).await;
        assert_eq!((status, &said["wrong"]), (422, &json!(1)));
        assert!(
            said["problems"][0]["detail"].as_str().unwrap().starts_with("\"line\" is not one of"),
            "{said}"
        );
        assert_eq!(stored(&shop), 1);
        // The door does not keep the writer from its end.
        drop(shop.input);
        shop.writer.join().unwrap();
        assert_eq!(send(&shop.door, "paris-1/sale", &[JSON], LINE).await.0, 503);
    }

    #[tokio::test]
    async fn what_a_strange_page_can_make_a_browser_send_is_refused() {
        let shop = open();
        for (headers, status) in [
            (&[][..], 415),
            (&[(header::CONTENT_TYPE, "text/plain")], 415),
            (&[(header::CONTENT_TYPE, "application/x-www-form-urlencoded")], 415),
            (&[(header::CONTENT_TYPE, "multipart/form-data; boundary=x")], 415),
            (&[JSON, HERE, (header::ORIGIN, "http://elsewhere.example")], 403),
            (&[JSON, HERE, (header::ORIGIN, "null")], 403),
            (&[JSON, (header::ORIGIN, "http://127.0.0.1:8080")], 403),
            (&[JSON, HERE, (header::ORIGIN, "http://127.0.0.1:8080")], 200),
        ] {
            assert_eq!(send(&shop.door, "paris-1/sale", headers, LINE).await.0, status, "{headers:?}");
        }
        for (path, status) in [("lyon/sale", 404), ("paris-1/refund", 404), ("Paris/sale", 404)] {
            assert_eq!(send(&shop.door, path, &[JSON], LINE).await.0, status, "{path}");
        }
        assert_eq!(send(&shop.door, "paris-1/sale", &[JSON], vec![b' '; MAX_BODY + 1]).await.0, 413);
        assert_eq!(send(&shop.door, "paris-1/sale", &[JSON], "[]").await.0, 200);
    }

    #[tokio::test]
    async fn what_the_database_cannot_take_is_told_and_holds_up_nobody() {
        let shop = open();
        shop.bench.poison("INSERT", "sale", "NEW.receipt = 'b'");
        let bad = LINE.replace("\"a\"", "\"b\"");
        let (bad, good) = tokio::join!(
            send(&shop.door, "paris-1/sale", &[JSON], bad),
            send(&shop.door, "paris-1/sale", &[JSON], LINE)
        );
        assert_eq!((bad.0, good.0), (500, 200));
        assert!(bad.1["detail"].as_str().unwrap().contains("poison"), "{bad:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_till_is_told_to_come_again_when_nothing_can_be_stored() {
        let (input, mut nobody) = mpsc::channel(8);
        let door = router(Tills { input: input.downgrade(), shops: vec![paris()] });
        let (status, said) = send(&door, "paris-1/sale", &[JSON], LINE).await;
        assert_eq!(status, 503, "{said}");
        // What nobody waits for any more is not stored behind the till's back.
        let Some(Input::Sales(question)) = nobody.recv().await else { panic!("a question") };
        assert!(question.answer.is_closed());
    }
}
