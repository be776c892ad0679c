//! The JSON Schemas of what tills send, as they are published. Enters: nothing. Leaves: their texts.

/// Of lines of receipts.
pub(crate) const SALE: &str = include_str!("../../../../docs/schema/pos-sale-1.json");
/// Of counts of stock.
pub(crate) const STOCK: &str = include_str!("../../../../docs/schema/pos-stock-1.json");

#[cfg(test)]
mod tests {
    use hangtag_protocol::id::StoreId;
    use hangtag_protocol::topic::About;
    use jsonschema::Validator;
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    use super::super::{Door, json as read};
    use super::{SALE, STOCK};

    fn validator(schema: &str) -> Validator {
        let schema: Value = serde_json::from_str(schema).unwrap();
        assert!(jsonschema::meta::is_valid(&schema));
        jsonschema::options().should_validate_formats(true).build(&schema).unwrap()
    }

    fn faults(about: About, message: &Value) -> Vec<String> {
        let door = Door { about, store: Some(StoreId::new("paris-1").unwrap()), is_told: true, shops: None };
        read(message.to_string().as_bytes(), door).faults.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_examples_are_taken_and_described() {
        for (about, schema) in [(About::Sale, SALE), (About::Stock, STOCK)] {
            let validator = validator(schema);
            let schema: Value = serde_json::from_str(schema).unwrap();
            let examples = schema["examples"].as_array().unwrap();
            assert_eq!(examples.len(), 2);
            for example in examples {
                assert_eq!(faults(about, example), [""; 0]);
                assert!(validator.is_valid(example), "{example}");
            }
        }
    }

    /// Values that a till might send for a field, good and bad.
    fn values(field: &str) -> Vec<Value> {
        let some = match field {
            "store" => json!(["paris-1", "", "Paris"]),
            "receipt" => json!(["a", "a", "T1/é 7", " a", "a ", "a\u{7f}b", "", "x".repeat(65), 7]),
            "line" => json!([1, 1, 0, 7.0, 4_294_967_295_u64, 4_294_967_296_u64, -1, 1.5, "1"]),
            "kind" => json!(["sale", "return", "", "refund", 1]),
            "place" => json!(["floor", "back_room", "all", "", "attic", 1]),
            "time" => json!([
                "2026-11-22T14:03:11+01:00",
                "2026-11-22T14:03:11Z",
                "2026-11-22T14:03:11.25Z",
                "1999-11-22T14:03:11Z",
                "2026-11-22",
                "2026-13-22T14:03:11Z",
                "",
                1_795_352_591
            ]),
            "gtin" => json!([
                "4006381333931",
                "80614141123458",
                "4006381333932",
                "400638133393",
                "1",
                "",
                4_006_381_333_931_u64
            ]),
            "epc" => json!([
                "3074257bf7194e4000001a85",
                "E28068900000500E88C6A4A7",
                "3",
                "x",
                "",
                "00".repeat(63),
                3
            ]),
            "quantity" => json!([1, 1, 1.0, 2, 1_000_000, 0, 1_000_001, -1, 1.5, "1", ""]),
            "amount" => json!(["1", "39.90", 39.9, 39, 0, "", -1, "-1", "1e3", "1,5", "1.234", 1e300, true]),
            "currency" => json!(["EUR", "EUR", "JPY", "", "eur", "EURO", 978]),
            other => panic!("{other}"),
        };
        let Value::Array(mut values) = some else { unreachable!() };
        values.push(Value::Null);
        values
    }

    /// A good message with a few fields changed, left out or added.
    fn message(good: Value, fields: &'static [&'static str]) -> impl Strategy<Value = Value> {
        let change = |field: &&str| {
            let left_out_too = values(field).into_iter().map(Some).chain([None]).collect::<Vec<_>>();
            prop::option::weighted(0.15, prop::sample::select(left_out_too))
        };
        let changes: Vec<_> = fields.iter().map(change).collect();
        (changes, prop::bool::weighted(0.03)).prop_map(move |(changes, misspelt)| {
            let mut message: Map<String, Value> = good.as_object().unwrap().clone();
            for (field, change) in fields.iter().zip(changes) {
                match change {
                    Some(Some(value)) => drop(message.insert((*field).to_owned(), value)),
                    Some(None) => drop(message.remove(*field)),
                    None => {}
                }
            }
            if misspelt {
                message.insert("qty".into(), 1.into());
            }
            Value::Object(message)
        })
    }

    fn line() -> Value {
        serde_json::from_str::<Value>(SALE).unwrap()["examples"][0].clone()
    }

    fn count() -> Value {
        serde_json::from_str::<Value>(STOCK).unwrap()["examples"][0].clone()
    }

    /// What a schema cannot say.
    const BEYOND: [&str; 6] = [
        "check digit",
        "the tag is of product",
        "decimals",
        "between the years",
        "is not a price",
        "store: is ",
    ];

    fn agree(about: About, schema: &Validator, message: &Value) -> Result<(), TestCaseError> {
        let is_described = schema.is_valid(message);
        let faults = faults(about, message);
        if faults.is_empty() {
            prop_assert!(is_described, "taken, but not described: {}", message);
        } else if is_described {
            prop_assert!(BEYOND.iter().any(|cause| faults[0].contains(cause)), "{}: {:?}", message, faults);
        }
        Ok(())
    }

    #[test]
    fn what_is_taken_is_described_and_what_is_described_is_taken() {
        use super::super::fields::{OF_COUNT, OF_LINE};
        let (sale, stock) = (validator(SALE), validator(STOCK));
        proptest!(|(line in message(line(), &OF_LINE), count in message(count(), &OF_COUNT))| {
            agree(About::Sale, &sale, &line)?;
            agree(About::Stock, &stock, &count)?;
            agree(About::Sale, &sale, &json!([line, line]))?;
        });
    }
}
