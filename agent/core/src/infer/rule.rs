//! The rules by which events are concluded, and what each is worth. Enters: an event. Leaves: the rule behind
//! it, which its kind and confidence tell.

use hangtag_protocol::event::{Event, Kind};

/// A rule of the state machine of one garment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Picked up: it is read in another zone, and not any more where it rested.
    Elsewhere,
    /// Picked up: the phases of its reads change as only those of a moving tag do.
    PhaseMoves,
    /// Picked up: its level changes, and not those of its neighbours.
    LevelMoves,
    /// Picked up: the sensor on it moved, and so it looks, or it lies otherwise.
    SensorMoves,
    /// Picked up: the sensor on it moved, and nothing else says so: perhaps it was nudged.
    SensorAlone,
    /// Put down where it was picked up: it looks calm again.
    CalmAgain,
    /// Put down in another place.
    CalmElsewhere,
    /// Carried in: a booth reads it better than any other zone.
    BoothWins,
    /// Tried on: restless or shadowed by a body for most of the last half minute.
    Worn,
    /// Carried out: the floor reads it, the booth does not.
    FloorWins,
    /// Carried out: the booth does not read it any more, or the one next door does.
    Left,
    /// Not tried on: it had left when its silence was taken for a body's shadow.
    HadLeft,
    /// Not carried out: it was worn, and a body hid it.
    HadNotLeft,
    /// Not here: the booth next door has heard it far better for long.
    NextDoor,
    /// Not carried in: it hangs there for hours as it did at first.
    Parked,
}

impl Rule {
    /// What a conclusion by this rule is worth, in percent. [`BoothWins`](Self::BoothWins) and
    /// [`Worn`](Self::Worn) are worth this at least: the margin and the share of the time add to it.
    #[must_use]
    pub const fn confidence(self) -> u8 {
        match self {
            Self::SensorMoves => 97,
            Self::Elsewhere | Self::FloorWins => 95,
            Self::HadNotLeft => 90,
            Self::PhaseMoves => 90,
            Self::LevelMoves => 75,
            Self::CalmAgain | Self::Left | Self::NextDoor => 80,
            Self::CalmElsewhere | Self::HadLeft => 85,
            Self::BoothWins | Self::Parked => 70,
            Self::Worn | Self::SensorAlone => 60,
        }
    }

    /// The rule behind an event; `None` when no rule of this version concludes such an event.
    #[must_use]
    pub fn of(event: &Event) -> Option<Self> {
        let exact: &[Self] = match event.kind() {
            Kind::PickedUp => {
                &[Self::Elsewhere, Self::PhaseMoves, Self::LevelMoves, Self::SensorMoves, Self::SensorAlone]
            }
            Kind::PutDown => &[Self::CalmAgain, Self::CalmElsewhere],
            Kind::CarriedOut => &[Self::FloorWins, Self::Left],
            Kind::CarriedIn => return Some(Self::BoothWins),
            Kind::TriedOn => return Some(Self::Worn),
            Kind::Retracted => &[Self::HadLeft, Self::HadNotLeft, Self::NextDoor, Self::Parked],
            Kind::Coverage | Kind::Scanned => &[],
        };
        exact.iter().find(|rule| rule.confidence() == event.confidence).copied()
    }
}
