//! What articles are to the shop. Enters: the catalogue. Leaves: for each article its style and size as numbers, and
//! the numbers' names; which articles a filter lets through.

use std::collections::{BTreeMap, BTreeSet};

use hangtag_central_core::handled::Article;
use hangtag_central_core::period::Place;
use hangtag_central_core::size;
use hangtag_protocol::epc::Gtin;

use crate::catalogue::{Catalogue, Item};

/// The first style of a product that no catalogue knows: each is a style of its own, by its GTIN.
const UNLISTED: u64 = 1 << 62;
/// The style of tags that are no SGTIN.
const UNKNOWN: u64 = u64::MAX;

/// The catalogue, numbered.
#[derive(Debug, Default)]
pub(crate) struct Goods {
    catalogue: Catalogue,
    styles: Vec<String>,
    /// What people call each of them; empty where no product has a name.
    style_names: Vec<String>,
    sizes: Vec<String>,
    categories: Vec<String>,
    places: BTreeMap<Gtin, Place>,
    /// For each product those of the next smaller and the next larger size of its style and colour.
    beside: BTreeMap<Gtin, Vec<Gtin>>,
}

/// Which goods count. An empty list lets everything through.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Wanted {
    /// Categories.
    pub categories: BTreeSet<String>,
    /// Styles, by their catalogue number or the GTIN of an unlisted product.
    pub styles: BTreeSet<String>,
    /// Colours.
    pub colours: BTreeSet<String>,
    /// Sizes.
    pub sizes: BTreeSet<String>,
}

impl Wanted {
    /// Whether everything passes.
    #[must_use]
    pub(crate) fn is_all(&self) -> bool {
        *self == Self::default()
    }
}

impl Goods {
    /// Numbers a catalogue.
    #[must_use]
    pub(crate) fn new(catalogue: Catalogue) -> Self {
        let names = |of: fn(&Item) -> &String| -> Vec<String> {
            let names: BTreeSet<&String> = catalogue.items().map(|(_, item)| of(item)).collect();
            names.into_iter().filter(|name| !name.is_empty()).cloned().collect()
        };
        let (styles, sizes) = (names(|item| &item.style), names(|item| &item.size));
        let categories = names(|item| &item.category);
        let place = |(gtin, item): (Gtin, &Item)| {
            let number = |names: &[String], name| names.binary_search(name).ok();
            // Without a style in the catalogue it is one of its own.
            let style = number(&styles, &item.style).map_or(UNLISTED | gtin.number(), |n| n as u64);
            let size = number(&sizes, &item.size).and_then(|n| u32::try_from(n).ok());
            (gtin, Place { style, size })
        };
        let places: BTreeMap<Gtin, Place> = catalogue.items().map(place).collect();
        let beside = beside(&catalogue, &places);
        let mut style_names = vec![String::new(); styles.len()];
        for (gtin, item) in catalogue.items() {
            let style = places.get(&gtin).and_then(|place| usize::try_from(place.style).ok());
            if let Some(name) =
                style.and_then(|style| style_names.get_mut(style)).filter(|name| name.is_empty())
            {
                name.clone_from(&item.name);
            }
        }
        Self { styles, style_names, sizes, categories, places, beside, catalogue }
    }

    /// The catalogue.
    #[must_use]
    pub(crate) fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// What a product is.
    #[must_use]
    pub(crate) fn product(&self, gtin: Gtin) -> Place {
        let unlisted = || Place { style: UNLISTED | gtin.number(), size: None };
        self.places.get(&gtin).copied().unwrap_or_else(unlisted)
    }

    /// The products of the next smaller and the next larger size of a product's style and colour.
    #[must_use]
    pub(crate) fn beside(&self, gtin: Gtin) -> &[Gtin] {
        self.beside.get(&gtin).map_or(&[], Vec::as_slice)
    }

    /// What an article is.
    #[must_use]
    pub(crate) fn place(&self, article: Article) -> Place {
        match article {
            Article::Product(gtin) => self.product(gtin),
            Article::Unknown => Place { style: UNKNOWN, size: None },
        }
    }

    /// The number of an article's category; all that have none share one.
    #[must_use]
    pub(crate) fn category(&self, article: Article) -> u64 {
        let item = match article {
            Article::Product(gtin) => self.catalogue.item(gtin),
            Article::Unknown => None,
        };
        let number = item.and_then(|item| self.categories.binary_search(&item.category).ok());
        number.map_or(UNKNOWN, |number| number as u64)
    }

