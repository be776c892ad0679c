//! A master on an invented controller, as RM0090 describes it, with a sensor on its bus. Between any two accesses
//! other things may be done for as long as some bytes take.

extern crate std;

use super::*;
use proptest::prelude::*;
use std::cell::RefCell;
use std::rc::Rc;
use std::vec;
use std::vec::Vec;

const HERE: u8 = 0x19;
const BYTE_US: u32 = 90;

/// What the wires carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Start,
    Stop,
    /// An address or a byte to the sensor, and whether it took it.
    To(u8, bool),
    /// A byte from it, and whether the master wants more.
    From(u8, bool),
}

/// What a wire that is held holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
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
    /// The last byte was refused.
    Refused,
}

struct Chip {
    phase: Phase,
    held: Held,
    /// After how many looks at the status it is held.
    later: Option<(u16, Held)>,
    seen: Vec<Seen>,
    micros: u32,
    passed: u32,
    /// The sensor takes so many bytes, and gives 1, 2, 3 ….
    takes: usize,
    given: u8,
    flags: u16,
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
    begun_anew: u32,
    /// How many bytes' time passes before each access, in turn.
    pauses: Vec<u8>,
    access: usize,
}

/// A hand on the chip: one for the master, one for the test.
#[derive(Clone)]
struct Hand(Rc<RefCell<Chip>>);

