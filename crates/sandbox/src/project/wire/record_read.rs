//! Reads the record stream: tagged values, a CRC for each record, and a footer with the number of records and the CRC
//! of their CRCs.

use std::io::{BufRead, BufReader, Read};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::super::error::{ApiError, ApiResult};
use super::super::schema::Column;
use super::carrier::{Form, arrow_schema};
use super::cells::Cells;
use super::check::CELL_BYTES_MAX;
use super::from_io;

const END_RECORD: u64 = 33_553_408;
const META_COUNT: u64 = 33_554_430;
const META_CHECKSUM: u64 = 33_554_431;

/// A batch ends after this many rows or bytes.
const BATCH_ROWS: usize = 4096;
const BATCH_BYTES: u64 = 8 << 20;

/// Reads values and feeds them to the CRC of the record.
pub struct Source<R> {
    input: BufReader<R>,
    scratch: Vec<u8>,
    crc: u32,
    taken: u64,
    /// The position at which the current cell must have ended.
    cell_end: u64,
}

fn too_big() -> ApiError {
    ApiError::malformed(format!("a cell of more than {CELL_BYTES_MAX} bytes"))
}

fn incomplete() -> ApiError {
    ApiError::new(400, "IncompleteBody", "the record stream ends before its footer")
}

impl<R: Read> Source<R> {
    fn new(input: R) -> Self {
        Self {
            input: BufReader::with_capacity(65_536, input),
            scratch: Vec::new(),
            crc: 0,
            taken: 0,
            cell_end: u64::MAX,
        }
    }

    fn feed(&mut self, bytes: &[u8]) {
        self.crc = crc32c::crc32c_append(self.crc, bytes);
    }

    fn byte(&mut self) -> ApiResult<Option<u8>> {
        let byte = self.input.fill_buf().map_err(from_io)?.first().copied();
        if byte.is_some() {
            self.input.consume(1);
            self.taken += 1;
            if self.taken > self.cell_end {
                return Err(too_big());
            }
        }
        Ok(byte)
    }

    /// A varint, or `None` at the end of the stream.
    fn varint_or_end(&mut self) -> ApiResult<Option<u64>> {
        let Some(first) = self.byte()? else { return Ok(None) };
        let mut value = u64::from(first & 0x7f);
        let mut byte = first;
        let mut shift = 7;
        while byte & 0x80 != 0 {
            byte = self.byte()?.ok_or_else(incomplete)?;
            if shift > 63 || (shift == 63 && byte > 1) {
                return Err(ApiError::malformed("a varint of more than 64 bits"));
            }
            value |= u64::from(byte & 0x7f) << shift;
            shift += 7;
        }
        Ok(Some(value))
    }

    /// A varint that is not part of the CRC.
    pub fn varint(&mut self) -> ApiResult<u64> {
        self.varint_or_end()?.ok_or_else(incomplete)
    }

    fn zigzag(&mut self) -> ApiResult<i64> {
        let raw = self.varint()?;
        Ok((raw >> 1).cast_signed() ^ -((raw & 1).cast_signed()))
    }

    /// Some writers sign-extend checksums to ten bytes, so only the low 32 bits are compared.
    fn checksum(&mut self) -> ApiResult<u32> {
        Ok((self.varint()? & u64::from(u32::MAX)) as u32)
    }

    /// An integer of any width.
    pub fn int(&mut self) -> ApiResult<i64> {
        let value = self.zigzag()?;
        self.feed(&value.to_le_bytes());
        Ok(value)
    }

    /// A boolean value.
    pub fn boolean(&mut self) -> ApiResult<bool> {
        let value = self.flag()?;
        self.feed(&[u8::from(value)]);
        Ok(value)
    }

    /// A byte that is 0 or 1 and not part of the CRC.
    pub fn flag(&mut self) -> ApiResult<bool> {
        match self.varint()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(ApiError::malformed(format!("{other} where 0 or 1 is wanted"))),
        }
    }

    /// A float or double.
    pub fn fixed<const N: usize>(&mut self) -> ApiResult<[u8; N]> {
        let mut bytes = [0; N];
        self.input.read_exact(&mut bytes).map_err(|_| incomplete())?;
        self.taken += N as u64;
        self.feed(&bytes);
        Ok(bytes)
    }

    /// Bytes, preceded by their length.
    pub fn bytes(&mut self, max: usize) -> ApiResult<&[u8]> {
        let len = usize::try_from(self.varint()?).unwrap_or(usize::MAX);
        if len > max || self.taken + len as u64 > self.cell_end {
            return Err(too_big());
        }
        self.scratch.clear();
        (&mut self.input).take(len as u64).read_to_end(&mut self.scratch).map_err(from_io)?;
        if self.scratch.len() < len {
            return Err(incomplete());
        }
        self.taken += len as u64;
        self.crc = crc32c::crc32c_append(self.crc, &self.scratch);
        Ok(&self.scratch)
    }

    /// The seconds and nanoseconds of a timestamp.
    pub fn timestamp(&mut self) -> ApiResult<(i64, i32)> {
        let second = self.int()?;
        let nano = self.zigzag()?;
        let nano = i32::try_from(nano).map_err(|_| ApiError::malformed(format!("{nano} nanoseconds")))?;
        self.feed(&nano.to_le_bytes());
        Ok((second, nano))
    }
}

