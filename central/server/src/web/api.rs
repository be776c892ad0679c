//! The page's tables for programs. Enters: requests for a table with the page's filter in the URL. Leaves: JSON,
//! page by page, or what is wrong, as a problem (RFC 9457). An answer that has not changed is not sent again.
//!
//! ```json
//! {"table":"styles","from":"2026-11-15","to":"2026-11-21","stores":["paris-1"],"total":2,
//!  "rows":[{"name":"Dress","style":"D1","tried_on":40,
//!           "try_to_buy":{"value":0.2,"part":8,"whole":40,"low":0.105,"high":0.3476},"stay_median":null}],
//!  "next":"/api/v1/measures/styles?period=7d&limit=1&offset=1"}
//! ```
//!
//! A time is in seconds; what is withheld because it tells of too few visits is `null`, and so are counts of time in which
//! nobody listened and of which nothing is known: `listened_percent` is 0 there.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value as Json, json};

use super::filter::{self, FilterError};
use super::table::{Table, Value};
use super::tables;
use super::{Answer, NO_SNIFF, PageError, Site};

/// Rows of an answer when nothing is said of it, and at most.
const ROWS: (usize, usize) = (100, 1_000);

/// The names of all parameters of a table.
pub(super) const NAMES: [&[&str]; 2] = [&filter::NAMES, &["limit", "offset"]];

/// All paths for programs, in OpenAPI's words.
pub(super) const DESCRIPTION: &str = include_str!("../../../../docs/openapi.json");

/// Answers with the description of all paths.
pub(super) async fn description() -> Response {
    ([(header::CONTENT_TYPE, "application/json"), NO_SNIFF], DESCRIPTION).into_response()
}

/// Answers with a table.
pub(super) async fn table(
    State(site): State<Arc<Site>>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    match answer(site, &name, query.unwrap_or_default(), &headers).await {
        Ok(answer) => answer,
        Err(why) => problem(why.status(), &why.to_string()),
    }
}

/// A problem (RFC 9457).
pub(super) fn problem(status: StatusCode, what: &str) -> Response {
    let title = status.canonical_reason().unwrap_or_default();
    let body = json!({ "title": title, "status": status.as_u16(), "detail": what });
    let headers = [(header::CONTENT_TYPE, "application/problem+json"), NO_SNIFF];
    (status, headers, body.to_string()).into_response()
}

async fn answer(
    site: Arc<Site>,
    name: &str,
    query: String,
    headers: &HeaderMap,
) -> Result<Response, PageError> {
    if !tables::NAMES.contains(&name) {
        return Err(PageError::Table(name.into()));
    }
    let (rest, limit, offset) = paging(&query)?;
    let name = name.to_owned();
    let body = super::answer(site, rest, headers, move |answer| {
        answer.refuse_unknown()?;
        let table = answer.source().table(&name).ok_or(PageError::Table(name))?;
        Ok(body(&answer, &table, limit, offset).to_string())
    })
    .await
    .map_err(|why| match why {
        PageError::Filter(FilterError::Name(name)) => PageError::Name(name),
        why => why,
    })?;
    let tag = format!("\"{:016x}\"", BuildHasherDefault::<DefaultHasher>::default().hash_one(&body));
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let same =
        known.is_some_and(|known| known.split(',').any(|known| known.trim().trim_start_matches("W/") == tag));
    let cache = [(header::ETAG, tag), (header::CACHE_CONTROL, "private, no-cache".into())];
    if same {
        return Ok((StatusCode::NOT_MODIFIED, cache).into_response());
    }
    Ok((cache, [(header::CONTENT_TYPE, "application/json"), NO_SNIFF], body).into_response())
}

/// Takes the paging out of a query string: the rest of it, how many rows, and from which on.
fn paging(query: &str) -> Result<(String, usize, usize), PageError> {
    let mut rest = form_urlencoded::Serializer::new(String::new());
    let (mut limit, mut offset) = (ROWS.0, 0);
    for (key, value) in form_urlencoded::parse(query.as_bytes()) {
        let place = match &*key {
            "limit" => &mut limit,
            "offset" => &mut offset,
            _ => {
                rest.append_pair(&key, &value);
                continue;
            }
        };
        let number = value.parse().ok();
        let number = if key == "limit" { number.filter(|n| (1..=ROWS.1).contains(n)) } else { number };
        *place = number.ok_or_else(|| PageError::Paging(key.into_owned(), value.into_owned()))?;
    }
    Ok((rest.finish(), limit, offset))
}

fn body(answer: &Answer, table: &Table, limit: usize, offset: usize) -> Json {
    let filter = &answer.filter;
    let shops = &answer.site.shops;
    let rows = table.rows.iter().skip(offset).take(limit).map(|row| {
        let cells = table.columns.iter().zip(&row.cells);
        let cells = cells.map(|(column, value)| (column.name.to_owned(), cell(value)));
        let days = row.days.into_iter().flat_map(|(from, to)| [("from", from), ("to", to)]);
        let days = days.map(|(name, day)| (name.to_owned(), json!(day.to_string())));
        Json::Object(days.chain(cells).collect::<Map<_, _>>())
    });
    let mut body = json!({
        "table": table.name,
        "from": filter.from.to_string(),
        "to": filter.to.to_string(),
        "stores": filter.shops.iter().map(|shop| shops[*shop].id.as_str()).collect::<Vec<_>>(),
        "total": table.rows.len(),
        "rows": rows.collect::<Vec<_>>(),
    });
    if let Some(next) = offset.checked_add(limit).filter(|next| *next < table.rows.len()) {
        let query = filter.query(shops);
        body["next"] = json!(format!("/api/v1/measures/{}?{query}&limit={limit}&offset={next}", table.name));
    }
    body
}

fn cell(value: &Value) -> Json {
    // What is not exact has four digits, so that it reads as it does in CSV.
    let round = |number: f64| (number * 10_000.0).round() / 10_000.0;
    match value {
        Value::Text(text) => json!(text),
        Value::Word(word) => json!(word),
        Value::Count(count) => json!(count),
        Value::Share(Some(share)) => json!({
            "value": round(share.value), "part": share.part, "whole": share.whole,
            "low": round(share.low), "high": round(share.high),
        }),
        Value::Rate(Some(rate)) | Value::Ratio(Some(rate)) => json!({
            "value": round(rate.value), "part": rate.part, "whole": round(rate.whole),
            "low": rate.interval.map(|[low, _]| round(low)), "high": rate.interval.map(|[_, high]| round(high)),
        }),
        Value::Duration(Some(ds)) => json!(f64::from(*ds) / 10.0),
        Value::Number(Some(number)) => json!(round(*number)),
        Value::Share(None)
        | Value::Rate(None)
        | Value::Ratio(None)
        | Value::Duration(None)
        | Value::Number(None)
        | Value::Hidden
        | Value::Unmeasured => Json::Null,
    }
}
