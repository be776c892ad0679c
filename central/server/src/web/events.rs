//! The feed over HTTP, for whoever missed some of it. Enters: `GET /api/v1/events` with a shop and the last place
//! that the asker knows. Leaves: the events after it, in order, as CloudEvents or EPCIS; or a problem (RFC 9457).
//!
//! | parameter | |
//! |---|---|
//! | `store` | the shop's id; needed |
//! | `after` | the last `sequence` that is known; 0, from the first event on |
//! | `limit` | how many at most, 1 to 1000; 100 |
//! | `form` | `cloudevents`: an array of CloudEvents; `epcis`: an EPCISDocument. Left out: what `Accept` wants |
//! | `generation` | the numbering by which `after` is a place, as the last event had it. Left out: it is not looked at |
//!
//! While there is more, `Link: <…>; rel="next"` leads to it. A place that stands for another event in the present
//! generation, or that lies beyond the feed's end, is refused with 409: the asker knows events that central does not, as
//! after central was restored from a backup. A place after which events were deleted because of their age is refused
//! with 410. Both problems name in `after` the place from which to go on, and in `generation` the present one.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hangtag_central_core::feed::{Form, Generation, Sequence};
use hangtag_protocol::clock::UnixMillis;
use hangtag_protocol::id::StoreId;
use jiff::Timestamp;
use serde_json::json;

use super::{NO_SNIFF, NO_STORE, Site};
use crate::feed::cloudevents::{self, CloudEvent};
use crate::feed::epcis::{self, ObjectEvent};
use crate::feed::names;
use crate::store::StoreError;

/// How many events an answer has at most, if the asker does not say, and whatever the asker says.
const LIMIT: (u32, u32) = (100, 1_000);