/// Reads records into batches in the form of our files.
pub struct RecordReader<R> {
    source: Source<R>,
    schema: SchemaRef,
    cells: Vec<Cells>,
    names: Vec<String>,
    count: i64,
    total: u32,
    done: bool,
}

impl<R: Read> RecordReader<R> {
    /// A reader of records of these columns.
    pub fn new(input: R, columns: &[Column]) -> Self {
        Self {
            source: Source::new(input),
            schema: arrow_schema(columns, Form::File),
            cells: columns.iter().map(|c| Cells::new(&c.data_type)).collect(),
            names: columns.iter().map(|c| c.name.clone()).collect(),
            count: 0,
            total: 0,
            done: false,
        }
    }

    /// The next batch; `None` at the end of a complete stream.
    pub fn next_batch(&mut self) -> ApiResult<Option<RecordBatch>> {
        let mut rows = 0;
        let begin = self.source.taken;
        while !self.done && rows < BATCH_ROWS && self.source.taken - begin < BATCH_BYTES {
            if self.record()? {
                rows += 1;
            }
        }
        if rows == 0 {
            return Ok(None);
        }
        let columns = self.cells.iter_mut().map(Cells::finish).collect::<ApiResult<_>>()?;
        RecordBatch::try_new(self.schema.clone(), columns)
            .map(Some)
            .map_err(|error| ApiError::malformed(error.to_string()))
    }

    /// Reads one record (returns true) or the footer (false).
    fn record(&mut self) -> ApiResult<bool> {
        let mut present = vec![false; self.cells.len()];
        let mut first = true;
        self.source.crc = 0;
        loop {
            let tag = self.source.varint_or_end()?.ok_or_else(incomplete)?;
            match (tag >> 3, tag & 7) {
                (END_RECORD, 0) => break,
                (META_COUNT, 0) if first => {
                    self.footer()?;
                    return Ok(false);
                }
                (field, wire) => self.value(field, wire, &mut present)?,
            }
            first = false;
        }
        let found = self.source.crc;
        let stated = self.source.checksum()?;
        if found != stated {
            let message = format!("record {}: CRC is {found:08x}, the stream states {stated:08x}", self.count + 1);
            return Err(ApiError::corrupted(message));
        }
        self.total = crc32c::crc32c_append(self.total, &found.to_le_bytes());
        self.count += 1;
        for (cells, _) in self.cells.iter_mut().zip(present).filter(|(_, present)| !present) {
            cells.push_null();
        }
        Ok(true)
    }

    fn value(&mut self, field: u64, wire: u64, present: &mut [bool]) -> ApiResult<()> {
        let column = usize::try_from(field).unwrap_or(usize::MAX);
        let Some(cells) = column.checked_sub(1).and_then(|i| self.cells.get_mut(i)) else {
            return Err(ApiError::malformed(format!("field {field}; the table has {} columns", self.names.len())));
        };
        let name = &self.names[column - 1];
        if wire != u64::from(cells.wire_type()) {
            return Err(ApiError::malformed(format!("column `{name}` has wire type {wire}: its type is another")));
        }
        if std::mem::replace(&mut present[column - 1], true) {
            return Err(ApiError::malformed(format!("column `{name}` is twice in one record")));
        }
        self.source.feed(&(field as u32).to_le_bytes());
        // The length prefix, of at most 10 bytes, does not count as part of the cell.
        self.source.cell_end = self.source.taken + CELL_BYTES_MAX as u64 + 10;
        let pushed = cells.push(&mut self.source);
        self.source.cell_end = u64::MAX;
        pushed.map_err(|error| ApiError { message: format!("column `{name}`: {}", error.message), ..error })
    }

    fn footer(&mut self) -> ApiResult<()> {
        let stated = self.source.zigzag()?;
        if stated != self.count {
            return Err(ApiError::corrupted(format!("{} records, the footer states {stated}", self.count)));
        }
        let tag = self.source.varint()?;
        if tag != META_CHECKSUM << 3 {
            return Err(ApiError::malformed(format!("tag {tag} where the stream's checksum is wanted")));
        }
        let checksum = self.source.checksum()?;
        if checksum != self.total {
            let message = format!("stream CRC is {:08x}, the footer states {checksum:08x}", self.total);
            return Err(ApiError::corrupted(message));
        }
        if self.source.byte()?.is_some() {
            return Err(ApiError::malformed("bytes after the footer"));
        }
        self.done = true;
        Ok(())
    }
}
