//! Which language a request gets. Enters: the parameter `lang`, the header `Cookie`, the header `Accept-Language`;
//! all three are what anybody may send. Leaves: a language of the page, and the cookie that remembers a choice.

use super::Lang;

/// Name of the parameter and of the cookie.
const NAME: &str = "lang";
/// How many languages of a header are looked at.
const MOST: usize = 32;

impl Lang {
    /// The language of a request: the one in its address if the page speaks it, else the one that was chosen before
    /// (`cookies` is the whole header), else the one that the browser prefers, else English.
    #[must_use]
    pub(crate) fn negotiate(
        query: Option<&str>,
        cookies: Option<&str>,
        accept_language: Option<&str>,
    ) -> Self {
        query
            .and_then(Self::parse)
            .or_else(|| cookies.and_then(remembered).and_then(Self::parse))
            .or_else(|| accept_language.and_then(preferred))
            .unwrap_or_default()
    }

    /// The language of a tag (BCP 47), whatever the case: also of `en-GB` and `zh-Hans-SG`. Who reads traditional
    /// characters gets the simplified ones rather than English.
    #[must_use]
    pub(crate) fn parse(tag: &str) -> Option<Self> {
        let primary = tag.trim().split(['-', '_']).next().unwrap_or_default();
        if primary.eq_ignore_ascii_case("en") {
            Some(Self::En)
        } else if primary.eq_ignore_ascii_case("zh") {
            Some(Self::ZhCn)
        } else {
            None
        }
    }

    /// The header `Set-Cookie` that remembers the choice for a year. It says nothing else of the reader.
    #[must_use]
    pub(crate) fn cookie(self) -> String {
        format!("{NAME}={}; Path=/; Max-Age=31536000; SameSite=Lax; HttpOnly", self.tag())
    }
}

/// The cookie's value.
fn remembered(cookies: &str) -> Option<&str> {
    cookies.split(';').find_map(|pair| pair.trim().strip_prefix(NAME)?.strip_prefix('='))
}

/// The first of the languages with the highest weight that the page speaks (RFC 9110, section 12.5.4). A weight of 0
/// rules a language out.
fn preferred(header: &str) -> Option<Lang> {
    let mut best: Option<(u32, Lang)> = None;
    for range in header.split(',').take(MOST) {
        let mut parts = range.split(';');
        let tag = parts.next().unwrap_or_default().trim();
        let lang = if tag == "*" { Some(Lang::default()) } else { Lang::parse(tag) };
        let Some(weight) = parts.try_fold(1_000, |weight, part| match part.trim().split_once('=') {
            Some((name, value)) if name.trim().eq_ignore_ascii_case("q") => thousandths(value.trim()),
            _ => Some(weight),
        }) else {
            continue;
        };
        if let Some(lang) = lang.filter(|_| weight > best.map_or(0, |(best, _)| best)) {
            best = Some((weight, lang));
        }
    }
    best.map(|(_, lang)| lang)
}

/// A weight such as `0.8`, in thousandths.
fn thousandths(text: &str) -> Option<u32> {
    let weight: f64 = text.parse().ok()?;
    (0.0..=1.0).contains(&weight).then(|| (weight * 1_000.0).round() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_wins_then_the_cookie_then_the_browser() {
        let zh = Some("zh-CN,zh;q=0.9,en;q=0.8");
        assert_eq!(Lang::negotiate(Some("en"), Some("lang=zh-CN"), zh), Lang::En);
        assert_eq!(Lang::negotiate(None, Some("a=1; lang=zh-CN; b=2"), Some("en")), Lang::ZhCn);
        assert_eq!(Lang::negotiate(None, Some("xlang=en; language=en"), zh), Lang::ZhCn, "other cookies");
        assert_eq!(Lang::negotiate(Some("xx"), None, zh), Lang::ZhCn, "what is not spoken is none");
        assert_eq!(Lang::negotiate(None, None, None), Lang::En);
    }

    #[test]
    fn the_browsers_weights_count_and_its_order_among_equals() {
        let of = |header| Lang::negotiate(None, None, Some(header));
        assert_eq!(of("fr-FR, en;q=0.5, zh;q=0.7"), Lang::ZhCn);
        assert_eq!(of("en-GB;q=0.7, zh;q=0.7"), Lang::En);
        assert_eq!(of("zh-Hant-TW, en;q=0.9"), Lang::ZhCn);
        assert_eq!(of("de, zh ; q = 0.3 , *;q=0.1"), Lang::ZhCn);
        assert_eq!(of("zh;q=0, en;q=0.001"), Lang::En);
        assert_eq!(of("zh;q=0"), Lang::En);
    }

    #[test]
    fn what_is_broken_in_a_header_is_left_out() {
        let of = |header: &str| Lang::negotiate(None, None, Some(header));
        for header in ["", ",,;;q=", "zh;q=2, en", "zh;q=NaN", "zh;q=-1", "\u{0}"] {
            assert_eq!(of(header), Lang::En, "{header:?}");
        }
        assert_eq!(of(&"x,".repeat(100_000)), Lang::En);
    }

    #[test]
    fn what_is_remembered_is_understood() {
        for lang in Lang::ALL {
            let cookie = lang.cookie();
            let sent = cookie.split(';').next().unwrap();
            assert_eq!(Lang::negotiate(None, Some(sent), None), lang);
            assert_eq!(Lang::parse(lang.tag()), Some(lang));
        }
    }
}
