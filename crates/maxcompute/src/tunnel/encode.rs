//! Encodes rows into the bytes of a block: Arrow messages, framed with CRCs and compressed; or, for the Storage API, a plain
//! Arrow stream. Pure: takes batches, returns pieces. It holds one batch and less than one piece, however large the block gets.
//! Uncompressed data is sent from the batch's own buffers, without a copy.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::buffer::Buffer;
use arrow::datatypes::Schema;
use arrow::error::ArrowError;
use arrow::ipc::writer::{IpcWriteOptions, StreamEncoder};
use arrow::ipc::{CompressionType, MetadataVersion};
use bytes::Bytes;

use super::codec::{Codec, Compressor};
use super::frame::{CHUNK_BYTES, Framer, Parts};

/// Minimum size of a piece of compressed bytes, or of small parts that were joined.
const PIECE_BYTES: usize = 64 * 1024;
/// Parts smaller than this are cheaper to copy than to send one by one.
const SMALL_BYTES: usize = 8 * 1024;

/// Encodes one block.
pub struct BlockEncoder {
    encoder: StreamEncoder,
    /// `None` for a plain Arrow stream.
    framer: Option<Framer>,
    output: Output,
    arrow_bytes: u64,
    /// Time spent making messages whose buffers are compressed.
    packing: Duration,
    packs: bool,
}

/// The end of an encoded block, and its figures.
#[derive(Debug, Clone)]
pub struct Encoded {
    /// The last bytes of the block.
    pub rest: Bytes,
    /// CRC-32C of the Arrow data.
    pub crc: u32,
    /// Bytes of Arrow data.
    pub arrow_bytes: u64,
    /// Time spent compressing.
    pub packing: Duration,
}

impl BlockEncoder {
    /// An encoder for the tunnel, of batches with this schema.
    ///
    /// # Errors
    /// The schema cannot be expressed on the wire, or the codec cannot be set up.
    pub fn new(schema: &Schema, codec: Codec) -> Result<Self, ArrowError> {
        let options = IpcWriteOptions::try_new(8, false, MetadataVersion::V5)?;
        let mut encoder = StreamEncoder::try_new_with_options(schema, options)?;
        // The encoder's first output begins with a Schema message, which must not be sent: encoding an empty batch removes it.
        encoder.encode(&RecordBatch::new_empty(schema.clone().into()))?;
        let output = Compressor::new(codec)?.map_or_else(|| Output::Plain(Plain::default()), Output::Packed);
        let framer = Some(Framer::new(CHUNK_BYTES));
        Ok(Self { encoder, framer, output, arrow_bytes: 0, packing: Duration::ZERO, packs: false })
    }

    /// An encoder of a plain Arrow stream: the schema, batches, and the mark of its end. The codec compresses each buffer by
    /// itself; a codec that Arrow streams do not have leaves buffers uncompressed.
    ///
    /// # Errors
    /// The schema cannot be expressed on the wire.
    pub fn stream(schema: &Schema, codec: Codec) -> Result<Self, ArrowError> {
        let compression = match codec {
            Codec::None | Codec::Deflate => None,
            Codec::Zstd => Some(CompressionType::ZSTD),
            Codec::Lz4 => Some(CompressionType::LZ4_FRAME),
        };
        let options = IpcWriteOptions::try_new(8, false, MetadataVersion::V5)?.try_with_compression(compression)?;
        let encoder = StreamEncoder::try_new_with_options(schema, options)?;
        let (output, packs) = (Output::Plain(Plain::default()), compression.is_some());
        Ok(Self { encoder, framer: None, output, arrow_bytes: 0, packing: Duration::ZERO, packs })
    }

