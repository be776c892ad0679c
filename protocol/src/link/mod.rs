//! The node link: what a reader node and its gateway say to one another over a serial line. Enters and
//! leaves: bytes of the line, and checked messages. Both ends are pure state machines that name no port
//! and no clock; nothing here allocates, so that a microcontroller runs the same code as the gateway.
//!
//! | module | holds |
//! |---|---|
//! | [`frame`] | bytes to frames and back: COBS, version, CRC |
//! | [`payload`] | payloads of earlier and later versions to messages |
//! | [`message`] | what a node says |
//! | [`command`] | what a gateway says |
//! | [`mod@ring`] | records in a fixed number of bytes |
//! | [`sender`] | the node's end: numbers, keeps and sends again until the gateway has it for good |
//! | [`receiver`] | the gateway's end: takes each frame once and in order |
//!
//! # On the line
//!
//! ```text
//! wire    00 COBS(frame) 00                     at most 257 bytes; 00 occurs nowhere else
//!
//! frame   0   1  version (1)
//!         1   1  kind
//!         2   4  boot: the node's run, random; in frames to a node the run that is spoken to, 0 any
//!         6   4  number: 1, 2, 3 … in each run; 0 for frames that are not numbered
//!         10  n  payload, 0 to 240 bytes: postcard
//!         …   4  CRC-32C (Castagnoli, as in RFC 3720) over everything before it
//! ```
//!
//! Numbers are little-endian. Bytes that are no good frame are counted and skipped up to the next 00. The first 00
//! ends what noise put on an idle line: without it the frame that is waited for, which is the first of those that
//! come again, would be lost with the noise every time.
//!
//! | kind | from the node | numbered | payload |
//! |---|---|---|---|
//! | 01 | hello | no | [`Hello`](message::Hello) |
//! | 02 | reads | yes | [`Condensed`](message::Condensed), one after the other to the end |
//! | 03 | motion | yes | [`Motion`](message::Motion) |
//! | 04 | occupancy | yes | [`Occupancy`](message::Occupancy) |
//! | 05 | health | no | [`Health`](message::Health) |
//! | 06 | dropped | yes | [`Dropped`](message::Dropped) |
//! | 07 | configured | yes | [`Configured`](message::Configured) |
//! | 08 | clock | no | [`Clock`](message::Clock) |
//! | 09 | ended | yes | [`Ended`](message::Ended) |
//! | 40 to 4f | reserved for updates over the line | | |
//!
//! | kind | from the gateway | payload |
//! |---|---|---|
//! | 81 | ack | [`Ack`](command::Ack) |
//! | 82 | reserved: the time of day, which no node has use for | |
//! | 83 | configure | [`Configure`](command::Configure) |
//! | 84 | query | [`Query`](command::Query) |
//! | c0 to cf | reserved for updates over the line | |
//!
//! Nodes and gateways of several ages understand one another: fields are only appended to a message. Who does not know
//! them skips them; who misses them takes their defaults ([`payload`]). *Reads* are an exception, because they stand one
//! behind the other: what is to be added to them needs another kind. So does what must not be skipped: a numbered frame
//! of an unknown kind counts as taken, and one that is not numbered is as if it had not come. A message with a variant
//! that its reader does not know is not read, and counts as taken too: where an older one is to make sense of the rest,
//! what is new is said by a field. Another layout of the frame is another version; a hello keeps this one for ever and
//! says which versions its node speaks.
//!
//! # In turn
//!
//! ```text
//! node                                      gateway
//!                    ◀── query clock        the port was opened
//!                    ◀── query hello
//! clock ──▶
//! hello ──▶
//!                    ◀── ack                from here on its frames are taken
//! reads 1, reads 2, motion 3 ──▶
//!                    ◀── ack received 4     so far they are in memory: not sent again, but kept
//!                    ◀── ack durable 4      what came of them is on disk: the node forgets them
//! ```
//!
//! - *durable* moves only when the events that came of the frames below it are accepted. A gateway that lost
//!   its memory says a *received* that has gone back, and the node sends again from there.
//! - What the gateway has durable is remembered per node and boot, so that frames that come again after
//!   that are known.
//! - Nodes date what they tell by their own clocks, which gateways ask for now and then: a node need not know what
//!   time it is.
//! - A frame is numbered when it is first sent. What waits for that is dropped when there is no room, the
//!   oldest first, and a *dropped* frame takes its place: what is numbered arrives once, and what is not is
//!   counted, exactly.
//! - A node that is reset loses what it holds. Its next run says in its first frames, *ended*, how much the run
//!   before had taken in; the gateway knows what of that it has, and counts the rest as lost. A run that does
//!   not know that this was heard says it again, and nothing is counted twice.

pub mod command;
pub mod frame;
pub mod message;
pub mod payload;
pub mod receiver;
pub mod ring;
pub mod sender;

pub use frame::{Deframer, Frame, FrameError, Kind, MAX_PAYLOAD, MAX_WIRE};
pub use receiver::Receiver;
pub use sender::Sender;

/// The version of the frame's layout.
pub const VERSION: u8 = 1;
