use futures::{StreamExt, stream};
use mms_delta::TableTotals;
use mms_mapping::{CharacterMap, PartitionLevel, PartitionMapping, SparkType};
use mms_maxcompute::name::ColumnName;
use mms_maxcompute::types::DataType;
use proptest::prelude::*;

use super::*;

/// `p` partitions the target; `q`, as a seventh level would, does not.
fn mapping(partitioned: bool) -> PartitionMapping {
    let level = PartitionLevel {
        source: "p".to_owned(),
        source_type: SparkType::String,
        target: ColumnName::new("p").unwrap(),
        target_type: DataType::String,
    };
    PartitionMapping { levels: if partitioned { vec![level] } else { Vec::new() }, characters: CharacterMap::default() }
}

fn files(spec: &[(u8, u8)]) -> Vec<SourceFile> {
    let file = |(number, (p, q)): (usize, &(u8, u8))| SourceFile {
        path: format!("f{number}"),
        size: 1,
        rows: Some(1),
        partition_values: vec![
            ("p".to_owned(), (*p > 0).then(|| format!("v{p}"))),
            ("q".to_owned(), Some(q.to_string())),
        ],
        deletion_vector: None,
        statistics: None,
    };
    spec.iter().enumerate().map(file).collect()
}

fn units(files: &[SourceFile], partitioned: bool) -> Units {
    let totals: TableTotals = files.iter().collect();
    let mut notes = Vec::new();
    let partitions: Vec<_> = totals.partitions().collect();
    let units = Units::of(&mapping(partitioned), &partitions, files.len() as u64, &mut notes);
    assert_eq!(notes, []);
    units
}

fn emitted(files: &[SourceFile], units: &Units, memory: usize) -> Vec<pb::UnitFiles> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let (out, mut answers) = mpsc::channel::<std::result::Result<pb::PinTableResponse, Status>>(1);
        let replay = || stream::iter(files.to_vec()).map(Ok).boxed();
        let read = async {
            let mut messages = Vec::new();
            while let Some(answer) = answers.recv().await {
                match answer.unwrap().part {
                    Some(Part::Files(files)) => messages.push(files),
                    other => panic!("{other:?}"),
                }
            }
            messages
        };
        let send = async {
            emit(replay, units, memory, &out).await.unwrap();
            drop(out);
        };
        tokio::join!(read, send).0
    })
}

proptest! {
    #[test]
    fn every_file_once_and_units_together(
        spec in proptest::collection::vec((0_u8..4, 0_u8..3), 0..40),
        memory in 1_usize..20,
        partitioned in any::<bool>(),
    ) {
        let files = files(&spec);
        let units = units(&files, partitioned);
        let messages = emitted(&files, &units, memory);
        let mut paths: Vec<String> = messages.iter().flat_map(|m| m.files.iter().map(|f| f.path.clone())).collect();
        paths.sort();
        let mut expected: Vec<String> = files.iter().map(|f| f.path.clone()).collect();
        expected.sort();
        prop_assert_eq!(paths, expected, "each file exactly once");

        let mut seen: Vec<Vec<types::PartitionValue>> = Vec::new();
        for message in &messages {
            prop_assert!(!message.files.is_empty() && message.files.len() <= FILES_MAX);
            if seen.last() != Some(&message.target_partition) {
                prop_assert!(!seen.contains(&message.target_partition), "the files of a unit follow each other");
                seen.push(message.target_partition.clone());
            }
            for file in &message.files {
                let own: PartitionValues = file.partition_values.iter()
                    .map(|v| (v.column.clone(), (!v.is_null).then(|| v.value.clone()))).collect();
                prop_assert_eq!(&key::segment(&own).unwrap(), &message.source_partition);
            }
        }
        prop_assert_eq!(messages, emitted(&files, &units, memory), "the same files in the same order");
    }

    #[test]
    fn batches_cover_all_units_in_order(spec in proptest::collection::vec((0_u8..6, 0_u8..2), 0..60), memory in 1_usize..30) {
        let units = units(&files(&spec), true);
        let batches = units.batches(memory);
        prop_assert_eq!(batches.iter().cloned().flatten().collect::<Vec<_>>(), (0..units.len()).collect::<Vec<_>>());
        for batch in batches {
            let sum: u64 = units.units()[batch.clone()].iter().map(|unit| unit.files).sum();
            prop_assert!(batch.len() == 1 || sum <= memory as u64);
        }
    }
}

#[test]
fn values_that_fall_together_are_a_blocker() {
    let mut clashing = mapping(true);
    clashing.characters = CharacterMap::new([("/".to_owned(), "_".to_owned())].into()).unwrap();
    let file = |value: &str| SourceFile {
        path: value.to_owned(),
        size: 1,
        rows: None,
        partition_values: vec![("p".to_owned(), Some(value.to_owned()))],
        deletion_vector: None,
        statistics: None,
    };
    let totals: TableTotals = [file("a/b"), file("a_b"), file("a=c")].iter().collect();
    let partitions: Vec<_> = totals.partitions().collect();
    let mut notes = Vec::new();
    Units::of(&clashing, &partitions, 3, &mut notes);
    let found: Vec<_> = notes.iter().map(|note| note.to_pb("t").reason()).collect();
    use types::FindingReason as Reason;
    let expected = [Reason::PartitionValueUnsupported, Reason::PartitionValueRenamed, Reason::PartitionClash];
    assert_eq!(found, expected);
    let told = notes[1].to_pb("t");
    assert_eq!(told.severity(), types::Severity::Note);
    assert!(told.message.contains("rewrites 1 partition values: p: `a/b` becomes `a_b`"), "{}", told.message);
}
