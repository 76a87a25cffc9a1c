use mms_delta::LoggedFile;
use mms_mapping::{CharacterMap, PartitionLevel, PartitionMapping, SparkType};
use mms_maxcompute::name::ColumnName;
use mms_maxcompute::types::DataType;
use proptest::prelude::*;

use super::*;
use crate::fixture::snapshot;
use crate::plan::chosen::Chosen;
use crate::survey::Surveys;

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

async fn files(snapshot: &Snapshot, partitioned: bool, whole: bool) -> Files {
    let mut notes = Vec::new();
    let survey = Surveys::new(if whole { usize::MAX } else { 0 }, 0).for_plan(snapshot).await.unwrap();
    assert_eq!(survey.list.is_whole(), whole || survey.totals.all().files == 0);
    let units = Units::of(&mapping(partitioned), &survey.totals, &Chosen::default(), &mut notes);
    assert_eq!(notes, []);
    Files { snapshot: snapshot.clone(), survey, units }
}

async fn emitted(files: &Files, memory: usize) -> (Vec<pb::UnitFiles>, pb::PinEnd) {
    let (out, mut answers) = mpsc::channel::<std::result::Result<pb::PinTableResponse, Status>>(1);
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
        let end = files.emit(memory, &out).await.unwrap();
        drop(out);
        end
    };
    tokio::join!(read, send)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_file_once_and_units_together(
        spec in proptest::collection::vec((0_u8..4, 0_u8..90), 1..30),
        memory in 1_usize..8_000,
        partitioned in any::<bool>(),
        whole in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (messages, again, end) = runtime.block_on(async {
            let snapshot = snapshot(folder.path(), &spec).await;
            let files = files(&snapshot, partitioned, whole).await;
            let (messages, end) = emitted(&files, memory).await;
            (messages, emitted(&files, memory).await.0, end)
        });
        prop_assert_eq!(end, pb::PinEnd { file_count: spec.len() as i64, size_bytes: spec.len() as i64 });
        let mut paths: Vec<String> = messages.iter().flat_map(|m| m.files.iter().map(|f| f.path.clone())).collect();
        paths.sort();
        let mut expected: Vec<String> = (0..spec.len()).map(|number| format!("f{number}")).collect();
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
                let number: usize = file.path.trim_start_matches('f').parse().unwrap();
                let (p, q) = spec[number];
                prop_assert_eq!(own, vec![
                    ("p".to_owned(), (p > 0).then(|| format!("v{p}"))), ("q".to_owned(), Some(q.to_string())),
                ]);
                prop_assert_eq!(file.row_count, Some(1));
                prop_assert_eq!(file.statistics.as_ref().map(|told| told.columns.len()), Some(1));
            }
        }
        prop_assert_eq!(messages, again, "the same files in the same order");
    }
}

#[tokio::test]
async fn a_unit_of_many_partitions_comes_in_few_messages() {
    let folder = tempfile::tempdir().unwrap();
    let spec: Vec<(u8, u8)> = (0..300_u16).map(|number| ((number % 3) as u8, (number % 100) as u8)).collect();
    let snapshot = snapshot(folder.path(), &spec).await;
    let files = files(&snapshot, false, true).await;
    assert_eq!(emitted(&files, usize::MAX).await.0.len(), 300, "each partition of its own");
    let spec = vec![(1, 1); 300];
    let one = tempfile::tempdir().unwrap();
    let snapshot = self::snapshot(one.path(), &spec).await;
    assert_eq!(emitted(&self::files(&snapshot, true, true).await, 4_000).await.0.len(), 1);
}

#[test]
fn values_that_fall_together_are_a_blocker() {
    let mut clashing = mapping(true);
    clashing.characters = CharacterMap::new([("/".to_owned(), "_".to_owned())].into()).unwrap();
    let mut totals = TableTotals::default();
    for (partition, value) in ["a/b", "a_b", "a=c"].into_iter().enumerate() {
        let partition_values = &[("p".to_owned(), Some(value.to_owned()))];
        let (size, rows) = (1, None);
        totals.add(&LoggedFile {
            path: value,
            size,
            rows,
            partition,
            partition_values,
            deletion_vector: None,
            stats: None,
        });
    }
    let mut notes = Vec::new();
    Units::of(&clashing, &totals, &Chosen::default(), &mut notes);
    let found: Vec<_> = notes.iter().map(|note| note.to_pb("t").reason()).collect();
    use types::FindingReason as Reason;
    let expected = [Reason::PartitionValueUnsupported, Reason::PartitionValueRenamed, Reason::PartitionClash];
    assert_eq!(found, expected);
    let told = notes[1].to_pb("t");
    assert_eq!(told.severity(), types::Severity::Note);
    assert!(told.message.contains("rewrites 1 partition values: p: `a/b` becomes `a_b`"), "{}", told.message);
}
