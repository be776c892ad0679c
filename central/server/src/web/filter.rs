//! The filter bar, as it stands in the URL. Enters: a query string, the shops, the time. Leaves: which shops, days
//! and goods are asked for and what they are compared with, or which parameter is wrong and why; and the query
//! string of the same filter with one thing changed, for links.
//!
//! Dates that are given win over a period. But the page's form sends its dates along whenever a period is chosen: so it
//! says in `shown` which dates it had (`2026-11-15/2026-11-21`), and those are nobody's wish.

use std::collections::BTreeSet;

use hangtag_protocol::id::StoreId;
use jiff::civil::Date;
use jiff::{Span, Timestamp};

use crate::goods::Wanted;
use crate::shop::Shop;

/// The longest stretch that can be asked for, in days: a leap year and a day.
const MAX_DAYS: i32 = 367;

/// Which days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Period {
    /// The day that it is in the first of the shops.
    Today,
    /// The day before.
    Yesterday,
    /// Today and the six days before.
    Week,
    /// Today and the 27 days before.
    FourWeeks,
    /// From one date to another, both included.
    Custom,
}

/// With what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Compare {
    /// As many days, right before.
    Previous,
    /// The same days of the week a year before: 364 days.
    Year,
    /// The same days in another shop.
    Store(StoreId),
    /// Nothing.
    Nothing,
}

/// A filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Filter {
    /// Positions in the list of shops, at least one.
    pub shops: Vec<usize>,
    /// Whether the shops were named, and not simply all of them.
    pub names_shops: bool,
    /// Which days,
    pub period: Period,
    /// the first of them,
    pub from: Date,
    /// and the last.
    pub to: Date,
    /// The comparison.
    pub compare: Compare,
    /// Which goods.
    pub wanted: Wanted,
    /// The language that was asked for.
    pub lang: Option<String>,
}

/// What is wrong with a query string.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FilterError {
    /// No such parameter.
    #[error("parameter {0:?} is not one of {names}", names = NAMES.join(", "))]
    Name(String),
    /// A value that it cannot have.
    #[error("parameter {name}: {value:?} {what}")]
    Value {
        /// The parameter.
        name: &'static str,
        /// What was given.
        value: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A parameter that can stand once.
    #[error("parameter {0}: is given twice")]
    Twice(&'static str),
    /// Too long a stretch.
    #[error("parameters from and to: {0} days are more than {MAX_DAYS}")]
    Long(i32),
    /// The end is before the beginning.
    #[error("parameters from and to: {from} is after {to}")]
    Order {
        /// The first day.
        from: Date,
        /// The last day.
        to: Date,
    },
}

/// What the page's form says of the dates in it.
pub(super) const SHOWN: &str = "shown";
/// The names of all parameters that people and programs use.
pub(super) const NAMES: [&str; 10] =
    ["store", "period", "from", "to", "compare", "category", "style", "colour", "size", "lang"];

impl Period {
    /// All of them.
    pub(crate) const ALL: [Self; 5] =
        [Self::Today, Self::Yesterday, Self::Week, Self::FourWeeks, Self::Custom];

    /// Its value in the URL.
    #[must_use]
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Today => "today",
            Self::Yesterday => "yesterday",
            Self::Week => "7d",
            Self::FourWeeks => "28d",
            Self::Custom => "custom",
        }
    }
}

impl Compare {
    /// Its value in the URL.
    #[must_use]
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Previous => "previous".into(),
            Self::Year => "year".into(),
            Self::Store(id) => format!("store-{id}"),
            Self::Nothing => "none".into(),
        }
    }
}