    /// The pieces that this batch makes ready for sending. They are made while iterating, so the iterator must be run to its end.
    ///
    /// # Errors
    /// The batch cannot be encoded.
    pub fn encode(&mut self, batch: &RecordBatch) -> Result<Pieces<'_>, ArrowError> {
        let begun = Instant::now();
        let buffers = self.encoder.encode(batch)?.into_iter();
        if self.packs {
            self.packing += begun.elapsed();
        }
        if self.framer.is_none() {
            self.arrow_bytes += bytes_of(batch);
        }
        let Self { framer, output, arrow_bytes, .. } = self;
        Ok(Pieces { buffers, current: Bytes::new(), framer, output, arrow_bytes })
    }

    /// Ends the block and returns the rest of it.
    ///
    /// # Errors
    /// The codec's own.
    pub fn finish(mut self) -> io::Result<Encoded> {
        let crc = match self.framer {
            Some(framer) => framer.finish(&mut self.output)?,
            None => {
                for end in self.encoder.finish().map_err(io::Error::other)? {
                    self.output.payload(Bytes::from_owner(Part(end)))?;
                }
                0
            }
        };
        let (rest, packing) = match self.output {
            Output::Plain(plain) => (plain.finish(), self.packing),
            Output::Packed(compressor) => {
                let (rest, packing) = compressor.finish()?;
                (rest.into(), packing)
            }
        };
        Ok(Encoded { rest, crc, arrow_bytes: self.arrow_bytes, packing })
    }
}

/// The pieces of a batch, made while iterating; see [`BlockEncoder::encode`].
pub struct Pieces<'a> {
    buffers: std::vec::IntoIter<Buffer>,
    current: Bytes,
    framer: &'a mut Option<Framer>,
    output: &'a mut Output,
    arrow_bytes: &'a mut u64,
}

impl Iterator for Pieces<'_> {
    type Item = io::Result<Bytes>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(piece) = self.output.take() {
                return Some(Ok(piece));
            }
            if self.current.is_empty() {
                // Each buffer is freed as soon as it is sent.
                self.current = Bytes::from_owner(Part(self.buffers.next()?));
                if self.framer.is_some() {
                    *self.arrow_bytes += self.current.len() as u64;
                }
            }
            let put = match self.framer {
                Some(framer) => framer.push(&mut self.current, self.output),
                None => self.output.payload(std::mem::take(&mut self.current)),
            };
            if let Err(error) = put {
                return Some(Err(error));
            }
        }
    }
}

/// Bytes of a batch's values, before encoding.
fn bytes_of(batch: &RecordBatch) -> u64 {
    let of = |array: &ArrayRef| array.to_data().get_slice_memory_size().unwrap_or(0) as u64;
    batch.columns().iter().map(of).sum()
}

/// Wraps a buffer of a batch so that [`Bytes`] can own it.
struct Part(Buffer);

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        self.0.as_slice()
    }
}

enum Output {
    Plain(Plain),
    Packed(Compressor),
}

impl Output {
    fn take(&mut self) -> Option<Bytes> {
        match self {
            Self::Plain(plain) => plain.ready.pop_front(),
            Self::Packed(compressor) => compressor.take(PIECE_BYTES).map(Bytes::from),
        }
    }
}

impl Parts for Output {
    fn word(&mut self, word: [u8; 4]) -> io::Result<()> {
        match self {
            Self::Plain(plain) => plain.put_small(&word),
            Self::Packed(compressor) => return compressor.write_all(&word),
        }
        Ok(())
    }

    fn payload(&mut self, part: Bytes) -> io::Result<()> {
        match self {
            Self::Plain(plain) => plain.put(part),
            Self::Packed(compressor) => return compressor.write_all(&part),
        }
        Ok(())
    }
}

/// Uncompressed rows: large parts in their own buffers, small ones joined.
#[derive(Default)]
struct Plain {
    small: Vec<u8>,
    ready: VecDeque<Bytes>,
}

impl Plain {
    fn put(&mut self, part: Bytes) {
        if part.len() < SMALL_BYTES {
            return self.put_small(&part);
        }
        if !self.small.is_empty() {
            self.ready.push_back(std::mem::take(&mut self.small).into());
        }
        self.ready.push_back(part);
    }

    fn put_small(&mut self, bytes: &[u8]) {
        self.small.extend_from_slice(bytes);
        if self.small.len() >= PIECE_BYTES {
            self.ready.push_back(std::mem::take(&mut self.small).into());
        }
    }

