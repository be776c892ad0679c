//! An invented controller, as RM0090 describes it, with a sensor on its bus. Between any two accesses other things may
//! be done for as long as some bytes take.

extern crate std;

use super::*;
use std::cell::RefCell;
use std::rc::Rc;
use std::vec::Vec;

pub(super) const HERE: u8 = 0x19;
pub(super) const BYTE_US: u32 = 90;

/// What the wires carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    Start,
    Stop,
    /// An address or a byte to the sensor, and whether it took it.
    To(u8, bool),
    /// A byte from it, and whether the master wants more.
    From(u8, bool),
}

/// What a wire that is held holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    Nothing,
    Clock,
    /// A cut-off sensor holds its wire until the bus is freed.
    Data,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Idle,
    /// A start was said, and no address put.
    Started,
    Address(u8),
    /// The sensor answered; not acknowledged yet.
    Answered {
        reads: bool,
    },
    Sending,
    Receiving,
    /// The address or a byte to the sensor was refused.
    Refused,
    /// The last byte from it was refused: without a stop or a start the clock goes on, and more are.
    Last,
}

pub(super) struct Chip {
    phase: Phase,
    pub(super) held: Held,
    /// After how many looks at the status it is held.
    pub(super) later: Option<(u16, Held)>,
    pub(super) seen: Vec<Seen>,
    pub(super) micros: u32,
    passed: u32,
    /// The sensor takes so many bytes, and gives 1, 2, 3 ….
    pub(super) takes: usize,
    pub(super) given: u8,
    pub(super) flags: u16,
    start: bool,
    stop: bool,
    ack: bool,
    pos: bool,
    /// With POS what is said of a byte was decided at the end of the one before.
    ahead: bool,
    data: Option<u8>,
    shift: Option<u8>,
    /// What is in the two came; or the last of what was put is gone.
    came: bool,
    gone: bool,
    pub(super) begun_anew: u32,
    /// How many bytes' time passes before each access, in turn.
    pauses: Vec<u8>,
    access: usize,
}

/// A hand on the chip: one for the master, one for the test.
#[derive(Clone)]
pub(super) struct Hand(pub(super) Rc<RefCell<Chip>>);

pub(super) fn hand(pauses: Vec<u8>) -> Hand {
    Hand(Rc::new(RefCell::new(Chip {
        phase: Phase::Idle,
        held: Held::Nothing,
        later: None,
        seen: Vec::new(),
        // The clock begins anew soon.
        micros: u32::MAX - 5_000,
        passed: 0,
        takes: usize::MAX,
        given: 0,
        flags: 0,
        start: false,
        stop: false,
        ack: false,
        pos: false,
        ahead: false,
        data: None,
        shift: None,
        came: false,
        gone: false,
        begun_anew: 0,
        pauses,
        access: 0,
    })))
}

impl Chip {
    /// As long as a byte takes.
    fn pass(&mut self) {
        self.micros = self.micros.wrapping_add(BYTE_US);
        self.passed += 1;
        assert!(self.passed < 10_000, "it waits for ever");
        if self.held != Held::Nothing {
            return;
        }
        match self.phase {
            Phase::Address(address) => {
                let taken = address >> 1 == HERE;
                self.seen.push(Seen::To(address, taken));
                self.flags |= if taken { ADDR } else { AF };
                self.phase = if taken { Phase::Answered { reads: address & 1 == 1 } } else { Phase::Refused };
            }
            Phase::Sending => {
                if let Some(byte) = self.shift.take() {
                    let taken = self.takes > 0;
                    self.takes = self.takes.saturating_sub(1);
                    self.seen.push(Seen::To(byte, taken));
                    if !taken {
                        (self.flags, self.phase) = (self.flags | AF, Phase::Refused);
                    }
                    self.shift = self.data.take();
                    self.gone = self.shift.is_none();
                }
            }
            // With both full the clock is held.
            Phase::Receiving | Phase::Last if self.shift.is_none() => {
                let wanted = if self.pos { core::mem::replace(&mut self.ahead, self.ack) } else { self.ack };
                self.given += 1;
                self.seen.push(Seen::From(self.given, wanted));
                (self.shift, self.came) = (Some(self.given), true);
                if !wanted {
                    self.phase = Phase::Last;
                }
            }
            Phase::Idle
            | Phase::Started
            | Phase::Answered { .. }
            | Phase::Receiving
            | Phase::Refused
            | Phase::Last => {}
        }
        if self.data.is_none() && self.came {
            self.data = self.shift.take();
        }
        self.settle();
    }

