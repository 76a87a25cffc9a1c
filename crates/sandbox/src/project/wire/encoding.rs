//! `Content-Encoding`: the compression around a tunnel body.

use std::io::{self, Read, Write};

use super::super::error::{ApiError, ApiResult};

/// A compression that the tunnel supports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// None.
    Identity,
    /// zlib, called `deflate`.
    Deflate,
    /// Zstandard.
    Zstd,
    /// Snappy's framing format.
    Snappy,
    /// LZ4 frames, under the name used for records or the one used for Arrow.
    Lz4(&'static str),
}

const LZ4_RECORDS: &str = "x-lz4-frame";
const LZ4_ARROW: &str = "x-odps-lz4-frame";

impl Encoding {
    /// The encoding of this name.
    fn named(name: &str) -> Option<Self> {
        match name {
            "" | "identity" => Some(Self::Identity),
            "deflate" => Some(Self::Deflate),
            "zstd" => Some(Self::Zstd),
            "x-snappy-framed" => Some(Self::Snappy),
            LZ4_RECORDS => Some(Self::Lz4(LZ4_RECORDS)),
            LZ4_ARROW => Some(Self::Lz4(LZ4_ARROW)),
            _ => None,
        }
    }

    /// The encoding of an upload. The two names of LZ4 are not interchangeable.
    pub fn of_upload(name: &str, arrow: bool) -> ApiResult<Self> {
        match Self::named(name.trim()) {
            Some(Self::Lz4(lz4)) if (lz4 == LZ4_ARROW) != arrow => None,
            found => found,
        }
        .ok_or_else(|| ApiError::invalid(format!("Content-Encoding `{name}` is not known for this kind of block")))
    }

    /// The encoding of a download. Only a client that names exactly one gets it: generic HTTP clients list several, and
    /// would decompress the body before the reader sees it.
    pub fn of_download(accept: &str) -> Self {
        Self::named(accept.trim()).unwrap_or(Self::Identity)
    }

    /// The header value of a download; `None` if the body is not compressed.
    pub fn header(self) -> Option<&'static str> {
        match self {
            Self::Identity => None,
            Self::Deflate => Some("deflate"),
            Self::Zstd => Some("zstd"),
            Self::Snappy => Some("x-snappy-framed"),
            Self::Lz4(name) => Some(name),
        }
    }

    /// A reader that decompresses.
    pub fn reader<'a, R: Read + 'a>(self, inner: R) -> io::Result<Box<dyn Read + 'a>> {
        Ok(match self {
            Self::Identity => Box::new(inner),
            Self::Deflate => Box::new(flate2::read::ZlibDecoder::new(inner)),
            Self::Zstd => Box::new(zstd::stream::read::Decoder::new(inner)?),
            Self::Snappy => Box::new(snap::read::FrameDecoder::new(inner)),
            Self::Lz4(_) => Box::new(lz4_flex::frame::FrameDecoder::new(inner)),
        })
    }

    /// A writer that compresses.
    pub fn writer<W: Write>(self, inner: W) -> io::Result<Compressor<W>> {
        Ok(match self {
            Self::Identity => Compressor::Identity(inner),
            Self::Deflate => Compressor::Deflate(flate2::write::ZlibEncoder::new(inner, flate2::Compression::fast())),
            Self::Zstd => Compressor::Zstd(zstd::stream::write::Encoder::new(inner, 1)?),
            Self::Snappy => Compressor::Snappy(Box::new(snap::write::FrameEncoder::new(inner))),
            Self::Lz4(_) => Compressor::Lz4(Box::new(lz4_flex::frame::FrameEncoder::new(inner))),
        })
    }
}

/// A compressing writer. It must be finished, or the last bytes are lost.
pub enum Compressor<W: Write> {
    /// See [`Encoding::Identity`].
    Identity(W),
    /// See [`Encoding::Deflate`].
    Deflate(flate2::write::ZlibEncoder<W>),
    /// See [`Encoding::Zstd`].
    Zstd(zstd::stream::write::Encoder<'static, W>),
    /// See [`Encoding::Snappy`].
    Snappy(Box<snap::write::FrameEncoder<W>>),
    /// See [`Encoding::Lz4`].
    Lz4(Box<lz4_flex::frame::FrameEncoder<W>>),
}

impl<W: Write> Compressor<W> {
    /// Ends the compressed stream and returns the inner writer.
    pub fn finish(self) -> io::Result<W> {
        match self {
            Self::Identity(inner) => Ok(inner),
            Self::Deflate(encoder) => encoder.finish(),
            Self::Zstd(encoder) => encoder.finish(),
            Self::Snappy(encoder) => encoder.into_inner().map_err(snap::write::IntoInnerError::into_error),
            Self::Lz4(encoder) => encoder.finish().map_err(io::Error::other),
        }
    }
}

impl<W: Write> Write for Compressor<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        match self {
            Self::Identity(inner) => inner.write(data),
            Self::Deflate(encoder) => encoder.write(data),
            Self::Zstd(encoder) => encoder.write(data),
            Self::Snappy(encoder) => encoder.write(data),
            Self::Lz4(encoder) => encoder.write(data),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_encoding_comes_back() {
        let data: Vec<u8> = (0..300_000u64).map(|i| (i * i / 7) as u8).collect();
        for name in ["", "deflate", "zstd", "x-snappy-framed", "x-lz4-frame", "x-odps-lz4-frame"] {
            let encoding = Encoding::of_download(name);
            assert_eq!(encoding.header().unwrap_or_default(), name);
            let mut writer = encoding.writer(Vec::new()).expect("a writer");
            writer.write_all(&data).expect("written");
            let packed = writer.finish().expect("finished");
            let mut back = Vec::new();
            encoding.reader(packed.as_slice()).expect("a reader").read_to_end(&mut back).expect("read");
            assert!(back == data, "{name}");
        }
        assert_eq!(Encoding::of_download("gzip, deflate"), Encoding::Identity);
        assert!(Encoding::of_upload("x-lz4-frame", true).is_err());
        assert!(Encoding::of_upload("gzip", false).is_err());
    }
}
