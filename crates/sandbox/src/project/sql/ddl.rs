//! Parses DDL: statements on schemas, tables and partitions.

use std::collections::BTreeMap;

use sqlparser::tokenizer::{Location, Token};

use super::super::schema::Column;
use super::super::type_text::parse_type;
use super::tokens::{Cursor, SqlError};

/// A name as it is written: one to three parts.
pub type Path = Vec<String>;
/// A partition as it is written: names and values, in any order.
pub type Spec = Vec<(String, String)>;

/// The contents of CREATE TABLE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateTable {
    pub path: Path,
    /// Whether an existing table is left as it is.
    pub if_not_exists: bool,
    pub columns: Vec<Column>,
    pub partition_columns: Vec<Column>,
    /// Names of the primary key's columns.
    pub primary_key: Vec<String>,
    pub comment: Option<String>,
    /// The days of LIFECYCLE.
    pub lifecycle: Option<u32>,
    pub properties: BTreeMap<String, String>,
}

/// A DDL statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ddl {
    /// CREATE SCHEMA.
    CreateSchema {
        /// The schema.
        path: Path,
        /// IF NOT EXISTS.
        if_not_exists: bool,
    },
    /// DROP SCHEMA.
    DropSchema {
        /// The schema.
        path: Path,
        /// IF EXISTS.
        if_exists: bool,
    },
    /// CREATE TABLE.
    CreateTable(Box<CreateTable>),
    /// DROP TABLE.
    DropTable {
        /// The table.
        path: Path,
        /// IF EXISTS.
        if_exists: bool,
    },
    /// TRUNCATE TABLE.
    Truncate {
        /// The table.
        path: Path,
        /// The partitions to truncate. Empty for a table without partitions, of which all rows are deleted.
        specs: Vec<Spec>,
    },
    /// ALTER TABLE.
    Alter {
        /// The table.
        path: Path,
        /// What is changed.
        change: Change,
    },
}

/// The change of an ALTER TABLE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// ADD PARTITION.
    Add {
        /// IF NOT EXISTS.
        if_not_exists: bool,
        /// The partitions.
        specs: Vec<Spec>,
    },
    /// DROP PARTITION.
    Drop {
        /// IF EXISTS.
        if_exists: bool,
        /// The partitions.
        specs: Vec<Spec>,
    },
    /// ADD COLUMNS.
    Columns {
        /// IF NOT EXISTS.
        if_not_exists: bool,
        /// The new columns, which follow the existing ones.
        columns: Vec<Column>,
    },
    /// SET TBLPROPERTIES.
    Properties(BTreeMap<String, String>),
    /// SET COMMENT.
    Comment(String),
    /// SET LIFECYCLE.
    Lifecycle(u32),
}

/// Parses a DDL statement. Also returns the position of the name of its schema or table, for error messages.
///
/// # Errors
/// The service's parse error, also for statements that this project does not support.
pub fn parse(sql: &str) -> Result<(Ddl, Location), SqlError> {
    let mut cursor = Cursor::new(sql)?;
    let ddl = statement(&mut cursor)?;
    cursor.end()?;
    Ok((ddl, cursor.named()))
}

fn statement(cursor: &mut Cursor) -> Result<Ddl, SqlError> {
    if cursor.take_words(&["CREATE", "SCHEMA"]) {
        let if_not_exists = cursor.take_words(&["IF", "NOT", "EXISTS"]);
        return Ok(Ddl::CreateSchema { path: cursor.path()?, if_not_exists });
    }
    if cursor.take_words(&["DROP", "SCHEMA"]) {
        let if_exists = cursor.take_words(&["IF", "EXISTS"]);
        return Ok(Ddl::DropSchema { path: cursor.path()?, if_exists });
    }
    if cursor.take_words(&["CREATE", "TABLE"]) {
        return create_table(cursor).map(|t| Ddl::CreateTable(Box::new(t)));
    }
    if cursor.take_words(&["DROP", "TABLE"]) {
        let if_exists = cursor.take_words(&["IF", "EXISTS"]);
        return Ok(Ddl::DropTable { path: cursor.path()?, if_exists });
    }
    if cursor.take_words(&["TRUNCATE", "TABLE"]) {
        let path = cursor.path()?;
        let specs = if cursor.at_end() { Vec::new() } else { specs(cursor)? };
        return Ok(Ddl::Truncate { path, specs });
    }
    cursor.expect_words(&["ALTER", "TABLE"])?;
    let path = cursor.path()?;
    Ok(Ddl::Alter { path, change: change(cursor)? })
}

