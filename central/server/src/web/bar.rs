//! The filter bar and where one is. Enters: a filter and what can be chosen. Leaves: lists, names and links in words.

use super::filter::{Compare, Period, SHOWN};
use super::lang::Lang;
use super::tables::Source;

/// The filter bar.
pub(crate) struct Form {
    /// Lists of which several can be chosen.
    pub lists: Vec<List>,
    /// Periods: value, name, whether chosen.
    pub periods: Vec<(String, String, bool)>,
    /// Comparisons: the same.
    pub compares: Vec<(String, String, bool)>,
    /// The first day,
    pub from: String,
    /// and the last.
    pub to: String,
    /// Values that the form carries on without showing them.
    pub hidden: Vec<(&'static str, String)>,
}

/// A list of which several can be chosen.
pub(crate) struct List {
    /// The parameter.
    pub name: &'static str,
    /// Its name for people,
    pub label: String,
    /// what is chosen,
    pub chosen: String,
    /// and what can be: value, name, whether chosen.
    pub options: Vec<(String, String, bool)>,
}

pub(super) fn form(source: &Source<'_>, lang: Lang) -> Form {
    let Source { site, filter, .. } = *source;
    let [categories, colours, mut sizes] = site.goods.choices();
    sizes.sort_by(|a, b| hangtag_central_core::size::compare(a, b));
    let all = |count: usize| if count == 0 { lang.text("all") } else { lang.count(count as u64) };
    let goods = |name: &'static str,
                 label: String,
                 options: Vec<String>,
                 chosen: &std::collections::BTreeSet<String>| List {
        name,
        label,
        chosen: if chosen.len() == 1 {
            chosen.first().cloned().unwrap_or_default()
        } else {
            all(chosen.len())
        },
        options: options
            .into_iter()
            .map(|value| (value.clone(), value.clone(), chosen.contains(&value)))
            .collect(),
    };
    let stores = List {
        name: "store",
        label: lang.text("filter-store"),
        chosen: match &filter.shops[..] {
            _ if !filter.names_shops => all(0),
            [one] => site.shops[*one].name.clone(),
            several => all(several.len()),
        },
        options: (0..)
            .zip(&site.shops)
            .map(|(at, shop)| {
                (shop.id.to_string(), shop.name.clone(), filter.names_shops && filter.shops.contains(&at))
            })
            .collect(),
    };
    let wanted = &filter.wanted;
    let lists = [
        stores,
        goods("category", lang.text("filter-category"), categories, &wanted.categories),
        goods("colour", lang.text("filter-colour"), colours, &wanted.colours),
        goods("size", lang.text("filter-size"), sizes, &wanted.sizes),
    ];
    let period = |period: Period| {
        let key = match period {
            Period::Today => "period-today",
            Period::Yesterday => "period-yesterday",
            Period::Week => "period-week",
            Period::FourWeeks => "period-four-weeks",
            Period::Custom => "period-custom",
        };
        (period.name().into(), lang.text(key), period == filter.period)
    };
    let mut compares: Vec<(String, String, bool)> = [
        (Compare::Previous, lang.text("compare-previous")),
        (Compare::Year, lang.text("compare-year")),
        (Compare::Nothing, lang.text("compare-none")),
    ]
    .into_iter()
    .map(|(compare, label)| (compare.name(), label, compare == filter.compare))
    .collect();
    if site.shops.len() > 1 {
        compares.extend(site.shops.iter().map(|shop| {
            let compare = Compare::Store(shop.id);
            let name = lang.format("compare-store", &[("store", shop.name.as_str().into())]);
            (compare.name(), name, compare == filter.compare)
        }));
    }
    let styles = wanted.styles.iter().map(|style| ("style", style.clone()));
    Form {
        lists: lists.into_iter().filter(|list| !list.options.is_empty()).collect(),
        periods: Period::ALL.into_iter().map(period).collect(),
        compares,
        from: filter.from.to_string(),
        to: filter.to.to_string(),
        hidden: styles
            .chain(filter.lang.iter().map(|lang| ("lang", lang.clone())))
            .chain([(SHOWN, filter.shown())])
            .collect(),
    }
}

pub(super) fn title(source: &Source<'_>, lang: Lang) -> String {
    match &source.filter.shops[..] {
        [one] => source.site.shops[*one].name.clone(),
        all if all.len() == source.site.shops.len() => lang.text("all-stores"),
        some => lang.format("some-stores", &[("count", (some.len() as u64).into())]),
    }
}

pub(super) fn against(source: &Source<'_>, lang: Lang) -> String {
    let Some((from, to)) = source.filter.compared() else { return String::new() };
    let stretch = lang.period(from, to);
    match source.filter.compare {
        Compare::Store(id) => {
            let name = source.site.shops.iter().find(|shop| shop.id == id).map_or("", |shop| &shop.name);
            lang.format("against-store", &[("store", name.into())])
        }
        Compare::Previous | Compare::Year | Compare::Nothing => {
            lang.format("against", &[("stretch", stretch.as_str().into())])
        }
    }
}

/// From the chain to the store, the style and the size.
pub(super) fn crumbs(source: &Source<'_>, lang: Lang) -> Vec<(String, Option<String>)> {
    let Source { site, filter, .. } = *source;
    let mut all = filter.clone();
    (all.names_shops, all.shops) = (false, (0..site.shops.len()).collect());
    (all.wanted.styles, all.wanted.sizes) = Default::default();
    let mut crumbs = vec![(lang.text("all-stores"), all.clone())];
    if let [one] = filter.shops[..]
        && site.shops.len() > 1
    {
        (all.names_shops, all.shops) = (true, vec![one]);
        crumbs.push((site.shops[one].name.clone(), all.clone()));
    } else if filter.names_shops {
        (all.names_shops, all.shops) = (true, filter.shops.clone());
        crumbs.push((title(source, lang), all.clone()));
    }
    if let Some(style) = filter.wanted.styles.first() {
        all.wanted.styles.clone_from(&filter.wanted.styles);
        let named =
            site.goods.catalogue().items().find(|(_, item)| item.style == *style && !item.name.is_empty());
        crumbs.push((named.map_or_else(|| style.clone(), |(_, item)| item.name.clone()), all.clone()));
    }
    if let Some(size) = filter.wanted.sizes.first() {
        all.wanted.sizes.clone_from(&filter.wanted.sizes);
        crumbs.push((lang.format("crumb-size", &[("size", size.as_str().into())]), all));
    }
    let last = crumbs.len() - 1;
    (0..)
        .zip(crumbs)
        .map(|(at, (name, filter))| (name, (at < last).then(|| filter.query(&site.shops))))
        .collect()
}
