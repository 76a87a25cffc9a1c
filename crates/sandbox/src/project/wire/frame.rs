//! The CRC framing of Arrow bodies: the chunk size, then full chunks, each followed by its CRC-32C. The last, partial
//! chunk is followed by the CRC-32C of the whole stream instead.

use std::io::{self, Read, Write};

use super::super::error::ApiError;
use super::to_io;

/// The chunk size that we write.
const CHUNK: usize = 65_536;
/// The largest chunk size that we read.
const CHUNK_MAX: usize = 16 << 20;

/// Removes the framing and verifies every CRC. Reports the end of the file only for a complete and correct stream.
pub struct Deframer<R> {
    inner: R,
    chunk: usize,
    buffer: Vec<u8>,
    at: usize,
    total: u32,
    done: bool,
}

fn fill<R: Read>(inner: &mut R, buffer: &mut Vec<u8>, want: usize) -> io::Result<()> {
    buffer.clear();
    let got = inner.take(want as u64).read_to_end(buffer)?;
    debug_assert!(got <= want, "take bounds the read");
    Ok(())
}

fn big_endian(bytes: &[u8]) -> Option<u32> {
    bytes.try_into().ok().map(u32::from_be_bytes)
}

impl<R: Read> Deframer<R> {
    /// Reads the chunk size.
    pub fn new(mut inner: R) -> io::Result<Self> {
        let mut buffer = Vec::new();
        fill(&mut inner, &mut buffer, 4)?;
        let chunk = big_endian(&buffer).map_or(0, |n| n as usize);
        if chunk == 0 || chunk > CHUNK_MAX {
            let message = format!("an Arrow body begins with its chunk size, 1..{CHUNK_MAX}; found {buffer:?}");
            return Err(to_io(ApiError::malformed(message)));
        }
        buffer.clear();
        Ok(Self { inner, chunk, buffer, at: 0, total: 0, done: false })
    }

    fn next_chunk(&mut self) -> io::Result<()> {
        fill(&mut self.inner, &mut self.buffer, self.chunk + 4)?;
        self.at = 0;
        let Some(data) = self.buffer.len().checked_sub(4) else {
            return Err(to_io(ApiError::new(400, "IncompleteBody", "the Arrow body ends before its last CRC")));
        };
        let stated = big_endian(&self.buffer[data..]).unwrap_or_default();
        self.buffer.truncate(data);
        self.total = crc32c::crc32c_append(self.total, &self.buffer);
        let (found, what) = if data == self.chunk {
            (crc32c::crc32c(&self.buffer), "chunk")
        } else {
            self.done = true;
            (self.total, "stream")
        };
        if found != stated {
            let message = format!("{what} CRC is {found:08x}, the body states {stated:08x}");
            return Err(to_io(ApiError::corrupted(message)));
        }
        Ok(())
    }
}

impl<R: Read> Read for Deframer<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.at == self.buffer.len() {
            if self.done {
                return Ok(0);
            }
            self.next_chunk()?;
        }
        let n = out.len().min(self.buffer.len() - self.at);
        out[..n].copy_from_slice(&self.buffer[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}

/// Adds the framing.
pub struct Framer<W: Write> {
    inner: W,
    chunk: usize,
    buffer: Vec<u8>,
    total: u32,
    begun: bool,
}

impl<W: Write> Framer<W> {
    /// A framer with the usual chunk size.
    pub fn new(inner: W) -> Self {
        Self::with_chunk(inner, CHUNK)
    }

    fn with_chunk(inner: W, chunk: usize) -> Self {
        Self { inner, chunk, buffer: Vec::with_capacity(chunk), total: 0, begun: false }
    }

    fn begin(&mut self) -> io::Result<()> {
        if !self.begun {
            self.begun = true;
            self.inner.write_all(&u32::try_from(self.chunk).unwrap_or(u32::MAX).to_be_bytes())?;
        }
        Ok(())
    }

    /// Writes the last chunk and the CRC of the whole stream.
    pub fn finish(mut self) -> io::Result<W> {
        self.begin()?;
        self.inner.write_all(&self.buffer)?;
        self.inner.write_all(&self.total.to_be_bytes())?;
        Ok(self.inner)
    }
}

impl<W: Write> Write for Framer<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.begin()?;
        let n = data.len().min(self.chunk - self.buffer.len());
        self.buffer.extend_from_slice(&data[..n]);
        self.total = crc32c::crc32c_append(self.total, &data[..n]);
        if self.buffer.len() == self.chunk {
            self.inner.write_all(&self.buffer)?;
            self.inner.write_all(&crc32c::crc32c(&self.buffer).to_be_bytes())?;
            self.buffer.clear();
        }
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::from_io;
    use super::*;
    use proptest::prelude::*;

    fn framed(data: &[u8], chunk: usize) -> Vec<u8> {
        let mut framer = Framer::with_chunk(Vec::new(), chunk);
        framer.write_all(data).expect("written");
        framer.finish().expect("finished")
    }

    fn deframed(bytes: &[u8]) -> Result<Vec<u8>, ApiError> {
        let mut back = Vec::new();
        Deframer::new(bytes).and_then(|mut r| r.read_to_end(&mut back)).map_err(from_io)?;
        Ok(back)
    }

    proptest! {
        #[test]
        fn what_is_framed_comes_back(data in proptest::collection::vec(any::<u8>(), 0..400), chunk in 1usize..100) {
            prop_assert_eq!(deframed(&framed(&data, chunk)), Ok(data));
        }

        #[test]
        fn a_changed_or_missing_byte_is_noticed(
            data in proptest::collection::vec(any::<u8>(), 1..400), chunk in 5usize..100, at in any::<prop::sample::Index>()
        ) {
            let good = framed(&data, chunk);
            let mut flipped = good.clone();
            let i = 4 + at.index(good.len() - 4);
            flipped[i] ^= 0x40;
            prop_assert!(deframed(&flipped).is_err());
            prop_assert!(deframed(&good[..i]).is_err());
        }
    }

    #[test]
    fn crc32c_is_castagnoli() {
        assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
    }
}
