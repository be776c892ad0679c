//! The trade items. Enters: a CSV file. Leaves: the good rows by GTIN, and a problem with its line
//! for each of the others. A broken row never hides the good ones.
//!
//! The columns are `gtin,style,colour,size,name,price`, and `category` and `season` where the shop has them, in any
//! order. What stands in a row that is too short or too long is not guessed at.

use std::collections::BTreeMap;
use std::path::Path;

use hangtag_central_core::size;
use hangtag_protocol::epc::Gtin;
use serde::Deserialize;

use crate::problem::Problem;
use crate::table;

/// One trade item.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Item {
    /// The style it is a size and colour of.
    pub style: String,
    /// Colour.
    pub colour: String,
    /// Size.
    pub size: String,
    /// Name for people.
    pub name: String,
    /// Price as it was written, a decimal number; may be empty.
    pub price: String,
    /// What kind of garment it is, such as `dresses`; may be empty.
    pub category: String,
    /// The season or collection; may be empty.
    pub season: String,
}

/// The trade items and what is wrong in their file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Catalogue {
    items: BTreeMap<Gtin, Item>,
    /// The rows that were left out.
    pub problems: Vec<Problem>,
}

#[derive(Deserialize)]
struct Row {
    gtin: String,
    style: String,
    colour: String,
    size: String,
    name: String,
    price: String,
    #[serde(default)]
    category: String,
    #[serde(default)]
    season: String,
}

const COLUMNS: [&str; 6] = ["gtin", "style", "colour", "size", "name", "price"];
type Column = fn(&Item) -> &String;

/// The most values of a column that a summary lists.
const LISTED: usize = 20;

const OPTIONAL: [&str; 2] = ["category", "season"];

impl Catalogue {
    /// Reads the file.
    #[must_use]
    pub(crate) fn read(file: &Path) -> Self {
        match std::fs::read(file) {
            Ok(bytes) => Self::parse(file, &bytes),
            Err(why) => Self { items: BTreeMap::new(), problems: vec![Problem::new(file, "", why)] },
        }
    }

    /// What a GTIN stands for.
    #[must_use]
    pub(crate) fn item(&self, gtin: Gtin) -> Option<&Item> {
        self.items.get(&gtin)
    }

    /// All of them, by GTIN.
    pub(crate) fn items(&self) -> impl Iterator<Item = (Gtin, &Item)> {
        self.items.iter().map(|(gtin, item)| (*gtin, item))
    }

    /// How many trade items there are.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    /// What is in it, in some lines: how much, which categories and seasons, and the sizes in their order.
    #[must_use]
    pub(crate) fn summary(&self) -> String {
        let mut text = String::new();
        let columns: [(&str, Column); 4] = [
            ("styles", |item| &item.style),
            ("categories", |item| &item.category),
            ("seasons", |item| &item.season),
            ("sizes", |item| &item.size),
        ];
        text.push_str(&format!("{} trade items\n", self.len()));
        for (name, of) in columns {
            let mut values: Vec<&str> =
                self.items.values().map(|item| of(item).as_str()).filter(|value| !value.is_empty()).collect();
            values.sort_unstable_by(|a, b| size::compare(a, b));
            values.dedup();
            let more = values.len().saturating_sub(LISTED);
            let listed = values[..values.len() - more].join(", ");
            let more = if more > 0 { format!(", and {more} more") } else { String::new() };
            text.push_str(&format!("{} {name}: {listed}{more}\n", values.len()));
        }
        text
    }

    fn parse(file: &Path, bytes: &[u8]) -> Self {
        let mut catalogue = Self::default();
        let mut reader = table::reader(bytes);
        let headers = match reader.headers() {
            Ok(found) => found.clone(),
            Err(why) => {
                catalogue.problems.push(Problem::new(file, "line 1", table::wrong(&why)));
                return catalogue;
            }
        };
        let found: Vec<&str> = headers.iter().collect();
        if !COLUMNS.iter().all(|column| found.contains(column)) {
            let what = format!("the columns are {found:?} and not {COLUMNS:?}");
            catalogue.problems.push(Problem::new(file, "line 1", what));
            return catalogue;
        }
        // A separator at a line's end makes a column without a name.
        for (at, name) in found.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
            if found[..at].contains(name) {
                let what = format!("column {name:?} is there twice");
                catalogue.problems.push(Problem::new(file, "line 1", what));
                return catalogue;
            }
            if !COLUMNS.contains(name) && !OPTIONAL.contains(name) {
                let what = format!("column {name:?} is not used: beside {COLUMNS:?} there are {OPTIONAL:?}");
                catalogue.problems.push(Problem::new(file, "line 1", what));
            }
        }
        let mut lines = BTreeMap::new();
        for record in reader.records() {
            let (line, row) = match record {
                Ok(record) => {
                    let line = record.position().map_or(0, csv::Position::line);
                    (line, record.deserialize(Some(&headers)).map_err(|why| table::wrong(&why)))
                }
                Err(why) => (why.position().map_or(0, csv::Position::line), Err(table::wrong(&why))),
            };
            match row.and_then(check) {
                Ok((gtin, item)) => match lines.get(&gtin) {
                    Some(first) => catalogue.problems.push(Problem::new(
                        file,
                        format!("line {line}"),
                        format_args!("GTIN {gtin} stands in line {first} already"),
                    )),
                    None => {
                        lines.insert(gtin, line);
                        catalogue.items.insert(gtin, item);
                    }
                },
                Err(what) => catalogue.problems.push(Problem::new(file, format!("line {line}"), what)),
            }
        }
        catalogue
    }
}

