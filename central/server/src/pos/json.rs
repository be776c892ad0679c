//! Lines and counts as JSON. Enters: an object, or an array of objects. Leaves: what is good and what is not. A field
//! that nobody knows is a mistake, because it may be a misspelt one that matters; the schemas are in `docs/schema`.

use std::borrow::Cow;

use hangtag_protocol::topic::About;
use serde_json::{Map, Value};

use super::fields::{Fields, OF_COUNT, OF_LINE};
use super::{Door, Place, Told};

/// Reads a message.
pub(crate) fn json(bytes: &[u8], door: Door<'_>) -> Told {
    let elements = match serde_json::from_slice(bytes) {
        Ok(Value::Array(elements)) => elements,
        Ok(element @ Value::Object(_)) => vec![element],
        Ok(other) => {
            let what = format!("is {}, not an object or an array of objects", name_of(&other));
            return Told::nothing(door.about, &what);
        }
        Err(why) => return Told::nothing(door.about, &format!("is not JSON: {why}")),
    };
    let known: &[&str] = match door.about {
        About::Sale | About::Return => &OF_LINE,
        About::Stock => &OF_COUNT,
    };
    let mut told = Told::new(door.about);
    for (number, element) in (1..).zip(&elements) {
        let place = Place::Element(number);
        let fault = match element {
            Value::Object(fields) => match fields.keys().find(|name| !known.contains(&name.as_str())) {
                Some(name) => Err(format!("{name:?} is not one of the fields {}", known.join(", "))),
                None => Ok(fields),
            },
            other => Err(format!("is {}, not an object", name_of(other))),
        };
        match fault {
            Ok(fields) => told.take(place, door, fields),
            Err(what) => told.fault(place, &what),
        }
    }
    told
}

impl Fields for Map<String, Value> {
    fn text(&self, name: &'static str) -> Result<Option<Cow<'_, str>>, String> {
        match self.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.into())),
            Some(other) => Err(format!("{name}: is {}, not a text", name_of(other))),
        }
    }

    fn number(&self, name: &'static str) -> Result<Option<Cow<'_, str>>, String> {
        match self.get(name) {
            Some(Value::Number(number)) => {
                let text = number.to_string();
                // 1.0 is a whole number in JSON Schema.
                Ok(Some(text.strip_suffix(".0").map_or(text.clone(), str::to_owned).into()))
            }
            Some(Value::String(_)) if name == "amount" => self.text(name),
            None | Some(Value::Null) => Ok(None),
            Some(other) => Err(format!("{name}: is {}, not a number", name_of(other))),
        }
    }
}

fn name_of(value: &Value) -> Cow<'static, str> {
    match value {
        Value::Null => "null".into(),
        Value::Bool(_) => "true or false".into(),
        Value::Number(number) => format!("the number {number}").into(),
        Value::String(text) => format!("the text {text:?}").into(),
        Value::Array(_) => "an array".into(),
        Value::Object(_) => "an object".into(),
    }
}
