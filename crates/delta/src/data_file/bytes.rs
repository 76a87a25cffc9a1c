//! Serves the bytes of one Parquet file to its reader, from an object store. What is held at once is bounded: a small row
//! group is fetched whole, and the next one while it is read; a larger one is fetched page by page, and a page beyond the
//! bound is refused before it is fetched or unpacked. Runs on threads that may block.

use std::io::{self, Read};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use object_store::ObjectStore;
use object_store::path::Path as ObjectPath;
use parquet::errors::ParquetError;
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::reader::{ChunkReader, Length};
use tokio::runtime::Handle;

use super::ahead::{self, Load};
use super::fetch::{self, Coming, FilePins, Parts, Pinned};
use super::held::{self, Column};

/// Part of the slot's memory that row groups may take which are fetched ahead.
const AHEAD_PART: u64 = 16;
/// Least and most bytes of a column that are fetched ahead.
const WINDOW_BYTES: Range<u64> = (64 << 10)..(4 << 20);

/// A file in a store. Clones share what is held.
#[derive(Clone)]
pub(crate) struct FileBytes(Arc<Inner>);

struct Inner {
    file: Arc<Pinned>,
    size: u64,
    /// The end of the file and where it begins; it is fetched first.
    tail: (u64, Bytes),
    io: Handle,
    /// Bytes that may be held for pages.
    memory: u64,
    held: Mutex<Held>,
    loads: Mutex<Loads>,
    /// The store's latest error.
    failed: Mutex<Option<object_store::Error>>,
}

#[derive(Default)]
struct Held {
    /// Parts of the file, by where they begin: the footer.
    parts: Parts,
    /// Columns of the current row group.
    columns: Vec<Column>,
    /// Bytes of a column to fetch at once, if the row group is not held whole.
    window: u64,
}

/// Row groups that are fetched whole.
#[derive(Default)]
struct Loads {
    /// The ranges of the columns that are read, per row group.
    groups: Vec<Vec<Range<u64>>>,
    plan: Vec<Load>,
    /// The current load, until the last of its row groups has its bytes.
    parts: Option<(usize, Parts)>,
    /// The next load, which is being fetched.
    coming: Option<(usize, Coming<Result<Parts, object_store::Error>>)>,
}

impl Held {
    fn column(&mut self, start: u64) -> Option<&mut Column> {
        self.columns.iter_mut().find(|column| column.range.contains(&start))
    }
}

impl FileBytes {
    /// Opens the file; `told` is its size by the log, which may be wrong.
    pub(crate) async fn open(
        store: Arc<dyn ObjectStore>,
        object: ObjectPath,
        told: u64,
        memory: u64,
        pins: FilePins,
        io: Handle,
    ) -> Result<Self, object_store::Error> {
        let (file, size, tail) = Pinned::open(store, object, told, &pins).await?;
        let (held, loads, failed) = (Mutex::default(), Mutex::default(), Mutex::default());
        Ok(Self(Arc::new(Inner { file: Arc::new(file), size, tail, io, memory, held, loads, failed })))
    }

