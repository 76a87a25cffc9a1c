//! The framing of Arrow payloads: the chunk size, then chunks, each followed by its CRC-32C; after the last chunk, the CRC-32C of
//! the whole payload replaces the chunk's own. Pure: takes bytes, returns bytes.

use std::io;

use bytes::{Bytes, BytesMut};

/// The chunk size in bytes that every client uses.
pub const CHUNK_BYTES: u32 = 64 * 1024;
/// Maximum chunk size that is read, in bytes.
const CHUNK_BYTES_MAX: u32 = 64 * 1024 * 1024;
const CRC_BYTES: usize = 4;

/// Receives the parts of a framed payload, in order.
pub(super) trait Parts {
    /// Receives the chunk size or a CRC.
    fn word(&mut self, word: [u8; CRC_BYTES]) -> io::Result<()>;
    /// Receives a part of the payload.
    fn payload(&mut self, part: Bytes) -> io::Result<()>;
}

/// Frames a payload on its way to a [`Parts`]. It holds no byte of the payload and copies none.
#[derive(Debug)]
pub(super) struct Framer {
    chunk_bytes: u32,
    in_chunk: u32,
    chunk_crc: u32,
    whole_crc: u32,
    begun: bool,
}

impl Framer {
    /// A framer with chunks of this many bytes.
    pub fn new(chunk_bytes: u32) -> Self {
        Self { chunk_bytes: chunk_bytes.max(1), in_chunk: 0, chunk_crc: 0, whole_crc: 0, begun: false }
    }

    /// Passes on the next bytes of the payload, framed: as many as the current chunk has room for.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn push(&mut self, payload: &mut Bytes, out: &mut impl Parts) -> io::Result<()> {
        if payload.is_empty() {
            return Ok(());
        }
        if !self.begun {
            out.word(self.chunk_bytes.to_be_bytes())?;
            self.begun = true;
        }
        let room = (self.chunk_bytes - self.in_chunk) as usize;
        let now = payload.split_to(room.min(payload.len()));
        self.chunk_crc = crc32c::crc32c_append(self.chunk_crc, &now);
        self.whole_crc = crc32c::crc32c_append(self.whole_crc, &now);
        // `now` is at most as long as the room in the chunk, so this neither truncates nor overflows.
        self.in_chunk += u32::try_from(now.len()).unwrap_or(0);
        out.payload(now)?;
        if self.in_chunk == self.chunk_bytes {
            out.word(self.chunk_crc.to_be_bytes())?;
            (self.in_chunk, self.chunk_crc) = (0, 0);
        }
        Ok(())
    }

    /// Passes on the end and returns the CRC of the whole payload. An empty payload has no frame at all.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn finish(self, out: &mut impl Parts) -> io::Result<u32> {
        if self.begun {
            out.word(self.whole_crc.to_be_bytes())?;
        }
        Ok(self.whole_crc)
    }
}

/// Why a framed stream is damaged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what the fields are")]
pub enum FrameError {
    #[error("chunk {chunk} has CRC-32C {found:08x}, but the stream states {told:08x}")]
    ChunkCrc { chunk: u64, found: u32, told: u32 },
    #[error("the payload has CRC-32C {found:08x}, but the stream states {told:08x}")]
    WholeCrc { found: u32, told: u32 },
    #[error("the stream ends early")]
    Truncated,
    #[error("the chunk size of {0} bytes is out of range")]
    ChunkSize(u32),
}

/// Reads a framed stream piece by piece; holds at most one chunk.
#[derive(Debug, Default)]
pub struct Unframer {
    chunk_bytes: Option<usize>,
    held: BytesMut,
    whole_crc: u32,
    chunks: u64,
}

impl Unframer {
    /// Adds the next bytes and returns the checked payload that they complete.
    ///
    /// # Errors
    /// [`FrameError`]; the stream cannot be read any further.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<Bytes>, FrameError> {
        self.held.extend_from_slice(bytes);
        let Some(size) = self.chunk_size()? else { return Ok(Vec::new()) };
        let mut payload = Vec::new();
        while self.held.len() >= size + CRC_BYTES {
            let chunk = self.held.split_to(size).freeze();
            let told = take_crc(&mut self.held);
            let found = crc32c::crc32c(&chunk);
            if found != told {
                return Err(FrameError::ChunkCrc { chunk: self.chunks, found, told });
            }
            self.whole_crc = crc32c::crc32c_append(self.whole_crc, &chunk);
            self.chunks += 1;
            payload.push(chunk);
        }
        Ok(payload)
    }

    /// Ends the stream and returns the rest of the payload.
    ///
    /// # Errors
    /// [`FrameError`] if the stream was cut off or its CRC does not match.
    pub fn finish(mut self) -> Result<Bytes, FrameError> {
        if self.chunk_bytes.is_none() && self.held.is_empty() {
            return Ok(Bytes::new());
        }
        if self.chunk_bytes.is_none() || self.held.len() < CRC_BYTES {
            return Err(FrameError::Truncated);
        }
        let rest = self.held.split_to(self.held.len() - CRC_BYTES).freeze();
        let told = take_crc(&mut self.held);
        let found = crc32c::crc32c_append(self.whole_crc, &rest);
        if found == told { Ok(rest) } else { Err(FrameError::WholeCrc { found, told }) }
    }

    fn chunk_size(&mut self) -> Result<Option<usize>, FrameError> {
        if self.chunk_bytes.is_none() && self.held.len() >= CRC_BYTES {
            let size = take_crc(&mut self.held);
            if size == 0 || size > CHUNK_BYTES_MAX {
                return Err(FrameError::ChunkSize(size));
            }
            self.chunk_bytes = Some(size as usize);
        }
        Ok(self.chunk_bytes)
    }
}

/// Takes four bytes, big-endian; padded with zeros if there are fewer, which no caller asks for.
fn take_crc(held: &mut BytesMut) -> u32 {
    let mut word = [0_u8; CRC_BYTES];
    let taken = held.split_to(CRC_BYTES.min(held.len()));
    word[..taken.len()].copy_from_slice(&taken);
    u32::from_be_bytes(word)
}

#[cfg(test)]
#[path = "frame_tests.rs"]
pub(super) mod tests;
