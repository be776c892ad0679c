//! What a site teaches without labels, over restarts: where each garment rests and how often it is read there,
//! how loud its tag is at antennas of zones where it is not, and how its phases stray. Enters: garments that are
//! followed. Leaves: a [`Writing`], which makes bytes slice by slice; and from such bytes what is
//! [remembered](Inference::remember).
//!
//! What is remembered of a garment says nothing until its tag is heard again: no event comes of it. It only
//! keeps what was known anyway from being taken for news. Nothing in it is of one boot, so that it outlives a
//! reboot; open visits do not, and are in the [snapshot](super::snapshot).

mod file;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use hangtag_protocol::clock::Uptime;
use hangtag_protocol::epc::Epc;
use serde::{Deserialize, Serialize};

use super::known::Known;
use super::{FORGOTTEN_MS, Inference, Layout, MAX_TAGS};
pub use file::{Learned, LearnedError, MOST_BYTES, ZoneLearned};

const HOUR_MS: u64 = 3_600_000;

/// What was learned of one garment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Habit {
    /// For how many hours of running time it has not been read.
    pub(super) unheard_h: u8,
    pub(super) home: Option<Home>,
    pub(super) heard: Box<[Heard]>,
}

/// Where a garment rests.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Home {
    pub(super) antenna: u16,
    /// Reads in a hundred ticks.
    pub(super) reads: u16,
}

/// How a garment's tag is heard at one antenna.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Heard {
    pub(super) antenna: u16,
    /// See [`Noise`](super::motion::Noise).
    pub(super) noise: (u16, u8),
    pub(super) elsewhere: Option<Elsewhere>,
}

/// How loud a tag is at an antenna while it rests in another zone.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Elsewhere {
    pub(super) cdbm: i16,
    /// In how many ticks it was heard so; 255 stands for more.
    pub(super) ticks: u8,
}

/// Garments that were known before a restart and have not been heard since.
#[derive(Debug)]
pub(super) struct Remembered {
    habits: super::Map<Habit>,
    since: Uptime,
}

impl Remembered {
    pub(super) fn new(now: Uptime) -> Self {
        Self { habits: super::Map::default(), since: now }
    }

    pub(super) fn len(&self) -> usize {
        self.habits.len()
    }

    /// What is known of a garment that is heard again.
    pub(super) fn take(&mut self, known: &Known) -> Option<Habit> {
        self.habits.swap_remove(known)
    }

    /// Makes room for a garment that was never heard.
    pub(super) fn forget_one(&mut self) {
        self.habits.pop();
    }

    /// The garment with this number, older by the time since the start.
    fn aged(&self, at: usize, now: Uptime) -> Option<(Epc, Habit)> {
        let (epc, habit) = self.habits.get_index(at)?;
        let unheard_h = habit.unheard_h.saturating_add(hours(now.since(self.since)));
        Some((epc.into(), Habit { unheard_h, ..habit.clone() }))
    }
}

/// What was learned on its way to bytes.
#[derive(Debug)]
pub struct Writing {
    bytes: Vec<u8>,
    /// Garments that were looked at, of those that are followed and of those that are remembered.
    followed: usize,
    remembered: usize,
}

impl Inference {
    /// Begins to write down what was learned. `of` says where it was learned, and is given back by
    /// [`Learned::read`].
    #[must_use]
    pub fn begin_learned(&self, of: &str) -> Writing {
        Writing { bytes: file::begin(of, &self.layout), followed: 0, remembered: 0 }
    }

    /// Writes at most so many garments down; whether all are. Between two calls reads may come: what they
    /// teach of garments already written is left out, and a garment that another made room for may be too.
    pub fn write_learned(&self, writing: &mut Writing, most: usize, now: Uptime) -> bool {
        for _ in 0..most {
            let next = match self.tags.get_index(writing.followed) {
                Some((epc, tag)) => {
                    writing.followed += 1;
                    let unheard_h = hours(tag.last_read().map_or(0, |last| now.since(last)));
                    tag.habit(unheard_h).map(|habit| (Epc::from(epc), habit))
                }
                None => {
                    let Some(next) = self.remembered.aged(writing.remembered, now) else { return true };
                    writing.remembered += 1;
                    Some(next)
                }
            };
            if let Some((epc, habit)) = next
                && u64::from(habit.unheard_h) * HOUR_MS < FORGOTTEN_MS
            {
                file::add(&mut writing.bytes, epc, &habit);
            }
        }
        false
    }

    /// Remembers what was learned before a restart: of antennas that still look at the same zones, and at most
    /// as many garments as are followed. Returns of how many garments there is something to remember. To be called
    /// before [`restore`](Self::restore).
    pub fn remember(&mut self, learned: &Learned) -> usize {
        let antennas = learned.antennas_in(&self.layout);
        for (epc, habit) in learned.garments() {
            let known = Known::from(*epc);
            if self.tags.len() + self.remembered.len() >= MAX_TAGS || self.tags.contains_key(&known) {
                continue;
            }
            if let Some(habit) = habit.at(&antennas) {
                self.remembered.habits.insert(known, habit);
            }
        }
        self.remembered.len()
    }
}

impl Writing {
    /// The bytes: complete after [`Inference::write_learned`] said so.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        file::finish(self.bytes)
    }
}

impl Habit {
    /// The same with the present numbers of antennas, without those that are gone; `None` if nothing is left.
    fn at(&self, antennas: &[Option<u16>]) -> Option<Self> {
        let here = |antenna: u16| antennas.get(usize::from(antenna)).copied().flatten();
        let home = self.home.and_then(|home| Some(Home { antenna: here(home.antenna)?, ..home }));
        let heard = self.heard.iter();
        let heard: Box<[Heard]> =
            heard.filter_map(|heard| Some(Heard { antenna: here(heard.antenna)?, ..*heard })).collect();
        (home.is_some() || !heard.is_empty()).then_some(Self { unheard_h: self.unheard_h, home, heard })
    }
}

/// The antennas of a layout by the names of their readers, their ports and their zones.
fn antennas(layout: &Layout) -> Vec<file::Antenna> {
    (0..layout.antennas())
        .map(|antenna| {
            let zone = layout.zones()[layout.zone_of(antenna)].id;
            (layout.readers()[layout.reader_of(antenna)], layout.port_of(antenna), zone)
        })
        .collect()
}

fn hours(ms: u64) -> u8 {
    u8::try_from(ms / HOUR_MS).unwrap_or(u8::MAX)
}

/// What a file of another site, or of no site, is called in errors.
fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).escape_debug().collect()
}

#[cfg(test)]
mod tests;
