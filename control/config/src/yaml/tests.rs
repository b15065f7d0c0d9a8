use serde_json::json;

use super::*;

fn one(text: &str) -> Value {
    read("t.yaml", text).expect("valid").documents.remove(0).value
}

fn fails(text: &str) -> String {
    read("t.yaml", text).expect_err("must not be read").to_string()
}

#[test]
fn scalars_mean_what_kubectl_takes_them_for() {
    for (text, value) in [
        ("yes", json!(true)),
        ("off", json!(false)),
        ("\"yes\"", json!("yes")),
        ("010", json!(8)),
        ("0x1F", json!(31)),
        ("1_000", json!(1000)),
        ("-3", json!(-3)),
        ("1.5", json!(1.5)),
        ("1e3", json!(1000.0)),
        ("1.2.3", json!("1.2.3")),
        ("10s", json!("10s")),
        ("089", json!(89.0)),
        ("2024-01-02", json!("2024-01-02")),
        ("-", json!([null])),
        ("~", json!(null)),
        ("+", json!("+")),
        ("12345678901234567890123", json!(1.2345678901234568e22)),
        ("!!str 5", json!("5")),
        ("! 5", json!("5")),
        ("!!binary aGk=", json!("hi")),
    ] {
        assert_eq!(one(&format!("a: {}{text}", if text == "-" { "\n" } else { "" }))["a"], value, "{text}");
    }
    assert_eq!(one("on: 1"), json!({"true": 1}));
}

#[test]
fn a_file_holds_documents_lists_and_empty_parts() {
    let text = "# nothing\n---\nkind: A\n---\n---\napiVersion: v1\nkind: List\nitems:\n- kind: B\n  x: 1\n- kind: C\n";
    let read = read("t.yaml", text).expect("valid");
    let kinds: Vec<&Value> = read.documents.iter().map(|document| &document.value["kind"]).collect();
    assert_eq!(kinds, [&json!("A"), &json!("B"), &json!("C")]);
    let place = read.documents[1].positions.of(&Path::parse("x"));
    assert_eq!((place.key.line, place.key.column), (10, 3));
}

#[test]
fn every_value_has_its_place() {
    let text = "spec:\n  http:\n  - match:\n    - uri: {exact: /}\n    - urii:\n        exact: é\n";
    let read = read("t.yaml", text).expect("valid");
    let positions = &read.documents[0].positions;
    let of = |path: &str| positions.of(&Path::parse(path));
    assert_eq!(
        (of("spec.http[0].match[1].urii").key.line, of("spec.http[0].match[1].urii").key.column),
        (5, 7)
    );
    let exact = of("spec.http[0].match[1].urii.exact");
    assert_eq!(&text[exact.value.start..exact.value.end], "é");
    assert_eq!(of("spec.http[0].match[0].uri.exact").value.column, 20);
    assert_eq!(of("spec.http[0].timeout").key.line, 3, "a missing field is shown at what should hold it");
}

#[test]
fn duplicate_keys_are_refused() {
    assert_eq!(
        fails("a:\n  b: 1\n  c: 2\n  b: 3\n"),
        "t.yaml:4:3: key \"b\" stands twice in one mapping, first on line 2; remove one"
    );
}

#[test]
fn anchors_aliases_and_merges() {
    assert_eq!(one("a: &x {b: 1, c: 2}\nd:\n  <<: *x\n  c: 3\n")["d"], json!({"c": 3, "b": 1}));
    assert_eq!(one("a: &x [1]\nb: *x\n")["b"], json!([1]));
    assert!(fails("a: *nowhere").contains("t.yaml:1"));
}

#[test]
fn hostile_files_end_soon() {
    let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
    for level in 1..9 {
        let before = format!("*a{}", level - 1);
        bomb.push_str(&format!("a{level}: &a{level} [{}]\n", vec![before; 10].join(",")));
    }
    assert!(fails(&bomb).contains("aliases counted"));
    assert!(fails(&"[".repeat(500)).contains("t.yaml:1"));
    assert!(fails(&"x".repeat(MAX_BYTES + 1)).contains("bytes"));
    assert!(fails("a: [1\nb: 2").contains("this is not YAML"));
    assert!(fails("? [a]\n: b").contains("a key must be a text"));
}

#[test]
fn an_alias_counts_with_all_levels_of_its_anchor() {
    let chain = |links: usize| {
        let mut text = "a0: &a0 [x]\n".to_owned();
        for link in 1..links {
            text += &format!("a{link}: &a{link} [*a{}]\n", link - 1);
        }
        text
    };
    // The mapping around all of them is a level as well.
    assert_eq!(one(&chain(MAX_DEPTH - 1)).as_object().expect("a mapping").len(), MAX_DEPTH - 1);
    let refused = fails(&chain(MAX_DEPTH));
    assert!(refused.contains("nested deeper than 100 levels"), "{refused}");
    assert!(fails(&chain(13_000)).contains("nested deeper"), "long before the stack ends");
}
