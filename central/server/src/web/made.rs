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

/// The pages. One more than are kept makes the one go that was made first; what nobody will be shown again goes, too.
#[derive(Clone)]
pub(crate) struct Made {
    entries: Arc<Mutex<Vec<Entry>>>,
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

/// What there is for who asks for a page.
pub(super) enum Found {
    /// One that will do.
    Old(Old),
    /// None: whoever asked makes it, and holds this for as long.
    Missing(Turn),
}

/// That somebody makes a page anew. Others get the old one meanwhile: until this is dropped, whether the page was made,
/// could not be made, or nobody waits for it any more.
pub(super) struct Turn(Option<(Made, Instant)>);

impl Drop for Turn {
    fn drop(&mut self) {
        let Some((made, began)) = &self.0 else { return };
        // Of a page that was made since somebody else may have the turn.
        for entry in made.entries().iter_mut().filter(|entry| entry.began == *began) {
            entry.in_work = false;
        }
    }
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
        Self { entries: Arc::default(), long }
    }

    /// The page of a filter, if one that was made before will do after so many commits. If not, whoever asked makes it
    /// anew, and others who ask meanwhile get the old one a little longer: until it is twice as old as it may be.
    pub(super) fn find(&self, filter: &Filter, lang: Lang, commits: u64, now: Instant) -> Found {
        let mut entries = self.entries();
        let Some(entry) = entries.iter_mut().find(|entry| entry.is_of(filter, lang)) else {
            return Found::Missing(Turn(None));
        };
        let (age, oldest) = (entry.age(now), entry.oldest(commits));
        if age <= oldest || entry.in_work && age <= 2 * oldest {
            return Found::Old(entry.show(commits, now));
        }
        if std::mem::replace(&mut entry.in_work, true) {
            return Found::Missing(Turn(None));
        }
        Found::Missing(Turn(Some((self.clone(), entry.began))))
    }

    /// The page of a filter, if it will do and need not be made anew: for who waited, while others may have made it.
    pub(super) fn meanwhile(&self, filter: &Filter, lang: Lang, commits: u64, now: Instant) -> Option<Old> {
        let entries = self.entries();
        let entry = entries.iter().find(|entry| entry.is_of(filter, lang))?;
        (entry.age(now) <= entry.oldest(commits)).then(|| entry.show(commits, now))
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
        entries.retain(|entry| entry.age(now) <= 2 * UNCHANGED);
        // Who began earlier and took longer must not take anybody back.
        if entries.iter().any(|entry| entry.is_of(filter, lang) && entry.began > began) {
            return;
        }
        entries.retain(|entry| !entry.is_of(filter, lang));
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

impl Entry {
    fn is_of(&self, filter: &Filter, lang: Lang) -> bool {
        self.lang == lang && self.filter == *filter
    }

    fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.began)
    }

    /// How old it may be after so many commits.
    fn oldest(&self, commits: u64) -> Duration {
        if self.commits == commits { UNCHANGED } else { limit(self.took) }
    }

    fn show(&self, commits: u64, now: Instant) -> Old {
        let age = self.age(now);
        let lasts = (self.commits != commits).then(|| self.oldest(commits).saturating_sub(age));
        Old { page: Arc::clone(&self.page), age, lasts }
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

    fn old(found: Found) -> Option<Old> {
        match found {
            Found::Old(old) => Some(old),
            Found::Missing(_) => None,
        }
    }

    impl Found {
        fn turn(self) -> Turn {
            match self {
                Found::Old(old) => panic!("{:?} old", old.age),
                Found::Missing(turn) => turn,
            }
        }
    }

    #[test]
    fn what_has_changed_is_shown_soon_and_says_when() {
        let (made, filter, began) = one();
        let find = |commits, at| made.find(&filter, Lang::default(), commits, began + at);
        let meanwhile = |at| made.meanwhile(&filter, Lang::default(), 8, began + at).is_some();
        let young = old(find(8, 5 * SECOND)).unwrap();
        assert_eq!((young.age, young.lasts), (5 * SECOND, Some(15 * SECOND)));
        assert!(old(find(7, 200 * SECOND)).unwrap().lasts.is_none());
        let _turn = find(8, 21 * SECOND).turn();
        // Others need not wait for who makes it anew; but not for ever.
        assert!(old(find(8, 22 * SECOND)).is_some());
        assert!(old(find(8, 41 * SECOND)).is_none());
        // Who makes it is not given the old one.
        assert!(meanwhile(20 * SECOND) && !meanwhile(21 * SECOND));
    }

    #[test]
    fn when_a_page_could_not_be_made_the_next_one_who_asks_makes_it() {
        let (made, filter, began) = one();
        let find = |at| made.find(&filter, Lang::default(), 8, began + at);
        let turn = find(21 * SECOND).turn();
        assert!(old(find(22 * SECOND)).is_some());
        drop(turn);
        let turn = find(23 * SECOND).turn();
        // A turn of before says nothing of a page that was made since.
        let page = old(find(24 * SECOND)).unwrap().page;
        let of = (&filter, Lang::default());
        made.keep(of, &page, 8, (began + 23 * SECOND, began + 24 * SECOND));
        let find = |at| made.find(&filter, Lang::default(), 9, began + at);
        let _next = find(50 * SECOND).turn();
        drop(turn);
        assert!(old(find(51 * SECOND)).is_some(), "it is in work");
    }

    #[test]
    fn a_page_that_was_begun_earlier_does_not_replace_a_newer_one_and_old_ones_go() {
        let (made, filter, began) = one();
        let find = |at| old(made.find(&filter, Lang::default(), 9, began + at));
        let page = find(SECOND).unwrap().page;
        let keep = |commits, from, to| {
            made.keep((&filter, Lang::default()), &page, commits, (began + from, began + to));
        };
        keep(9, 5 * SECOND, 6 * SECOND);
        keep(8, 2 * SECOND, 9 * SECOND);
        let newest = find(10 * SECOND).unwrap();
        assert_eq!((newest.age, newest.lasts), (5 * SECOND, None));
        let mut other = filter.clone();
        other.wanted.styles.insert("other".into());
        let (from, to) = (began + 900 * SECOND, began + 901 * SECOND);
        made.keep((&other, Lang::default()), &page, 9, (from, to));
        assert_eq!(made.entries().len(), 1);
    }

    #[test]
    fn another_page_is_another_one_and_what_is_made_fast_is_made_anew() {
        let (made, filter, began) = one();
        let find = |filter: &Filter, lang, commits| old(made.find(filter, lang, commits, began));
        assert!(find(&filter, Lang::ALL[1], 7).is_none());
        let mut other = filter.clone();
        other.wanted.styles.insert("other".into());
        assert!(find(&other, Lang::default(), 7).is_none());
        let page = find(&filter, Lang::default(), 7).unwrap().page;
        made.keep((&filter, Lang::default()), &page, 8, (began, began + SECOND / 2));
        assert!(find(&filter, Lang::default(), 8).is_none());
    }
}
