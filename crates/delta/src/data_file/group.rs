//! Decides how many rows of a row group are read at once, from what the file says of it. Pure. An estimate must never make a
//! batch larger than its goal by more than what the file does not tell.

use parquet::basic::Type as PhysicalType;
use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};

use super::Goal;

/// Fewest rows of a batch where the bytes of a row are only guessed, so that a bad guess does not make reading very slow.
const GUESSED_ROWS_MIN: u64 = 256;

/// Most bytes of one value that the target accepts. A larger value is refused later, and must not fill the memory before.
const VALUE_BYTES: u64 = 8 << 20;

/// A dictionary of more bytes than this may have a single long entry.
const LONG_DICTIONARY: u64 = 4 << 20;

/// Bytes of a text column's dictionary when it is unpacked, estimated from its stored bytes.
fn dictionary_bytes(column: &ColumnChunkMetaData) -> u64 {
    let positive = |bytes: i64| u64::try_from(bytes).unwrap_or(0);
    let Some(begin) = column.dictionary_page_offset().filter(|_| column.column_type() == PhysicalType::BYTE_ARRAY)
    else {
        return 0;
    };
    let packed = positive(column.data_page_offset().saturating_sub(begin));
    let (all, unpacked) = (positive(column.compressed_size()).max(1), positive(column.uncompressed_size()));
    u64::try_from(u128::from(unpacked) * u128::from(packed) / u128::from(all)).unwrap_or(unpacked).min(unpacked)
}

/// Number of rows of a row group.
pub(crate) fn rows(group: &RowGroupMetaData) -> u64 {
    u64::try_from(group.num_rows()).unwrap_or(0)
}

/// How many rows to read at once, and how many to pass on at once, so that their values have about as many bytes as the goal.
///
/// Where the whole row group would not fit into memory, only a few rows are read at a time, since nothing tells how unevenly
/// their bytes are spread.
pub(crate) fn pace(group: &RowGroupMetaData, leaves: &[usize], goal: Goal) -> (usize, usize) {
    let wanted = batch_rows(group, leaves, goal);
    let columns = || leaves.iter().filter_map(|leaf| group.columns().get(*leaf));
    let stored: u64 = columns().map(|column| u64::try_from(column.uncompressed_size()).unwrap_or(0)).sum();
    // Every row may refer to one long entry of a dictionary.
    let entry = columns().map(dictionary_bytes).max().unwrap_or(0);
    if stored <= goal.memory / 2 {
        let fit = usize::try_from(goal.memory / 4 / entry.max(1)).unwrap_or(usize::MAX).max(1);
        return (if entry > LONG_DICTIONARY { wanted.min(fit) } else { wanted }, wanted);
    }
    let few = usize::try_from(goal.memory / 4 / VALUE_BYTES).unwrap_or(usize::MAX).max(1);
    (wanted.min(few), wanted)
}

fn batch_rows(group: &RowGroupMetaData, leaves: &[usize], goal: Goal) -> usize {
    let rows = rows(group).max(1);
    let columns = leaves.iter().filter_map(|leaf| group.columns().get(*leaf));
    let sizes: Vec<(u64, bool)> = columns.map(|column| value_bytes(column, rows)).collect();
    let bytes: u64 = sizes.iter().map(|(bytes, _)| *bytes).fold(0, u64::saturating_add);
    let known: u64 = sizes.iter().filter(|(_, guess)| !guess).map(|(bytes, _)| *bytes).fold(0, u64::saturating_add);
    let fit = |bytes: u64| (goal.bytes.get() as u128 * u128::from(rows) / u128::from(bytes.max(1))).max(1);
    // Known bytes bound the batch to any size; guessed ones only down to [`GUESSED_ROWS_MIN`] rows.
    let wanted = fit(bytes).max(u128::from(GUESSED_ROWS_MIN)).min(fit(known));
    usize::try_from(wanted).unwrap_or(usize::MAX).min(goal.rows.get())
}

/// Bytes of a column's values in memory, and whether they are guessed. With a dictionary the stored size says little: a few
/// long texts stand for many rows.
fn value_bytes(column: &ColumnChunkMetaData, rows: u64) -> (u64, bool) {
    let positive = |bytes: i64| u64::try_from(bytes).unwrap_or(0);
    let values = positive(column.num_values());
    let stored = positive(column.uncompressed_size());
    let (width, variable) = match column.column_type() {
        PhysicalType::BOOLEAN => (1, false),
        PhysicalType::INT32 | PhysicalType::FLOAT => (4, false),
        PhysicalType::INT64 | PhysicalType::DOUBLE => (8, false),
        PhysicalType::INT96 => (12, false),
        PhysicalType::FIXED_LEN_BYTE_ARRAY => (positive(i64::from(column.column_descr().type_length())).max(16), false),
        PhysicalType::BYTE_ARRAY => (4, true),
    };
    let fixed = values.max(rows).saturating_mul(width);
    if !variable {
        return (fixed, false);
    }
    if let Some(told) = column.unencoded_byte_array_data_bytes() {
        return (fixed.saturating_add(positive(told)), false);
    }
    let dictionary = column.dictionary_page_offset().map(|at| positive(column.data_page_offset().saturating_sub(at)));
    let Some(packed) = dictionary else { return (fixed.saturating_add(stored), false) };
    // The dictionary's share of the stored bytes, assumed to be packed like the rest.
    let share = |bytes: u64| {
        let all = u128::from(positive(column.compressed_size()).max(1));
        u64::try_from(u128::from(stored) * u128::from(bytes) / all).unwrap_or(stored).min(stored)
    };
    let (entries, codes) = (share(packed), stored - share(packed));
    // A code of b bits distinguishes 2^b entries. Runs make codes shorter, and then the entries seem longer than they are.
    let bits = codes.saturating_mul(8) / values.max(1);
    let average = entries >> bits.min(40);
    (fixed.saturating_add(stored.max(average.saturating_mul(values))), true)
}

#[cfg(test)]
#[path = "group_tests.rs"]
mod tests;
