//! A TOML file, read key by key, so that everything that is wrong with it is told at once. Enters: text, and
//! what each key may hold. Leaves: values, and a [`Wrong`] for each key that holds something else, is missing
//! or is not known.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use hangtag_protocol::key::PRIVATE;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::allowed::Allowed;

/// The longest piece of a file that is shown, in characters.
const SHOWN: usize = 60;

/// One thing that is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    /// The line, counted from 1; none for what is missing at the top.
    pub(crate) line: Option<usize>,
    /// The key with its path, and what it holds.
    pub(crate) what: String,
    /// What is wrong with that, and what would not be.
    pub(crate) why: String,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.why)
    }
}

/// A file, and what was found to be wrong with it.
pub(super) struct Sheet<'a> {
    text: &'a str,
    wrong: RefCell<Vec<Wrong>>,
    /// The lines that are no TOML. What they were to say is unknown: nothing is called missing.
    broken: Vec<usize>,
    /// One of them begins a table: whose keys follow is unknown.
    headless: bool,
}

impl<'a> Sheet<'a> {
    /// Takes a file apart.
    pub(super) fn new(text: &'a str) -> (Self, Spanned<DeTable<'a>>) {
        let (table, errors) = DeTable::parse_recoverable(text);
        let mut sheet = Self { text, wrong: RefCell::default(), broken: Vec::new(), headless: false };
        for error in errors {
            let line = error.span().map(|span| sheet.line(span.start));
            // A broken line is often broken in several ways, of which the first says it.
            if line.is_some_and(|line| sheet.broken.contains(&line)) {
                continue;
            }
            // Behind a table that does not begin, every other one is taken for a part of it.
            if sheet.headless && error.message().contains("duplicate key") {
                continue;
            }
            let text = line.and_then(|line| text.lines().nth(line - 1)).unwrap_or_default().trim();
            sheet.broken.extend(line);
            sheet.headless |= text.starts_with('[');
            let what = format!("no TOML: {}", shown(text));
            sheet.wrong.borrow_mut().push(Wrong { line, what, why: error.message().to_owned() });
        }
        (sheet, table)
    }

    /// The outermost table of a file.
    pub(super) fn top<'s>(&'s self, table: Spanned<DeTable<'a>>) -> Table<'s, 'a> {
        let (entries, places) = (table.into_inner(), BTreeMap::new());
        Table { sheet: self, name: "the file".into(), prefix: String::new(), at: None, entries, places }
    }

    /// Everything that is wrong, in the order of the file.
    pub(super) fn into_wrong(self) -> Vec<Wrong> {
        let mut wrong = self.wrong.into_inner();
        wrong.sort_by_key(|wrong| wrong.line);
        wrong
    }

    /// Whether some of the file could not be understood at all.
    pub(super) fn is_broken(&self) -> bool {
        !self.broken.is_empty()
    }

    fn line(&self, at: usize) -> usize {
        1 + self.text.bytes().take(at).filter(|byte| *byte == b'\n').count()
    }

    fn add(&self, at: Option<usize>, what: String, why: impl Into<String>) {
        let line = at.map(|at| self.line(at));
        if line.is_none_or(|line| !self.broken.contains(&line)) {
            self.wrong.borrow_mut().push(Wrong { line, what, why: why.into() });
        }
    }
}

/// A table of a file, from which keys are taken one after the other.
pub(super) struct Table<'s, 'a> {
    sheet: &'s Sheet<'a>,
    /// What people call it.
    name: String,
    /// What stands before its keys.
    prefix: String,
    at: Option<usize>,
    entries: DeTable<'a>,
    /// The keys that it may have, and where the value of each is.
    places: BTreeMap<&'static str, Option<Range<usize>>>,
}

impl<'s, 'a> Table<'s, 'a> {
    /// A value that must be there.
    pub(super) fn need<T>(&mut self, key: &'static str, allowed: &Allowed<T>) -> Option<T> {
        let Some(value) = self.take(key) else {
            self.missing(key, &allowed.words);
            return None;
        };
        self.read(key, &value, allowed)
    }

    /// A value that has a default.
    pub(super) fn may<T>(&mut self, key: &'static str, default: T, allowed: &Allowed<T>) -> Option<T> {
        match self.take(key) {
            Some(value) => self.read(key, &value, allowed),
            None => Some(default),
        }
    }

    /// A value that may be absent.
    pub(super) fn maybe<T>(&mut self, key: &'static str, allowed: &Allowed<T>) -> Option<Option<T>> {
        match self.take(key) {
            Some(value) => self.read(key, &value, allowed).map(Some),
            None => Some(None),
        }
    }

