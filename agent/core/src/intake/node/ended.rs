//! How a run of a node ended. Enters: its next run's word of how much it had taken in, and its mark. Leaves: how much of
//! that was lost, which the mark keeps, and what a technician is told.

use alloc::format;

use hangtag_protocol::link::message::{BootReason, Ended};

use super::{Mark, Notice};

impl Mark {
    /// The mark of the run after word of how it ended, and how many reads were lost then. The same word again says
    /// that no more were.
    #[must_use]
    pub fn ended(self, ended: &Ended<'_>) -> (Self, u64) {
        let lost = ended.reads.saturating_sub(self.reads.saturating_add(self.dropped));
        (Self { dropped: self.dropped.saturating_add(lost), ..self }, lost)
    }
}

/// What a technician is told of a run that ended.
pub(super) fn farewell(ended: &Ended<'_>, lost: u64) -> Option<Notice> {
    let Ended { boot, reason, reads, uptime, forgotten, words } = *ended;
    let failed = matches!(reason, BootReason::Panic | BootReason::Watchdog | BootReason::BrownOut);
    if lost == 0 && forgotten == 0 && !failed {
        return None;
    }
    let seconds = uptime.0 / 1_000;
    let mut said = format!(
        "its boot {boot:08x} ended after {seconds} s by {reason:?}; of {reads} reads {lost} were lost with it"
    );
    if !words.is_empty() {
        // Escaped: they are the node's, and stand in a log.
        said += &format!("; its last words: {words:?}");
    }
    if forgotten > 0 {
        said += &format!("; {forgotten} boots before it are forgotten, with what they lost");
    }
    Some(Notice::Happened(said))
}
