//! Points in the shop and how things move between them. Enters: coordinates in metres and times in
//! milliseconds. Leaves: coordinates. It knows nothing of tags or people.

use std::f64::consts::TAU;
use std::ops::{Add, Mul, Sub};

/// A place in the shop in metres: x to the right, y away from the street, z up from the floor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// To the right.
    pub x: f64,
    /// Away from the street.
    pub y: f64,
    /// Up from the floor.
    pub z: f64,
}

impl Point {
    /// A point.
    #[must_use]
    pub const fn new(x: f64, y: f64, z: f64) -> Self {
        Self { x, y, z }
    }

    /// The same place at another height.
    #[must_use]
    pub fn at_height(self, z: f64) -> Self {
        Self { z, ..self }
    }

    /// The scalar product.
    #[must_use]
    pub fn dot(self, other: Self) -> f64 {
        self.x * other.x + self.y * other.y + self.z * other.z
    }

    /// The length of the way from the origin.
    #[must_use]
    pub fn length(self) -> f64 {
        self.dot(self).sqrt()
    }

    /// The distance to another point in metres.
    #[must_use]
    pub fn distance(self, other: Self) -> f64 {
        (self - other).length()
    }

    /// The point a share of the way to another; 0 is here, 1 is there.
    #[must_use]
    pub fn towards(self, other: Self, share: f64) -> Self {
        self + (other - self) * share
    }

    /// The same direction with length 1; a zero vector stays zero.
    #[must_use]
    pub fn unit(self) -> Self {
        let length = self.length();
        if length > 0.0 { self * (1.0 / length) } else { self }
    }
}

impl Add for Point {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self::new(self.x + other.x, self.y + other.y, self.z + other.z)
    }
}

impl Sub for Point {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self::new(self.x - other.x, self.y - other.y, self.z - other.z)
    }
}

impl Mul<f64> for Point {
    type Output = Self;
    fn mul(self, factor: f64) -> Self {
        Self::new(self.x * factor, self.y * factor, self.z * factor)
    }
}

/// A straight way that starts and ends gently.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    pub(super) from: Point,
    pub(super) to: Point,
    pub(super) from_ms: f64,
    pub(super) to_ms: f64,
}

impl Way {
    /// Standing still.
    pub(super) fn rest(at: Point) -> Self {
        Self { from: at, to: at, from_ms: 0.0, to_ms: 0.0 }
    }

    pub(super) fn at(&self, ms: f64) -> Point {
        self.from.towards(self.to, ease(self.from_ms, self.to_ms, ms))
    }
}

/// How much of a gentle movement is done: 0 before `from_ms`, 1 after `to_ms`.
pub(super) fn ease(from_ms: f64, to_ms: f64, ms: f64) -> f64 {
    if ms >= to_ms {
        return 1.0;
    }
    let share = ((ms - from_ms) / (to_ms - from_ms)).clamp(0.0, 1.0);
    share * share * (3.0 - 2.0 * share)
}

/// A sine of a frequency in hertz, between -1 and 1. `turn` shifts it by that part of its period.
pub(super) fn wave(hertz: f64, turn: f64, ms: f64) -> f64 {
    libm::sin(TAU * (hertz * ms / 1000.0 + turn))
}