    /// The file's real size in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.0.size
    }

    /// Holds a part of the file until the first row group is read.
    pub(crate) fn keep(&self, start: u64, bytes: Bytes) {
        self.held().parts.push((start, bytes));
    }

    /// Announces what will be read: these columns of these row groups, in their order.
    pub(crate) fn begin(&self, groups: &[RowGroupMetaData], leaves: &[usize]) {
        let columns = |group: &RowGroupMetaData| {
            let columns = leaves.iter().filter_map(|leaf| group.columns().get(*leaf)).map(|column| {
                let (start, length) = column.byte_range();
                let end = start.saturating_add(length).min(self.0.size);
                start.min(end)..end
            });
            columns.collect::<Vec<_>>()
        };
        let groups: Vec<_> = groups.iter().map(columns).collect();
        let plan = ahead::loads(&groups, self.0.memory / 4);
        *self.loads() = Loads { groups, plan, ..Loads::default() };
    }

    /// Prepares the reading of a row group, and drops what is held of the one before.
    pub(crate) fn begin_group(&self, index: usize) -> Result<(), ParquetError> {
        // First drop what is held of the row group before.
        *self.held() = Held::default();
        let mut loads = self.loads();
        let ranges = loads.groups.get(index).cloned().unwrap_or_default();
        let mut columns: Vec<Column> = ranges.into_iter().map(Column::new).collect();
        let window = (self.0.memory / 16 / (columns.len().max(1) as u64)).clamp(WINDOW_BYTES.start, WINDOW_BYTES.end);
        if let Some(at) = loads.plan.iter().position(|load| load.groups.contains(&index)) {
            let parts = self.load(&mut loads, at).map_err(external)?;
            if loads.plan[at].groups.end > index + 1 {
                // The next row groups of this load need the rest.
                loads.parts = Some((at, parts.clone()));
            }
            // One by one, so that each part is freed once it was handed out.
            for (start, bytes) in parts {
                held::hand_out(&mut columns, start, &bytes);
            }
            held::hand_out(&mut columns, self.0.tail.0, &self.0.tail.1);
        }
        *self.held() = Held { columns, window, ..Held::default() };
        Ok(())
    }

    /// Returns the bytes of a load, and starts to fetch the next one.
    fn load(&self, loads: &mut Loads, at: usize) -> Result<Parts, object_store::Error> {
        if let Some((_, parts)) = loads.parts.take_if(|(known, _)| *known == at) {
            return Ok(parts);
        }
        let coming = loads.coming.take().filter(|(known, _)| *known == at);
        let coming = coming.map_or_else(|| self.fetch(&loads.plan[at]), |(_, coming)| coming);
        let gone = || object_store::Error::Generic { store: "row groups", source: "fetching them ended early".into() };
        let parts = coming.wait(&self.0.io).ok_or_else(gone)??;
        let next = loads.plan.get(at + 1).filter(|next| next.bytes <= self.0.memory / AHEAD_PART);
        loads.coming = next.map(|next| (at + 1, self.fetch(next)));
        Ok(parts)
    }

    fn fetch(&self, load: &Load) -> Coming<Result<Parts, object_store::Error>> {
        // The end of the file is held already.
        let tail = self.0.tail.0;
        let requests = load.requests.iter().map(|range| range.start.min(tail)..range.end.min(tail));
        fetch::begin(&self.0.io, &self.0.file, requests.filter(|range| !range.is_empty()).collect())
    }

    fn loads(&self) -> std::sync::MutexGuard<'_, Loads> {
        self.0.loads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The store's error, if that is why the last read failed. Taken: the next call returns None.
    pub(crate) fn failed(&self) -> Option<object_store::Error> {
        self.0.failed.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes of the file, from what is held or from the store.
    fn range(&self, start: u64, length: u64) -> Result<Bytes, ParquetError> {
        let beyond =
            || ParquetError::EOF(format!("{length} bytes from {start} are asked of a file of {}", self.0.size));
        let end = start.checked_add(length).filter(|end| *end <= self.0.size).ok_or_else(beyond)?;
        let length = usize::try_from(length).map_err(|_| beyond())?;
        if let Some(found) = held::slice(&self.0.tail, start, length) {
            return Ok(found);
        }
        let (column, ahead) = {
            let mut held = self.held();
            if let Some(found) = held.parts.iter().find_map(|part| held::slice(part, start, length)) {
                return Ok(found);
            }
            let ahead = held.window;
            let column = held.column(start);
            if let Some(found) = column.as_ref().and_then(|column| column.find(start, length)) {
                return Ok(found);
            }
            (column.map(|column| column.range.clone()), ahead)
        };
        let end = match &column {
            Some(column) => end.max((start + ahead).min(column.end)),
            // What lies in the file's end is held already.
            None => end.min(self.0.tail.0.max(start)),
        };
        let fetched = self.0.io.block_on(self.0.file.get(start..end)).map_err(|error| {
            let text = ParquetError::General(error.to_string());
            *self.0.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            text
        })?;
        let fetched = match fetched.len() < length && column.is_none() {
            true => [&fetched[..], &self.0.tail.1].concat().into(),
            false => fetched,
        };
        if column.is_some()
            && end - start <= ahead.max((length as u64).min(WINDOW_BYTES.end))
            && let Some(column) = self.held().column(start)
        {
            column.replace(start, fetched.clone());
        }
        if fetched.len() < length { Err(beyond()) } else { Ok(fetched.slice(..length)) }
    }

    /// Refuses a page that is too large by its header, before it is fetched or unpacked.
    fn check_page(&self, start: u64) -> Result<(), ParquetError> {
        let begins = { self.held().column(start).is_some_and(|column| column.next_page == start) };
        if !begins {
            // The library reads the footer in this way too, and the rest of a page whose header it has seen.
            return Ok(());
        }
        let few = self.range(start, 24.min(self.0.size.saturating_sub(start)))?;
        let Some((unpacked, packed)) = page_sizes(&few) else {
            // Every writer begins a page header in this way; a page without these sizes cannot be bounded.
            let reason = format!("the header of the page at byte {start} does not begin with its kind and sizes");
            return Err(ParquetError::General(reason));
        };
        let (needs, bound) = (unpacked.saturating_add(packed), self.0.memory / 2);
        if needs > bound {
            return Err(ParquetError::General(format!(
                "one page takes {needs} bytes ({packed} stored, {unpacked} unpacked), where a slot may hold {bound} for it: \
                 raise transfer.slot_memory_bytes above {}, or rewrite the file with smaller pages",
                needs.saturating_mul(2)
            )));
        }
        Ok(())
    }
}

