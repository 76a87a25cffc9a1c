//! Compares our replay with the kernel's over every available log. Ours either gives the same files in the same order, or is not
//! sure, and then the result is exactly the kernel's.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use delta_kernel::checkpoint::{CheckpointSpec, V2CheckpointConfig};
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use url::Url;

use super::*;
use crate::log::{LOG_BATCH_ROWS, plain_engine};
use crate::{DeltaTable, SourceFile};

/// How a log was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Own,
    Kernel,
    Refused,
}

fn open(table: &Path) -> Result<Snapshot, DeltaError> {
    let root = Url::from_directory_path(table.canonicalize().expect("a folder")).expect("a place");
    futures::executor::block_on(DeltaTable::open(Arc::new(LocalFileSystem::new()), &root, None))
}

fn listed(files: impl FnOnce(Sink<'_>) -> Result<(), Stop>) -> Result<Vec<SourceFile>, String> {
    let mut all = Vec::new();
    let done = files(&mut |file| {
        all.push(file.into_source_file());
        Ok(())
    });
    match done {
        Ok(()) => Ok(all),
        Err(Stop::Failed(error)) => Err(error.to_string()),
        Err(Stop::Gone) => Err("gone".to_owned()),
    }
}

/// Reads a log in every way; an error if the results differ.
fn compare(table: &Path) -> Result<Outcome, String> {
    let Ok(snapshot) = open(table) else { return Ok(Outcome::Refused) };
    let new = |snapshot| Replay { snapshot, partitions: Partitions::of(snapshot.shape()) };
    let by_kernel = listed(|sink| by_kernel(&mut new(&snapshot), Keys::default(), sink));
    let snapshot = open(table).map_err(|error| error.to_string())?;
    let mut sure = true;
    let own = listed(|sink| match own::replay(snapshot.opened(), &mut new(&snapshot), &mut Keys::default(), sink) {
        Err(Halt::Stop(stop)) => Err(stop),
        Ok(()) => Ok(()),
        Err(Halt::Unsure(_)) => {
            sure = false;
            Ok(())
        }
    });
    if sure {
        return if own == by_kernel { Ok(Outcome::Own) } else { Err(format!("{own:#?}\nthe kernel: {by_kernel:#?}")) };
    }
    let snapshot = open(table).map_err(|error| error.to_string())?;
    let mut both = listed(|sink| replay(&snapshot, sink));
    let mut expected = by_kernel;
    // A broken checkpoint is read twice, in part.
    both.as_mut().into_iter().chain(&mut expected).for_each(|files| files.sort_by(|a, b| a.path.cmp(&b.path)));
    match (both == expected, expected) {
        (true, Ok(_)) => Ok(Outcome::Kernel),
        (true, Err(_)) => Ok(Outcome::Refused),
        (false, expected) => Err(format!("not sure, then {both:#?}\nthe kernel: {expected:#?}")),
    }
}

/// Every folder below this one that has a log.
fn tables(folder: &Path, found: &mut Vec<PathBuf>) {
    if folder.join("_delta_log").is_dir() {
        found.push(folder.to_owned());
        return;
    }
    let mut below: Vec<_> = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    below.sort();
    below.iter().filter(|path| path.is_dir()).for_each(|path| tables(path, found));
}

fn compare_all(folder: &Path) -> [usize; 3] {
    let mut found = Vec::new();
    tables(folder, &mut found);
    let mut counts = [0; 3];
    for table in found {
        let outcome = compare(&table).unwrap_or_else(|difference| panic!("{}: {difference}", table.display()));
        counts[outcome as usize] += 1;
    }
    counts
}

#[test]
fn tables_of_the_sandbox_have_the_same_files() {
    let folder = tempfile::tempdir().expect("a folder");
    mms_sandbox::samples::types(folder.path(), 1_704_067_200_000).expect("tables");
    mms_sandbox::samples::tpch(folder.path(), 0.001, 1_704_067_200_000).expect("tables");
    let [own, kernel, refused] = compare_all(folder.path());
    assert!(own >= 18 && kernel + refused == 0, "{own} by us, {kernel} by the kernel, {refused} refused");
}

#[test]
#[allow(clippy::print_stdout, reason = "a test that is left out says so")]
fn tables_of_other_writers_have_the_same_files() {
    let Some(folder) = std::env::var_os("MMS_TEST_TABLES") else {
        println!("SKIPPED real tables: MMS_TEST_TABLES names no folder");
        return;
    };
    let [own, kernel, refused] = compare_all(Path::new(&folder));
    println!("{own} by us, {kernel} by the kernel, {refused} refused");
    assert!(own > 0);
}

#[test]
#[allow(clippy::print_stdout, reason = "a test that is left out says so")]
fn random_tables_have_the_same_files() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let python = root.join(".peers/py/bin/python");
    if !python.exists() {
        println!("SKIPPED random tables: no Python in .peers; run tests/peers");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let made = Command::new(python)
        .arg(root.join("tests/interop/differential.py"))
        .args(["make", folder.path().to_str().expect("text"), "replay", "0", "60"])
        .output()
        .expect("python");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let [own, kernel, refused] = compare_all(folder.path());
    println!("{own} by us, {kernel} by the kernel, {refused} refused");
    assert!(own >= 30, "{own} by us, {kernel} by the kernel, {refused} refused");
}

/// An action of a random log.
#[derive(Clone, Debug)]
struct Action {
    file: u8,
    add: bool,
    vector: Option<i32>,
    spelled: u8,
    stats: u8,
    partition: u8,
}

impl Action {
    fn json(&self, root: &Url) -> Value {
        let name = format!("p=1/f{}.parquet", self.file);
        let path = match self.spelled {
            0 => name.replace('=', "%3D"),
            1 => root.join(&name).expect("a place").to_string(),
            2 => format!("./{name}"),
            _ => name,
        };
        let vector = self.vector.map(|offset| {
            json!({ "storageType": "u", "pathOrInlineDv": "ab^-aqEH.-t@S}K{vb[*k^", "offset": offset, "sizeInBytes": 40, "cardinality": 1 })
        });
        if !self.add {
            return json!({ "remove": { "path": path, "deletionTimestamp": 0, "dataChange": true, "deletionVector": vector } });
        }
        let stats = match self.stats {
            0 => None,
            1 => Some("no statistics".to_owned()),
            2 => Some(json!({ "numRecords": 0 }).to_string()),
            _ => Some(json!({ "numRecords": 9, "minValues": { "id": -1 }, "nullCount": { "id": 0 }, "maxValues": { "id": 1.5 } }).to_string()),
        };
        let values = match self.partition {
            0 => json!({ "p": null }),
            1 => json!({}),
            2 => json!({ "p": 1 }),
            _ => json!({ "p": self.partition.to_string() }),
        };
        json!({ "add": { "path": path, "partitionValues": values, "size": 1, "modificationTime": 0, "dataChange": true,
            "stats": stats, "deletionVector": vector } })
    }
}

fn action() -> impl Strategy<Value = Action> {
    let vector = proptest::option::weighted(0.2, 1..3_i32);
    let partition = prop_oneof![20 => 3..6_u8, 4 => 0..2_u8, 1 => Just(2_u8)];
    (0..12_u8, proptest::bool::weighted(0.7), vector, prop_oneof![6 => Just(9_u8), 1 => 0..3_u8], 0..6_u8, partition)
        .prop_map(|(file, add, vector, spelled, stats, partition)| Action {
            file,
            add,
            vector,
            spelled,
            stats,
            partition,
        })
}

/// The form of a checkpoint.
#[derive(Clone, Copy, Debug)]
enum Checkpoint {
    Classic,
    Parts,
    Uuid,
    Sidecars,
    Json,
}

/// A defect of a log.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Cut,
    Text,
    Escape,
    NoNewline,
    BlankLines,
}

