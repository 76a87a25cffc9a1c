//! The bytes of a file that are held: pieces of each column of the current row group, which are freed one by one as its pages
//! are read. So a column's stored pages make room for its unpacked ones, and a row group takes about as much memory as its
//! columns, not twice that. Pure: nothing is fetched here.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::{Bytes, BytesMut};

/// A row group of up to this size is kept as it was fetched: it is small beside what is made of it.
const AS_IT_CAME_BYTES: u64 = 4 << 20;
/// Least and most bytes of a piece.
const PIECE_BYTES: Range<u64> = (32 << 10)..(256 << 10);
/// Pieces of a column, unless it is very short or very long.
const PIECES: u64 = 16;

/// A column of the current row group.
pub(super) struct Column {
    pub range: Range<u64>,
    /// Consecutive parts of the column, by where they begin.
    pieces: VecDeque<(u64, Bytes)>,
    /// Where its next page begins: after what was read of it last.
    pub next_page: u64,
}

impl Column {
    pub fn new(range: Range<u64>) -> Self {
        Self { next_page: range.start, range, pieces: VecDeque::new() }
    }

    /// Holds these bytes of the column instead of all others.
    pub fn replace(&mut self, start: u64, bytes: Bytes) {
        self.pieces.clear();
        self.pieces.push_back((start, bytes));
    }

    /// `length` bytes from `start`, if they are held.
    pub fn find(&self, start: u64, length: usize) -> Option<Bytes> {
        let first = self.pieces.partition_point(|(at, _)| *at <= start).checked_sub(1)?;
        if let Some(found) = slice(&self.pieces[first], start, length) {
            return Some(found);
        }
        let mut joined = BytesMut::with_capacity(length);
        let mut next = start;
        for (at, bytes) in self.pieces.range(first..) {
            let from = usize::try_from(next.checked_sub(*at)?).ok()?;
            let part = bytes.get(from..)?;
            joined.extend_from_slice(&part[..part.len().min(length - joined.len())]);
            if joined.len() == length {
                return Some(joined.freeze());
            }
            next = at + bytes.len() as u64;
        }
        None
    }

    /// A page was read up to `end`: what lies before is not requested again, and is freed.
    pub fn passed(&mut self, end: u64) {
        self.next_page = end;
        while self.pieces.front().is_some_and(|(at, bytes)| at + bytes.len() as u64 <= end) {
            self.pieces.pop_front();
        }
    }
}

/// `length` bytes from `start` of this part of the file, if it has all of them.
pub(super) fn slice((at, bytes): &(u64, Bytes), start: u64, length: usize) -> Option<Bytes> {
    let from = usize::try_from(start.checked_sub(*at)?).ok()?;
    let to = from.checked_add(length)?;
    (to <= bytes.len()).then(|| bytes.slice(from..to))
}

/// Hands the bytes of one request out to the columns. Requests must be handed out in their order.
pub(super) fn hand_out(columns: &mut [Column], start: u64, bytes: &Bytes) {
    let all: u64 = columns.iter().map(|column| column.range.end - column.range.start).sum();
    let end = start + bytes.len() as u64;
    for column in columns {
        let (mut at, to) = (column.range.start.max(start), column.range.end.min(end));
        let length = column.range.end - column.range.start;
        let step = (length / PIECES).clamp(PIECE_BYTES.start, PIECE_BYTES.end);
        while at < to {
            let piece_end = if all <= AS_IT_CAME_BYTES { to } else { (at + step).min(to) };
            let range = [at, piece_end].map(|at| usize::try_from(at - start).unwrap_or(usize::MAX));
            // A slice would keep the whole request in memory as long as any piece of it is held.
            let piece = bytes.slice(range[0]..range[1]);
            let piece = if all <= AS_IT_CAME_BYTES { piece } else { Bytes::copy_from_slice(&piece) };
            column.pieces.push_back((at, piece));
            at = piece_end;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(bytes: u64) -> Bytes {
        (0..bytes).map(|at| (at % 251) as u8).collect::<Vec<u8>>().into()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        /// Whatever the columns are, all of their bytes arrive, are found in any cut, and are freed after they were read.
        #[test]
        fn columns_are_whole_and_let_go_of(
            sizes in proptest::collection::vec((0_u64..600_000, 1_u64..2_000_000), 1..8),
            reads in proptest::collection::vec(1_u64..400_000, 1..40),
            request in 100_000_usize..3_000_000,
        ) {
            let mut end = 4;
            let mut columns: Vec<Column> = sizes.into_iter().map(|(gap, size)| {
                let start = end + gap;
                end = start + size;
                Column::new(start..end)
            }).collect();
            let file = file(end + 10);
            for at in (0..file.len()).step_by(request) {
                hand_out(&mut columns, at as u64, &file.slice(at..(at + request).min(file.len())));
            }
            for mut column in columns {
                let mut at = column.range.start;
                for read in reads.iter().cycle() {
                    let length = (*read).min(column.range.end - at);
                    let found = column.find(at, length as usize);
                    prop_assert_eq!(found.as_deref(), Some(&file[at as usize..(at + length) as usize]));
                    at += length;
                    column.passed(at);
                    prop_assert!(column.pieces.front().is_none_or(|(_, bytes)| !bytes.is_empty()));
                    prop_assert!(column.pieces.iter().all(|(start, bytes)| start + bytes.len() as u64 > at));
                    if at == column.range.end {
                        break;
                    }
                }
                prop_assert!(column.pieces.is_empty() && column.find(at - 1, 1).is_none());
            }
        }
    }

    #[test]
    fn what_is_not_held_is_not_made_up() {
        let mut column = Column::new(100..200);
        assert_eq!(column.find(100, 1), None);
        column.replace(110, file(20));
        assert_eq!(column.find(110, 20).map(|bytes| bytes.len()), Some(20));
        assert_eq!((column.find(109, 2), column.find(120, 11), column.find(130, 1)), (None, None, None));
    }
}
