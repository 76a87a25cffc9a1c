//! Names and values as text of SQL statements. Pure.

/// A name in backticks.
pub fn identifier(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A table's name with its catalog and schema, each in backticks.
pub fn table(catalog: &str, schema: &str, table: &str) -> String {
    [catalog, schema, table].map(identifier).join(".")
}

/// A text literal in single quotes. Backslashes are doubled, because they begin escapes in Spark's literals.
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leaves_its_quotes() {
        assert_eq!(table("main", "a.b", "t`; DROP"), "`main`.`a.b`.`t``; DROP`");
        assert_eq!(literal(r"it's \' é"), r"'it\'s \\\' é'");
    }
}