    /// Starts and stops are said between bytes.
    fn settle(&mut self) {
        let busy = matches!(self.phase, Phase::Address(_) | Phase::Receiving | Phase::Answered { .. })
            || self.phase == Phase::Sending && self.shift.is_some();
        if busy || self.held != Held::Nothing {
            return;
        }
        if core::mem::take(&mut self.stop) {
            self.seen.push(Seen::Stop);
            self.phase = Phase::Idle;
        }
        if self.start {
            (self.start, self.phase) = (false, Phase::Started);
            self.flags |= SB;
            self.seen.push(Seen::Start);
        }
    }

    fn acknowledge(&mut self) {
        if let Phase::Answered { reads } = self.phase {
            self.flags &= !ADDR;
            self.phase = if reads { Phase::Receiving } else { Phase::Sending };
            (self.ahead, self.came, self.gone) = (self.ack, false, false);
        }
    }
}

impl Hand {
    fn access(&self) -> std::cell::RefMut<'_, Chip> {
        let mut chip = self.0.borrow_mut();
        chip.access += 1;
        let pause = chip.pauses[chip.access % chip.pauses.len()];
        (0..pause).for_each(|_| chip.pass());
        chip
    }
}

impl Controller for Hand {
    fn micros(&self) -> u32 {
        self.0.borrow().micros
    }

    fn status(&mut self) -> u16 {
        let mut chip = self.access();
        if let Some((after, held)) = chip.later {
            chip.later = after.checked_sub(1).map(|after| (after, held));
            chip.held = if after == 0 { held } else { chip.held };
        }
        chip.pass();
        let mut status = chip.flags;
        let came = chip.came && chip.data.is_some();
        let may_send = chip.phase == Phase::Sending && chip.data.is_none();
        let is_held = came && chip.shift.is_some() || may_send && chip.gone;
        status |= if came { RXNE } else { 0 };
        status |= if may_send { TXE } else { 0 };
        status |= if is_held { BTF } else { 0 };
        status
    }

    fn clear_refused(&mut self) {
        self.access().flags &= !AF;
    }

    fn is_busy(&mut self) -> bool {
        let mut chip = self.access();
        chip.acknowledge();
        chip.phase != Phase::Idle || chip.held == Held::Data
    }

    fn start(&mut self, two: bool) {
        let mut chip = self.access();
        (chip.start, chip.ack, chip.pos) = (true, true, two);
        chip.settle();
    }

    fn refuse(&mut self) {
        self.access().ack = false;
    }

    fn begin_one(&mut self, stop: bool) {
        let mut chip = self.access();
        chip.ack = false;
        chip.acknowledge();
        (chip.stop, chip.start) = (stop, !stop);
    }

    fn begin_two(&mut self) {
        let mut chip = self.access();
        chip.acknowledge();
        chip.ack = false;
    }

    fn stop(&mut self) {
        let mut chip = self.access();
        chip.stop = true;
        chip.settle();
    }

    fn restart(&mut self) {
        let mut chip = self.access();
        chip.start = true;
        chip.settle();
    }

    fn is_stopping(&mut self) -> bool {
        let mut chip = self.access();
        chip.pass();
        chip.stop
    }

    fn put(&mut self, byte: u8) {
        let mut chip = self.access();
        if chip.phase == Phase::Started {
            (chip.phase, chip.flags) = (Phase::Address(byte), chip.flags & !SB);
        } else if chip.shift.is_none() {
            (chip.shift, chip.gone) = (Some(byte), false);
        } else {
            assert!(chip.data.replace(byte).is_none(), "a byte is lost");
        }
    }

    fn take(&mut self) -> u8 {
        let mut chip = self.access();
        let byte = chip.data.take().expect("a byte came");
        chip.data = chip.shift.take();
        chip.settle();
        byte
    }

    fn begin_anew(&mut self) {
        let mut chip = self.access();
        chip.begun_anew += 1;
        (chip.phase, chip.flags, chip.start, chip.stop) = (Phase::Idle, 0, false, false);
        (chip.data, chip.shift) = (None, None);
        if chip.held == Held::Data {
            chip.held = Held::Nothing;
        }
    }
}