fn check(row: Row) -> Result<(Gtin, Item), String> {
    let gtin = Gtin::new(&row.gtin).map_err(|why| format!("gtin {:?} {why}", row.gtin))?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let (whole, fraction) = row.price.split_once('.').unwrap_or((&row.price, "0"));
    let decimal = digits(whole) && digits(fraction);
    if !row.price.is_empty() && !decimal {
        return Err(format!("price {:?} is not a decimal number like 39.90", row.price));
    }
    let Row { style, colour, size, name, price, category, season, gtin: _ } = row;
    Ok((gtin, Item { style, colour, size, name, price, category, season }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_rows_are_used_and_each_broken_one_is_named_by_its_line() {
        let text = "\u{feff}gtin,style,colour,size,name,price\n\
            80614141123458,S1,red,M,\"Shirt, long\",39.90\n\
            80614141123457,S1,red,L,Shirt,39.90\n\
            4006381333931,S2,blue,M,Coat\n\
            80614141123458,S9,red,M,Again,1\n\
            4006381333931,S2,blue,M,Coat,12.x\n\
            4006381333931,S2,blue,M,Coat,120\n";
        let catalogue = Catalogue::parse(Path::new("c.csv"), text.as_bytes());
        assert_eq!(catalogue.len(), 2);
        assert_eq!(catalogue.item(Gtin::new("80614141123458").unwrap()).unwrap().name, "Shirt, long");
        assert_eq!(catalogue.item(Gtin::new("4006381333931").unwrap()).unwrap().price, "120");
        let told: Vec<String> = catalogue.problems.iter().map(Problem::to_string).collect();
        for (told, (line, what)) in told.iter().zip([
            ("line 3", "check digit"),
            ("line 4", "fields"),
            ("line 5", "line 2 already"),
            ("line 6", "12.x"),
        ]) {
            assert!(told.contains(line) && told.contains(what), "{told}");
        }
        assert_eq!(told.len(), 4);
    }

    #[test]
    fn a_missing_column_is_named_once() {
        let catalogue = Catalogue::parse(Path::new("c.csv"), b"gtin,name\n1,2\n3,4\n");
        assert_eq!(catalogue.problems.len(), 1);
        assert!(catalogue.problems[0].to_string().contains("line 1"));
    }

    #[test]
    fn columns_that_not_every_shop_has_may_be_there_and_others_are_named() {
        let read = |text: &str| Catalogue::parse(Path::new("c.csv"), text.as_bytes());
        let gtin = Gtin::new("4006381333931").unwrap();
        let catalogue = read(
            "category;gtin;style;colour;size;name;price;season\n\
            coats;4006381333931;S2;blue;M;Coat;120;AW26\n",
        );
        assert_eq!(catalogue.problems, []);
        let item = catalogue.item(gtin).unwrap();
        assert_eq!((item.category.as_str(), item.season.as_str()), ("coats", "AW26"));

        let misspelt =
            read("gtin,style,colour,size,name,price,categroy\n4006381333931,S2,blue,M,Coat,120,coats\n");
        assert_eq!(misspelt.item(gtin).unwrap().category, "");
        let told = misspelt.problems[0].to_string();
        assert!(told.starts_with("c.csv: line 1: column \"categroy\" is not used"), "{told}");

        let twice = read("gtin,style,colour,size,name,price,name\n4006381333931,S2,blue,M,Coat,120,Jacket\n");
        assert_eq!((twice.len(), twice.problems.len()), (0, 1));
    }

    #[test]
    fn bytes_that_are_no_text_break_one_row_only() {
        let bytes = b"gtin,style,colour,size,name,price\n\
            4006381333931,S,\xff,M,Coat,1\n80614141123458,S,red,M,Coat,1\n";
        let catalogue = Catalogue::parse(Path::new("c.csv"), bytes);
        assert_eq!((catalogue.len(), catalogue.problems.len()), (1, 1));
        assert!(catalogue.problems[0].to_string().contains("line 2"));
    }
}
