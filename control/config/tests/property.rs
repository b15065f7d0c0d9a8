//! Whatever comes from outside: no text and no object makes the readers panic, and what is written is read alike.
#![allow(missing_docs, clippy::unwrap_used)]

use meltemi_config::mesh_config::MeshConfig;
use meltemi_config::{Duration, parse, validate, yaml};
use proptest::prelude::*;
use serde_json::Value;

const SAMPLE: &str = include_str!("every-kind.yaml");

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e9f64..1e9).prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        prop_oneof![
            Just("yes"),
            Just("010"),
            Just("- a"),
            Just("a: b"),
            Just("\n"),
            Just(" x"),
            Just("1e3"),
            Just("~")
        ]
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map("\\PC{0,8}", inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Every place in a value, as JSON pointers.
fn pointers(value: &Value, at: &str, out: &mut Vec<String>) {
    out.push(at.to_owned());
    match value {
        Value::Object(entries) => {
            for (key, value) in entries {
                pointers(value, &format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")), out);
            }
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| pointers(item, &format!("{at}/{index}"), out));
        }
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_the_yaml_reader_panic(text in "(\\PC|[ \n\t:\\-\\[\\]{}&*!|>'\"#,?]){0,80}") {
        let _ = yaml::read("t", &text);
        let _ = MeshConfig::load(&text);
    }

    #[test]
    fn what_is_written_is_read_alike(value in json()) {
        let written = yaml::write(&value);
        let read = yaml::read("t", &written).map_err(|error| TestCaseError::fail(format!("{error}\n{written}")))?;
        let read = read.documents.into_iter().next().map_or(Value::Null, |document| document.value);
        // Whole floats may come back as integers of the same value.
        prop_assert_eq!(yaml::write(&read), written);
    }

    #[test]
    fn no_duration_makes_the_parser_panic(text in "[-+0-9.a-zµ]{0,24}") {
        if let Ok(duration) = text.parse::<Duration>() {
            prop_assert_eq!(duration.to_string().parse(), Ok(duration));
        }
    }

    /// Anything in place of anything: an error with a place that stands in the object, or a valid object.
    #[test]
    fn a_broken_object_is_told_where(document in 0usize..15, place in any::<prop::sample::Index>(), instead in json()) {
        let mut value = yaml::read("every-kind.yaml", SAMPLE).unwrap().documents.remove(document).value;
        let mut all = Vec::new();
        pointers(&value, "", &mut all);
        *value.pointer_mut(place.get(all.as_slice()).as_str()).unwrap() = instead;
        match parse(&value) {
            Ok(object) => {
                validate(&object);
                meltemi_config::unsupported::object(&object);
            }
            Err(errors) => prop_assert!(!errors.is_empty()),
        }
    }
}
