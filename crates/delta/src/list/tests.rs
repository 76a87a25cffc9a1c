use proptest::prelude::*;

use super::*;
use crate::{DeletionVector, TableTotals};

/// A file that owns its fields.
#[derive(Clone, Debug)]
struct Owned {
    path: String,
    size: u64,
    rows: Option<u64>,
    partition: usize,
    vector: Option<DeletionVector>,
    stats: Option<String>,
}

impl Owned {
    fn logged<'a>(&'a self, values: &'a [(String, Option<String>)]) -> LoggedFile<'a> {
        LoggedFile {
            path: &self.path,
            size: self.size,
            rows: self.rows,
            partition: self.partition,
            partition_values: values,
            deletion_vector: self.vector.clone(),
            stats: self.stats.as_deref(),
        }
    }
}

fn values_of(partition: usize) -> Vec<(String, Option<String>)> {
    vec![("p".to_owned(), (partition > 0).then(|| partition.to_string()))]
}

fn file() -> impl Strategy<Value = Owned> {
    let vector = ("[uip]?", ".{0,4}", any::<Option<i32>>(), any::<i32>(), any::<u64>()).prop_map(
        |(storage_type, path_or_inline, offset, size_in_bytes, cardinality)| DeletionVector {
            storage_type,
            path_or_inline,
            offset,
            size_in_bytes,
            cardinality,
        },
    );
    let rows = proptest::option::of(0..u64::MAX);
    let stats = proptest::option::of(prop_oneof![".{0,9}", Just("s".repeat(PAGE_BYTES / 5))]);
    (".{0,9}", any::<u64>(), rows, 0..200_usize, proptest::option::of(vector), stats)
        .prop_map(|(path, size, rows, partition, vector, stats)| Owned { path, size, rows, partition, vector, stats })
}

proptest! {
    #[test]
    fn what_is_kept_comes_out_as_it_was(files in proptest::collection::vec(file(), 0..80)) {
        let (mut list, mut totals) = (FileList::new(usize::MAX), TableTotals::default());
        let values: Vec<_> = (0..200).map(values_of).collect();
        let all: Vec<_> = files.iter().map(|file| file.logged(&values[file.partition])).collect();
        for file in &all {
            totals.add(file);
            list.add(file).expect("kept");
        }
        prop_assert!(list.is_whole());
        for bucket in list.buckets() {
            let expected: Vec<_> = all.iter().filter(|file| FileList::bucket_of(file.partition) == bucket).cloned().collect();
            let pages: Vec<_> = list.pages(bucket).collect::<Result<_, _>>().expect("pages");
            let found: Vec<_> = pages.iter().flat_map(|page| page.files(&totals)).collect::<Result<_, _>>().expect("files");
            prop_assert_eq!(&found, &expected, "in the order of the log");
        }
        let mut some = list.gather(list.buckets(), |partition| partition % 3 == 0).expect("files");
        some.sort_by_key(std::cmp::Reverse);
        let mut expected: Vec<_> = all.iter().filter(|file| file.partition % 3 == 0).cloned().collect();
        expected.sort_by_key(|file| std::cmp::Reverse(file.partition));
        prop_assert_eq!(some.files(&totals).collect::<Result<Vec<_>, _>>().expect("files"), expected);
        let mut page = FilePage::default();
        all.iter().for_each(|file| page.add(file).expect("short"));
        prop_assert_eq!(page.files(&totals).collect::<Result<Vec<_>, _>>().expect("files"), all);
        let sizes: u64 = (0..200).map(|partition| list.size_of(partition)).sum();
        prop_assert_eq!(sizes, page.size() as u64);
    }
}

#[test]
fn a_list_that_gets_too_large_lets_go_and_counts_on() {
    let stats = "s".repeat(1_000);
    let file = |number: usize| Owned {
        path: format!("f{number}"),
        size: 1,
        rows: None,
        partition: number % 3,
        vector: None,
        stats: Some(stats.clone()),
    };
    let (mut small, mut large) = (FileList::new(1_000), FileList::new(1 << 20));
    for number in 0..2_000 {
        small.add(&file(number).logged(&[])).expect("kept");
        large.add(&file(number).logged(&[])).expect("kept");
    }
    assert!(!small.is_whole() && large.is_whole());
    assert!((0..3).all(|partition| small.size_of(partition) == large.size_of(partition) && small.size_of(partition) > 600_000));
    assert!(small.gather(small.buckets(), |_| true).is_err(), "no one takes it for a list of nothing");
}

#[test]
fn lists_of_one_budget_share_it_and_give_it_back() {
    let budget = Arc::new(Budget::new(100_000));
    let add = |list: &mut FileList, number: usize| {
        // Texts of which no two are alike, so that compression gains little.
        let stats: String = (0..4_000).map(|at| char::from(33 + ((number * 7919 + at * at * 31) % 90) as u8)).collect();
        let file =
            Owned { path: format!("f{number}"), size: 1, rows: None, partition: 0, vector: None, stats: Some(stats) };
        list.add(&file.logged(&[])).expect("kept");
    };
    let (mut one, mut other) = (FileList::within(budget.clone()), FileList::within(budget.clone()));
    let mut number = 0;
    while one.is_whole() && other.is_whole() {
        add(&mut one, number);
        add(&mut other, number + 1);
        number += 2;
        assert!(budget.taken() <= 100_000 && number < 100_000);
    }
    let (mut kept, gone) = if one.is_whole() { (one, other) } else { (other, one) };
    drop(gone);
    assert!(budget.taken() > 0, "the other one is still there");
    assert!(kept.bytes() >= budget.taken());
    kept.settle();
    assert_eq!(budget.taken(), 0, "it is for its owner to count");
    assert!(kept.is_whole() && kept.gather(kept.buckets(), |_| true).is_ok());
    drop(kept);
    assert_eq!(budget.taken(), 0, "nothing is given back twice");
}

#[test]
fn a_cut_page_is_an_error() {
    let mut raw = Vec::new();
    let file = Owned { path: "a".into(), size: 1, rows: None, partition: 0, vector: None, stats: None };
    record::write(&file.logged(&[]), &mut raw).expect("short");
    assert!(FilePage::of(raw.clone()).is_ok());
    for length in 1..raw.len() {
        assert!(FilePage::of(raw[..length].to_vec()).is_err(), "{length}");
    }
}
