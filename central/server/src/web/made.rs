//! Pages that were made before. Enters: what is asked for. Leaves: the page that was made of it last, while to make it
//! anew takes longer than what has changed is worth.
//!
//! The page of a few shops is made anew whenever somebody asks for it. That of a chain adds up millions of events and
//! takes a second, while something is committed every second: it may be [`TIMES`] as old as it took to make, and says
//! how old it is. What has not changed since holds for [`UNCHANGED`]: time alone changes little.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::filter::Filter;
use super::lang::Lang;
use super::view::View;

/// What is made faster is made anew.
const LONG: Duration = Duration::from_millis(200);
/// How many times as old as it took to make a page may be: a twentieth of one core makes it anew all the time.
const TIMES: u32 = 20;
/// The oldest page of what has changed since.
const OLDEST: Duration = Duration::from_secs(30);
/// The oldest page of what has not changed.
const UNCHANGED: Duration = Duration::from_secs(300);
/// Pages that are kept, about 300 kB each.
const KEPT: usize = 32;

/// The pages. One more than are kept makes the one go that was made first.
pub(crate) struct Made {
    entries: Mutex<Vec<Entry>>,
    long: Duration,
}

struct Entry {
    filter: Filter,
    lang: Lang,
    page: Arc<View>,
    /// The number of commits of which it was made,
    commits: u64,
    /// when, and how long that took.
    began: Instant,
    took: Duration,
    /// Whether somebody makes it anew.
    in_work: bool,
}

/// A page that was made before.
pub(super) struct Old {
    /// The page.
    pub page: Arc<View>,
    /// How old it is.
    pub age: Duration,
    /// How long it will still do; `None` while nothing has changed since.
    pub lasts: Option<Duration>,
}

impl Made {
    /// None yet; those are kept that take so long to make, or longer.
    pub(super) fn new(long: Duration) -> Self {
        Self { entries: Mutex::default(), long }
    }

    /// The page of a filter, if one that was made before will do after so many commits. If not, whoever asked makes it
    /// anew, and others who ask meanwhile get the old one a little longer.
    pub(super) fn find(&self, filter: &Filter, lang: Lang, commits: u64, now: Instant) -> Option<Old> {
        let mut entries = self.entries();
        let entry = entries.iter_mut().find(|entry| entry.lang == lang && entry.filter == *filter)?;
        let age = now.saturating_duration_since(entry.began);
        let is_same = entry.commits == commits;
        let oldest = if is_same { UNCHANGED } else { limit(entry.took) };
        if age > oldest && (!entry.in_work || age > 2 * oldest) {
            entry.in_work = true;
            return None;
        }
        let lasts = (!is_same).then(|| oldest.saturating_sub(age));
        Some(Old { page: Arc::clone(&entry.page), age, lasts })
    }

    /// Keeps a page that was begun then, after so many commits.
    pub(super) fn keep(
        &self,
        (filter, lang): (&Filter, Lang),
        page: &Arc<View>,
        commits: u64,
        (began, now): (Instant, Instant),
    ) {
        let mut entries = self.entries();
        entries.retain(|entry| entry.lang != lang || entry.filter != *filter);
        let took = now.saturating_duration_since(began);
        if took < self.long {
            return;
        }
        if entries.len() >= KEPT {
            entries.remove(0);
        }
        let (filter, page) = (filter.clone(), Arc::clone(page));
        entries.push(Entry { filter, lang, page, commits, began, took, in_work: false });
    }

    /// After how long one that took so long is made anew by whoever wants it to be ready always: before it is too old.
    pub(super) fn rest(&self, took: Duration) -> Duration {
        (if took < self.long { UNCHANGED } else { limit(took) }) * 3 / 4
    }

    fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Made {
    fn default() -> Self {
        Self::new(LONG)
    }
}

/// How old a page that took so long to make may be once something has changed.
fn limit(took: Duration) -> Duration {
    (took * TIMES).min(OLDEST)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::store::tests::Bench;
    use crate::web::tests;

    const SECOND: Duration = Duration::from_secs(1);

    /// Pages, one of them made after 7 commits within a second, and when that was.
    fn one() -> (Made, Filter, Instant) {
        let bench = Bench::new();
        let (site, _) = tests::site(&bench, "");
        let filter = Filter::parse("", &site.shops, (site.now)()).unwrap();
        let answer =
            crate::web::Answer::new(site, filter.clone(), Lang::default(), jiff::Timestamp::UNIX_EPOCH);
        let answer = answer.unwrap();
        let page = View::new(&answer.source(), &[], Lang::default(), answer.now);
        let (made, began) = (Made::new(SECOND), Instant::now());
        made.keep((&filter, Lang::default()), &Arc::new(page), 7, (began, began + SECOND));
        (made, filter, began)
    }

    #[test]
    fn what_has_changed_is_shown_soon_and_says_when() {
        let (made, filter, began) = one();
        let find = |commits, at| made.find(&filter, Lang::default(), commits, began + at);
        let old = find(8, 5 * SECOND).unwrap();
        assert_eq!((old.age, old.lasts), (5 * SECOND, Some(15 * SECOND)));
        assert!(find(7, 200 * SECOND).unwrap().lasts.is_none());
        assert!(find(8, 21 * SECOND).is_none());
        // Others need not wait for who makes it anew; but not for ever.
        assert!(find(8, 22 * SECOND).is_some());
        assert!(find(8, 41 * SECOND).is_none());
    }

    #[test]
    fn another_page_is_another_one_and_what_is_made_fast_is_made_anew() {
        let (made, filter, began) = one();
        assert!(made.find(&filter, Lang::ALL[1], 7, began).is_none());
        let mut other = filter.clone();
        other.wanted.styles.insert("other".into());
        assert!(made.find(&other, Lang::default(), 7, began).is_none());
        let page = made.find(&filter, Lang::default(), 7, began).unwrap().page;
        made.keep((&filter, Lang::default()), &page, 8, (began, began + SECOND / 2));
        assert!(made.find(&filter, Lang::default(), 8, began).is_none());
    }
}