impl Filter {
    /// Reads a query string. An empty value is none.
    ///
    /// # Errors
    /// The first parameter that is wrong.
    pub(crate) fn parse(query: &str, shops: &[Shop], now: Timestamp) -> Result<Self, FilterError> {
        let mut once: [(&'static str, Option<String>); 6] = [
            ("period", None),
            ("from", None),
            ("to", None),
            ("compare", None),
            ("lang", None),
            (SHOWN, None),
        ];
        let mut stores = Vec::new();
        let mut wanted = Wanted::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let value = value.into_owned();
            if let Some((name, given)) = once.iter_mut().find(|(known, _)| *known == name) {
                if !value.is_empty() && given.replace(value).is_some() {
                    return Err(FilterError::Twice(name));
                }
                continue;
            }
            let list = match &*name {
                "store" => {
                    if !value.is_empty() {
                        stores.push(value);
                    }
                    continue;
                }
                "category" => &mut wanted.categories,
                "style" => &mut wanted.styles,
                "colour" => &mut wanted.colours,
                "size" => &mut wanted.sizes,
                other => return Err(FilterError::Name(other.into())),
            };
            if !value.is_empty() {
                list.insert(value);
            }
        }
        let [period, from, to, compare, lang, shown] = once.map(|(_, value)| value);
        let mut chosen = BTreeSet::new();
        for id in &stores {
            chosen.insert(position("store", shops, id, id)?);
        }
        let names_shops = !chosen.is_empty();
        let chosen: Vec<usize> =
            if names_shops { chosen.into_iter().collect() } else { (0..shops.len()).collect() };
        let today = shops[chosen.first().copied().unwrap_or(0)].today(now);
        let dates = [("from", from), ("to", to)]
            .map(|(name, value)| value.map(|value| date(name, value)).transpose());
        let [from, to] = dates;
        let (from, to) = (from?, to?);
        let are_typed = (from.is_some() || to.is_some())
            && from.zip(to).is_none_or(|(from, to)| shown != Some(shown_dates(from, to)));
        let named = |name: String| {
            Period::ALL.into_iter().find(|period| period.name() == name).ok_or(FilterError::Value {
                name: "period",
                value: name,
                what: "is not one of today, yesterday, 7d, 28d, custom",
            })
        };
        let period = match period.map(named).transpose()? {
            _ if are_typed => Period::Custom,
            None if from.is_some() => Period::Custom,
            None => Period::Week,
            Some(period) => period,
        };
        let before = |days: i32| today.saturating_sub(Span::new().days(days));
        let (from, to) = match period {
            Period::Today => (today, today),
            Period::Yesterday => (before(1), before(1)),
            Period::Week => (before(6), today),
            Period::FourWeeks => (before(27), today),
            Period::Custom => {
                let to = to.or(from).unwrap_or(today);
                (from.unwrap_or(to), to)
            }
        };
        let days = days_between(from, to) + 1;
        if days < 1 {
            return Err(FilterError::Order { from, to });
        }
        if days > MAX_DAYS {
            return Err(FilterError::Long(days));
        }
        let compare = match compare.as_deref() {
            None | Some("previous") => Compare::Previous,
            Some("year") => Compare::Year,
            Some("none") => Compare::Nothing,
            Some(other) => match other.strip_prefix("store-") {
                Some(id) => Compare::Store(shops[position("compare", shops, id, other)?].id),
                None => {
                    return Err(FilterError::Value {
                        name: "compare",
                        value: other.into(),
                        what: "is not one of previous, year, none, or store- with the id of a store",
                    });
                }
            },
        };
        Ok(Self { shops: chosen, names_shops, period, from, to, compare, wanted, lang })
    }

    /// How many days.
    #[must_use]
    pub(crate) fn days(&self) -> i32 {
        days_between(self.from, self.to) + 1
    }

    /// What a form with these dates says of them.
    #[must_use]
    pub(crate) fn shown(&self) -> String {
        shown_dates(self.from, self.to)
    }

    /// The days of the comparison; those of another shop are the same.
    #[must_use]
    pub(crate) fn compared(&self) -> Option<(Date, Date)> {
        let back = match self.compare {
            Compare::Previous => self.days(),
            Compare::Year => 364,
            Compare::Store(_) => 0,
            Compare::Nothing => return None,
        };
        let shifted = |date: Date| date.checked_sub(Span::new().days(back)).ok();
        Some((shifted(self.from)?, shifted(self.to)?))
    }

    /// The positions of the shops of the comparison.
    #[must_use]
    pub(crate) fn compared_shops(&self, shops: &[Shop]) -> Vec<usize> {
        match self.compare {
            Compare::Store(id) => (0..shops.len()).filter(|at| shops[*at].id == id).collect(),
            Compare::Previous | Compare::Year | Compare::Nothing => self.shops.clone(),
        }
    }

    /// The query string of this filter.
    #[must_use]
    pub(crate) fn query(&self, shops: &[Shop]) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        if self.names_shops {
            for shop in &self.shops {
                query.append_pair("store", shops[*shop].id.as_str());
            }
        }
        query.append_pair("period", self.period.name());
        if self.period == Period::Custom {
            query.append_pair("from", &self.from.to_string()).append_pair("to", &self.to.to_string());
        }
        if self.compare != Compare::Previous {
            query.append_pair("compare", &self.compare.name());
        }
        let Wanted { categories, styles, colours, sizes } = &self.wanted;
        for (name, values) in
            [("category", categories), ("style", styles), ("colour", colours), ("size", sizes)]
        {
            for value in values {
                query.append_pair(name, value);
            }
        }
        if let Some(lang) = &self.lang {
            query.append_pair("lang", lang);
        }
        query.finish()
    }

    /// The query string of the same filter for one shop.
    #[must_use]
    pub(crate) fn query_of_shop(&self, shops: &[Shop], shop: usize) -> String {
        Self { shops: vec![shop], names_shops: true, ..self.clone() }.query(shops)
    }

    /// The query string of the same filter for one style.
    #[must_use]
    pub(crate) fn query_of_style(&self, shops: &[Shop], style: &str) -> String {
        let wanted = Wanted { styles: [style.to_owned()].into(), ..self.wanted.clone() };
        Self { wanted, ..self.clone() }.query(shops)
    }

    /// The query string of the same filter for one size.
    #[must_use]
    pub(crate) fn query_of_size(&self, shops: &[Shop], size: &str) -> String {
        let wanted = Wanted { sizes: [size.to_owned()].into(), ..self.wanted.clone() };
        Self { wanted, ..self.clone() }.query(shops)
    }

    /// The query string of the same filter in another language.
    #[must_use]
    pub(crate) fn query_in(&self, shops: &[Shop], lang: &str) -> String {
        Self { lang: Some(lang.to_owned()), ..self.clone() }.query(shops)
    }
}

