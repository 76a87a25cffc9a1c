//! Random tables of many writers, and every table that is available, read as a worker reads them and by an independent reader
//! (pyarrow, with a log replay of its own, in `tests/interop`): both have the same rows, or we refuse a table that has no
//! right reading.
#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use arrow::array::RecordBatch;
use futures::TryStreamExt;
use mms_delta::{DeltaError, SourceFile, TableShape};
use mms_sandbox::samples;
use serde::Deserialize;

use crate::common::{open, read, real_tables, texts};

/// Tables that are written, compared and deleted together.
const CHUNK: usize = 250;
/// The seed unless `MMS_DIFFERENTIAL_SEED` names another one.
const SEED: &str = "mms";

/// A line that the Python program writes about a table.
#[derive(Deserialize)]
struct Case {
    name: String,
    table: PathBuf,
    verdict: Verdict,
    quirks: Vec<String>,
    /// Text that the refusal must have, so that it is about this fault and no other.
    #[serde(default)]
    says: String,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    /// A right reading exists, and the other reader has it.
    MustEqual,
    /// There is no right reading.
    MustRefuse,
}

#[derive(Default)]
struct Tally {
    equal: usize,
    refused: usize,
    rows: usize,
    wrong: Vec<String>,
    /// Quirks of the tables that were equal, and faults of those that were refused.
    seen: BTreeMap<String, usize>,
}

#[tokio::test]
async fn random_tables_have_the_rows_of_an_independent_reader() {
    let Some(python) = python() else { return };
    let count = std::env::var("MMS_DIFFERENTIAL").map_or(200, |text| text.parse().unwrap());
    let seed = std::env::var("MMS_DIFFERENTIAL_SEED").unwrap_or_else(|_| SEED.to_owned());
    let mut tally = Tally::default();
    for first in (0..count).step_by(CHUNK) {
        let folder = tempfile::tempdir().unwrap();
        let many = CHUNK.min(count - first);
        let arguments = ["make", folder.path().to_str().unwrap(), &seed, &first.to_string(), &many.to_string()];
        run(&python, arguments.map(str::to_owned));
        compare(folder.path(), &mut tally).await;
    }
    let Tally { equal, refused, rows, wrong, seen } = &tally;
    println!(
        "differential: seed {seed}, {count} tables: {equal} equal ({rows} rows), {refused} refused as they must be"
    );
    for (quirk, tables) in seen {
        println!("  {tables:6} {quirk}");
    }
    assert!(wrong.is_empty(), "seed {seed}: {} of {count} tables are wrong\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(equal + refused, count);
    assert!(equal * 10 >= count * 6, "only {equal} of {count} tables were read");
}

#[tokio::test]
async fn tables_at_hand_have_the_rows_of_an_independent_reader() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    samples::types(folder.path(), 1_704_067_200_000).unwrap();
    samples::tpch(folder.path(), 0.001, 1_704_067_200_000).unwrap();
    let mut tables = Vec::new();
    find_tables(folder.path(), &mut tables);
    assert!(tables.len() >= 18, "{tables:?}");
    if let Some(real) = real_tables() {
        find_tables(&real.join("delta-root"), &mut tables);
    }
    // It has a million rows, which is too long for this test.
    tables.retain(|table| !table.ends_with("covid19_nyt"));
    let result = tempfile::tempdir().unwrap();
    let arguments = ["read".to_owned(), result.path().to_str().unwrap().to_owned()].into_iter();
    run(&python, arguments.chain(tables.iter().map(|table| table.to_str().unwrap().to_owned())));
    let mut tally = Tally::default();
    compare(result.path(), &mut tally).await;
    println!("differential: {} tables at hand, {} rows", tally.equal, tally.rows);
    assert!(tally.wrong.is_empty(), "{}", tally.wrong.join("\n"));
    assert_eq!(tally.equal, tables.len());
}

