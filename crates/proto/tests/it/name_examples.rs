//! The examples of names in the contract's comments, parsed as a reader in another language would take them from there.

use mms_proto::name::{PartitionId, Segment, SourceId};

const CONTRACT: &str = include_str!("../../../../proto/mms/type/v1/options.proto");

/// For each example, the source's text as JSON and the segment.
fn examples() -> Vec<(serde_json::Value, &'static str)> {
    let lines = CONTRACT.lines().filter_map(|line| line.trim().strip_prefix("//")?.trim().split_once(" -> "));
    let parsed = lines.filter_map(|(json, segment)| Some((serde_json::from_str(json.trim()).ok()?, segment.trim())));
    parsed.collect()
}

#[test]
fn every_example_is_formatted_and_parsed_so() {
    let (mut texts, mut partitions) = (0, 0);
    for (json, segment) in examples() {
        if let Some(text) = json.as_str() {
            let id = SourceId::new(text).expect("the example is a text");
            assert_eq!(id.to_string(), segment, "{json}");
            assert_eq!(SourceId::parse_segment(segment).expect(segment), id);
            texts += 1;
        } else {
            let levels: Vec<(String, Option<String>)> = serde_json::from_value(json.clone()).expect("pairs");
            let id = PartitionId::new(levels).expect("the example is a partition");
            assert_eq!(id.to_string(), segment, "{json}");
            assert_eq!(PartitionId::parse_segment(segment).expect(segment), id);
            partitions += 1;
        }
    }
    assert!(texts >= 8 && partitions >= 6, "{texts} texts and {partitions} partitions were found in the comment");
}

#[test]
fn every_other_spelling_is_refused() {
    for segment in ["a%2fb", "%61", "a b", "a+b", "it's", "(a)", "a*", "-", "%FF", "%", "%2", "销售"] {
        assert!(SourceId::parse_segment(segment).is_err(), "{segment}");
    }
    for segment in ["a=b=c", "a=b,", "=b", ",", "a=-", "a=x%2cy"] {
        assert!(PartitionId::parse_segment(segment).is_err(), "{segment}");
    }
}
