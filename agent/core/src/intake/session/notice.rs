//! What a session tells: what the reader is doing, and when and why the session wants to be woken.

use alloc::string::String;

/// What a reader is doing, told as it changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// It reads: from here on, silence means that there is no tag.
    Listening,
    /// It does not answer, or stopped reading.
    Silent {
        /// At which step, in words.
        why: String,
    },
    /// It was made to stop, and reads no more as far as is known.
    Stopped,
    /// It said what it is.
    Module(String),
    /// Something that was, and is over.
    Happened(String),
    /// It reports a fault, in words.
    Fault(String),
    /// It has reported no fault for a while.
    Recovered,
    /// How warm it is, in degrees Celsius.
    Temperature(i8),
}

/// Why a session wants to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A command should have been answered by then.
    Answer,
    /// The rest of a frame should have come by then.
    RestOfFrame,
    /// The reader should have reported something by then.
    Silence,
    /// The next attempt to set the reader up.
    Retry,
}