/// Python with Arrow, installed by `tests/peers`.
fn python() -> Option<PathBuf> {
    let python = root().join(".peers/py/bin/python");
    if !python.exists() {
        println!("SKIPPED differential: no Python in .peers; run tests/peers");
        return None;
    }
    Some(python)
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn run(python: &Path, arguments: impl IntoIterator<Item = String>) {
    let output =
        Command::new(python).arg(root().join("tests/interop/differential.py")).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Every folder below this one that has a log.
fn find_tables(folder: &Path, found: &mut Vec<PathBuf>) {
    if folder.join("_delta_log").is_dir() {
        found.push(folder.to_owned());
        return;
    }
    let mut below: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    below.sort();
    below.iter().filter(|path| path.is_dir()).for_each(|path| find_tables(path, found));
}

async fn compare(folder: &Path, tally: &mut Tally) {
    for line in std::fs::read_to_string(folder.join("tables.jsonl")).unwrap().lines() {
        let case: Case = serde_json::from_str(line).unwrap();
        let found = rows(&case.table).await;
        let wrong = match (case.verdict, found) {
            (Verdict::MustRefuse, Err(error)) if !error.to_string().contains(&case.says) => {
                format!("it was refused without {:?}: {error}", case.says)
            }
            (Verdict::MustRefuse, Err(_)) => {
                tally.refused += 1;
                *tally.seen.entry(format!("refused: {}", case.quirks[0])).or_default() += 1;
                continue;
            }
            (Verdict::MustRefuse, Ok(_)) => "it was read and must be refused".to_owned(),
            (Verdict::MustEqual, Err(error)) => format!("it was refused: {error}"),
            (Verdict::MustEqual, Ok(found)) => match difference(folder, &case, &found) {
                Some(difference) => difference,
                None => {
                    tally.equal += 1;
                    tally.rows += found.1.len();
                    case.quirks.into_iter().for_each(|quirk| *tally.seen.entry(quirk).or_default() += 1);
                    continue;
                }
            },
        };
        tally.wrong.push(format!("{}: {wrong}\n    quirks: {}", case.name, case.quirks.join(", ")));
    }
}

/// Names of the columns, and rows as sorted texts.
type Rows = (Vec<String>, Vec<Vec<String>>);

/// All rows of a table, read as a worker does: by the text of its shape and the list of its files.
async fn rows(table: &Path) -> Result<Rows, DeltaError> {
    let snapshot = open(table, None).await?;
    let files: Vec<SourceFile> = snapshot.scan_files().try_collect().await?;
    let shape = TableShape::read(snapshot.shape().text())?;
    let batches: Vec<RecordBatch> = read(&shape, files).await?.into_iter().map(|batch| batch.batch).collect();
    let columns: Vec<String> = snapshot.arrow_schema().fields().iter().map(|field| field.name().clone()).collect();
    let names: Vec<&str> = columns.iter().map(String::as_str).collect();
    let rows = texts(&batches, &names, |_, text| text);
    Ok((columns, rows))
}

/// The first difference to the other reader's rows.
fn difference(folder: &Path, case: &Case, (columns, rows): &Rows) -> Option<String> {
    let text = std::fs::read_to_string(folder.join("rows").join(format!("{}.jsonl", case.name))).unwrap();
    let mut lines = text.lines().map(|line| serde_json::from_str::<Vec<String>>(line).unwrap());
    let expected_columns = lines.next().unwrap();
    if expected_columns != *columns {
        return Some(format!("its columns are {columns:?}, not {expected_columns:?}"));
    }
    let mut expected: Vec<Vec<String>> = lines.collect();
    expected.sort();
    let at = (0..expected.len().max(rows.len())).find(|at| expected.get(*at) != rows.get(*at))?;
    let cell = |column: usize| match (rows.get(at), expected.get(at)) {
        (Some(found), Some(expected)) if found[column] == expected[column] => None,
        (found, expected) => {
            let shown = |row: Option<&Vec<String>>| row.map_or("no row".to_owned(), |row| row[column].clone());
            Some(format!("{} is {}, not {}", columns[column], shown(found), shown(expected)))
        }
    };
    let cells: Vec<String> = (0..columns.len()).filter_map(cell).collect();
    Some(format!("{} rows, not {}; sorted row {at}: {}", rows.len(), expected.len(), cells.join("; ")))
}