#[derive(Clone, Debug)]
struct Log {
    commits: Vec<Vec<Action>>,
    checkpoint: Option<(usize, Checkpoint)>,
    stats_as_columns: bool,
    fault: Option<(usize, Fault)>,
}

fn log() -> impl Strategy<Value = Log> {
    let kind = prop_oneof![
        Just(Checkpoint::Classic),
        Just(Checkpoint::Parts),
        Just(Checkpoint::Uuid),
        Just(Checkpoint::Sidecars),
        Just(Checkpoint::Json)
    ];
    let fault = prop_oneof![
        Just(Fault::Cut),
        Just(Fault::Text),
        Just(Fault::Escape),
        Just(Fault::NoNewline),
        Just(Fault::BlankLines)
    ];
    let commits = proptest::collection::vec(proptest::collection::vec(action(), 0..5), 1..7);
    let checkpoint = proptest::option::weighted(0.7, (0..6_usize, kind));
    (commits, checkpoint, any::<bool>(), proptest::option::weighted(0.3, (0..6_usize, fault)))
        .prop_map(|(commits, checkpoint, stats_as_columns, fault)| Log { commits, checkpoint, stats_as_columns, fault })
}

fn lines(actions: &[Value]) -> String {
    actions.iter().map(|action| format!("{action}\n")).collect()
}

