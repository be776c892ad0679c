//! What tills tell. Enters: JSON or CSV, from the broker, by HTTP or from a file. Leaves: checked lines and counts, and
//! for each that is wrong where it stands and what is wrong with it. One mistake costs one line, never the others.
//!
//! Every door leads through [`fields`]: what one takes all take.

use std::fmt;

use hangtag_central_core::sale::{Line, StockCount};
use hangtag_protocol::id::StoreId;
use hangtag_protocol::topic::About;

use crate::shop::Shop;

mod fields;
mod json;
pub(crate) mod schemas;
mod sheet;
#[cfg(test)]
mod tests;

pub(crate) use json::json;
pub(crate) use sheet::sheet;

/// The most characters of what is said of a mistake: values may be long.
const LONGEST: usize = 300;
/// The most mistakes that one text tells.
const REASONS: usize = 5;

/// What a door knows before it reads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Door<'d> {
    /// What the lines are about. A line that is about a sale may say that it is a return; one about returns may not
    /// say that it is a sale.
    pub about: About,
    /// Whose they are. None: each line says.
    pub store: Option<StoreId>,
    /// Whether it is told beside the lines what they are about, as a path does: then a file needs no column for it.
    pub is_told: bool,
    /// The shops that there are, by whose clocks times without an offset are read. None: any shop, and every time has
    /// its offset.
    pub shops: Option<&'d [Shop]>,
}

/// Checked lines or counts, each with its shop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Rows {
    /// Lines of receipts.
    Lines(Vec<(StoreId, Line)>),
    /// Counts of stock.
    Counts(Vec<(StoreId, StockCount)>),
}

/// What was read.
#[derive(Debug, PartialEq)]
pub(crate) struct Told {
    /// What is good.
    pub rows: Rows,
    /// Where each of them stands.
    pub places: Vec<Place>,
    /// What is wrong.
    pub faults: Vec<Fault>,
    /// What is worth knowing.
    pub notes: Vec<String>,
}

/// A place in a message or a file, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// All of it.
    Whole,
    /// A line of a file.
    Line(u64),
    /// An element of a JSON array, or the only object.
    Element(u64),
}

/// What is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Where.
    pub place: Place,
    /// What.
    pub what: String,
}

impl Rows {
    /// The same, in pieces of so many; none when there are none.
    pub(crate) fn chunks(&self, most: usize) -> Vec<Self> {
        match self {
            Self::Lines(lines) => lines.chunks(most).map(|lines| Self::Lines(lines.to_vec())).collect(),
            Self::Counts(counts) => counts.chunks(most).map(|counts| Self::Counts(counts.to_vec())).collect(),
        }
    }
}

impl Told {
    fn new(about: About) -> Self {
        let rows = match about {
            About::Sale | About::Return => Rows::Lines(Vec::new()),
            About::Stock => Rows::Counts(Vec::new()),
        };
        Self { rows, places: Vec::new(), faults: Vec::new(), notes: Vec::new() }
    }

    /// Nothing can be read of it.
    pub(crate) fn nothing(about: About, what: &str) -> Self {
        let mut told = Self::new(about);
        told.fault(Place::Whole, what);
        told
    }

    fn fault(&mut self, place: Place, what: &str) {
        let what = match what.char_indices().nth(LONGEST) {
            Some((end, _)) => format!("{}…", &what[..end]),
            None => what.to_owned(),
        };
        self.faults.push(Fault { place, what });
    }

    fn take(&mut self, place: Place, door: Door<'_>, fields: &dyn fields::Fields) {
        let taken = match &mut self.rows {
            Rows::Lines(lines) => fields::line(fields, door).map(|line| lines.push(line)),
            Rows::Counts(counts) => fields::count(fields, door).map(|count| counts.push(count)),
        };
        match taken {
            Ok(()) => self.places.push(place),
            Err(what) => self.fault(place, &what),
        }
    }

    /// What is wrong, in one text: the first mistakes, and how many more there are. None when nothing is.
    pub(crate) fn reason(&self) -> Option<String> {
        let mut texts: Vec<String> = self.faults.iter().take(REASONS).map(Fault::to_string).collect();
        if let more @ 1.. = self.faults.len().saturating_sub(REASONS) {
            texts.push(format!("and {more} more"));
        }
        (!texts.is_empty()).then(|| texts.join("; "))
    }

    /// Adds what the database refused, by the positions of the rows.
    pub(crate) fn refused(&mut self, refused: Vec<(usize, String)>) {
        for (at, what) in refused {
            self.fault(self.places.get(at).copied().unwrap_or(Place::Whole), &what);
        }
        self.faults.sort_by_key(|fault| fault.place);
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole => f.write_str("the whole"),
            Self::Line(number) => write!(f, "line {number}"),
            Self::Element(number) => write!(f, "element {number}"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Place::Whole => f.write_str(&self.what),
            place => write!(f, "{place}: {}", self.what),
        }
    }
}
