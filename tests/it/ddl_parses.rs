//! The statements that create tables, parsed by software that is not ours: every name arrives unchanged, whatever it
//! is, also a keyword, and also as a field deep inside a type.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::Context;
use mms_maxcompute::ddl;
use mms_maxcompute::name::{ColumnName, ProjectName, SchemaName, TableName};
use mms_maxcompute::table::{Column, TableDefinition, TableKind, TableRef};
use mms_maxcompute::types::{DataType, StructField};
use mms_tests::peers;
use serde_json::{Value, json};

/// Keywords of SQL, and texts that could end a name or a literal too early.
const NAMES: [&str; 16] = [
    "select",
    "order",
    "table",
    "array",
    "struct",
    "partition",
    "from",
    "null",
    "true",
    "date",
    "timestamp",
    "id",
    "_x",
    "9a",
    "Select",
    "lifecycle",
];
const FIELDS: [&str; 8] = ["a`b", "a b", "a-b", "a.b", "a:b", "a,b>", "'", "销售"];
const TEXTS: [&str; 5] = ["it's", "back\\slash", "line\nbreak", "; DROP TABLE t", "``"];

fn plain(rng: &mut fastrand::Rng) -> DataType {
    let all = ["BIGINT", "STRING", "DECIMAL(38,18)", "TIMESTAMP", "BOOLEAN", "VARCHAR(20)", "DOUBLE", "DATE"];
    all[rng.usize(..all.len())].parse().expect("a type")
}

/// A random type; the names of its fields are added to `fields`.
fn nested(depth: usize, rng: &mut fastrand::Rng, fields: &mut Vec<String>) -> DataType {
    match if depth == 0 { 3 } else { rng.usize(..4) } {
        0 => DataType::Array(Box::new(nested(depth - 1, rng, fields))),
        1 => DataType::Map(Box::new(DataType::String), Box::new(nested(depth - 1, rng, fields))),
        2 => {
            let mut names: Vec<&str> = NAMES.into_iter().chain(FIELDS).collect();
            rng.shuffle(&mut names);
            names.truncate(rng.usize(1..4));
            fields.extend(names.iter().map(|name| (*name).to_owned()));
            let field = |name: &str| StructField { name: name.to_owned(), data_type: nested(depth - 1, rng, fields) };
            DataType::Struct(names.into_iter().map(field).collect())
        }
        _ => plain(rng),
    }
}

/// A column of a random type, and what the parser must find of it.
fn column(name: &str, depth: usize, rng: &mut fastrand::Rng) -> anyhow::Result<(Column, Value)> {
    let mut fields = Vec::new();
    let data_type = nested(depth, rng, &mut fields);
    let comment = rng.bool().then(|| TEXTS[rng.usize(..TEXTS.len())].to_owned());
    fields.sort_by_key(|name| json!(name).to_string());
    Ok((Column { name: ColumnName::new(name)?, data_type, nullable: rng.bool(), comment }, json!([name, fields])))
}

/// A table with random columns, and what the parser must find of it.
fn table(number: usize, rng: &mut fastrand::Rng) -> anyhow::Result<(TableDefinition, Value)> {
    let mut names = NAMES;
    rng.shuffle(&mut names);
    let (partitions, columns) = (rng.usize(..3), rng.usize(1..8));
    let kind = [TableKind::Ordinary, TableKind::AppendDelta][rng.usize(..2)];
    let (schema, name) = (rng.bool().then_some("table"), format!("select{number}"));
    let all = names.iter().enumerate().take(partitions + columns);
    // A partition column has a primitive type.
    let all: Vec<_> =
        all.map(|(at, name)| column(name, if at < partitions { 0 } else { 3 }, rng)).collect::<Result<_, _>>()?;
    let (mut columns, mut found): (Vec<_>, Vec<_>) = all.into_iter().unzip();
    let (others, others_found) = (columns.split_off(partitions), found.split_off(partitions));
    for column in &mut columns {
        (column.data_type, column.nullable) = (DataType::String, true);
    }
    let properties = BTreeMap::from([("mms.source".to_owned(), TEXTS[rng.usize(..TEXTS.len())].to_owned())]);
    let project = "proj";
    let expected = json!({
        // A name of two parts is a table of a project or of a schema, which a setting beside the statement decides.
        "table": schema.map_or_else(|| ["", project, &name], |schema| [project, schema, &name]),
        "columns": others_found,
        "partition_columns": found,
        "property": properties["mms.source"],
    });
    let definition = TableDefinition {
        target: TableRef {
            project: ProjectName::new(project)?,
            schema: schema.map(SchemaName::new).transpose()?,
            table: TableName::new(name)?,
        },
        kind,
        columns: others,
        partition_columns: columns,
        primary_key: Vec::new(),
        comment: rng.bool().then(|| TEXTS[rng.usize(..TEXTS.len())].to_owned()),
        lifecycle_days: rng.bool().then_some(30),
        properties,
    };
    Ok((definition, expected))
}

#[test]
fn every_name_of_a_table_is_read_as_it_was() -> anyhow::Result<()> {
    let Some(python) = peers::python() else { return Ok(()) };
    let mut rng = fastrand::Rng::with_seed(7);
    let tables: Vec<_> = (0..400).map(|number| table(number, &mut rng)).collect::<Result<_, _>>()?;
    let statements: String =
        tables.iter().map(|(definition, _)| format!("{}\n", json!(ddl::create_table(definition)))).collect();
    let mut child =
        Command::new(python).arg(peers::script("ddl_parse.py")).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut input = child.stdin.take().context("its input")?;
    let writer = std::thread::spawn(move || input.write_all(statements.as_bytes()));
    let output = child.wait_with_output()?;
    writer.join().map_err(|_| anyhow::anyhow!("the writer panicked"))??;
    let answers: Vec<Value> =
        String::from_utf8(output.stdout)?.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    anyhow::ensure!(answers.len() == tables.len(), "{} answers", answers.len());
    for ((definition, expected), mut found) in tables.iter().zip(answers) {
        let statement = ddl::create_table(definition);
        let property = found["properties"]["mms.source"].take();
        anyhow::ensure!(found["error"].is_null(), "{found}: {statement}");
        let columns = found["columns"].as_array_mut().context("columns")?;
        for column in columns {
            column[1].as_array_mut().context("fields")?.sort_by_key(ToString::to_string);
        }
        let of = |name: &str| if name == "property" { property.clone() } else { found[name].clone() };
        for (name, expected) in expected.as_object().context("an object")? {
            anyhow::ensure!(of(name) == *expected, "{name} is {}, not {expected}: {statement}", of(name));
        }
    }
    Ok(())
}
