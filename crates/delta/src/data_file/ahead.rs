//! Decides which parts of a file are fetched together: whole row groups, small ones with those after them, in as few requests
//! as their size allows. Pure: nothing is fetched here.

use std::ops::Range;

/// A load of this many bytes takes no further row groups; a longer request is cut into pieces of at least this many.
const ENOUGH_BYTES: u64 = 8 << 20;
/// Most bytes of row groups that are fetched together.
const TOGETHER_BYTES: u64 = 2 * ENOUGH_BYTES;
/// The bytes between columns that a request fetches in addition are at most a twentieth of the wanted bytes.
const GAP_PART: u64 = 20;

/// Row groups that are fetched together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Load {
    /// The row groups, at least one.
    pub groups: Range<usize>,
    /// Ranges of the file to request, in the file's order.
    pub requests: Vec<Range<u64>>,
    /// Their sum in bytes.
    pub bytes: u64,
}

/// Plans the loads of a file. `groups` has for each row group the ranges of the columns that are read. A row group of more
/// than `most` bytes is in no load: it is read page by page.
pub(super) fn loads(groups: &[Vec<Range<u64>>], most: u64) -> Vec<Load> {
    let bytes_of = |group: &[Range<u64>]| group.iter().map(|range| range.end - range.start).sum::<u64>();
    let mut loads: Vec<(Range<usize>, u64)> = Vec::new();
    for (index, group) in groups.iter().enumerate() {
        let bytes = bytes_of(group);
        match loads.last_mut() {
            _ if bytes > most => {}
            Some((load, sum))
                if load.end == index && *sum < ENOUGH_BYTES && *sum + bytes <= TOGETHER_BYTES.min(most) =>
            {
                load.end = index + 1;
                *sum += bytes;
            }
            _ => loads.push((index..index + 1, bytes)),
        }
    }
    let load = |(range, _): (Range<usize>, u64)| {
        let requests = requests(groups[range.clone()].iter().flatten().cloned().collect());
        let bytes = requests.iter().map(|request| request.end - request.start).sum();
        Load { groups: range, requests, bytes }
    };
    loads.into_iter().map(load).collect()
}

/// The requests that fetch all of these ranges.
fn requests(mut wanted: Vec<Range<u64>>) -> Vec<Range<u64>> {
    wanted.retain(|range| !range.is_empty());
    wanted.sort_by_key(|range| range.start);
    // Each with the number of its unwanted bytes.
    let mut together: Vec<(Range<u64>, u64)> = Vec::new();
    for range in wanted {
        match together.last_mut() {
            Some((last, _)) if range.start <= last.end => last.end = last.end.max(range.end),
            Some((last, surplus)) if (*surplus + range.start - last.end) * (GAP_PART + 1) <= range.end - last.start => {
                *surplus += range.start - last.end;
                last.end = range.end;
            }
            _ => together.push((range, 0)),
        }
    }
    together.into_iter().flat_map(|(range, _)| cut(range)).collect()
}

/// Cuts a range into pieces of about the same size.
fn cut(range: Range<u64>) -> Vec<Range<u64>> {
    let length = range.end - range.start;
    let step = length.div_ceil((length / ENOUGH_BYTES).max(1)).max(1);
    let (mut pieces, mut at) = (Vec::new(), range.start);
    while at < range.end {
        let end = (at + step).min(range.end);
        pieces.push(at..end);
        at = end;
    }
    pieces
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIB: u64 = 1 << 20;

    /// Row groups of these sizes, one after the other, each of two columns.
    fn file(sizes: &[u64]) -> Vec<Vec<Range<u64>>> {
        let mut at = 4;
        sizes
            .iter()
            .map(|size| {
                let (start, middle) = (at, at + size / 3);
                at += size;
                vec![middle..at, start..middle]
            })
            .collect()
    }

    #[test]
    fn small_row_groups_come_together_and_large_ones_alone() {
        let groups =
            |sizes: &[u64]| loads(&file(sizes), 128 * MIB).into_iter().map(|load| load.groups).collect::<Vec<_>>();
        assert_eq!(groups(&[MIB; 20]), [0..8, 8..16, 16..20]);
        assert_eq!(groups(&[5 * MIB; 5]), [0..2, 2..4, 4..5]);
        assert_eq!(groups(&[MIB, 64 * MIB, MIB]), [0..1, 1..2, 2..3]);
        assert_eq!(groups(&[MIB, 200 * MIB, MIB]), [0..1, 2..3], "page by page");
    }

    #[test]
    fn a_request_is_no_smaller_than_it_has_to_be() {
        let whole = loads(&file(&[67 * MIB]), 128 * MIB);
        assert_eq!((whole.len(), whole[0].requests.len(), whole[0].bytes), (1, 8, 67 * MIB));
        let many: usize = loads(&file(&[MIB; 67]), 128 * MIB).iter().map(|load| load.requests.len()).sum();
        assert_eq!(many, 9);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// Every wanted byte is requested once, with few others, in few requests.
        #[test]
        fn all_comes_and_little_else(
            sizes in proptest::collection::vec(proptest::collection::vec((0_u64..400_000, 1_u64..6_000_000), 1..6), 1..12),
        ) {
            let mut at = 4;
            let groups: Vec<Vec<Range<u64>>> = sizes.into_iter().map(|group| {
                group.into_iter().map(|(gap, size)| { let start = at + gap; at = start + size; start..at }).collect()
            }).collect();
            let loads = loads(&groups, 128 * MIB);
            let asked: Vec<Range<u64>> = loads.iter().flat_map(|load| load.requests.clone()).collect();
            prop_assert!(asked.windows(2).all(|pair| pair[0].end <= pair[1].start));
            let wanted: u64 = groups.iter().flatten().map(|range| range.end - range.start).sum();
            let bytes: u64 = asked.iter().map(|range| range.end - range.start).sum();
            prop_assert!(bytes * 20 <= wanted * 21, "{} for {}", bytes, wanted);
            let covered = |at: u64| asked.iter().any(|range| range.contains(&at));
            prop_assert!(groups.iter().flatten().all(|range| covered(range.start) && covered(range.end - 1)));
            prop_assert_eq!(loads.iter().map(|load| load.groups.len()).sum::<usize>(), groups.len());
        }
    }
}
