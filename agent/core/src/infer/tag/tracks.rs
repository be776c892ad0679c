//! How a garment's tag looks to the antennas that hear it. Enters and leaves: tracks.
//!
//! Nearly all garments are heard at one antenna. Its track lies in the garment itself: an allocation of its own would
//! take more room, and one more wait for memory with each read.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::{Index, IndexMut};

use super::super::track::Track;

/// A track for each antenna, in the order in which they were added.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Tracks {
    first: Option<Track>,
    others: Box<[Track]>,
}

impl Tracks {
    pub(in super::super) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.others.len()
    }

    pub(in super::super) fn iter(&self) -> impl Iterator<Item = &Track> {
        self.first.iter().chain(&self.others)
    }

    pub(in super::super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Track> {
        self.first.iter_mut().chain(&mut self.others)
    }

    /// The track of an antenna.
    pub(in super::super) fn of(&self, antenna: u16) -> Option<&Track> {
        self.iter().find(|track| track.antenna == antenna)
    }

    /// The place of an antenna's track.
    pub(in super::super) fn slot_of(&self, antenna: u16) -> Option<usize> {
        self.iter().position(|track| track.antenna == antenna)
    }

    /// Adds a track and returns its place.
    pub(in super::super) fn push(&mut self, track: Track) -> usize {
        if self.first.is_none() {
            self.first = Some(track);
            return 0;
        }
        // There is one of these for very many garments: no more room than is needed.
        let mut others = Vec::with_capacity(self.others.len() + 1);
        others.extend(core::mem::take(&mut self.others));
        others.push(track);
        self.others = others.into_boxed_slice();
        self.others.len()
    }
}

impl FromIterator<Track> for Tracks {
    fn from_iter<I: IntoIterator<Item = Track>>(tracks: I) -> Self {
        let mut tracks = tracks.into_iter();
        let first = tracks.next();
        Self { first, others: tracks.collect() }
    }
}

impl Index<usize> for Tracks {
    type Output = Track;

    fn index(&self, slot: usize) -> &Track {
        match slot.checked_sub(1) {
            None => self.first.as_ref().expect("a place that was returned"),
            Some(other) => &self.others[other],
        }
    }
}

impl IndexMut<usize> for Tracks {
    fn index_mut(&mut self, slot: usize) -> &mut Track {
        match slot.checked_sub(1) {
            None => self.first.as_mut().expect("a place that was returned"),
            Some(other) => &mut self.others[other],
        }
    }
}
