//! Values on their way to a database and back. Enters: Rust's types, or what an engine found. Leaves: the five types
//! that every engine has. An absent value keeps the type that it would have: some engines ask for it.

use std::borrow::Cow;

/// What is bound to a place of a statement.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::store) enum Bind<'a> {
    /// A number.
    Int(Option<i64>),
    /// A number with a fraction.
    Real(Option<f64>),
    /// A text.
    Text(Option<Cow<'a, str>>),
    /// Bytes.
    Bytes(Option<Cow<'a, [u8]>>),
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::store) enum Value<'v> {
    /// Nothing.
    Null,
    /// A number.
    Int(i64),
    /// A number with a fraction.
    Real(f64),
    /// A text.
    Text(&'v str),
    /// Bytes.
    Bytes(&'v [u8]),
    /// What has none of these types: this one.
    Other(&'static str),
}

impl<'v> Value<'v> {
    fn int(self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(number),
            Self::Null | Self::Real(_) | Self::Text(_) | Self::Bytes(_) | Self::Other(_) => None,
        }
    }

    fn text(self) -> Option<&'v str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Null | Self::Int(_) | Self::Real(_) | Self::Bytes(_) | Self::Other(_) => None,
        }
    }

    fn bytes(self) -> Option<&'v [u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Null | Self::Int(_) | Self::Real(_) | Self::Text(_) | Self::Other(_) => None,
        }
    }

    fn to_owned(self) -> Option<Owned> {
        match self {
            Self::Null => Some(Owned::Null),
            Self::Int(number) => Some(Owned::Int(number)),
            Self::Real(number) => Some(Owned::Real(number)),
            Self::Text(text) => Some(Owned::Text(text.to_owned())),
            Self::Bytes(bytes) => Some(Owned::Bytes(bytes.to_owned())),
            Self::Other(_) => None,
        }
    }

    /// What it is, for people.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Int(_) => "a number",
            Self::Real(_) => "a fraction",
            Self::Text(_) => "a text",
            Self::Bytes(_) => "bytes",
            Self::Other(name) => name,
        }
    }
}

/// What a column holds, to be written back as it is.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::store) enum Owned {
    /// Nothing.
    Null,
    /// A number.
    Int(i64),
    /// A number with a fraction.
    Real(f64),
    /// A text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
}

impl Owned {
    /// What it is, for people.
    pub(in crate::store) fn name(&self) -> &'static str {
        match self {
            Self::Null => Value::Null.name(),
            Self::Int(number) => Value::Int(*number).name(),
            Self::Real(number) => Value::Real(*number).name(),
            Self::Text(text) => Value::Text(text).name(),
            Self::Bytes(bytes) => Value::Bytes(bytes).name(),
        }
    }
}

/// What can be bound.
pub(in crate::store) trait IntoBind<'a> {
    /// Binds it.
    fn into_bind(self) -> Bind<'a>;
}

/// Whether it is there or not.
macro_rules! into_bind {
    ($($type:ty => $variant:ident, $from:expr;)*) => {$(
        impl<'a> IntoBind<'a> for $type {
            fn into_bind(self) -> Bind<'a> {
                Some(self).into_bind()
            }
        }
        impl<'a> IntoBind<'a> for Option<$type> {
            fn into_bind(self) -> Bind<'a> {
                Bind::$variant(self.map($from))
            }
        }
    )*};
}

into_bind! {
    i64 => Int, |number| number;
    u32 => Int, i64::from;
    u16 => Int, i64::from;
    u8 => Int, i64::from;
    bool => Int, i64::from;
    f64 => Real, |number| number;
    &'a str => Text, Cow::Borrowed;
    &'a String => Text, |text: &'a String| Cow::Borrowed(text.as_str());
    String => Text, Cow::Owned;
    &'a [u8] => Bytes, Cow::Borrowed;
    &'a Vec<u8> => Bytes, |bytes: &'a Vec<u8>| Cow::Borrowed(bytes.as_slice());
    Vec<u8> => Bytes, Cow::Owned;
}

impl<'a> IntoBind<'a> for &'a Owned {
    fn into_bind(self) -> Bind<'a> {
        match self {
            Owned::Null => Bind::Bytes(None),
            Owned::Int(number) => (*number).into_bind(),
            Owned::Real(number) => (*number).into_bind(),
            Owned::Text(text) => text.into_bind(),
            Owned::Bytes(bytes) => bytes.into_bind(),
        }
    }
}

/// What a column can be read as.
pub(in crate::store) trait FromValue<'v>: Sized {
    /// What it should be, for people.
    const WANTED: &'static str;

    /// `None` when the value is something else.
    fn from_value(value: Value<'v>) -> Option<Self>;
}

macro_rules! from_value {
    ($($type:ty, $wanted:literal, $from:expr;)*) => {$(
        impl<'v> FromValue<'v> for $type {
            const WANTED: &'static str = $wanted;

            fn from_value(value: Value<'v>) -> Option<Self> {
                let from: fn(Value<'v>) -> Option<Self> = $from;
                from(value)
            }
        }
    )*};
}

from_value! {
    i64, "a number", |value| value.int();
    u64, "a number from 0 on", |value| value.int()?.try_into().ok();
    u32, "a number of 32 bits", |value| value.int()?.try_into().ok();
    u16, "a number of 16 bits", |value| value.int()?.try_into().ok();
    bool, "a truth value", |value| Some(value.int()? != 0);
    &'v str, "a text", |value| value.text();
    String, "a text", |value| Some(value.text()?.to_owned());
    Vec<u8>, "bytes", |value| Some(value.bytes()?.to_owned());
    Owned, "a value", |value| value.to_owned();
}

impl<'v, T: FromValue<'v>> FromValue<'v> for Option<T> {
    const WANTED: &'static str = T::WANTED;

    fn from_value(value: Value<'v>) -> Option<Self> {
        match value {
            Value::Null => Some(None),
            present @ (Value::Int(_)
            | Value::Real(_)
            | Value::Text(_)
            | Value::Bytes(_)
            | Value::Other(_)) => T::from_value(present).map(Some),
        }
    }
}
