//! Counts rows at the target, by SQL statements there.

use std::collections::BTreeMap;

use mms_maxcompute::SqlRows;
use mms_maxcompute::ddl;
use mms_maxcompute::table::PartitionSpec;

use crate::error::{Result, TransferError};
use crate::target::Target;

/// Partitions counted by one statement: fewer than the most rows that the service shows of a result.
const PARTITIONS_AT_ONCE: usize = 500;

/// The values of a partition, level by level.
pub type Levels = Vec<String>;

pub fn levels(spec: &PartitionSpec) -> Levels {
    spec.0.iter().map(|(_, value)| value.clone()).collect()
}

/// Counts the rows of the whole table.
pub async fn table(target: &Target) -> Result<u64> {
    let rows = target.run(ddl::count(&target.definition.target, &target.definition.partition_columns, &[])).await?;
    rows.single_number().ok_or_else(|| unreadable(&rows))
}

/// Counts the rows of partitions. A partition that is empty or does not exist is not in the result.
pub async fn partitions(target: &Target, specs: &[PartitionSpec]) -> Result<BTreeMap<Levels, u64>> {
    let mut found = BTreeMap::new();
    for specs in specs.chunks(PARTITIONS_AT_ONCE) {
        let columns = &target.definition.partition_columns;
        let rows = target.run(ddl::count_by_partition(&target.definition.target, columns, specs)).await?;
        found.extend(by_partition(&rows)?);
    }
    Ok(found)
}

fn by_partition(rows: &SqlRows) -> Result<BTreeMap<Levels, u64>> {
    let mut found = BTreeMap::new();
    for row in &rows.rows {
        let read = row.split_last().and_then(|(count, levels)| {
            let levels: Option<Levels> = levels.iter().cloned().collect();
            Some((levels?, count.as_ref()?.trim().parse().ok()?))
        });
        let (levels, count) = read.ok_or_else(|| unreadable(rows))?;
        found.insert(levels, count);
    }
    Ok(found)
}

fn unreadable(rows: &SqlRows) -> TransferError {
    TransferError::Plan(format!("the target's answer to a count cannot be read: columns {:?}", rows.columns))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_found_by_all_levels() {
        let row = |a: &str, b: &str, n: &str| vec![Some(a.to_owned()), Some(b.to_owned()), Some(n.to_owned())];
        let rows = SqlRows { columns: vec![], rows: vec![row("1", "x", "10"), row("1", "y", "20")] };
        let found = by_partition(&rows).expect("readable");
        assert_eq!(found.get(&vec!["1".to_owned(), "y".to_owned()]), Some(&20));
        let bad = SqlRows { columns: vec![], rows: vec![vec![Some("1".into()), Some("many".into())]] };
        assert!(by_partition(&bad).is_err());
    }
}
