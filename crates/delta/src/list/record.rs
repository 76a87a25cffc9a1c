//! One file as bytes of a page: fixed fields, then texts. Pure.

use crate::{DeletionVector, LoggedFile};

/// Length of the fixed fields: the record's length, partition, size, rows, and the lengths of path, statistics and deletion
/// vector.
const HEAD: usize = 4 + 4 + 8 + 8 + 4 + 4 + 4;
/// Stands for a number that is absent.
const NO_ROWS: u64 = u64::MAX;
const NONE: u32 = u32::MAX;

/// Size of a file's record in bytes.
pub(super) fn size(file: &LoggedFile<'_>) -> usize {
    let vector = file.deletion_vector.as_ref().map_or(0, packed_size);
    HEAD + file.path.len() + file.stats.map_or(0, str::len) + vector
}

/// Appends a file's record; None if it is longer than its length field can say.
pub(super) fn write(file: &LoggedFile<'_>, page: &mut Vec<u8>) -> Option<()> {
    // The cast is lossless: each part is shorter than the whole record.
    let whole = u32::try_from(size(file)).ok().filter(|whole| *whole != NONE)?;
    let vector = file.deletion_vector.as_ref().map(packed);
    let texts = [Some(file.path.as_bytes()), file.stats.map(str::as_bytes), vector.as_deref()];
    page.extend_from_slice(&whole.to_le_bytes());
    page.extend_from_slice(&u32::try_from(file.partition).ok()?.to_le_bytes());
    page.extend_from_slice(&file.size.to_le_bytes());
    page.extend_from_slice(&file.rows.unwrap_or(NO_ROWS).to_le_bytes());
    for text in texts {
        page.extend_from_slice(&text.map_or(NONE, |text| text.len() as u32).to_le_bytes());
    }
    texts.iter().flatten().for_each(|text| page.extend_from_slice(text));
    Some(())
}

/// Partition and length of the first record of these bytes.
pub(super) fn measure(page: &[u8]) -> Option<(usize, usize)> {
    let mut rest = page;
    let (whole, partition) = (number(&mut rest)?, number(&mut rest)?);
    let whole = usize::try_from(whole).ok().filter(|whole| (HEAD..=page.len()).contains(whole))?;
    Some((usize::try_from(partition).ok()?, whole))
}

/// The file whose record these bytes are.
pub(super) fn read<'a>(
    mut rest: &'a [u8],
    partition: usize,
    partition_values: &'a [(String, Option<String>)],
) -> Option<LoggedFile<'a>> {
    take(&mut rest, 8)?;
    let (size, rows) = (long(&mut rest)?, long(&mut rest)?);
    let lengths = [number(&mut rest)?, number(&mut rest)?, number(&mut rest)?];
    let [path, stats, vector] = lengths.map(|length| {
        let length = usize::try_from(length).ok().filter(|_| length != NONE)?;
        take(&mut rest, length)
    });
    let text = |bytes: &'a [u8]| std::str::from_utf8(bytes).ok();
    Some(LoggedFile {
        path: text(path?)?,
        size,
        rows: (rows != NO_ROWS).then_some(rows),
        partition,
        partition_values,
        deletion_vector: match vector {
            None => None,
            Some(vector) => Some(unpacked(vector)?),
        },
        stats: match stats {
            None => None,
            Some(stats) => Some(text(stats)?),
        },
    })
}

fn packed_size(vector: &DeletionVector) -> usize {
    8 + 4 + 1 + 4 + 4 + vector.storage_type.len() + vector.path_or_inline.len()
}

fn packed(vector: &DeletionVector) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(packed_size(vector));
    bytes.extend_from_slice(&vector.cardinality.to_le_bytes());
    bytes.extend_from_slice(&vector.size_in_bytes.to_le_bytes());
    bytes.push(u8::from(vector.offset.is_some()));
    bytes.extend_from_slice(&vector.offset.unwrap_or(0).to_le_bytes());
    bytes.extend_from_slice(&(vector.storage_type.len() as u32).to_le_bytes());
    bytes.extend_from_slice(vector.storage_type.as_bytes());
    bytes.extend_from_slice(vector.path_or_inline.as_bytes());
    bytes
}

fn unpacked(mut rest: &[u8]) -> Option<DeletionVector> {
    let cardinality = long(&mut rest)?;
    let signed = |rest: &mut &[u8]| take(rest, 4)?.try_into().ok().map(i32::from_le_bytes);
    let size_in_bytes = signed(&mut rest)?;
    let has_offset = take(&mut rest, 1)? == [1];
    let offset = signed(&mut rest)?;
    let kind = usize::try_from(number(&mut rest)?).ok()?;
    let storage_type = String::from_utf8(take(&mut rest, kind)?.to_vec()).ok()?;
    let path_or_inline = String::from_utf8(rest.to_vec()).ok()?;
    Some(DeletionVector {
        storage_type,
        path_or_inline,
        offset: has_offset.then_some(offset),
        size_in_bytes,
        cardinality,
    })
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(length)?;
    *rest = left;
    Some(taken)
}

fn number(rest: &mut &[u8]) -> Option<u32> {
    take(rest, 4)?.try_into().ok().map(u32::from_le_bytes)
}

fn long(rest: &mut &[u8]) -> Option<u64> {
    take(rest, 8)?.try_into().ok().map(u64::from_le_bytes)
}
