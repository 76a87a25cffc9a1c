//! The bytes of one Parquet file, as its reader asks for them, from an object store. What is held at once is bounded: a
//! row group that is small comes whole, a larger one page by page, and a page beyond the bound is refused before it is
//! fetched or unpacked. It runs on threads that may block.

use std::io::{self, Read};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path as ObjectPath;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt};
use parquet::errors::ParquetError;
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::reader::{ChunkReader, Length};
use tokio::runtime::Handle;

use super::held::{self, Column};

/// Bytes at the end of a file that are fetched first: most footers are smaller.
const TAIL_BYTES: u64 = 64 << 10;
/// Requests beside each other while a row group is fetched.
const REQUESTS: usize = 8;
/// Most and least bytes of a column that are fetched ahead.
const WINDOW_BYTES: Range<u64> = (64 << 10)..(4 << 20);

/// A file in a store.
#[derive(Clone)]
pub(crate) struct FileBytes(Arc<Inner>);

struct Inner {
    store: Arc<dyn ObjectStore>,
    object: ObjectPath,
    size: u64,
    io: Handle,
    /// Bytes that may be held for pages.
    memory: u64,
    held: Mutex<Held>,
    /// What the store said last, when it failed.
    failed: Mutex<Option<object_store::Error>>,
}

#[derive(Default)]
struct Held {
    /// Parts of the file, by where they begin: its tail and its footer.
    parts: Vec<(u64, Bytes)>,
    /// Of the row group at hand.
    columns: Vec<Column>,
    /// Of a row group that is not held whole: bytes of a column to fetch at once.
    window: u64,
}

impl Held {
    fn column(&mut self, start: u64) -> Option<&mut Column> {
        self.columns.iter_mut().find(|column| column.range.contains(&start))
    }
}

impl FileBytes {
    /// Looks at the file; `told` is its size by the log, which may be wrong.
    pub(crate) async fn open(
        store: Arc<dyn ObjectStore>,
        object: ObjectPath,
        told: u64,
        memory: u64,
        io: Handle,
    ) -> Result<Self, object_store::Error> {
        let wanted = told.saturating_sub(TAIL_BYTES)..told;
        let options = GetOptions { range: Some(GetRange::Bounded(wanted.clone())), ..GetOptions::default() };
        let first = if told == 0 { None } else { store.get_opts(&object, options).await.ok() };
        let (size, tail) = match first {
            Some(found) if found.meta.size == told => (told, (wanted.start, found.bytes().await?)),
            _ => {
                // Not as told: what is true of it says the store.
                let size = store.head(&object).await?.size;
                let wanted = size.saturating_sub(TAIL_BYTES)..size;
                let tail = if size == 0 { Bytes::new() } else { store.get_range(&object, wanted.clone()).await? };
                (size, (wanted.start, tail))
            }
        };
        let held = Mutex::new(Held { parts: vec![tail], ..Held::default() });
        Ok(Self(Arc::new(Inner { store, object, size, io, memory, held, failed: Mutex::default() })))
    }

    /// How long it really is.
    pub(crate) fn size(&self) -> u64 {
        self.0.size
    }

    /// Holds a part of the file until the first row group is read.
    pub(crate) fn keep(&self, start: u64, bytes: Bytes) {
        self.held().parts.push((start, bytes));
    }

    /// Gets ready to read these columns of a row group, and lets go of what was held for another.
    pub(crate) fn begin_group(&self, group: &RowGroupMetaData, leaves: &[usize]) -> Result<(), ParquetError> {
        let columns = leaves.iter().filter_map(|leaf| group.columns().get(*leaf)).map(|column| {
            let (start, length) = column.byte_range();
            let end = start.saturating_add(length).min(self.0.size);
            Column::new(start.min(end)..end)
        });
        let mut columns: Vec<Column> = columns.collect();
        let all: u64 = columns.iter().map(|column| column.range.end - column.range.start).sum();
        let window = (self.0.memory / 16 / (columns.len().max(1) as u64)).clamp(WINDOW_BYTES.start, WINDOW_BYTES.end);
        // What is held of the group before goes first.
        *self.held() = Held::default();
        if all <= self.0.memory / 4 {
            self.0.io.block_on(self.fetch(&mut columns)).map_err(external)?;
        }
        *self.held() = Held { columns, window, ..Held::default() };
        Ok(())
    }

    async fn fetch(&self, columns: &mut [Column]) -> Result<(), object_store::Error> {
        let Inner { store, object, .. } = &*self.0;
        let requests = stream::iter(held::requests(columns)).map(|range| async move {
            let bytes = store.get_range(object, range.clone()).await?;
            Ok::<_, object_store::Error>((range.start, bytes))
        });
        let mut fetched = requests.buffered(REQUESTS);
        while let Some((start, bytes)) = fetched.try_next().await? {
            held::hand_out(columns, start, &bytes);
        }
        Ok(())
    }

    /// The store's error that the last reading failed with, if it was the store.
    pub(crate) fn failed(&self) -> Option<object_store::Error> {
        self.0.failed.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `length` bytes from `start`, from what is held or from the store.
    fn range(&self, start: u64, length: u64) -> Result<Bytes, ParquetError> {
        let beyond =
            || ParquetError::EOF(format!("{length} bytes from {start} are asked of a file of {}", self.0.size));
        let end = start.checked_add(length).filter(|end| *end <= self.0.size).ok_or_else(beyond)?;
        let length = usize::try_from(length).map_err(|_| beyond())?;
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
            None => end,
        };
        let fetched = self.0.io.block_on(self.0.store.get_range(&self.0.object, start..end));
        let fetched = fetched.map_err(|error| {
            let text = ParquetError::General(error.to_string());
            *self.0.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            text
        })?;
        if column.is_some()
            && end - start <= ahead.max((length as u64).min(WINDOW_BYTES.end))
            && let Some(column) = self.held().column(start)
        {
            column.replace(start, fetched.clone());
        }
        if fetched.len() < length { Err(beyond()) } else { Ok(fetched.slice(..length)) }
    }

    /// Refuses a page by its header, before anything of it is fetched or unpacked.
    fn check_page(&self, start: u64) -> Result<(), ParquetError> {
        let begins = { self.held().column(start).is_some_and(|column| column.next_page == start) };
        if !begins {
            // The library reads the footer so, too, and the rest of a page whose header it has seen.
            return Ok(());
        }
        let few = self.range(start, 24.min(self.0.size.saturating_sub(start)))?;
        let Some((unpacked, packed)) = page_sizes(&few) else {
            // Every writer begins a header so; what does not cannot be bounded.
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

/// Bytes unpacked and stored, from the first fields of a page's header (Thrift's compact protocol: kind, then both sizes).
/// None where it begins otherwise; then the reader will say what is wrong with it.
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
        // Zigzag: sizes are not negative, and odd numbers are.
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

    /// The Parquet reader asks so at the beginning of each page.
    fn get_read(&self, start: u64) -> Result<Cursor, ParquetError> {
        self.check_page(start)?;
        Ok(Cursor { file: self.clone(), at: start })
    }

    /// And so for the rest of it, behind its header.
    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let bytes = self.range(start, length as u64)?;
        if let Some(column) = self.held().column(start) {
            column.passed(start + length as u64);
        }
        Ok(bytes)
    }
}

/// Reads on from a place.
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