/// Writes the log, with a checkpoint only where the kernel can make one.
fn write(log: &Log, folder: &Path) {
    let dir = folder.join("_delta_log");
    fs::create_dir_all(&dir).expect("a folder");
    let root = Url::from_directory_path(folder).expect("a place");
    let column = |name: &str, kind: &str| json!({ "name": name, "type": kind, "nullable": true, "metadata": {} });
    let schema = json!({ "type": "struct", "fields": [column("id", "double"), column("p", "string")] }).to_string();
    let properties = if log.stats_as_columns {
        json!({ "delta.checkpoint.writeStatsAsStruct": "true", "delta.checkpoint.writeStatsAsJson": "false" })
    } else {
        json!({})
    };
    let features = ["deletionVectors", "v2Checkpoint"];
    let begin = [
        json!({ "protocol": { "minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": features, "writerFeatures": features } }),
        json!({ "metaData": { "id": "1", "format": { "provider": "parquet", "options": {} }, "schemaString": schema,
            "partitionColumns": ["p"], "configuration": properties, "createdTime": 0 } }),
    ];
    for (version, actions) in log.commits.iter().enumerate() {
        let actions: Vec<Value> = actions.iter().map(|action| action.json(&root)).collect();
        let begin = if version == 0 { lines(&begin) } else { String::new() };
        fs::write(dir.join(format!("{version:020}.json")), begin + &lines(&actions)).expect("written");
        if let Some((at, kind)) = log.checkpoint
            && at == version
        {
            checkpoint(folder, version, kind);
        }
    }
    if let Some((version, fault)) = log.fault {
        let path = dir.join(format!("{version:020}.json"));
        let Ok(text) = fs::read_to_string(&path) else { return };
        let text = match fault {
            Fault::Cut => text.get(..text.len() * 2 / 3).unwrap_or_default().to_owned(),
            Fault::Text => text.replace("\"size\":1", "\"size\":\"1\""),
            Fault::Escape => text.replace("\"add\"", "\"\\u0061dd\""),
            Fault::NoNewline => text.trim_end().to_owned(),
            Fault::BlankLines => text.replace('\n', "\r\n\n \n"),
        };
        fs::write(path, text).expect("written");
    }
}

fn checkpoint(folder: &Path, version: usize, kind: Checkpoint) {
    let Ok(snapshot) = open(folder) else { return };
    let store: Arc<dyn ObjectStore> = Arc::new(LocalFileSystem::new());
    let engine = plain_engine(store, LOG_BATCH_ROWS).expect("an engine");
    let spec = match kind {
        Checkpoint::Classic | Checkpoint::Parts => CheckpointSpec::V1,
        Checkpoint::Uuid => CheckpointSpec::V2(V2CheckpointConfig::NoSidecar),
        Checkpoint::Sidecars => {
            CheckpointSpec::V2(V2CheckpointConfig::WithSidecar { file_actions_per_sidecar_hint: Some(1) })
        }
        Checkpoint::Json => return json_checkpoint(folder, version, &snapshot),
    };
    // An invalid log has no checkpoint.
    let made = snapshot.opened().inner.clone().checkpoint(engine.as_ref(), Some(&spec));
    if made.is_ok() && matches!(kind, Checkpoint::Parts) {
        split(&folder.join("_delta_log"), version);
    }
}

