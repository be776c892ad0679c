//! Where readers are. Enters: a word of a configuration, or a number on the node link. Leaves: the frequencies
//! that the law allows there. Variants are only appended.

use serde::{Deserialize, Serialize};

/// Where the reader is, which decides the frequencies it may use. There is no default: a wrong one is
/// illegal somewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Region {
    /// Europe: 865 to 868 MHz, ETSI EN 302 208.
    Eu,
    /// United States and Canada: 902 to 928 MHz, FCC part 15.
    Us,
    /// China: 920 to 925 MHz.
    China,
    /// Korea: 917 to 923.5 MHz.
    Korea,
    /// Japan: 916 to 921 MHz.
    Japan,
    /// India: 865 to 867 MHz.
    India,
    /// Australia: 920 to 926 MHz.
    Australia,
}