    /// What an article is, and whether it is wanted.
    #[must_use]
    pub(crate) fn wanted(&self, article: Article, wanted: &Wanted) -> (Place, bool) {
        let place = self.place(article);
        if wanted.is_all() {
            return (place, true);
        }
        let item = match article {
            Article::Product(gtin) => self.catalogue.item(gtin),
            Article::Unknown => None,
        };
        let passes = |wanted: &BTreeSet<String>, of: fn(&Item) -> &String| {
            wanted.is_empty() || item.is_some_and(|item| wanted.contains(of(item)))
        };
        let style = wanted.styles.is_empty()
            || self.style(place.style).is_some_and(|name| wanted.styles.contains(&name));
        let passes = style
            && passes(&wanted.categories, |item| &item.category)
            && passes(&wanted.colours, |item| &item.colour)
            && passes(&wanted.sizes, |item| &item.size);
        (place, passes)
    }

    /// Values that a filter names and the catalogue does not have: each with the name of its parameter. Every GTIN may be
    /// that of an unlisted product.
    #[must_use]
    pub(crate) fn unknown(&self, wanted: &Wanted) -> Vec<(&'static str, String)> {
        let has = |of: fn(&Item) -> &String, value: &String| {
            self.catalogue.items().any(|(_, item)| of(item) == value)
        };
        let is_style = |style: &String| self.styles.binary_search(style).is_ok() || Gtin::new(style).is_ok();
        let unknown = |name: &'static str, values: &BTreeSet<String>, is_known: &dyn Fn(&String) -> bool| {
            let unknown = values.iter().filter(|value| !is_known(value));
            unknown.map(|value| (name, value.clone())).collect::<Vec<_>>()
        };
        [
            unknown("category", &wanted.categories, &|value| has(|item| &item.category, value)),
            unknown("style", &wanted.styles, &is_style),
            unknown("colour", &wanted.colours, &|value| has(|item| &item.colour, value)),
            unknown("size", &wanted.sizes, &|value| has(|item| &item.size, value)),
        ]
        .concat()
    }

    /// The name of a style as a filter gives it: its catalogue number, or the GTIN of an unlisted product. `None` of
    /// tags that are no SGTIN.
    #[must_use]
    pub(crate) fn style(&self, style: u64) -> Option<String> {
        match style {
            UNKNOWN => None,
            style if style >= UNLISTED => Some(format!("{:014}", style ^ UNLISTED)),
            style => self.styles.get(usize::try_from(style).ok()?).cloned(),
        }
    }

    /// What people call a style: the name of the first of its products that has one.
    #[must_use]
    pub(crate) fn style_name(&self, style: u64) -> Option<&str> {
        let name = self.style_names.get(usize::try_from(style).ok()?)?;
        Some(name.as_str()).filter(|name| !name.is_empty())
    }

    /// The name of a size.
    #[must_use]
    pub(crate) fn size(&self, size: u32) -> &str {
        self.sizes.get(size as usize).map_or("", |name| name)
    }

    /// Categories, colours and sizes that a filter can choose.
    #[must_use]
    pub(crate) fn choices(&self) -> [Vec<String>; 3] {
        let of: [fn(&Item) -> &String; 3] = [|item| &item.category, |item| &item.colour, |item| &item.size];
        of.map(|of| {
            let names: BTreeSet<&String> = self.catalogue.items().map(|(_, item)| of(item)).collect();
            names.into_iter().filter(|name| !name.is_empty()).cloned().collect()
        })
    }
}

/// The neighbours of all products in their size runs.
fn beside(catalogue: &Catalogue, places: &BTreeMap<Gtin, Place>) -> BTreeMap<Gtin, Vec<Gtin>> {
    let mut runs: BTreeMap<(u64, &str), Vec<(&str, Gtin)>> = BTreeMap::new();
    for (gtin, item) in catalogue.items().filter(|(_, item)| !item.size.is_empty()) {
        let style = places.get(&gtin).map_or(UNKNOWN, |place| place.style);
        runs.entry((style, item.colour.as_str())).or_default().push((item.size.as_str(), gtin));
    }
    let mut beside: BTreeMap<Gtin, Vec<Gtin>> = BTreeMap::new();
    for mut run in runs.into_values() {
        run.sort_by(|a, b| size::compare(a.0, b.0));
        for pair in run.windows(2).filter(|pair| pair[0].0 != pair[1].0) {
            beside.entry(pair[0].1).or_default().push(pair[1].1);
            beside.entry(pair[1].1).or_default().push(pair[0].1);
        }
    }
    beside
}
