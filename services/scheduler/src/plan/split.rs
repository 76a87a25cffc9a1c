//! Cuts the units of a table into the runs that become tasks. Pure.

use std::ops::Range;

/// Bounds of one task.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Most units; at least 1.
    pub units: usize,
    /// Most bytes of source files; a single unit may exceed it.
    pub bytes: i64,
}

/// Cuts units, given by their bytes, into consecutive runs within the bounds. A run exceeds `bytes` only if it is a
/// single unit that exceeds it by itself. No units make no runs.
pub fn split(unit_bytes: &[i64], bounds: Bounds) -> Vec<Range<usize>> {
    let mut tasks = Vec::new();
    let (mut start, mut bytes) = (0, 0_i64);
    for (at, unit) in unit_bytes.iter().enumerate() {
        let full = at - start >= bounds.units.max(1) || bytes.saturating_add(*unit) > bounds.bytes;
        if full && at > start {
            tasks.push(start..at);
            (start, bytes) = (at, 0);
        }
        bytes = bytes.saturating_add(*unit);
    }
    if start < unit_bytes.len() {
        tasks.push(start..unit_bytes.len());
    }
    tasks
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_unit_is_in_one_task_and_bounds_hold(
            sizes in proptest::collection::vec(0..100_i64, 0..200), units in 1..60_usize, bytes in 1..500_i64,
        ) {
            let tasks = split(&sizes, Bounds { units, bytes });
            let joined: Vec<usize> = tasks.iter().cloned().flatten().collect();
            prop_assert_eq!(joined, (0..sizes.len()).collect::<Vec<_>>());
            for task in &tasks {
                prop_assert!(task.len() <= units);
                prop_assert!(task.len() == 1 || sizes[task.clone()].iter().sum::<i64>() <= bytes);
            }
            // Runs are as long as the bounds allow: no two neighbours could have been one.
            for pair in tasks.windows(2) {
                let next = sizes[pair[1].start];
                prop_assert!(pair[0].len() == units || sizes[pair[0].clone()].iter().sum::<i64>() + next > bytes);
            }
        }
    }

    #[test]
    fn a_unit_above_the_bound_stands_alone() {
        assert_eq!(split(&[1, 9, 1], Bounds { units: 50, bytes: 5 }), vec![0..1, 1..2, 2..3]);
    }
}
