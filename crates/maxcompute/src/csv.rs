//! Reads the rows of a statement from the service's CSV: quoted fields, doubled quotes, `\N` for NULL.

/// The rows that a statement returned. The service returns at most 10,000.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SqlRows {
    /// Column names, as the service writes them.
    pub columns: Vec<String>,
    /// One entry per column; `None` is NULL.
    pub rows: Vec<Vec<Option<String>>>,
}

impl SqlRows {
    /// The number that a statement with one row and one column returned, such as a count. `None` if the result is anything else.
    #[must_use]
    pub fn single_number(&self) -> Option<u64> {
        match self.rows.as_slice() {
            [row] => match row.as_slice() {
                [Some(value)] => value.trim().parse().ok(),
                _ => None,
            },
            _ => None,
        }
    }

    /// Parses the service's text, whose first line names the columns.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut lines = records(text)?.into_iter();
        let columns: Vec<String> = lines.next().unwrap_or_default().into_iter().map(|(field, _)| field).collect();
        let rows: Vec<Vec<Option<String>>> = lines
            .map(|line| line.into_iter().map(|(field, quoted)| (quoted || field != "\\N").then_some(field)).collect())
            .collect();
        match rows.iter().position(|row| row.len() != columns.len()) {
            Some(at) => Err(format!("row {at} has {} fields, not {}", rows[at].len(), columns.len())),
            None => Ok(Self { columns, rows }),
        }
    }
}

/// The fields of each line. The flag tells whether the field was quoted, which distinguishes text from NULL.
fn records(text: &str) -> Result<Vec<Vec<(String, bool)>>, String> {
    let mut records = Vec::new();
    let mut record: Vec<(String, bool)> = Vec::new();
    let (mut field, mut quoted, mut started) = (String::new(), false, false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if field.is_empty() && !quoted => {
                (quoted, started) = (true, true);
                loop {
                    match chars.next() {
                        Some('"') if chars.peek() == Some(&'"') => {
                            chars.next();
                            field.push('"');
                        }
                        Some('"') => break,
                        Some(c) => field.push(c),
                        None => return Err("a quoted field does not end".to_owned()),
                    }
                }
            }
            ',' => {
                record.push((std::mem::take(&mut field), std::mem::take(&mut quoted)));
                started = true;
            }
            '\r' if chars.peek() == Some(&'\n') => {}
            '\n' => {
                record.push((std::mem::take(&mut field), std::mem::take(&mut quoted)));
                records.push(std::mem::take(&mut record));
                started = false;
            }
            c => {
                field.push(c);
                started = true;
            }
        }
    }
    if started {
        record.push((field, quoted));
        records.push(record);
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rows_with_quotes_nulls_and_line_breaks() {
        let rows = SqlRows::parse("\"pt\",\"_c1\"\n\"a \"\"b\"\"\n,c\",3\r\n\\N,\"\\N\"\n").unwrap();
        assert_eq!(rows.columns, ["pt", "_c1"]);
        assert_eq!(rows.rows[0], [Some("a \"b\"\n,c".to_owned()), Some("3".to_owned())]);
        assert_eq!(rows.rows[1], [None, Some("\\N".to_owned())]);
        assert_eq!(SqlRows::parse("_c0\n42").unwrap().single_number(), Some(42));
        assert_eq!(SqlRows::parse("_c0\n").unwrap().single_number(), None);
        assert!(SqlRows::parse("a,b\n1\n").is_err());
        assert!(SqlRows::parse("a\n\"open").is_err());
    }

    proptest! {
        #[test]
        fn quoted_fields_read_back(fields in prop::collection::vec(any::<String>(), 1..4)) {
            let line: Vec<String> = fields.iter().map(|f| format!("\"{}\"", f.replace('"', "\"\""))).collect();
            let text = format!("{}\n{}\n", line.join(","), line.join(","));
            let rows = SqlRows::parse(&text).unwrap();
            prop_assert_eq!(&rows.columns, &fields);
            prop_assert_eq!(rows.rows[0].iter().flatten().collect::<Vec<_>>(), fields.iter().collect::<Vec<_>>());
        }
    }
}
