//! Fits text to the width of a screen: tables without rules, and word wrapping. Pure, except that the width is read
//! from the environment and the terminal.

use comfy_table::presets::NOTHING;
use comfy_table::{Cell, CellAlignment, ColumnConstraint, ContentArrangement, Table, Width};
use console::Term;

/// Blanks between two columns.
const GAP: u16 = 2;
/// The number of columns that are shown even on a screen that is too narrow.
const KEPT: usize = 3;

/// The width of stdout: COLUMNS, else the terminal's. `None` if it is not a terminal; then nothing is wrapped.
pub fn width() -> Option<u16> {
    width_of(&Term::stdout())
}

/// The width of stderr, likewise.
pub fn width_of_stderr() -> Option<u16> {
    width_of(&Term::stderr())
}

fn width_of(terminal: &Term) -> Option<u16> {
    let told = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let asked = || terminal.size_checked().filter(|_| terminal.is_term()).map(|(_, columns)| columns);
    told.or_else(asked).filter(|width| *width > 0)
}

/// Rows under a header. The columns are in the order of their importance: on a narrow screen the last ones are left
/// out, and the others wrap.
pub fn table<const N: usize>(header: [&str; N], rows: &[[String; N]], width: Option<u16>) -> String {
    let length = |text: &str| text.chars().count();
    let widest: Vec<usize> = (0..N)
        .map(|column| rows.iter().map(|row| length(&row[column])).max().unwrap_or(0).max(length(header[column])))
        .collect();
    let whole = |columns: usize| widest[..columns].iter().sum::<usize>() + usize::from(GAP) * columns.saturating_sub(1);
    let mut shown = N;
    while width.is_some_and(|width| whole(shown) > usize::from(width)) && shown > KEPT {
        shown -= 1;
    }
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(header[..shown].iter().map(|title| title.to_uppercase()));
    for row in rows {
        table.add_row(row[..shown].iter().enumerate().map(|(column, text)| {
            let numbers = rows.iter().all(|row| is_number(&row[column]));
            let side = if numbers { CellAlignment::Right } else { CellAlignment::Left };
            Cell::new(text).set_alignment(side)
        }));
    }
    for (at, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, if at + 1 < shown { GAP } else { 0 }));
        if at > 0 && rows.iter().all(|row| is_number(&row[at])) {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
        // Names are copied by people, so a name is broken only if it is longer than half the screen.
        let name = u16::try_from(widest[0]).unwrap_or(u16::MAX);
        if at == 0 && width.is_none_or(|width| name <= width / 2) {
            column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(name + GAP)));
        }
    }
    match width {
        Some(width) => table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width),
        None => table.set_content_arrangement(ContentArrangement::Disabled),
    };
    table.trim_fmt()
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_digit() || "-,./".contains(c))
}

/// Wraps each line of a text between words, keeping the line's indentation. Commands are not broken, since people copy
/// them.
pub fn wrapped(text: &str, width: Option<u16>) -> String {
    let Some(width) = width.map(usize::from) else { return text.to_owned() };
    let mut lines = Vec::new();
    for line in text.split('\n') {
        let indent = &line[..line.len() - line.trim_start().len()];
        let mut current = indent.to_owned();
        for (gap, word) in words(line) {
            let fresh = current.len() == indent.len();
            if !fresh && current.chars().count() + gap.len() + word.chars().count() > width {
                lines.push(std::mem::replace(&mut current, indent.to_owned()));
            } else if !fresh {
                current.push_str(gap);
            }
            current.push_str(word);
        }
        lines.push(current);
    }
    lines.join("\n")
}

/// The words of a line, each with the blanks before it. Text between backticks is one word, and so is a command after a
/// colon.
fn words(line: &str) -> Vec<(&str, &str)> {
    let (mut rest, mut words) = (line.trim_end(), Vec::<(&str, &str)>::new());
    while !rest.is_empty() {
        let (gap, tail) = rest.split_at(rest.len() - rest.trim_start().len());
        let blank = |text: &str| text.find(char::is_whitespace).unwrap_or(text.len());
        let command = tail.starts_with("mms ") && words.last().is_none_or(|(_, before)| before.ends_with(':'));
        let end = match tail.strip_prefix('`').and_then(|quoted| quoted.find('`')) {
            Some(close) => close + 2 + blank(&tail[close + 2..]),
            None if command => tail.len(),
            None => blank(tail),
        };
        words.push((gap, &tail[..end]));
        rest = &tail[end..];
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<[String; 5]> {
        let row = |name: &str, rows: &str| [name, "DONE", rows, "12", "2026-11-30 12:00:00Z"].map(str::to_owned);
        vec![row("sales/0193a8c2-7b1e-7000-8000-000000000001", "1,111,930"), row("hr/j2", "-")]
    }

    const HEADER: [&str; 5] = ["job", "state", "rows", "tasks", "created"];

    #[test]
    fn a_wide_screen_shows_all_columns_and_numbers_stand_at_the_right() {
        let text = table(HEADER, &rows(), Some(200));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "no rules between rows: {text}");
        assert!(lines[0].starts_with("JOB") && lines[0].ends_with("CREATED"), "{text}");
        assert!(lines[2].contains("DONE           -     12"), "{text}");
        assert_eq!(text, table(HEADER, &rows(), None));
    }

    #[test]
    fn a_narrow_screen_leaves_the_last_columns_out_and_breaks_no_line() {
        for width in [40, 60, 80] {
            let text = table(HEADER, &rows(), Some(width));
            assert!(text.lines().all(|line| line.chars().count() <= usize::from(width)), "{width}:\n{text}");
        }
        let text = table(HEADER, &rows(), Some(80));
        assert!(text.contains("1,111,930") && !text.contains("CREATED"), "{text}");
    }

    #[test]
    fn words_wrap_as_far_in_as_their_line() {
        let text = "  help: make a table of it\nshort";
        assert_eq!(wrapped(text, Some(16)), "  help: make a\n  table of it\nshort");
        assert_eq!(wrapped(text, None), text);
    }

    #[test]
    fn a_command_is_never_broken() {
        let text = "3 tasks failed: `mms task list sales/j1` says why\n  watch it: mms job watch sales/j1";
        let told = "3 tasks failed:\n`mms task list sales/j1`\nsays why\n  watch it:\n  mms job watch sales/j1";
        assert_eq!(wrapped(text, Some(16)), told);
    }
}
