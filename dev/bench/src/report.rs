//! From figures to tables: the median of each proxy, and the spread of the ratios of the rounds.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context as _;

use crate::round::Figure;

/// Where the tables begin in the document.
const BEGIN: &str = "<!-- figures: written by `make bench` -->";
/// Where they end.
const END: &str = "<!-- end of figures -->";

/// One row: what was measured, in each round by ours and by Envoy.
#[derive(Debug)]
struct Row {
    what: String,
    ours: Vec<f64>,
    envoy: Vec<f64>,
}

/// A table in Markdown of rounds, each of which holds the same figures of ours and of Envoy.
pub fn table(rounds: &[(Vec<Figure>, Vec<Figure>)]) -> String {
    let mut text =
        String::from("| | Meltemi | Envoy | ratio: median | min | max |\n|---|---:|---:|---:|---:|---:|\n");
    for row in rows(rounds) {
        let ratios = Spread::of(row.ours.iter().zip(&row.envoy).map(|(ours, envoy)| ours / envoy).collect());
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "| {} | {} | {} | **{:.2}** | {:.2} | {:.2} |",
            row.what,
            number(Spread::of(row.ours).median),
            number(Spread::of(row.envoy).median),
            ratios.median,
            ratios.min,
            ratios.max,
        );
    }
    text
}

fn rows(rounds: &[(Vec<Figure>, Vec<Figure>)]) -> Vec<Row> {
    let Some((first, _)) = rounds.first() else { return Vec::new() };
    let of = |figures: &[Figure], what: &str| {
        figures.iter().find(|figure| figure.what == what).map_or(f64::NAN, |figure| figure.value)
    };
    first
        .iter()
        .map(|figure| Row {
            what: figure.what.clone(),
            ours: rounds.iter().map(|(ours, _)| of(ours, &figure.what)).collect(),
            envoy: rounds.iter().map(|(_, envoy)| of(envoy, &figure.what)).collect(),
        })
        .collect()
}

fn number(value: f64) -> String {
    if value >= 1000.0 {
        format!("{value:.0}")
    } else if value >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

#[derive(Debug)]
struct Spread {
    min: f64,
    median: f64,
    max: f64,
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
        let last = values.len().saturating_sub(1);
        let median = f64::midpoint(at(last / 2), at(values.len() / 2));
        Self { min: at(0), median, max: at(last) }
    }
}

/// Puts tables into a document, in place of those that it holds.
pub fn replace(document: &Path, tables: &str) -> anyhow::Result<()> {
    let name = document.display();
    let text = std::fs::read_to_string(document).with_context(|| format!("cannot read {name}"))?;
    let replaced =
        between(&text, tables).with_context(|| format!("{name} lacks the line {BEGIN} or {END}"))?;
    std::fs::write(document, replaced).with_context(|| format!("cannot write {name}"))
}

fn between(text: &str, tables: &str) -> Option<String> {
    let (head, rest) = text.split_once(BEGIN)?;
    let (_, tail) = rest.split_once(END)?;
    Some(format!("{head}{BEGIN}\n{tables}{END}{tail}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(value: f64) -> Vec<Figure> {
        vec![Figure { what: "requests".into(), value }]
    }

    #[test]
    fn ratios_are_of_the_same_round() {
        let rounds = [
            (figures(20.0), figures(10.0)),
            (figures(90.0), figures(30.0)),
            (figures(400.0), figures(100.0)),
        ];
        let table = table(&rounds);
        assert!(table.ends_with("| requests | 90.0 | 30.0 | **3.00** | 2.00 | 4.00 |\n"), "{table}");
    }

    #[test]
    fn the_median_of_an_even_number_lies_between() {
        let spread = Spread::of(vec![4.0, 1.0, 2.0, 3.0]);
        assert_eq!((spread.min, spread.median, spread.max), (1.0, 2.5, 4.0));
    }

    #[test]
    fn what_is_around_the_tables_stays() {
        let text = format!("before\n{BEGIN}\nold\n{END}\nafter\n");
        assert_eq!(between(&text, "new\n").unwrap(), format!("before\n{BEGIN}\nnew\n{END}\nafter\n"));
        assert!(between("no markers", "new").is_none());
    }
}