fn hand(pauses: Vec<u8>) -> Hand {
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
            Phase::Receiving if self.shift.is_none() => {
                let wanted = if self.pos { core::mem::replace(&mut self.ahead, self.ack) } else { self.ack };
                self.given += 1;
                self.seen.push(Seen::From(self.given, wanted));
                (self.shift, self.came) = (Some(self.given), true);
                if !wanted {
                    self.phase = Phase::Refused;
                }
            }
            Phase::Idle | Phase::Started | Phase::Answered { .. } | Phase::Receiving | Phase::Refused => {}
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

const LIMIT_US: u32 = 25_000;

fn master(pauses: Vec<u8>) -> (Hand, Master<Hand>) {
    let hand = hand(pauses);
    (hand.clone(), Master::new(hand, LIMIT_US))
}

/// What the wires carry when registers are read.
fn carried(told: &[u8], count: u8, from: u8) -> Vec<Seen> {
    let mut seen = vec![Seen::Start, Seen::To(HERE << 1, true)];
    seen.extend(told.iter().map(|byte| Seen::To(*byte, true)));
    seen.extend([Seen::Start, Seen::To(HERE << 1 | 1, true)]);
    seen.extend((1..=count).map(|number| Seen::From(from + number, number < count)));
    seen.push(Seen::Stop);
    seen
}

proptest! {
    /// However it is interrupted: each byte is carried once, the last that is wanted is refused, and none comes
    /// behind it.
    #[test]
    fn what_is_asked_for_is_carried_however_it_is_interrupted(
        pauses in prop::collection::vec(0u8..4, 1..40),
        told in prop::collection::vec(any::<u8>(), 1..6),
        counts in prop::collection::vec(1u8..40, 1..5),
    ) {
        let (hand, mut master) = master(pauses);
        let mut from = 0;
        for count in counts {
            let mut bytes = vec![0; usize::from(count)];
            prop_assert_eq!(master.write_read(HERE, &told, &mut bytes), Ok(()));
            prop_assert_eq!(bytes, (1..=count).map(|number| from + number).collect::<Vec<_>>());
            let seen = core::mem::take(&mut hand.0.borrow_mut().seen);
            prop_assert_eq!(seen, carried(&told, count, from));
            prop_assert_eq!(master.write(HERE, &told), Ok(()));
            let seen = core::mem::take(&mut hand.0.borrow_mut().seen);
            let bytes = told.iter().map(|byte| Seen::To(*byte, true));
            let expected: Vec<_> = [Seen::Start, Seen::To(HERE << 1, true)].into_iter().chain(bytes).chain([Seen::Stop]).collect();
            prop_assert_eq!(seen, expected);
            from += count;
        }
        prop_assert_eq!(hand.0.borrow().begun_anew, 1, "at the start");
    }

    /// What is read in pieces is one piece on the wires; behind it may be written again.
    #[test]
    fn pieces_are_one_on_the_wires(pauses in prop::collection::vec(0u8..4, 1..40), first in 1usize..5, second in 0usize..5) {
        let (hand, mut master) = master(pauses);
        let (mut a, mut b) = (vec![0; first], vec![0; second]);
        let mut operations =
            [Operation::Write(&[7]), Operation::Write(&[8]), Operation::Read(&mut a), Operation::Read(&mut b), Operation::Write(&[9])];
        prop_assert_eq!(master.transaction(HERE, &mut operations), Ok(()));
        let count = u8::try_from(first + second).unwrap();
        prop_assert_eq!([a, b].concat(), (1..=count).collect::<Vec<_>>());
        let mut expected = carried(&[7, 8], count, 0);
        expected.truncate(expected.len() - 1);
        expected.extend([Seen::Start, Seen::To(HERE << 1, true), Seen::To(9, true), Seen::Stop]);
        prop_assert_eq!(&hand.0.borrow().seen, &expected);
    }

    /// Whatever is held from whichever moment on: it ends at the limit, the bus is freed, and the next transfer
    /// is as if nothing had been.
    #[test]
    fn a_wire_that_is_held_ends_at_the_limit(pauses in prop::collection::vec(0u8..3, 1..20), after in 0u16..40, held in prop::sample::select(vec![Held::Clock, Held::Data])) {
        let (hand, mut master) = master(pauses);
        let mut bytes = [0; 9];
        let begun = hand.0.borrow().micros;
        hand.0.borrow_mut().later = Some((after, held));
        let done = master.write_read(HERE, &[1, 2], &mut bytes);
        let took = hand.0.borrow().micros.wrapping_sub(begun);
        prop_assert!(took <= LIMIT_US + 20 * BYTE_US, "{} us", took);
        if done.is_err() {
            prop_assert_eq!(done, Err(Error(ErrorKind::Other)));
            prop_assert_eq!(hand.0.borrow().begun_anew, 2);
        } else {
            prop_assert!(after > 10);
        }
        (hand.0.borrow_mut().held, hand.0.borrow_mut().later) = (Held::Nothing, None);
        let (mut bytes, given) = ([0; 3], hand.0.borrow().given);
        prop_assert_eq!(master.write_read(HERE, &[1], &mut bytes), Ok(()));
        prop_assert_eq!(bytes, [given + 1, given + 2, given + 3]);
    }
}

#[test]
fn who_is_not_there_and_who_refuses_is_told_apart_and_the_bus_is_free_afterwards() {
    use embedded_hal::i2c::NoAcknowledgeSource::{Address, Data};
    let (hand, mut master) = master(vec![0]);
    let mut bytes = [0; 2];
    assert_eq!(master.write_read(0x18, &[1], &mut bytes), Err(Error(ErrorKind::NoAcknowledge(Address))));
    assert_eq!(hand.0.borrow().seen, [Seen::Start, Seen::To(0x30, false), Seen::Stop]);
    hand.0.borrow_mut().takes = 1;
    assert_eq!(master.write(HERE, &[1, 2, 3]), Err(Error(ErrorKind::NoAcknowledge(Data))));
    assert_eq!(hand.0.borrow().seen[5..], [Seen::To(1, true), Seen::To(2, false), Seen::Stop][..]);
    hand.0.borrow_mut().takes = usize::MAX;
    assert_eq!((master.write_read(HERE, &[1], &mut bytes), bytes), (Ok(()), [1, 2]));
    assert_eq!(hand.0.borrow().begun_anew, 1);
}

#[test]
fn a_bus_that_a_cut_off_sensor_holds_is_freed_before_a_transfer() {
    let (hand, mut master) = master(vec![0]);
    hand.0.borrow_mut().held = Held::Data;
    assert_eq!(master.write(HERE, &[1]), Ok(()));
    assert_eq!(hand.0.borrow().begun_anew, 2);
    hand.0.borrow_mut().flags |= ARLO;
    assert_eq!(master.write(HERE, &[1]), Err(Error(ErrorKind::ArbitrationLoss)));
    assert_eq!((master.write(HERE, &[1]), hand.0.borrow().begun_anew), (Ok(()), 3));
}
