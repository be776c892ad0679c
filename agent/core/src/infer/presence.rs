//! Here or a stray: whether a tag is in the zone of an antenna that hears it. Enters: how much and how
//! strongly it was heard in a window of seconds, how much the zone's surest tags were heard in the same
//! window, and how the tag is heard there when it is known to be elsewhere. Leaves: a [`Presence`] with its
//! score and what it rests on. Nothing needs labels.
//!
//! - *share*: a tag in the zone is read nearly as often as the zone's surest tags, whatever the reader, the
//!   number of tags and the length of the window; a stray misses most rounds. Rate tells more than level.
//! - *rise*: a tag that is always heard from the place where it hangs is known to be heard. It is here only
//!   if it is louder than ever from there, by what a zone must win by.

/// By how many dB a zone must win against another, or a tag against what is heard of it from elsewhere:
/// as in Intel's RSP controller.
pub const MARGIN_DB: f32 = 6.0;
/// The share of the surest tags' reads that a tag in the zone has at least.
pub const SHARE: f32 = 0.6;
/// The surest tags are those read most; this many may be read more often than the one that stands for them,
/// because one tag beside the antenna says nothing of a zone.
pub const MORE_THAN_SUREST: usize = 2;

/// How a tag was heard at an antenna.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Heard {
    /// Reads, in any unit of time that is the same for all that is compared.
    pub reads: f32,
    /// Mean level in dBm, averaged as power.
    pub level_dbm: f32,
}

/// Whether a tag is in a zone, and why.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Presence {
    /// It is.
    pub present: bool,
    /// At least 1 if it is: the lower of the share over [`SHARE`] and, for a tag that is heard from
    /// elsewhere, of the rise over [`MARGIN_DB`].
    pub score: f32,
    /// Its reads over those of the zone's surest tags.
    pub share: f32,
    /// By how many dB it is louder than from elsewhere; absent where it was never heard from elsewhere.
    pub rise_db: Option<f32>,
}

/// Judges whether a tag is here. `surest_reads` are those of the zone's surest tags ([`Surest`]), and
/// `elsewhere_dbm` is the highest mean level at which the tag was heard here while it was somewhere else.
#[must_use]
pub fn presence(heard: Heard, surest_reads: f32, elsewhere_dbm: Option<f32>) -> Presence {
    let share = if surest_reads > 0.0 { heard.reads / surest_reads } else { 0.0 };
    let rise_db = elsewhere_dbm.map(|elsewhere| heard.level_dbm - elsewhere);
    let score = rise_db.map_or(f32::MAX, |rise| rise / MARGIN_DB).min(share / SHARE);
    Presence { present: score >= 1.0, score, share, rise_db }
}

/// Finds the reads that stand for a zone's surest tags: the third most of all tags heard there, or the
/// fewest if there are fewer tags.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Surest {
    most: [f32; MORE_THAN_SUREST + 1],
    tags: usize,
}

impl Surest {
    /// Takes the reads of one tag.
    pub fn add(&mut self, reads: f32) {
        self.tags += 1;
        let mut rest = reads;
        for place in &mut self.most {
            if rest > *place {
                core::mem::swap(&mut rest, place);
            }
        }
    }

    /// The reads that stand for the surest tags; 0 without tags.
    #[must_use]
    pub fn reads(self) -> f32 {
        self.most[MORE_THAN_SUREST.min(self.tags.max(1) - 1)]
    }
}

impl FromIterator<f32> for Surest {
    fn from_iter<I: IntoIterator<Item = f32>>(reads: I) -> Self {
        let mut surest = Self::default();
        reads.into_iter().for_each(|reads| surest.add(reads));
        surest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEAR: Heard = Heard { reads: 140.0, level_dbm: -50.0 };

    #[test]
    fn a_tag_is_here_that_is_read_as_often_as_the_surest() {
        assert!(presence(NEAR, 200.0, None).present);
        let stray = presence(Heard { reads: 100.0, ..NEAR }, 200.0, None);
        assert!(!stray.present && stray.share == 0.5 && stray.rise_db.is_none(), "{stray:?}");
        assert!(!presence(NEAR, 0.0, None).present, "nothing was heard to compare with");
    }

    #[test]
    fn a_tag_that_always_hangs_near_must_be_louder_than_ever() {
        let hangs_near = presence(NEAR, 200.0, Some(-52.0));
        assert!(!hangs_near.present && hangs_near.rise_db == Some(2.0), "{hangs_near:?}");
        let carried_in = presence(NEAR, 200.0, Some(-56.0));
        assert!(carried_in.present && carried_in.score == 1.0, "{carried_in:?}");
    }

    fn surest(reads: &[f32]) -> f32 {
        reads.iter().copied().collect::<Surest>().reads()
    }

    #[test]
    fn the_surest_are_the_third_or_the_least_of_fewer() {
        assert_eq!(surest(&[3.0, 90.0, 10.0, 80.0, 70.0]), 70.0);
        assert_eq!(surest(&[3.0, 90.0]), 3.0);
        assert_eq!(surest(&[]), 0.0);
    }
}
