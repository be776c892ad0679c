//! Rows of a recording. Enters: a file with comma-separated columns. Leaves: fields by name, as numbers
//! within their range; what is wrong is named by file, line and column.

use std::path::{Path, PathBuf};

use hangtag_protocol::epc::Epc;

use super::EvaluateError;

/// A file of comma-separated columns.
pub(super) struct Table {
    path: PathBuf,
    names: Vec<String>,
    rows: Vec<(u64, csv::StringRecord)>,
}

/// One row of it.
#[derive(Clone, Copy)]
pub(super) struct Row<'a> {
    table: &'a Table,
    line: u64,
    fields: &'a csv::StringRecord,
}

impl Table {
    /// Reads a file whose first line names its columns.
    ///
    /// # Errors
    /// When it cannot be read, or a row has another number of columns than the first.
    pub(super) fn named(path: &Path) -> Result<Self, EvaluateError> {
        let mut table = Self { path: path.to_owned(), names: Vec::new(), rows: rows(path)? };
        if !table.rows.is_empty() {
            table.names = table.rows.remove(0).1.iter().map(|name| name.trim().to_owned()).collect();
        }
        Ok(table)
    }

    /// Reads a file without names, whose columns are these.
    ///
    /// # Errors
    /// When it cannot be read, or a row has another number of columns.
    pub(super) fn unnamed(path: &Path, names: &[&str]) -> Result<Self, EvaluateError> {
        let rows = rows(path)?;
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        if let Some((line, fields)) = rows.iter().find(|(_, fields)| fields.len() != names.len()) {
            let why = format!("has {} columns, not {}", fields.len(), names.len());
            return Err(EvaluateError::Line { path: path.to_owned(), line: *line, why });
        }
        Ok(Self { path: path.to_owned(), names, rows })
    }

    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.rows.iter().map(|(line, fields)| Row { table: self, line: *line, fields })
    }
}

impl<'a> Row<'a> {
    /// The text of a column.
    pub(super) fn text(self, name: &str) -> Result<&'a str, EvaluateError> {
        let column = self.table.names.iter().position(|column| column == name);
        let field = column.and_then(|column| self.fields.get(column));
        field.map(str::trim).ok_or_else(|| self.error(format!("has no column \"{name}\"")))
    }

    /// The number of a column, which must lie in this range.
    pub(super) fn number(self, name: &str, least: f64, most: f64) -> Result<f64, EvaluateError> {
        let text = self.text(name)?;
        match text.parse::<f64>() {
            Ok(number) if (least..=most).contains(&number) => Ok(number),
            Ok(number) => Err(self.error(format!("{name} {number} is outside {least} to {most}"))),
            Err(_) => Err(self.error(format!("{name} \"{text}\" is not a number"))),
        }
    }

    /// The EPC in the column of this name, in hexadecimal; Python's `b'…'` around it is taken off.
    pub(super) fn epc(self, name: &str) -> Result<Epc, EvaluateError> {
        let text = self.text(name)?;
        let bare = text.strip_prefix("b'").and_then(|rest| rest.strip_suffix('\'')).unwrap_or(text);
        Epc::from_hex(bare).map_err(|why| self.error(format!("{name} \"{text}\" {why}")))
    }

    /// Seconds since 1970 of the column of this name: as a number, or as `2025-04-28T17:50:55.46`.
    pub(super) fn seconds(self, name: &str) -> Result<f64, EvaluateError> {
        let text = self.text(name)?;
        let seconds = text.parse::<f64>().ok().or_else(|| seconds(text));
        let seconds = seconds.filter(|seconds| (0.0..4e9).contains(seconds));
        seconds.ok_or_else(|| self.error(format!("{name} \"{text}\" is not a time")))
    }

    /// Something is wrong with this row.
    pub(super) fn error(self, why: String) -> EvaluateError {
        EvaluateError::Line { path: self.table.path.clone(), line: self.line, why }
    }
}

fn rows(path: &Path) -> Result<Vec<(u64, csv::StringRecord)>, EvaluateError> {
    let reader = csv::ReaderBuilder::new().has_headers(false).from_path(path);
    let failed = |why: csv::Error| {
        let line = why.position().map_or(1, csv::Position::line);
        EvaluateError::Line { path: path.to_owned(), line, why: why.to_string() }
    };
    let mut rows = Vec::new();
    for row in reader.map_err(failed)?.into_records() {
        let row = row.map_err(failed)?;
        rows.push((row.position().map_or(0, csv::Position::line), row));
    }
    Ok(rows)
}

/// Seconds since 1970 of a date and a time without zone.
fn seconds(text: &str) -> Option<f64> {
    let (date, time) = text.split_once('T')?;
    let mut date = date.splitn(3, '-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let mut time = time.splitn(3, ':').map(|part| part.parse::<f64>().ok());
    let (hour, minute, second) = (time.next()??, time.next()??, time.next()??);
    let good = (1970..=2100).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && (0.0..24.0).contains(&hour)
        && (0.0..60.0).contains(&minute)
        && (0.0..61.0).contains(&second);
    if !good {
        return None;
    }
    // Years that begin in March, so that the leap day is the last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year.div_euclid(4) - year.div_euclid(100)
        + year.div_euclid(400)
        + (month * 153 + 2) / 5
        + day
        - 719_469;
    Some(days as f64 * 86_400.0 + hour * 3_600.0 + minute * 60.0 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_since_1970() {
        assert_eq!(seconds("1970-01-01T00:00:01.5"), Some(1.5));
        // date -u -d '2024-02-29T12:00:00' +%s
        assert_eq!(seconds("2024-02-29T12:00:00"), Some(1_709_208_000.0));
        assert_eq!(seconds("2025-04-28T17:50:55"), Some(1_745_862_655.0));
        assert_eq!(seconds("2025-13-28T17:50:55"), None);
        assert_eq!(seconds("9223372036854775807-01-28T17:50:55"), None);
    }

    #[test]
    fn what_is_wrong_is_named_by_file_line_and_column() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.csv");
        std::fs::write(&path, "epc,rssi\nb'30ab',-60\n30ab,loud\nxyz,-20\n").unwrap();
        let table = Table::named(&path).unwrap();
        let rows: Vec<Row<'_>> = table.rows().collect();
        assert_eq!(rows[0].epc("epc").unwrap().to_string(), "30ab");
        let said = |result: Result<f64, EvaluateError>| result.unwrap_err().to_string();
        let name = path.display();
        assert_eq!(
            said(rows[1].number("rssi", -90.0, 0.0)),
            format!("{name}: line 3: rssi \"loud\" is not a number")
        );
        assert_eq!(
            said(rows[2].number("rssi", -90.0, -30.0)),
            format!("{name}: line 4: rssi -20 is outside -90 to -30")
        );
        assert_eq!(
            said(rows[2].number("phase", 0.0, 1.0)),
            format!("{name}: line 4: has no column \"phase\"")
        );
        assert!(rows[2].epc("epc").unwrap_err().to_string().contains("line 4: epc \"xyz\""));
        std::fs::write(&path, "a,b\n1\n").unwrap();
        assert!(Table::named(&path).err().unwrap().to_string().contains("line 2"));
    }
}