fn external(error: object_store::Error) -> ParquetError {
    ParquetError::External(Box::new(error))
}

/// Unpacked and stored size, from the first fields of a page header (Thrift's compact protocol: kind, then both sizes). None
/// if it begins with anything else.
fn page_sizes(header: &[u8]) -> Option<(u64, u64)> {
    const I32_FIELD_NEXT: u8 = 0x15;
    let mut at = 0;
    let mut number = || {
        (*header.get(at)? == I32_FIELD_NEXT).then_some(())?;
        at += 1;
        let (mut value, mut shift) = (0_u64, 0);
        loop {
            let byte = *header.get(at)?;
            at += 1;
            value |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte & 0x80 == 0 {
                break;
            }
            shift += 7;
        }
        // Zigzag encoding: odd numbers are negative, and sizes are not.
        (value & 1 == 0).then_some(value >> 1)
    };
    let _kind = number()?;
    Some((number()?, number()?))
}

impl Length for FileBytes {
    fn len(&self) -> u64 {
        self.0.size
    }
}

impl ChunkReader for FileBytes {
    type T = Cursor;

    /// The Parquet reader calls this at the beginning of each page.
    fn get_read(&self, start: u64) -> Result<Cursor, ParquetError> {
        self.check_page(start)?;
        Ok(Cursor { file: self.clone(), at: start })
    }

    /// And this for the rest of the page, after its header.
    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let bytes = self.range(start, length as u64)?;
        if let Some(column) = self.held().column(start) {
            column.passed(start + length as u64);
        }
        Ok(bytes)
    }
}

/// Reads on from a byte of the file.
pub(crate) struct Cursor {
    file: FileBytes,
    at: u64,
}

impl Read for Cursor {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.file.0.size.saturating_sub(self.at);
        let wanted = left.min(buffer.len() as u64);
        if wanted == 0 {
            return Ok(0);
        }
        let bytes = self.file.range(self.at, wanted).map_err(io::Error::other)?;
        buffer[..bytes.len()].copy_from_slice(&bytes);
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_tells_the_sizes_of_its_page() {
        // DATA_PAGE, 300 bytes unpacked, 130 stored.
        assert_eq!(page_sizes(&[0x15, 0x00, 0x15, 0xd8, 0x04, 0x15, 0x84, 0x02, 0x2c]), Some((300, 130)));
        for broken in [&[][..], &[0x15], &[0x16, 0x00], &[0x15, 0x00, 0x15, 0x01], &[0x15, 0x00, 0x15, 0xff, 0xff]] {
            assert_eq!(page_sizes(broken), None, "{broken:?}");
        }
    }
}
