//! What is on its way to the broker. Enters: which events of which feeds are to be handed over, and which the broker
//! acknowledged, in whatever order. Leaves: up to which place each feed is acknowledged without a hole, which is what
//! the database is told.

use std::collections::{BTreeMap, BTreeSet};

use hangtag_central_core::feed::{Line, Sequence};

/// What is on its way.
#[derive(Debug, Default)]
pub(super) struct Window {
    lines: BTreeMap<Line, Way>,
}

/// How far one feed is.
#[derive(Debug)]
struct Way {
    /// The last place that was read,
    given: Sequence,
    /// those that are not acknowledged,
    open: BTreeSet<Sequence>,
    /// and what the database knows.
    saved: Sequence,
}

impl Way {
    fn acknowledged(&self) -> Sequence {
        self.open.first().map_or(self.given, |open| Sequence(open.0 - 1))
    }
}

impl Window {
    /// Takes note of a feed that the database says is published up to here, unless it is known.
    pub(super) fn know(&mut self, line: Line, saved: Sequence) {
        self.lines.entry(line).or_insert(Way { given: saved, open: BTreeSet::new(), saved });
    }

    /// After which place a feed goes on.
    pub(super) fn given(&self, line: Line) -> Sequence {
        self.lines.get(&line).map(|way| way.given).unwrap_or_default()
    }

    /// The next events of a feed are to be handed over, and with them everything up to a place.
    pub(super) fn gave(&mut self, line: Line, events: impl IntoIterator<Item = Sequence>, to: Sequence) {
        if let Some(way) = self.lines.get_mut(&line) {
            way.open.extend(events);
            way.given = to;
        }
    }

    /// The broker acknowledged an event.
    pub(super) fn acknowledged(&mut self, line: Line, sequence: Sequence) {
        if let Some(way) = self.lines.get_mut(&line) {
            way.open.remove(&sequence);
        }
    }

    /// What the database does not know yet.
    pub(super) fn news(&self) -> BTreeMap<Line, Sequence> {
        let moved = self.lines.iter().filter(|(_, way)| way.acknowledged() > way.saved);
        moved.map(|(line, way)| (*line, way.acknowledged())).collect()
    }

    /// The database was told this.
    pub(super) fn saved(&mut self, news: &BTreeMap<Line, Sequence>) {
        for (line, sequence) in news {
            if let Some(way) = self.lines.get_mut(line) {
                way.saved = *sequence;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hangtag_central_core::feed::Form;
    use hangtag_protocol::id::StoreId;

    #[test]
    fn the_database_is_told_no_further_than_everything_is_acknowledged() {
        let line = |form| Line { store: StoreId::new("a").unwrap(), form };
        let (clouds, epcis) = (line(Form::CloudEvents), line(Form::Epcis));
        let mut window = Window::default();
        window.know(clouds, Sequence(7));
        window.know(epcis, Sequence(0));
        assert_eq!((window.given(clouds), window.given(epcis)), (Sequence(7), Sequence(0)));
        // 12 is not there any more.
        window.gave(clouds, (8..=11).map(Sequence), Sequence(12));
        window.know(clouds, Sequence(7));
        assert_eq!(window.given(clouds), Sequence(12));
        [9, 11].into_iter().for_each(|n| window.acknowledged(clouds, Sequence(n)));
        assert_eq!(window.news(), BTreeMap::new());
        window.acknowledged(clouds, Sequence(8));
        let news = window.news();
        assert_eq!(news, BTreeMap::from([(clouds, Sequence(9))]));
        window.saved(&news);
        assert_eq!(window.news(), BTreeMap::new());
        window.acknowledged(clouds, Sequence(10));
        assert_eq!(window.news(), BTreeMap::from([(clouds, Sequence(12))]));
    }
}