/// What may be asked.
const NAMES: [&str; 5] = ["store", "after", "limit", "form", "generation"];

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum EventsError {
    #[error("parameter {0:?} is not one of {names}", names = NAMES.join(", "))]
    Name(String),
    #[error("parameter {0}: is given twice")]
    Twice(&'static str),
    #[error("parameter {name}: {value:?} {wanted}")]
    Parameter { name: &'static str, value: String, wanted: String },
    #[error("parameter store: is missing; name a shop, as in ?store=paris-1&after=0")]
    NoStore,
    #[error("parameter store: nothing is known of a store {0:?}")]
    UnknownStore(StoreId),
    #[error(
        "parameter after: {after} is beyond {last}, the last event of this feed: central may have been restored from \
         a backup; ask again from after=0, and leave out what you have by its id"
    )]
    Beyond { after: u64, last: u64, generation: Generation },
    #[error(
        "parameter after: {after} is a place of another generation, which is the same only up to {same}: central was \
         restored from a backup; go on after that, and leave out what you have by its id"
    )]
    Restored { after: u64, same: u64, generation: Generation },
    #[error(
        "parameter after: {after} is followed by events that were deleted because of their age: the first that is left \
         is {first}"
    )]
    Gone { after: u64, first: u64, generation: Generation },
    #[error("{0}")]
    Database(#[from] StoreError),
    #[error("the question to the database was dropped: {0}")]
    Task(#[from] tokio::task::JoinError),
}

/// Answers.
pub(super) async fn events(
    State(site): State<Arc<Site>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, EventsError> {
    let [store, after, limit, form_name, known_generation] = question(&query.unwrap_or_default())?;
    let store = store.ok_or(EventsError::NoStore)?;
    let store = StoreId::new(&store).map_err(|why| parameter("store", &store, why.to_string()))?;
    let after = number("after", after.as_deref(), 0, (0, i64::MAX.cast_unsigned()))?;
    let limits = (1, LIMIT.1.into());
    let limit = number("limit", limit.as_deref(), LIMIT.0.into(), limits)?;
    let form = form(form_name.as_deref(), &headers)?;
    let known_generation = known_generation.as_deref().map(generation).transpose()?;

    let known = site.shops.iter().any(|shop| shop.id == store);
    let limit = u32::try_from(limit).unwrap_or(LIMIT.1);
    let (reader, asked) = (site.reader.clone(), Sequence(after));
    let ask = move || {
        let page = reader.feed(store, asked, limit)?;
        let other = known_generation.filter(|known| *known != page.generation);
        let same = other.map(|known| reader.same_up_to(store, known)).transpose()?;
        Ok::<_, StoreError>((page, same))
    };
    let (page, same) = tokio::task::spawn_blocking(ask).await??;
    let generation = page.generation;
    if let Some(Sequence(same)) = same.filter(|same| *same < asked) {
        return Err(EventsError::Restored { after, same, generation });
    }
    if page.last < asked {
        return Err(EventsError::Beyond { after, last: page.last.0, generation });
    }
    if page.last == Sequence(0) && !known {
        return Err(EventsError::UnknownStore(store));
    }
    if after + 1 < page.first.0 {
        return Err(EventsError::Gone { after, first: page.first.0, generation });
    }
    let (content_type, body) = match form {
        Form::CloudEvents => {
            let list: Vec<_> = page.events.iter().map(|event| CloudEvent::new(&site.scene, event)).collect();
            let body = serde_json::to_string(&list).expect("texts and numbers always encode");
            (cloudevents::BATCH_CONTENT_TYPE, body)
        }
        Form::Epcis => {
            let list: Vec<_> =
                page.events.iter().map(|event| ObjectEvent::within(&site.scene, event)).collect();
            (epcis::CONTENT_TYPE, epcis::document(&list, (site.now)()))
        }
    };
    let mut answer = ([(header::CONTENT_TYPE, content_type), NO_STORE, NO_SNIFF], body).into_response();
    if page.to < page.last {
        let (to, form) = (page.to.0, form.name());
        // Whoever does not tell a generation need not know of any.
        let of = known_generation
            .map_or_else(String::new, |_| format!("&generation={}", names::generation(generation)));
        let next =
            format!("</api/v1/events?store={store}&after={to}&limit={limit}&form={form}{of}>; rel=\"next\"");
        answer.headers_mut().insert(header::LINK, next.parse().expect("names and numbers are a header"));
    }
    Ok(answer)
}

/// The values of the parameters, by [`NAMES`].
fn question(query: &str) -> Result<[Option<String>; 5], EventsError> {
    let mut values = [const { None }; 5];
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let place = NAMES.iter().position(|known| *known == name);
        let place = place.ok_or_else(|| EventsError::Name(name.into_owned()))?;
        if values[place].replace(value.into_owned()).is_some() {
            return Err(EventsError::Twice(NAMES[place]));
        }
    }
    Ok(values)
}

fn parameter(name: &'static str, value: &str, wanted: impl Into<String>) -> EventsError {
    EventsError::Parameter { name, value: value.to_owned(), wanted: wanted.into() }
}

fn number(
    name: &'static str,
    text: Option<&str>,
    default: u64,
    (least, most): (u64, u64),
) -> Result<u64, EventsError> {
    let Some(text) = text else { return Ok(default) };
    let wrong = || parameter(name, text, format!("is not a number from {least} to {most}"));
    // A sequence as it stands in an event has leading zeros, and `+1` is none.
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|number| digits && (least..=most).contains(number));
    number.ok_or_else(wrong)
}

/// A generation as it stands in an event.
fn generation(text: &str) -> Result<Generation, EventsError> {
    let began: Result<Timestamp, _> = text.parse();
    let began = began
        .map_err(|_| parameter("generation", text, "is no generation: send it as it stands in an event"))?;
    Ok(Generation(UnixMillis(began.as_millisecond())))
}

/// What the parameter says; without it, what the asker's program accepts.
fn form(asked: Option<&str>, headers: &HeaderMap) -> Result<Form, EventsError> {
    if let Some(asked) = asked {
        let found = [Form::CloudEvents, Form::Epcis].into_iter().find(|form| form.name() == asked);
        return found.ok_or_else(|| parameter("form", asked, "is neither cloudevents nor epcis"));
    }
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut types =
        accepted.flat_map(|value| value.split(',')).map(|one| one.split(';').next().unwrap_or("").trim());
    let wants_epcis = types.any(|one| one.eq_ignore_ascii_case(epcis::CONTENT_TYPE));
    Ok(if wants_epcis { Form::Epcis } else { Form::CloudEvents })
}

impl EventsError {
    /// After which place to go on, in which generation.
    fn way_on(&self) -> Option<(u64, Generation)> {
        match *self {
            Self::Beyond { generation, .. } => Some((0, generation)),
            Self::Restored { same, generation, .. } => Some((same, generation)),
            Self::Gone { first, generation, .. } => Some((first - 1, generation)),
            Self::Name(_)
            | Self::Twice(_)
            | Self::Parameter { .. }
            | Self::NoStore
            | Self::UnknownStore(_)
            | Self::Database(_)
            | Self::Task(_) => None,
        }
    }
}

