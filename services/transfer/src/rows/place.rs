//! Owns [`Place`]: where in a unit's rows somebody is.

/// A place between two batches of a unit.
#[derive(Debug, Clone, Copy, Default)]
pub struct Place {
    /// The part of the unit: the file in its manifest, or the statement. And the row in it that comes next; of a file deleted rows
    /// are counted.
    pub part: usize,
    pub row: u64,
    /// Rows before this place.
    pub rows: i64,
    /// Bytes of the parts before this one, and of what was read of this one, by its rows.
    before: u64,
    within: u64,
    size: u64,
}

/// What was read of a part.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// The part.
    pub part: usize,
    /// Its bytes at the source.
    pub size: u64,
    /// Its rows.
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

    /// Whether this is the other place, or behind it.
    pub fn reaches(&self, other: &Self) -> bool {
        (self.part, self.row) >= (other.part, other.row)
    }

    /// The place after some rows from here on.
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
        // A part without rows shows in no batch.
        assert_eq!(told, [(50, 500), (100, 1_000), (120, 1_200)]);
    }
}
