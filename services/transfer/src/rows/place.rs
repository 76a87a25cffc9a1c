//! Owns [`Place`]: a position in a unit's rows, between two batches, and the progress in bytes up to there. Pure.

/// A position between two batches of a unit.
#[derive(Debug, Clone, Copy, Default)]
pub struct Place {
    /// The part of the unit: the index of the file in its manifest, or of the statement. `row` is the next row in the part; in a
    /// file, deleted rows are counted as well.
    pub part: usize,
    pub row: u64,
    /// Rows before this place.
    pub rows: i64,
    /// Bytes of the parts before this one. What was read of this one is estimated by its share of the part's rows.
    before: u64,
    within: u64,
    size: u64,
}

/// The rows of one batch, as a step within a part.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// The index of the part.
    pub part: usize,
    /// Size of the part at the source, in bytes.
    pub size: u64,
    /// Rows of the whole part.
    pub of: u64,
    /// The row after the last one that was read.
    pub end: u64,
    /// Rows that were read.
    pub rows: usize,
}

impl Place {
    /// Bytes of source files before this place.
    pub fn bytes(&self) -> i64 {
        i64::try_from(self.before + self.within).unwrap_or(i64::MAX)
    }

    /// Whether this place is the other one or lies after it.
    pub fn reaches(&self, other: &Self) -> bool {
        (self.part, self.row) >= (other.part, other.row)
    }

    /// The place after a batch that begins here.
    pub fn after(self, read: Step) -> Self {
        let of = read.of.max(1);
        let within = u128::from(read.size) * u128::from(read.end.min(of)) / u128::from(of);
        Self {
            part: read.part,
            row: read.end,
            rows: self.rows + i64::try_from(read.rows).unwrap_or(i64::MAX),
            before: if read.part > self.part { self.before + self.size } else { self.before },
            within: u64::try_from(within).unwrap_or(read.size),
            size: read.size,
        }
    }

    #[cfg(test)]
    pub fn at(part: usize, row: u64) -> Self {
        Self { part, row, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_counts_rows_and_bytes_up_to_it() {
        let step = |part, size, end, of, rows| Step { part, size, of, end, rows };
        let mut at = Place::default();
        let mut told = Vec::new();
        for read in [step(0, 1_000, 50, 100, 50), step(0, 1_000, 100, 100, 50), step(2, 300, 20, 30, 20)] {
            let next = at.after(read);
            assert!(next.reaches(&at) && next.reaches(&next) && !at.reaches(&next));
            at = next;
            told.push((at.rows, at.bytes()));
        }
        // A part without rows appears in no batch.
        assert_eq!(told, [(50, 500), (100, 1_000), (120, 1_200)]);
    }
}
