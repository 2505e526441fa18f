//! Tables whose columns fit the terminal: the least important go first, then the first column is cut.

use crate::{
    look::Look,
    page::{Page, Tone},
    text::{fit, pad, pad_left, width},
};

/// Between two columns.
const GAP: usize = 2;
/// The first column is never cut below this.
const SHORTEST_FIRST: usize = 8;
/// A column that takes what is left is not shown below this.
const SHORTEST_REST: usize = 24;

/// A table; the first column is what the rows are about.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
    /// Lines between rows, each with the number of rows before it.
    headings: Vec<(usize, String)>,
    /// The last column takes what is left, and is cut to it.
    has_rest: bool,
}

/// What stands in one place of a table. The text is clean already.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
}

#[derive(Debug)]
struct Column {
    title: &'static str,
    right: bool,
    /// Columns go from the highest number on when space is short; 0 stays.
    drop: u8,
}

impl Cell {
    /// A cell of a tone.
    pub(crate) fn new(tone: Tone, text: impl Into<String>) -> Self {
        Self { tone, text: text.into() }
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self { text, tone: Tone::Plain }
    }
}

impl Table {
    /// A table whose first column has this title.
    pub(crate) fn new(title: &'static str) -> Self {
        Self {
            columns: vec![Column { title, right: false, drop: 0 }],
            rows: Vec::new(),
            headings: Vec::new(),
            has_rest: false,
        }
    }

    /// Adds a column of words. When space is short, columns go from the highest `drop` on; 0 stays.
    pub(crate) fn words(mut self, title: &'static str, drop: u8) -> Self {
        self.columns.push(Column { title, right: false, drop });
        self
    }

    /// Adds a column of numbers.
    pub(crate) fn numbers(mut self, title: &'static str, drop: u8) -> Self {
        self.columns.push(Column { title, right: true, drop });
        self
    }

    /// Adds the last column: words that take what is left, and are cut to it.
    pub(crate) fn rest(mut self, title: &'static str) -> Self {
        self.has_rest = true;
        self.words(title, 1)
    }

    /// Adds a line above the rows that follow.
    pub(crate) fn heading(&mut self, text: impl Into<String>) {
        self.headings.push((self.rows.len(), text.into()));
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Draws the table, each line behind `indent` spaces.
    pub(crate) fn draw(&self, indent: usize, look: &Look, page: &mut Page) {
        let (shown, widths) = self.layout(look.width.saturating_sub(indent));
        let titles = self.columns.iter().map(|column| Cell::new(Tone::Faint, column.title)).collect();
        let mut headings = self.headings.iter().peekable();
        for (number, row) in std::iter::once(&titles).chain(&self.rows).enumerate() {
            while let Some((_, heading)) = headings.next_if(|(before, _)| number == before + 1) {
                let text = fit(heading, look.width.saturating_sub(indent), look);
                page.line().put(Tone::Plain, " ".repeat(indent)).put(Tone::Strong, text);
            }
            page.line().put(Tone::Plain, " ".repeat(indent));
            for (place, index) in shown.iter().enumerate() {
                let empty = Cell::default();
                let cell = row.get(*index).unwrap_or(&empty);
                let last = place + 1 == shown.len();
                let text = fit(&cell.text, widths[*index], look);
                let text = match (self.columns[*index].right, last) {
                    (true, _) => pad_left(&text, widths[*index]),
                    (false, true) => text,
                    (false, false) => pad(&text, widths[*index]),
                };
                page.put(cell.tone, text).put(Tone::Plain, " ".repeat(if last { 0 } else { GAP }));
            }
        }
    }

    /// Which columns are shown, and how wide each is.
    fn layout(&self, room: usize) -> (Vec<usize>, Vec<usize>) {
        let mut widths: Vec<usize> = (0..self.columns.len())
            .map(|index| {
                let cells = self.rows.iter().filter_map(|row| row.get(index)).map(|cell| width(&cell.text));
                cells.chain([width(self.columns[index].title)]).max().unwrap_or(0)
            })
            .collect();
        // A column that says nothing takes no room.
        let says =
            |index: &usize| self.rows.iter().any(|row| row.get(*index).is_some_and(|cell| !cell.text.is_empty()));
        let mut shown: Vec<usize> =
            (0..self.columns.len()).filter(|index| self.columns[*index].drop == 0 || says(index)).collect();
        let total = |shown: &[usize], widths: &[usize]| {
            shown.iter().map(|index| widths[*index] + GAP).sum::<usize>().saturating_sub(GAP)
        };
        // The others are laid out as if it had its least width; what they leave is its own.
        let rest = shown.last().copied().filter(|index| self.has_rest && *index + 1 == self.columns.len());
        let wanted = rest.map(|rest| widths[rest]);
        if let Some(rest) = rest {
            widths[rest] = widths[rest].min(SHORTEST_REST);
        }
        while total(&shown, &widths) > room {
            let droppable = shown.iter().copied().filter(|index| self.columns[*index].drop > 0);
            let Some(drop) = droppable.max_by_key(|index| self.columns[*index].drop) else { break };
            shown.retain(|index| *index != drop);
        }
        let over = total(&shown, &widths).saturating_sub(room);
        widths[0] = widths[0].saturating_sub(over).max(SHORTEST_FIRST.min(widths[0]));
        if let (Some(rest), Some(wanted)) = (rest.filter(|rest| shown.contains(rest)), wanted) {
            widths[rest] += room.saturating_sub(total(&shown, &widths)).min(wanted - widths[rest]);
        }
        (shown, widths)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(width: usize) -> String {
        let mut table = Table::new("name").numbers("count", 0).words("note", 2).numbers("max", 1);
        table.row([
            String::from("one_long_name").into(),
            String::from("12").into(),
            String::from("日本").into(),
            String::from("7 ms").into(),
        ]);
        table.row([String::from("b").into(), String::from("3 456").into()]);
        let look = Look { width, color: false, unicode: true };
        let mut page = Page::default();
        table.draw(2, &look, &mut page);
        page.to_text(&look)
    }

    #[test]
    fn narrow_tables_lose_columns_first_and_then_cut_the_names() {
        insta::assert_snapshot!(drawn(Look::UNLIMITED), @r#"
        name           count  note   max
        one_long_name     12  日本  7 ms
        b              3 456
        "#);
        insta::assert_snapshot!(drawn(30), @r#"
        name           count   max
        one_long_name     12  7 ms
        b              3 456
        "#);
        insta::assert_snapshot!(drawn(18), @r#"
        name       count
        one_long…     12
        b          3 456
        "#);
    }
}