impl IntoResponse for EventsError {
    fn into_response(self) -> Response {
        let status = match &self {
            Self::Name(_) | Self::Twice(_) | Self::Parameter { .. } | Self::NoStore => {
                StatusCode::BAD_REQUEST
            }
            Self::UnknownStore(_) => StatusCode::NOT_FOUND,
            Self::Beyond { .. } | Self::Restored { .. } => StatusCode::CONFLICT,
            Self::Gone { .. } => StatusCode::GONE,
            Self::Database(_) | Self::Task(_) => {
                tracing::error!(error = %self, "no events");
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        let mut body = json!({
            "title": status.canonical_reason(),
            "status": status.as_u16(),
            "detail": self.to_string(),
        });
        if let Some((after, generation)) = self.way_on() {
            body["after"] = json!(after);
            body["generation"] = json!(names::generation(generation));
        }
        let headers = [(header::CONTENT_TYPE, "application/problem+json"), NO_STORE, NO_SNIFF];
        (status, headers, body.to_string()).into_response()
    }
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use serde_json::Value;
    use tower::ServiceExt as _;

    use super::*;
    use crate::store;
    use crate::store::tests::{Bench, TAG, anchor, batch, picked};
    use crate::web::router;
    use crate::web::tests::site;

    /// A shop's feed.
    struct Door {
        site: Arc<Site>,
        bench: Bench,
    }

    impl Door {
        async fn get(&self, path: &str, accept: &str) -> (u16, HeaderMap, String) {
            let request = Request::get(path).header("accept", accept).body(Body::empty()).unwrap();
            let (parts, body) = router(self.site.clone()).oneshot(request).await.unwrap().into_parts();
            let body = to_bytes(body, usize::MAX).await.unwrap().to_vec();
            (parts.status.as_u16(), parts.headers, String::from_utf8(body).unwrap())
        }
    }

    /// One with three events.
    fn door() -> Door {
        let mut bench = Bench::new();
        let mut sent = batch(1, (1..=3).map(|n| picked(n * 1_000, TAG)).collect());
        sent.anchors = vec![anchor(0, 1_700_000_000_000, 20)];
        bench.send(&sent);
        Door { site: site(&bench, "").0, bench }
    }

    fn sequences(body: &str) -> Vec<String> {
        let all: Vec<Value> = serde_json::from_str(body).unwrap();
        all.iter().map(|event| event["sequence"].as_str().unwrap().trim_start_matches('0').into()).collect()
    }

    #[tokio::test]
    async fn next_leads_through_the_feed() {
        let door = door();
        let (status, headers, body) = door.get("/api/v1/events?store=paris-1&limit=2", "").await;
        assert_eq!((status, sequences(&body)), (200, vec!["1".into(), "2".into()]));
        assert_eq!(headers["content-type"], "application/cloudevents-batch+json");
        let next = headers["link"].to_str().unwrap();
        let path = next.strip_prefix('<').and_then(|next| next.strip_suffix(">; rel=\"next\"")).unwrap();
        let (_, headers, body) = door.get(path, "").await;
        assert_eq!((sequences(&body), headers.get("link")), (vec!["3".into()], None));
        let (_, _, body) = door.get("/api/v1/events?store=paris-1&after=0000000000000000003", "").await;
        assert_eq!(body, "[]");
    }

    #[tokio::test]
    async fn whoever_wants_epcis_gets_a_document_that_can_be_captured() {
        let door = door();
        let asked = [
            ("/api/v1/events?store=paris-1", "application/ld+json;q=0.9, text/html"),
            ("/api/v1/events?store=paris-1&form=epcis", "application/json"),
        ];
        for (path, accept) in asked {
            let (status, headers, body) = door.get(path, accept).await;
            let document: Value = serde_json::from_str(&body).unwrap();
            assert_eq!((status, &headers["content-type"]), (200, &"application/ld+json".parse().unwrap()));
            assert_eq!(document["type"], "EPCISDocument");
            assert_eq!(document["epcisBody"]["eventList"].as_array().unwrap().len(), 3);
        }
        let (_, headers, _) =
            door.get("/api/v1/events?store=paris-1&form=cloudevents", "application/ld+json").await;
        assert_eq!(headers["content-type"], "application/cloudevents-batch+json");
    }

    #[tokio::test]
    async fn the_schema_that_an_event_names_can_be_fetched() {
        let door = door();
        let (_, _, body) = door.get("/api/v1/events?store=paris-1&limit=1", "").await;
        let events: Value = serde_json::from_str(&body).unwrap();
        let uri = events[0]["dataschema"].as_str().unwrap();
        let end = uri.strip_prefix("urn:hangtag:schema:").unwrap().replace(':', "/");
        let (status, headers, body) = door.get(&format!("/api/v1/schema/{end}"), "").await;
        let schema: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((status, &schema["$id"]), (200, &events[0]["dataschema"]));
        assert_eq!(headers["content-type"], "application/schema+json");
        let (status, _, body) = door.get("/api/v1/schema/pos-sale/1", "").await;
        assert_eq!((status, body.as_str()), (200, crate::pos::schemas::SALE));
        let (status, _, body) = door.get("/api/v1/schema/tried_on/9", "").await;
        assert!(status == 404 && body.contains("no tried_on/9; there are picked_up/1, "), "{body}");
    }

    #[tokio::test]
    async fn a_question_that_cannot_be_answered_is_told_what_is_wrong_with_it() {
        let door = door();
        for (query, wanted, said) in [
            ("", 400, "parameter store: is missing"),
            ("?store=Paris", 400, "parameter store: \"Paris\" has 'P' at position 0"),
            ("?store=other", 404, "parameter store: nothing is known of a store \"other\""),
            ("?store=paris-1&after=x", 400, "parameter after: \"x\" is not a number from 0 to"),
            ("?store=paris-1&after=-1", 400, "parameter after: \"-1\" is not a number"),
            ("?store=paris-1&after=4", 409, "parameter after: 4 is beyond 3"),
            ("?store=paris-1&limit=0", 400, "parameter limit: \"0\" is not a number from 1 to 1000"),
            ("?store=paris-1&form=xml", 400, "parameter form: \"xml\" is neither"),
            ("?store=paris-1&generation=2", 400, "parameter generation: \"2\" is no generation"),
            (
                "?store=paris-1&afer=1",
                400,
                "parameter \"afer\" is not one of store, after, limit, form, generation",
            ),
            ("?store=paris-1&after=1&after=2", 400, "parameter after: is given twice"),
        ] {
            let (status, headers, body) = door.get(&format!("/api/v1/events{query}"), "").await;
            assert_eq!(
                (status, &headers["content-type"]),
                (wanted, &"application/problem+json".parse().unwrap())
            );
            let problem: Value = serde_json::from_str(&body).unwrap();
            assert!(problem["detail"].as_str().unwrap().contains(said), "{said} in {problem}");
        }
    }

    #[tokio::test]
    async fn whoever_knows_another_generation_is_told_from_where_on_it_differs() {
        let mut bench = Bench::new();
        let mut sent = batch(1, (1..=3).map(|n| picked(n * 1_000, TAG)).collect());
        sent.anchors = vec![anchor(0, 1_700_000_000_000, 20)];
        bench.send(&sent);
        let door = Door { site: site(&bench, "").0, bench };
        let known = |body: &str| {
            let events: Value = serde_json::from_str(body).unwrap();
            events[0]["generation"].as_str().unwrap().to_owned()
        };
        let (_, _, body) = door.get("/api/v1/events?store=paris-1", "").await;
        let before = known(&body);
        store::restored(&door.bench.address, crate::store::tests::tenant()).unwrap();
        door.bench.batch("UPDATE feed_past SET last = 2");
        let ask =
            |after: u64| format!("/api/v1/events?store=paris-1&limit=1&after={after}&generation={before}");
        let (status, _, body) = door.get(&ask(3), "").await;
        let problem: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((status, &problem["after"]), (409, &json!(2)), "{body}");
        let (status, headers, body) = door.get(&ask(1), "").await;
        assert_eq!((status, sequences(&body)), (200, vec!["2".into()]));
        assert_eq!(problem["generation"], known(&body));
        assert!(headers["link"].to_str().unwrap().contains(&format!("&generation={}>", known(&body))));
        assert!(known(&body) > before);
    }
}
