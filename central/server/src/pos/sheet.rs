//! Lines and counts as CSV. Enters: a file with a line of names. Leaves: what is good and what is not. A column that
//! nobody knows is noted, because exports of tills have many.

use std::borrow::Cow;

use csv::StringRecord;
use hangtag_protocol::topic::About;

use super::fields::{Fields, OF_COUNT, OF_LINE};
use super::{Door, Place, Told};
use crate::table;

struct Cells<'c> {
    names: &'c [String],
    record: &'c StringRecord,
    /// A comma may stand for the point of a decimal number.
    comma: bool,
}

/// Reads a file. Names of columns may be in capitals.
pub(crate) fn sheet(bytes: &[u8], door: Door<'_>) -> Told {
    let mut reader = table::reader(bytes);
    let names: Vec<String> = match reader.headers() {
        Ok(headers) => headers.iter().map(str::to_lowercase).collect(),
        Err(why) => return Told::nothing(door.about, &format!("line 1: {}", table::wrong(&why))),
    };
    let mut told = Told::new(door.about);
    if let Err(what) = check(&names, door, &mut told.notes) {
        told.fault(Place::Line(1), &what);
        return told;
    }
    let comma = table::separator(bytes) != b',';
    for record in reader.records() {
        match record {
            Ok(record) => {
                let place = Place::Line(record.position().map_or(0, csv::Position::line));
                told.take(place, door, &Cells { names: &names, record: &record, comma });
            }
            Err(why) => {
                let place = Place::Line(why.position().map_or(0, csv::Position::line));
                told.fault(place, &table::wrong(&why));
            }
        }
    }
    told
}

/// Whether the columns are there without which no line can be read.
fn check(names: &[String], door: Door<'_>, notes: &mut Vec<String>) -> Result<(), String> {
    let has = |name: &str| names.iter().any(|known| known == name);
    let (known, needed): (&[&str], &[&str]) = match door.about {
        // A day's export without kinds may hold returns, which would pass for sales.
        About::Sale if !door.is_told => (&OF_LINE, &["receipt", "line", "kind", "time", "quantity"]),
        About::Sale | About::Return => (&OF_LINE, &["receipt", "line", "time", "quantity"]),
        About::Stock => (&OF_COUNT, &["gtin", "time", "quantity"]),
    };
    let mut missing: Vec<&str> = needed.iter().copied().filter(|name| !has(name)).collect();
    if door.about != About::Stock && !has("gtin") && !has("epc") {
        missing.push("gtin or epc");
    }
    if door.store.is_none() && !has("store") {
        missing.push("store");
    }
    if !missing.is_empty() {
        return Err(format!("there is no column {}; the columns are {names:?}", missing.join(", ")));
    }
    for (at, name) in names.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
        if known.contains(&name.as_str()) {
            if names[..at].contains(name) {
                return Err(format!("column {name:?} is there twice"));
            }
        } else {
            notes.push(format!("column {name:?} is not used"));
        }
    }
    Ok(())
}

impl Fields for Cells<'_> {
    fn text(&self, name: &'static str) -> Result<Option<Cow<'_, str>>, String> {
        let column = self.names.iter().position(|known| known == name);
        let cell = column.and_then(|column| self.record.get(column)).filter(|cell| !cell.is_empty());
        Ok(cell.map(Cow::from))
    }

    fn number(&self, name: &'static str) -> Result<Option<Cow<'_, str>>, String> {
        let text = self.text(name)?;
        Ok(match text {
            Some(text) if self.comma && !text.contains('.') => Some(text.replacen(',', ".", 1).into()),
            other => other,
        })
    }
}
