//! What a table of measures is made of. Enters: nothing; these are the types that the page, CSV and JSON are written
//! from.

use hangtag_central_core::measures::Share;
use hangtag_central_core::rate::Rate;
use jiff::civil::Date;

/// A table.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Table {
    /// Its name in paths.
    pub name: &'static str,
    /// Its columns.
    pub columns: Vec<Column>,
    /// Its rows, each as long as there are columns.
    pub rows: Vec<Row>,
}

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Column {
    /// Its name in CSV and JSON.
    pub name: &'static str,
    /// The key of its name for people.
    pub key: &'static str,
    /// What stands in it.
    pub kind: Kind,
    /// Whether a phone leaves it out.
    pub minor: bool,
}

/// What stands in a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A name.
    Text,
    /// A count.
    Count,
    /// A share: numerator, denominator, value, and its interval.
    Share,
    /// A count by what it is measured by: value, both, and its interval.
    Rate,
    /// A count by what was expected: the same.
    Ratio,
    /// A time, in tenths of a second.
    Duration,
    /// A number without a unit.
    Number,
}

/// A row.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Row {
    /// Query string of what the row is about; empty when there is nothing more to see.
    pub link: String,
    /// The days that it is of, when not every row is of those that were asked for.
    pub days: Option<(Date, Date)>,
    /// The values.
    pub cells: Vec<Value>,
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// A name or a moment.
    Text(String),
    /// One of the words that tables have, which the page says in the reader's language.
    Word(&'static str),
    /// A count.
    Count(u64),
    /// A share; `None` of nothing.
    Share(Option<Share>),
    /// A rate; `None` by nothing.
    Rate(Option<Rate>),
    /// A count by what was expected; `None` where nothing was.
    Ratio(Option<Rate>),
    /// Tenths of a second; `None` when there is none.
    Duration(Option<u32>),
    /// A number; `None` when there is none.
    Number(Option<f64>),
    /// Withheld: it tells of too few visits.
    Hidden,
    /// Nobody listened, and nothing is known.
    Unmeasured,
}

/// A column.
pub(super) const fn column(name: &'static str, key: &'static str, kind: Kind) -> Column {
    Column { name, key, kind, minor: false }
}

/// A column that a phone leaves out.
pub(super) const fn minor(name: &'static str, key: &'static str, kind: Kind) -> Column {
    Column { name, key, kind, minor: true }
}
