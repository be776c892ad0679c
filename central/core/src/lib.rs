//! What central decides: pure, without a clock, a disk or a socket.
//!
//! | module | decides |
//! |---|---|
//! | [`admit`] | whether the content of a readable batch is possible at all |
//! | [`adopt`] | in which epoch of their own events go whose numbers another run has used |
//! | [`compare`] | what visits compared, told so that nothing can be learnt of a few |
//! | [`delay`] | how late events come |
//! | [`feed`] | what other systems are told of an event |
//! | [`ledger`] | which numbers of an epoch are new, known, lost; what its watermark is |
//! | [`handled`] | what is counted |
//! | [`day`] | what one day of one shop adds up to, and what became of what was touched |
//! | [`period`] | what days add up to under a filter |
//! | [`lost`] | which sizes were looked for and not there |
//! | [`loyalty`] | which number stands for a sealed loyalty code |
//! | [`matching`] | whether what was tried on was bought |
//! | [`measures`] | shares with their intervals, quantiles |
//! | [`rail`] | what rails show, and how often hands go there |
//! | [`rate`] | counts beside what they are measured by, and which differ by more than chance |
//! | [`rounding`] | what is told instead of small numbers of visits |
//! | [`sale`] | what lines of tills and counts of stock can be |
//! | [`size`] | which of two sizes is the smaller one |
//! | [`spot`] | which rails draw more hands than others, and which fewer |

#![no_std]

extern crate alloc;

pub mod admit;
pub mod adopt;
pub mod compare;
pub mod day;
pub mod delay;
pub mod feed;
pub mod handled;
pub mod ledger;
pub mod lost;
pub mod loyalty;
pub mod matching;
pub mod measures;
pub mod period;
pub mod rail;
pub mod rate;
pub mod rounding;
pub mod sale;
pub mod size;
pub mod spot;
