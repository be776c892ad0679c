//! When the readers listened. Enters: stretches of the readers' lives. Leaves: per reader its minutes
//! in each state, and a strip of the day. A time of which nothing is known is never drawn as listened.

use std::collections::BTreeMap;

use hangtag_protocol::clock::UnixMillis;
use hangtag_protocol::event::ReaderState;
use hangtag_protocol::id::{GatewayId, ReaderId};

use crate::store::Coverage;

use super::lang::Lang;

/// Width of a strip in user units.
pub(crate) const STRIP: i64 = 960;

/// One reader's day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Strip {
    /// Its gateway.
    pub gateway: GatewayId,
    /// The reader.
    pub reader: ReaderId,
    /// Time in each state, for people.
    pub listening: String,
    /// Port open, no answer.
    pub silent: String,
    /// No port.
    pub absent: String,
    /// Not to read, by its schedule.
    pub off: String,
    /// Nothing was said of it.
    pub unknown: String,
    /// The pieces to draw.
    pub pieces: Vec<Piece>,
}

/// A piece of a strip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Left edge.
    pub x: i64,
    /// Width, at least 1.
    pub width: i64,
    /// Class in the style sheet.
    pub class: &'static str,
}

/// The strips of a day of which `from` to `to` has passed and which ends at `end`. Every known reader has
/// one, also when nothing is known of its day.
#[must_use]
pub(crate) fn strips(
    coverage: &[Coverage],
    known: &[(GatewayId, ReaderId)],
    (from, to, end): (UnixMillis, UnixMillis, UnixMillis),
    lang: Lang,
) -> Vec<Strip> {
    let mut readers: BTreeMap<_, Vec<&Coverage>> = known.iter().map(|reader| (*reader, Vec::new())).collect();
    for stretch in coverage.iter().filter(|c| c.from < c.to) {
        readers.entry((stretch.gateway, stretch.reader)).or_default().push(stretch);
    }
    let day = (end.0 - from.0).max(1);
    let strip = |((gateway, reader), stretches): ((GatewayId, ReaderId), Vec<&Coverage>)| {
        let sum =
            |state| -> i64 { stretches.iter().filter(|c| c.state == state).map(|c| c.to.0 - c.from.0).sum() };
        let sums =
            [ReaderState::Listening, ReaderState::Silent, ReaderState::Absent, ReaderState::Off].map(sum);
        let known: i64 = sums.iter().sum();
        let pieces = stretches
            .iter()
            .map(|c| {
                let x = (c.from.0 - from.0) * STRIP / day;
                let width = ((c.to.0 - from.0) * STRIP / day - x).max(1);
                Piece { x, width, class: class(c.state) }
            })
            .collect();
        let [listening, silent, absent, off] = sums.map(|ms| lang.minutes(ms));
        let unknown = lang.minutes((to.0 - from.0 - known).max(0));
        Strip { gateway, reader, listening, silent, absent, off, unknown, pieces }
    };
    readers.into_iter().map(strip).collect()
}

/// The state's class in the style sheet, and its name for people.
#[must_use]
pub(crate) fn class(state: ReaderState) -> &'static str {
    match state {
        ReaderState::Listening => "listening",
        ReaderState::Silent => "silent",
        ReaderState::Absent => "absent",
        ReaderState::Off => "off",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_of_which_nothing_is_known_is_told_apart() {
        let stretch = |state, from: i64, to: i64| Coverage {
            gateway: GatewayId::new("g").unwrap(),
            reader: ReaderId::new("r").unwrap(),
            state,
            from: UnixMillis(from * 60_000),
            to: UnixMillis(to * 60_000),
        };
        let coverage = [
            stretch(ReaderState::Listening, 0, 60),
            stretch(ReaderState::Absent, 60, 70),
            stretch(ReaderState::Off, 70, 100),
        ];
        let at = |minute: i64| UnixMillis(minute * 60_000);
        let dead = (GatewayId::new("h").unwrap(), ReaderId::new("r").unwrap());
        let strips = strips(&coverage, &[dead], (at(0), at(120), at(240)), Lang::En);
        assert_eq!(strips.len(), 2);
        assert_eq!(
            (strips[1].gateway, strips[1].unknown.as_str()),
            (dead.0, "2 h 00 min"),
            "it does not vanish"
        );
        assert_eq!(
            [&strips[0].listening, &strips[0].absent, &strips[0].off, &strips[0].unknown],
            ["1 h 00 min", "10 min", "30 min", "20 min"]
        );
        assert_eq!(strips[0].silent, "0 min");
        assert_eq!(strips[0].pieces[1], Piece { x: 240, width: 40, class: "absent" });
        assert_eq!(strips[0].pieces[2], Piece { x: 280, width: 120, class: "off" });
    }
}