    /// A value that must be there and is made of text; what makes it says what is wrong with it.
    pub(super) fn need_parsed<T: FromStr<Err: fmt::Display>>(
        &mut self,
        key: &'static str,
        words: &str,
    ) -> Option<T> {
        let Some(value) = self.take(key) else {
            self.missing(key, words);
            return None;
        };
        match value.get_ref().as_str().map(str::parse) {
            Some(Ok(parsed)) => return Some(parsed),
            Some(Err(why)) => self.wrong(key, why.to_string()),
            None => self.wrong(key, format!("must be {words}")),
        }
        None
    }

    /// Whether any of these keys is there.
    pub(super) fn has_any(&self, keys: &[&str]) -> bool {
        keys.iter().any(|key| self.entries.contains_key(*key))
    }

    /// A table within; an empty one if it is absent.
    pub(super) fn table(&mut self, key: &'static str) -> Option<Table<'s, 'a>> {
        let value = self.take(key);
        let at = value.as_ref().map(|value| value.span().start);
        let entries = match value.map(Spanned::into_inner) {
            Some(DeValue::Table(entries)) => entries,
            None => DeTable::new(),
            Some(_) => {
                self.misplaced(key, format!("must be a table: a line [{key}], and its keys below it"));
                return None;
            }
        };
        let prefix = format!("{}{key}.", self.prefix);
        Some(Table {
            sheet: self.sheet,
            name: format!("[{key}]"),
            prefix,
            at,
            entries,
            places: BTreeMap::new(),
        })
    }

    /// The tables of a list; `name` is how people call them. None when it is no list.
    pub(super) fn tables(&mut self, key: &'static str, name: &str) -> Option<Vec<Table<'s, 'a>>> {
        let Some(value) = self.take(key) else { return Some(Vec::new()) };
        let list = match value.into_inner() {
            DeValue::Array(list) if list.iter().all(|item| item.get_ref().is_table()) => list,
            _ => {
                self.misplaced(key, format!("must be a list of tables: a line {name} before each"));
                return None;
            }
        };
        let mut tables = Vec::new();
        for (number, item) in list.into_iter().enumerate() {
            let at = Some(item.span().start);
            let DeValue::Table(entries) = item.into_inner() else { continue };
            let prefix = format!("{}{key} {}: ", self.prefix, number + 1);
            let (name, places) = (name.to_owned(), BTreeMap::new());
            tables.push(Table { sheet: self.sheet, name, prefix, at, entries, places });
        }
        Some(tables)
    }

    /// Calls this table by a name from here on, not by its number.
    pub(super) fn call(&mut self, prefix: String) {
        self.prefix = prefix;
    }

    /// What a key holds is wrong, though it may be held by such keys.
    pub(super) fn wrong(&self, key: &str, why: impl Into<String>) {
        let place = self.places.get(key).cloned().flatten();
        let what = match place.as_ref().and_then(|place| self.sheet.text.get(place.clone())) {
            Some(text) => format!("{}{key} = {}", self.prefix, shown(text)),
            None => format!("{}{key}", self.prefix),
        };
        self.sheet.add(place.map(|place| place.start).or(self.at), what, why);
    }

    /// Something is no table, or not the right kind of one; what makes it one may be a line that is no TOML.
    fn misplaced(&self, key: &str, why: String) {
        if !self.sheet.headless {
            self.wrong(key, why);
        }
    }

    /// Something that must be there is not.
    pub(super) fn missing(&self, key: &str, words: &str) {
        if !self.sheet.is_broken() {
            self.sheet.add(
                self.at,
                format!("{}{key}", self.prefix),
                format!("is missing; it must be {words}"),
            );
        }
    }

    /// Every key was asked for: what is left is not known.
    pub(super) fn end(&self) {
        if self.sheet.headless {
            return;
        }
        let known: Vec<&str> = self.places.keys().copied().collect();
        for key in self.entries.keys() {
            let what = format!("{}{}", self.prefix, shown(key.get_ref()));
            let why = format!("there is no such key; {} may have {}", self.name, known.join(", "));
            self.sheet.add(Some(key.span().start), what, why);
        }
    }

    fn take(&mut self, key: &'static str) -> Option<Spanned<DeValue<'a>>> {
        let value = self.entries.remove(key);
        // A table is shown by its name, not by all that is in it.
        let is_value = |value: &&Spanned<DeValue<'a>>| !value.get_ref().is_table();
        self.places.insert(key, value.as_ref().filter(is_value).map(Spanned::span));
        value
    }

    fn read<T>(&self, key: &'static str, value: &Spanned<DeValue<'a>>, allowed: &Allowed<T>) -> Option<T> {
        let read = (allowed.read)(value.get_ref());
        if read.is_none() {
            self.wrong(key, format!("must be {}", allowed.words));
        }
        read
    }
}

/// A piece of a file, on one line. A private key that was put there by mistake is not shown.
fn shown(text: &str) -> String {
    let end = text.find(PRIVATE).map_or(text.len(), |at| at + PRIVATE.len());
    let line: String =
        text[..end].chars().take(SHOWN).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if line.len() < text.len() { format!("{line}…") } else { line }
}
