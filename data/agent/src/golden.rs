//! Golden files of this crate's tests.

use std::path::Path;

/// Compares with a file under `tests/golden`; `MELTEMI_BLESS=1` writes it.
pub(crate) fn check(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("MELTEMI_BLESS").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = text.lines().zip(expected.lines()).enumerate().find(|(_, (got, wanted))| got != wanted);
    if let Some((line, (got, wanted))) = differs {
        let line = line + 1;
        panic!(
            "{name}:{line}: {got:?} instead of {wanted:?}; if that is meant, run with MELTEMI_BLESS=1 and review"
        );
    }
    assert_eq!(text.lines().count(), expected.lines().count(), "{name}: number of lines");
}
