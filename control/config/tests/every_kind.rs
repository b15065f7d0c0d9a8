//! The sample with one object of every kind: it parses strictly, breaks no rule, and comes back as it went in.
#![allow(missing_docs, clippy::unwrap_used)]

use meltemi_config::{Kind, Severity, parse, validate, yaml};

const SAMPLE: &str = include_str!("every-kind.yaml");

#[test]
fn the_sample_holds_every_kind() {
    let documents = yaml::read("every-kind.yaml", SAMPLE).unwrap().documents;
    let mut kinds: Vec<Kind> =
        documents.iter().map(|document| parse(&document.value).unwrap().kind()).collect();
    kinds.sort();
    assert_eq!(kinds, Kind::istio().collect::<Vec<_>>());
}

#[test]
fn the_sample_breaks_no_rule() {
    for document in yaml::read("every-kind.yaml", SAMPLE).unwrap().documents {
        let object = parse(&document.value).unwrap();
        let errors: Vec<_> =
            validate(&object).into_iter().filter(|found| found.severity == Severity::Error).collect();
        assert!(errors.is_empty(), "{}: {errors:#?}", object.kind());
    }
}

#[test]
fn what_is_read_and_written_is_read_alike() {
    for document in yaml::read("every-kind.yaml", SAMPLE).unwrap().documents {
        let object = parse(&document.value).unwrap();
        let again = yaml::read("again", &yaml::write(&object.to_value())).unwrap().documents.remove(0);
        assert_eq!(parse(&again.value).unwrap(), object);
    }
}
