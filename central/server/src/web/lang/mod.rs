//! The page in the reader's language. Enters: keys and values; what a browser says of its reader. Leaves: texts.
//!
//! | | |
//! |---|---|
//! | `en.ftl`, `zh-CN.ftl` | the messages, in [Fluent](https://projectfluent.org)'s syntax: a key, a text, its variables and plurals |
//! | [`negotiate`] | which language a request gets |
//! | [`date`] | days, weekdays, spans of time |
//!
//! Both files have the same keys with the same variables, and every key is used: the tests see to it. A new language
//! is a file, a variant of [`Lang`], and a line in each of its methods.

use std::borrow::Cow;
use std::sync::LazyLock;

use fluent_bundle::concurrent::FluentBundle;
use fluent_bundle::{FluentArgs, FluentResource, FluentValue};

mod date;
mod negotiate;

#[cfg(test)]
mod tests;

/// A language that the page speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Lang {
    /// English, in which everything is said that another language lacks.
    #[default]
    En,
    /// Chinese in simplified characters.
    ZhCn,
}

/// A value in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Arg<'a> {
    /// A count: it is written with separators, and the text may say it in the singular. Beyond 2^53 it is 2^53.
    Count(u64),
    /// A name, or what was put in words before.
    Text(Cow<'a, str>),
}

impl From<u64> for Arg<'_> {
    fn from(count: u64) -> Self {
        Self::Count(count)
    }
}

impl<'a> From<&'a str> for Arg<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text.into())
    }
}

impl<'a> From<&'a String> for Arg<'a> {
    fn from(text: &'a String) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Arg<'_> {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl Lang {
    /// All of them, in the order in which they are offered.
    pub(crate) const ALL: [Self; 2] = [Self::En, Self::ZhCn];

    /// Its tag (BCP 47), as `lang=` in the address and in the markup has it.
    #[must_use]
    pub(crate) fn tag(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::ZhCn => "zh-CN",
        }
    }

    /// Its name in itself.
    #[must_use]
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::En => "English",
            Self::ZhCn => "简体中文",
        }
    }

    /// A text without variables.
    #[must_use]
    pub(crate) fn text(self, key: &str) -> String {
        self.format(key, &[])
    }

    /// A text with variables. What this language lacks is said in English, and of what nobody knows the key is shown.
    #[must_use]
    pub(crate) fn format(self, key: &str, args: &[(&str, Arg<'_>)]) -> String {
        let said = self.bundle().say(key, args).or_else(|| Self::En.bundle().say(key, args));
        said.unwrap_or_else(|| {
            tracing::error!(key, "the page has no such text");
            key.into()
        })
    }

    /// A count with separators: `1,234,567`.
    #[must_use]
    pub(crate) fn count(self, n: u64) -> String {
        match self {
            // Thousands are set apart in China as well, as GB/T 15835 allows.
            Self::En | Self::ZhCn => grouped(n),
        }
    }

    /// A share, 0 to 1, in percent without decimals: `25 %`.
    #[must_use]
    pub(crate) fn percent(self, share: f64) -> String {
        self.format("percent", &[("value", hundredths(share).into())])
    }

    /// The two ends of an interval of a share in percent: `18–33 %`.
    #[must_use]
    pub(crate) fn percents(self, low: f64, high: f64) -> String {
        self.format("percents", &[("low", hundredths(low).into()), ("high", hundredths(high).into())])
    }

    fn bundle(self) -> &'static Texts {
        static EN: LazyLock<Texts> = LazyLock::new(|| Texts::read("en", include_str!("en.ftl")));
        static ZH_CN: LazyLock<Texts> = LazyLock::new(|| Texts::read("zh-CN", include_str!("zh-CN.ftl")));
        match self {
            Self::En => &EN,
            Self::ZhCn => &ZH_CN,
        }
    }
}

/// The messages of one language.
struct Texts(FluentBundle<FluentResource>);

impl Texts {
    /// Reads a file. What is broken in it is left out; the tests let no such file through.
    fn read(tag: &str, file: &str) -> Self {
        let mut bundle = FluentBundle::new_concurrent(vec![tag.parse().expect("a language tag")]);
        // Marks of direction are for languages that are written from right to left.
        bundle.set_use_isolating(false);
        bundle.set_formatter(Some(|value, _| match value {
            FluentValue::Number(number) => Some(grouped(number.value as u64)),
            _ => None,
        }));
        let resource = FluentResource::try_new(file.into()).unwrap_or_else(|(resource, _)| resource);
        bundle.add_resource_overriding(resource);
        Self(bundle)
    }

    fn say(&self, key: &str, args: &[(&str, Arg<'_>)]) -> Option<String> {
        let pattern = self.0.get_message(key)?.value()?;
        let mut values = FluentArgs::with_capacity(args.len());
        for (name, value) in args {
            match value {
                // Fluent counts in floats, and panics over a plural of what no u64 holds.
                Arg::Count(n) => values.set(*name, (*n).min(MOST)),
                Arg::Text(text) => values.set(*name, text.as_ref()),
            }
        }
        let mut errors = Vec::new();
        let text = self.0.format_pattern(pattern, Some(&values), &mut errors).into_owned();
        if !errors.is_empty() {
            tracing::error!(key, ?errors, "a text of the page lacks a value");
        }
        Some(text)
    }
}

/// What a float counts to exactly.
const MOST: u64 = 1 << 53;

fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A share in whole percent, 0 to 100; of what is no number 0.
fn hundredths(share: f64) -> u64 {
    (share.clamp(0.0, 1.0) * 100.0).round() as u64
}