fn change(cursor: &mut Cursor) -> Result<Change, SqlError> {
    if cursor.take_words(&["ADD", "COLUMNS"]) {
        let if_not_exists = cursor.take_words(&["IF", "NOT", "EXISTS"]);
        return Ok(Change::Columns { if_not_exists, columns: columns(cursor)? });
    }
    if cursor.take_word("ADD") {
        let if_not_exists = cursor.take_words(&["IF", "NOT", "EXISTS"]);
        return Ok(Change::Add { if_not_exists, specs: specs(cursor)? });
    }
    if cursor.take_word("DROP") {
        let if_exists = cursor.take_words(&["IF", "EXISTS"]);
        return Ok(Change::Drop { if_exists, specs: specs(cursor)? });
    }
    cursor.expect_words(&["SET"])?;
    if cursor.take_word("COMMENT") {
        return cursor.text().map(Change::Comment);
    }
    if cursor.take_word("LIFECYCLE") {
        return lifecycle(cursor).map(Change::Lifecycle);
    }
    cursor.expect_words(&["TBLPROPERTIES"])?;
    properties(cursor).map(Change::Properties)
}

fn specs(cursor: &mut Cursor) -> Result<Vec<Spec>, SqlError> {
    let mut specs = Vec::new();
    loop {
        cursor.expect_words(&["PARTITION"])?;
        cursor.expect(&Token::LParen)?;
        let mut spec = Spec::new();
        loop {
            let name = cursor.name()?;
            cursor.expect(&Token::Eq)?;
            spec.push((name, cursor.value()?));
            if !cursor.take(&Token::Comma) {
                break;
            }
        }
        cursor.expect(&Token::RParen)?;
        specs.push(spec);
        cursor.take(&Token::Comma);
        if cursor.at_end() {
            return Ok(specs);
        }
    }
}

fn lifecycle(cursor: &mut Cursor) -> Result<u32, SqlError> {
    let days = cursor.number()?;
    u32::try_from(days)
        .ok()
        .filter(|d| *d > 0)
        .ok_or_else(|| cursor.error(format!("LIFECYCLE {days}: want days above 0")))
}

fn properties(cursor: &mut Cursor) -> Result<BTreeMap<String, String>, SqlError> {
    cursor.expect(&Token::LParen)?;
    let mut properties = BTreeMap::new();
    loop {
        let name = cursor.text()?;
        cursor.expect(&Token::Eq)?;
        properties.insert(name, cursor.text()?);
        if !cursor.take(&Token::Comma) {
            break;
        }
    }
    cursor.expect(&Token::RParen)?;
    Ok(properties)
}

fn column(cursor: &mut Cursor) -> Result<Column, SqlError> {
    let name = cursor.name()?.to_lowercase();
    let data_type = parse_type(cursor)?;
    let nullable = !cursor.take_words(&["NOT", "NULL"]);
    let comment = if cursor.take_word("COMMENT") { Some(cursor.text()?) } else { None };
    Ok(Column { name, data_type, nullable, comment })
}

fn columns(cursor: &mut Cursor) -> Result<Vec<Column>, SqlError> {
    cursor.expect(&Token::LParen)?;
    let mut columns = vec![column(cursor)?];
    while cursor.take(&Token::Comma) {
        columns.push(column(cursor)?);
    }
    cursor.expect(&Token::RParen)?;
    Ok(columns)
}

