//! "Did you mean": the nearest of the known names.

/// The known name nearest to what was written, if it is near enough to be meant.
pub fn nearest<'a>(written: &str, known: &[&'a str]) -> Option<&'a str> {
    let plain = simplify(written);
    if written.len() > 64 {
        return None;
    }
    let limit = (plain.chars().count() / 3).clamp(1, 3);
    known
        .iter()
        .map(|name| (distance(&plain, &simplify(name)), *name))
        .filter(|(far, _)| *far <= limit)
        .min_by_key(|(far, _)| *far)
        .map(|(_, name)| name)
}

/// Case and separators do not matter: `prefix_rewrite` is near `prefixRewrite`.
fn simplify(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '_' | '-')).flat_map(char::to_lowercase).collect()
}

/// Insertions, deletions, replacements and swaps of neighbours.
fn distance(left: &str, right: &str) -> usize {
    let (left, right): (Vec<char>, Vec<char>) = (left.chars().collect(), right.chars().collect());
    let width = right.len() + 1;
    let mut rows = vec![vec![0usize; width]; left.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    rows[0] = (0..width).collect();
    for i in 1..=left.len() {
        for j in 1..width {
            let cost = usize::from(left[i - 1] != right[j - 1]);
            let mut best = (rows[i - 1][j] + 1).min(rows[i][j - 1] + 1).min(rows[i - 1][j - 1] + cost);
            if i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[left.len()][right.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn finds_what_was_meant_and_nothing_else() {
        let known = ["uri", "prefixRewrite", "headers", "timeout"];
        assert_eq!(nearest("urii", &known), Some("uri"));
        assert_eq!(nearest("prefix_rewrite", &known), Some("prefixRewrite"));
        assert_eq!(nearest("haeders", &known), Some("headers"));
        assert_eq!(nearest("subset", &known), None);
    }
}