fn position(name: &'static str, shops: &[Shop], id: &str, given: &str) -> Result<usize, FilterError> {
    shops.iter().position(|shop| shop.id.as_str() == id).ok_or_else(|| FilterError::Value {
        name,
        value: given.into(),
        what: "names no store of the stores file",
    })
}

fn date(name: &'static str, value: String) -> Result<Date, FilterError> {
    Date::strptime("%Y-%m-%d", &value).map_err(|_| FilterError::Value {
        name,
        value,
        what: "is not a date like 2026-11-21",
    })
}

fn shown_dates(from: Date, to: Date) -> String {
    format!("{from}/{to}")
}

fn days_between(from: Date, to: Date) -> i32 {
    from.until(to).map_or(i32::MAX - 1, |span| span.get_days())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shop::tests::paris;

    fn shops() -> Vec<Shop> {
        let mut lyon = paris();
        lyon.id = StoreId::new("lyon-1").unwrap();
        vec![paris(), lyon]
    }

    /// A Saturday in Paris, shortly after midnight there.
    fn now() -> Timestamp {
        "2026-11-20T23:30:00Z".parse().unwrap()
    }

    fn parse(query: &str) -> Result<Filter, String> {
        Filter::parse(query, &shops(), now()).map_err(|why| why.to_string())
    }

    #[test]
    fn without_parameters_it_is_the_week_of_all_shops_and_the_one_before() {
        let filter = parse("").unwrap();
        assert_eq!((filter.shops.as_slice(), filter.days()), (&[0, 1][..], 7));
        assert_eq!(filter.to.to_string(), "2026-11-21", "by the shop's clock");
        let (from, to) = filter.compared().unwrap();
        assert_eq!((from.to_string(), to.to_string()), ("2026-11-08".into(), "2026-11-14".into()));
    }

    #[test]
    fn a_year_before_is_the_same_day_of_the_week() {
        let filter = parse("from=2026-11-02&to=2026-11-08&compare=year").unwrap();
        let (from, _) = filter.compared().unwrap();
        assert_eq!((from.to_string(), from.weekday()), ("2025-11-03".into(), filter.from.weekday()));
    }

    #[test]
    fn what_is_written_is_read_again() {
        for query in [
            "store=lyon-1&period=28d&compare=store-paris-1&category=dresses&colour=dark+blue&size=M&size=S&lang=zh-CN",
            "period=custom&from=2026-01-01&to=2026-01-31&compare=none&style=S%261",
            "period=today",
        ] {
            let filter = parse(query).unwrap();
            let written = filter.query(&shops());
            assert_eq!(written, query);
            assert_eq!(parse(&written).unwrap(), filter);
        }
    }

    #[test]
    fn dates_that_somebody_typed_win_over_the_period() {
        let query = |query: &str| parse(query).unwrap().query(&shops());
        // As a form sends it, which has the dates of the last seven days in it.
        let form = "store=&period=yesterday&from=2026-11-15&to=2026-11-21&compare=previous&category=&colour=\
                    &shown=2026-11-15%2F2026-11-21";
        assert_eq!(query(form), "period=yesterday", "nobody touched the dates");
        let typed = form.replace("from=2026-11-15", "from=2026-11-01");
        assert_eq!(query(&typed), "period=custom&from=2026-11-01&to=2026-11-21");
        assert_eq!(query("period=7d&to=2026-11-09"), "period=custom&from=2026-11-09&to=2026-11-09");
        let custom = form.replace("yesterday", "custom");
        assert_eq!(query(&custom), "period=custom&from=2026-11-15&to=2026-11-21");
        assert_eq!(query("period=7d&from=&to=&shown="), "period=7d");
        assert_eq!(parse("").unwrap().shown(), "2026-11-15/2026-11-21");
    }

    #[test]
    fn every_mistake_is_named() {
        for (query, said) in [
            ("stor=x", "parameter \"stor\" is not one of store, period"),
            ("store=berlin", "parameter store: \"berlin\" names no store"),
            ("from=2026-13-01", "parameter from: \"2026-13-01\" is not a date"),
            ("from=2026-11-02&to=2026-11-01", "2026-11-02 is after 2026-11-01"),
            ("from=2020-01-01&to=2026-01-01", "2193 days are more than 367"),
            ("period=week", "parameter period: \"week\" is not one of today"),
            ("period=7d&period=28d", "parameter period: is given twice"),
            ("compare=store-x", "parameter compare: \"store-x\" names no store"),
            ("compare=last", "parameter compare: \"last\" is not one of previous"),
        ] {
            let error = parse(query).unwrap_err();
            assert!(error.contains(said), "{query}: {error}");
        }
    }
}
