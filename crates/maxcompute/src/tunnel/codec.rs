//! Compresses the framed bytes of a block. The server learns the codec from `Content-Encoding`.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use flate2::write::ZlibEncoder;
use lz4_flex::frame::{BlockSize, FrameEncoder, FrameInfo};

/// zstd's fastest level: a core must keep up with the link, and the ratio matters less.
const ZSTD_LEVEL: i32 = 1;

/// How a block is compressed on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Codec {
    /// Not compressed.
    #[default]
    None,
    /// zstd: the best ratio for its cost. No official Java client sends it for Arrow.
    Zstd,
    /// LZ4 frames; sent by every official client.
    Lz4,
    /// zlib; slow, understood by every server.
    Deflate,
}

impl Codec {
    /// The name in configurations and logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Zstd => "zstd",
            Self::Lz4 => "lz4",
            Self::Deflate => "deflate",
        }
    }

    /// The value of the `Content-Encoding` header; `None` for [`Codec::None`].
    #[must_use]
    pub fn content_encoding(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Zstd => Some("zstd"),
            Self::Lz4 => Some("x-odps-lz4-frame"),
            Self::Deflate => Some("deflate"),
        }
    }
}

/// A compressor whose output is taken piece by piece, and which measures the time that it takes.
pub(super) struct Compressor {
    stream: Stream,
    spent: Duration,
}

enum Stream {
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
    // Boxed because its tables are large.
    Lz4(Box<FrameEncoder<Vec<u8>>>),
    Deflate(ZlibEncoder<Vec<u8>>),
}

impl Compressor {
    /// `None` for uncompressed blocks.
    pub fn new(codec: Codec) -> io::Result<Option<Self>> {
        let stream = match codec {
            Codec::None => return Ok(None),
            Codec::Zstd => Stream::Zstd(zstd::stream::write::Encoder::new(Vec::new(), ZSTD_LEVEL)?),
            Codec::Lz4 => {
                let info = FrameInfo::new().block_size(BlockSize::Max64KB);
                Stream::Lz4(Box::new(FrameEncoder::with_frame_info(info, Vec::new())))
            }
            Codec::Deflate => Stream::Deflate(ZlibEncoder::new(Vec::new(), flate2::Compression::fast())),
        };
        Ok(Some(Self { stream, spent: Duration::ZERO }))
    }

    /// Takes the output so far, once it has at least `least` bytes.
    pub fn take(&mut self, least: usize) -> Option<Vec<u8>> {
        let out = self.stream.output();
        (out.len() >= least).then(|| std::mem::replace(out, Vec::with_capacity(least + least / 4)))
    }

    /// Ends the compressed stream. Returns the rest of the output, and the time spent compressing all of it.
    pub fn finish(self) -> io::Result<(Vec<u8>, Duration)> {
        let begun = Instant::now();
        let rest = match self.stream {
            Stream::Zstd(encoder) => encoder.finish()?,
            Stream::Lz4(encoder) => encoder.finish().map_err(io::Error::other)?,
            Stream::Deflate(encoder) => encoder.finish()?,
        };
        Ok((rest, self.spent + begun.elapsed()))
    }
}

impl Stream {
    /// The output so far.
    fn output(&mut self) -> &mut Vec<u8> {
        match self {
            Self::Zstd(encoder) => encoder.get_mut(),
            Self::Lz4(encoder) => encoder.get_mut(),
            Self::Deflate(encoder) => encoder.get_mut(),
        }
    }
}

impl Write for Compressor {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let begun = Instant::now();
        let written = match &mut self.stream {
            Stream::Zstd(encoder) => encoder.write(bytes),
            Stream::Lz4(encoder) => encoder.write(bytes),
            Stream::Deflate(encoder) => encoder.write(bytes),
        };
        self.spent += begun.elapsed();
        written
    }

    /// Does nothing: flushing in mid-stream would only cost ratio, and [`Compressor::finish`] ends the stream.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn unpack(codec: Codec, packed: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        match codec {
            Codec::None => panic!("it has no compressor"),
            Codec::Zstd => out = zstd::decode_all(packed).unwrap(),
            Codec::Lz4 => drop(lz4_flex::frame::FrameDecoder::new(packed).read_to_end(&mut out).unwrap()),
            Codec::Deflate => drop(flate2::read::ZlibDecoder::new(packed).read_to_end(&mut out).unwrap()),
        }
        out
    }

    #[test]
    fn each_codec_is_complete_after_finish_and_leaves_in_pieces() {
        // Text that compresses well, and noise that does not.
        let mut seed = 1_u32;
        let noise = (0..300_000).map(|_| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 24) as u8
        });
        let input: Vec<u8> = b"abcabcabd".iter().copied().cycle().take(100_000).chain(noise).collect();
        assert!(Compressor::new(Codec::None).unwrap().is_none());
        for codec in [Codec::Zstd, Codec::Lz4, Codec::Deflate] {
            let mut compressor = Compressor::new(codec).unwrap().unwrap();
            let (mut packed, mut pieces) = (Vec::new(), 0);
            for part in input.chunks(10_000) {
                compressor.write_all(part).unwrap();
                if let Some(piece) = compressor.take(65_536) {
                    assert!(piece.len() < 400_000);
                    packed.extend(piece);
                    pieces += 1;
                }
            }
            let (rest, spent) = compressor.finish().unwrap();
            packed.extend(rest);
            assert!(!spent.is_zero());
            assert!(pieces >= 2, "{codec:?} held everything back");
            assert_eq!(unpack(codec, &packed), input, "{codec:?}");
        }
    }
}
