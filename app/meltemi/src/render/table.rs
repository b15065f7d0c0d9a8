//! Tables in the manner of `kubectl` and `istioctl`: columns as wide as they must be, nothing around them.

use std::fmt::Write;
use std::io::IsTerminal;

/// A table under construction.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Vec<Cell>>,
    gap: usize,
}

/// One cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    text: String,
    mood: Mood,
}

/// What a cell means to the reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// Nothing in particular.
    Plain,
    /// As it should be.
    Good,
    /// To be looked at.
    Bad,
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Cell { text: text.into(), mood: Mood::Plain }
    }
}

impl Cell {
    /// A cell that means something.
    pub fn new(text: impl Into<String>, mood: Mood) -> Self {
        Cell { text: text.into(), mood }
    }
}

impl Table {
    /// A table with these column heads, `gap` spaces between columns.
    pub fn new<'a>(gap: usize, heads: impl IntoIterator<Item = &'a str>) -> Self {
        Table { rows: vec![heads.into_iter().map(Cell::from).collect()], gap }
    }

    /// Adds a row; a table's rows all have as many cells as it has heads.
    pub fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Adds a row of plain text.
    pub fn text_row<const N: usize>(&mut self, cells: [String; N]) {
        self.row(cells.map(Cell::from));
    }

    /// The table as text, coloured if `colours`.
    pub fn render(&self, colours: bool) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.text.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut out = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (index, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let space =
                    if index + 1 == row.len() { 0 } else { width - cell.text.chars().count() + self.gap };
                // Writing to memory does not fail.
                let _ = match (colours, cell.mood) {
                    (true, Mood::Good) => write!(line, "\x1b[32m{}\x1b[0m", cell.text),
                    (true, Mood::Bad) => write!(line, "\x1b[31m{}\x1b[0m", cell.text),
                    _ => write!(line, "{}", cell.text),
                };
                line.extend(std::iter::repeat_n(' ', space));
            }
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }

    /// Prints the table, in colours when a person is looking.
    pub fn print(&self) {
        super::emit(&self.render(colours()));
    }
}

/// Whether to use colours on standard output.
pub fn colours() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_whatever_the_colours() {
        let mut table = Table::new(3, ["NAME", "CDS", "ISTIOD"]);
        table.row([Cell::from("a.default"), Cell::new("SYNCED", Mood::Good), Cell::from("istiod-1")]);
        table.row([Cell::from("b"), Cell::new("STALE", Mood::Bad), Cell::from("")]);
        assert_eq!(
            table.render(false),
            "NAME        CDS      ISTIOD\na.default   SYNCED   istiod-1\nb           STALE\n"
        );
        assert!(table.render(true).contains("\x1b[32mSYNCED\x1b[0m   istiod-1"));
    }
}
