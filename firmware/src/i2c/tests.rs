//! A master on an invented controller that is interrupted at any moment, with wires that are held.

extern crate std;

use super::chip::{BYTE_US, HERE, Hand, Held, Seen, hand};
use super::*;
use proptest::prelude::*;
use std::vec;
use std::vec::Vec;

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
