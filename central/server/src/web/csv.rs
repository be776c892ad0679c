//! The page's tables as CSV (RFC 4180): the same rows. A text never reaches a spreadsheet as a formula. A share or a
//! rate has five columns: itself, its numerator and denominator, and the ends of its 95 % interval.

use csv::{Terminator, WriterBuilder};

use super::filter::Filter;
use super::lang::Lang;
use super::table::{Kind, Table, Value};

/// Says that what follows is UTF-8: without it Excel reads Chinese in the code page of its machine.
const BYTE_ORDER_MARK: &str = "\u{feff}";

/// Writes a table. Every row begins with the days that it is of.
///
/// # Errors
/// Never on memory; the type is the library's.
pub(crate) fn write(table: &Table, filter: &Filter, lang: Lang) -> Result<Vec<u8>, csv::Error> {
    let begin = match lang {
        Lang::En => Vec::new(),
        Lang::ZhCn => BYTE_ORDER_MARK.as_bytes().to_vec(),
    };
    let mut out = WriterBuilder::new().terminator(Terminator::CRLF).from_writer(begin);
    let heads = table.columns.iter().flat_map(|column| names(column.name, column.kind));
    out.write_record(["from", "to"].map(String::from).into_iter().chain(heads))?;
    for row in &table.rows {
        let (from, to) = row.days.unwrap_or((filter.from, filter.to));
        let days = [from.to_string(), to.to_string()];
        let cells =
            row.cells.iter().zip(&table.columns).flat_map(|(value, column)| fields(value, column.kind));
        out.write_record(days.into_iter().chain(cells))?;
    }
    out.into_inner().map_err(|why| csv::Error::from(why.into_error()))
}

/// The names of a column's fields.
fn names(name: &str, kind: Kind) -> Vec<String> {
    match kind {
        Kind::Share | Kind::Rate | Kind::Ratio => {
            ["", "_part", "_whole", "_low", "_high"].map(|end| format!("{name}{end}")).into()
        }
        Kind::Duration => vec![format!("{name}_s")],
        Kind::Text | Kind::Count | Kind::Number => vec![name.into()],
    }
}

fn fields(value: &Value, kind: Kind) -> Vec<String> {
    match value {
        Value::Text(text) => vec![harmless(text)],
        Value::Word(word) => vec![(*word).into()],
        Value::Count(count) => vec![count.to_string()],
        Value::Share(Some(share)) => {
            let [value, low, high] = [share.value, share.low, share.high].map(|part| format!("{part:.4}"));
            vec![value, share.part.to_string(), share.whole.to_string(), low, high]
        }
        Value::Rate(Some(rate)) | Value::Ratio(Some(rate)) => {
            let [value, whole] = [rate.value, rate.whole].map(|part| format!("{part:.4}"));
            let [low, high] =
                rate.interval.map_or_else(Default::default, |ends| ends.map(|end| format!("{end:.4}")));
            vec![value, rate.part.to_string(), whole, low, high]
        }
        Value::Duration(Some(ds)) => vec![format!("{}.{}", ds / 10, ds % 10)],
        Value::Number(Some(number)) => vec![format!("{number:.2}")],
        Value::Share(None)
        | Value::Rate(None)
        | Value::Ratio(None)
        | Value::Duration(None)
        | Value::Number(None)
        | Value::Hidden
        | Value::Unmeasured => {
            vec![String::new(); names("", kind).len()]
        }
    }
}

/// Puts an apostrophe before what a spreadsheet would compute.
fn harmless(text: &str) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) { format!("'{text}") } else { text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_are_texts() {
        for text in ["=1+1", "@x", "-3", "+3", "\tx"] {
            assert_eq!(harmless(text), format!("'{text}"));
        }
        assert_eq!(harmless("38-40"), "38-40");
    }
}