fn create_table(cursor: &mut Cursor) -> Result<CreateTable, SqlError> {
    let if_not_exists = cursor.take_words(&["IF", "NOT", "EXISTS"]);
    let mut table = CreateTable {
        path: cursor.path()?,
        if_not_exists,
        columns: Vec::new(),
        partition_columns: Vec::new(),
        primary_key: Vec::new(),
        comment: None,
        lifecycle: None,
        properties: BTreeMap::new(),
    };
    cursor.expect(&Token::LParen)?;
    loop {
        if cursor.take_words(&["PRIMARY", "KEY"]) {
            cursor.expect(&Token::LParen)?;
            loop {
                table.primary_key.push(cursor.name()?.to_lowercase());
                if !cursor.take(&Token::Comma) {
                    break;
                }
            }
            cursor.expect(&Token::RParen)?;
        } else {
            table.columns.push(column(cursor)?);
        }
        if !cursor.take(&Token::Comma) {
            break;
        }
    }
    cursor.expect(&Token::RParen)?;
    if cursor.take_word("COMMENT") {
        table.comment = Some(cursor.text()?);
    }
    if cursor.take_words(&["PARTITIONED", "BY"]) {
        table.partition_columns = columns(cursor)?;
    }
    if cursor.take_word("TBLPROPERTIES") {
        table.properties = properties(cursor)?;
    }
    if cursor.take_word("LIFECYCLE") {
        table.lifecycle = Some(lifecycle(cursor)?);
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::super::super::type_text::type_text;
    use super::*;

    #[test]
    fn a_full_create_table_is_read() {
        let sql = "CREATE TABLE IF NOT EXISTS p.s.`t` (`Id` BIGINT NOT NULL COMMENT 'it\\'s', \
                   `a` ARRAY<STRUCT<x:INT,`y z`:MAP<STRING,DECIMAL(38,18)>>>, PRIMARY KEY (`id`)) COMMENT \"c\" \
                   PARTITIONED BY (`pt` STRING COMMENT 'p') TBLPROPERTIES (\"transactional\"=\"true\") LIFECYCLE 7;";
        let Ok((Ddl::CreateTable(table), place)) = parse(sql) else { panic!("{:?}", parse(sql)) };
        assert_eq!(table.path, ["p", "s", "t"]);
        assert_eq!((place.line, place.column), (1, 28));
        assert_eq!(table.columns[0].comment.as_deref(), Some("it's"));
        assert!(!table.columns[0].nullable && table.columns[0].name == "id");
        let text = type_text(&table.columns[1].data_type);
        assert_eq!(text, "array<struct<x:int,`y z`:map<string,decimal(38,18)>>>");
        assert_eq!((table.lifecycle, table.primary_key.as_slice()), (Some(7), &["id".to_owned()][..]));
    }

    #[test]
    fn partitions_are_read_with_and_without_commas() {
        let sql = "ALTER TABLE s.t ADD IF NOT EXISTS PARTITION (a='1', b=2) PARTITION (a=\"x\",b='y');";
        let Ok((Ddl::Alter { change: Change::Add { specs, if_not_exists: true }, .. }, _)) = parse(sql) else {
            panic!("{:?}", parse(sql))
        };
        assert_eq!(specs.len(), 2);
        assert!(parse("ALTER TABLE t DROP IF EXISTS PARTITION (a='1'), PARTITION (a='2');").is_ok());
    }

    #[test]
    fn what_is_not_offered_is_a_parse_error_with_its_place() {
        for sql in [
            "CREATE TABLE t (a INT)",
            "CREATE TABLE t (a UUID);",
            "CREATE TABLE t (a DECIMAL(39,0));",
            "CREATE TABLE t (a VARCHAR(65536));",
            "CREATE TABLE t (a INT) AUTO PARTITIONED BY (TRUNC_TIME(a,'DAY'));",
            "INSERT INTO t VALUES (1);",
            "ALTER TABLE t ADD COLUMNS ();",
            "ALTER TABLE t DROP COLUMNS (b);",
            "DROP TABLE t; DROP TABLE u;",
        ] {
            let error = parse(sql).expect_err(sql);
            assert!(error.0.starts_with("ODPS-0130161:["), "{sql}: {}", error.0);
        }
    }
}