    /// Everything that was not taken: the last few bytes of a block may have completed a piece.
    fn finish(mut self) -> Bytes {
        match self.ready.pop_front() {
            None => self.small.into(),
            Some(first) => {
                let rest = self.ready.into_iter().chain([self.small.into()]);
                rest.fold(first.to_vec(), |mut all, piece| {
                    all.extend_from_slice(&piece);
                    all
                })
                .into()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, StringArray};
    use arrow::ipc::reader::StreamReader;
    use proptest::prelude::*;

    use super::*;
    use crate::tunnel::Unframer;

    fn batch(rows: usize, text: usize) -> RecordBatch {
        let ids: ArrayRef = Arc::new(Int64Array::from_iter((0_i64..).take(rows).map(|v| (v % 7 != 0).then_some(v))));
        let texts: ArrayRef = Arc::new(StringArray::from_iter_values((0..rows).map(|v| "x".repeat((v + text) % 90))));
        RecordBatch::try_from_iter_with_nullable([("id", ids, true), ("text", texts, true)]).unwrap()
    }

    /// The bytes of a block, and the length of its longest piece.
    fn block(batches: &[RecordBatch], codec: Codec) -> (Vec<u8>, usize, Encoded) {
        put(BlockEncoder::new(&batches[0].schema(), codec).unwrap(), batches)
    }

    fn put(mut encoder: BlockEncoder, batches: &[RecordBatch]) -> (Vec<u8>, usize, Encoded) {
        let (mut bytes, mut longest) = (Vec::new(), 0);
        for batch in batches {
            for piece in encoder.encode(batch).unwrap() {
                let piece = piece.unwrap();
                longest = longest.max(piece.len());
                bytes.extend_from_slice(&piece);
            }
        }
        let encoded = encoder.finish().unwrap();
        bytes.extend_from_slice(&encoded.rest);
        (bytes, longest, encoded)
    }

    #[test]
    fn a_last_word_that_fills_a_piece_is_not_left_behind() {
        for held in [0, 1, PIECE_BYTES - 4, PIECE_BYTES - 1] {
            let mut plain = Plain::default();
            plain.put_small(&vec![7; held]);
            plain.put_small(&[1, 2, 3, 4]);
            let rest = plain.finish();
            assert_eq!((rest.len(), &rest[held..]), (held + 4, &[1, 2, 3, 4][..]));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn what_goes_out_as_it_lies_is_framed_all_the_same(sizes in proptest::collection::vec((1_usize..30_000, 0_usize..90), 1..5)) {
            let batches: Vec<RecordBatch> = sizes.into_iter().map(|(rows, text)| batch(rows, text)).collect();
            let (bytes, longest, encoded) = block(&batches, Codec::None);
            prop_assert!(longest <= PIECE_BYTES + SMALL_BYTES, "a piece of {longest} bytes");
            let mut unframer = Unframer::default();
            let mut payload: Vec<u8> = unframer.push(&bytes).unwrap().concat();
            payload.extend_from_slice(&unframer.finish().unwrap());
            prop_assert_eq!(payload.len() as u64, encoded.arrow_bytes);
            prop_assert_eq!(crc32c::crc32c(&payload), encoded.crc);
            let (packed, _, same) = block(&batches, Codec::Lz4);
            let mut unpacked = Vec::new();
            io::Read::read_to_end(&mut lz4_flex::frame::FrameDecoder::new(&packed[..]), &mut unpacked).unwrap();
            prop_assert_eq!(unpacked, bytes);
            prop_assert_eq!((same.crc, same.arrow_bytes), (encoded.crc, encoded.arrow_bytes));
        }

        #[test]
        fn a_stream_is_whole_and_ends_with_its_mark(sizes in proptest::collection::vec((1_usize..9_000, 0_usize..90), 1..4)) {
            let batches: Vec<RecordBatch> = sizes.into_iter().map(|(rows, text)| batch(rows, text)).collect();
            for codec in [Codec::None, Codec::Zstd, Codec::Lz4, Codec::Deflate] {
                let encoder = BlockEncoder::stream(&batches[0].schema(), codec).unwrap();
                let (bytes, _, encoded) = put(encoder, &batches);
                prop_assert!(bytes.ends_with(&[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]));
                let read: Vec<RecordBatch> =
                    StreamReader::try_new(&bytes[..], None).unwrap().collect::<Result<_, _>>().unwrap();
                prop_assert_eq!(&read, &batches);
                prop_assert!(encoded.arrow_bytes > 0 && encoded.crc == 0);
            }
        }
    }
}