/// Cuts a classic checkpoint in two.
fn split(dir: &Path, version: usize) {
    let whole = dir.join(format!("{version:020}.checkpoint.parquet"));
    let Ok(file) = fs::File::open(&whole) else { return };
    let reader =
        ParquetRecordBatchReaderBuilder::try_new(file).expect("a file").with_batch_size(3).build().expect("rows");
    let mut parts: [Vec<_>; 2] = Default::default();
    reader.enumerate().for_each(|(number, batch)| parts[number % 2].push(batch.expect("rows")));
    let Some(schema) = parts[0].first().map(arrow::array::RecordBatch::schema) else { return };
    for (number, batches) in parts.iter().enumerate() {
        let path = dir.join(format!("{version:020}.checkpoint.{:010}.{:010}.parquet", number + 1, 2));
        let mut writer =
            ArrowWriter::try_new(fs::File::create(path).expect("a file"), schema.clone(), None).expect("a writer");
        batches.iter().for_each(|batch| writer.write(batch).expect("written"));
        writer.close().expect("written");
    }
    fs::remove_file(whole).expect("gone");
    drop(fs::remove_file(dir.join("_last_checkpoint")));
}

/// A checkpoint as lines of JSON, made by the kernel's replay.
fn json_checkpoint(folder: &Path, version: usize, snapshot: &Snapshot) {
    let mut replay = Replay { snapshot, partitions: Partitions::of(snapshot.shape()) };
    let Ok(files) = listed(|sink| by_kernel(&mut replay, Keys::default(), sink)) else { return };
    let first = fs::read_to_string(folder.join("_delta_log/00000000000000000000.json")).expect("a commit");
    let mut text: String = first.lines().take(2).map(|line| format!("{line}\n")).collect();
    text += &lines(&[json!({ "checkpointMetadata": { "version": version } })]);
    for file in files {
        let vector = file.deletion_vector.map(|vector| {
            json!({ "storageType": vector.storage_type, "pathOrInlineDv": vector.path_or_inline, "offset": vector.offset,
                "sizeInBytes": vector.size_in_bytes, "cardinality": vector.cardinality })
        });
        let values: serde_json::Map<String, Value> =
            file.partition_values.into_iter().map(|(name, value)| (name, json!(value))).collect();
        text += &lines(&[
            json!({ "add": { "path": file.path, "partitionValues": values, "size": file.size, "modificationTime": 0,
            "dataChange": false, "deletionVector": vector } }),
        ]);
    }
    let name = format!("{version:020}.checkpoint.80a083e8-7026-4e79-81be-64bd76c43a11.json");
    fs::write(folder.join("_delta_log").join(name), text).expect("written");
}

#[test]
fn random_logs_have_the_same_files() {
    let counts = [0; 3].map(Cell::new);
    let mut runner = TestRunner::new(ProptestConfig::with_cases(400));
    let run = runner.run(&log(), |log| {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path().canonicalize().expect("a folder");
        write(&log, &folder);
        match compare(&folder) {
            Ok(outcome) => counts[outcome as usize].update(|count| count + 1),
            Err(difference) => return Err(TestCaseError::fail(difference)),
        }
        Ok(())
    });
    let [own, kernel, refused] = counts.map(Cell::into_inner);
    if let Err(error) = run {
        panic!("{error}");
    }
    assert!(own >= 50 && kernel >= 10 && refused >= 50, "{own} by us, {kernel} by the kernel, {refused} refused");
}
