//! Bridges between async bodies and the blocking codecs. The number of chunks in between is bounded.

use std::io::{self, Read, Write};

use axum::body::{Body, HttpBody};
use bytes::{Buf, Bytes};
use http_body_util::BodyExt;
use tokio::sync::mpsc;

/// The most chunks in flight.
const DEPTH: usize = 8;
/// The size of the chunks that we send.
const CHUNK: usize = 64 << 10;
/// How many bytes of a rejected body are still read, so that the client sees the error answer and not a broken
/// connection.
const DRAIN_MAX: usize = 64 << 20;

enum Piece {
    Data(Bytes),
    /// The body ended properly. A channel that closes without this was cut off.
    End,
    Broken(String),
}

/// The reading end, for use in a blocking thread.
pub struct BodyReader {
    pieces: mpsc::Receiver<Piece>,
    current: Bytes,
    ended: bool,
}

impl Read for BodyReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() && !self.ended {
            match self.pieces.blocking_recv() {
                Some(Piece::Data(bytes)) => self.current = bytes,
                Some(Piece::End) => self.ended = true,
                Some(Piece::Broken(why)) => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, why)),
                None => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the connection was cut")),
            }
        }
        let n = out.len().min(self.current.len());
        self.current.copy_to_slice(&mut out[..n]);
        Ok(n)
    }
}

/// A reader of the body that [`Feeder::feed`] sends.
pub fn body_reader() -> (Feeder, BodyReader) {
    let (sender, pieces) = mpsc::channel(DEPTH);
    (Feeder(sender), BodyReader { pieces, current: Bytes::new(), ended: false })
}

/// The sending end.
pub struct Feeder(mpsc::Sender<Piece>);

impl Feeder {
    /// Sends a whole body. A reader that has stopped is no error here: the rest of the body is read and discarded, up
    /// to a bound.
    pub async fn feed(self, mut body: Body) {
        let mut drained = 0;
        loop {
            let piece = match body.frame().await {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => Piece::Data(data),
                    Err(_) => continue,
                },
                Some(Err(error)) => Piece::Broken(error.to_string()),
                None => Piece::End,
            };
            let last = !matches!(piece, Piece::Data(_)) || (body.is_end_stream() && self.0.is_closed());
            let size = if let Piece::Data(data) = &piece { data.len() } else { 0 };
            if self.0.send(piece).await.is_err() {
                drained += size;
            }
            if last || drained > DRAIN_MAX {
                return;
            }
        }
    }
}

/// A writer for a blocking thread; what it writes becomes a response body.
pub struct BodyWriter {
    sender: mpsc::Sender<io::Result<Bytes>>,
    buffer: Vec<u8>,
}

/// Creates a writer and the stream of what it writes.
pub fn body_writer() -> (BodyWriter, mpsc::Receiver<io::Result<Bytes>>) {
    let (sender, receiver) = mpsc::channel(DEPTH);
    (BodyWriter { sender, buffer: Vec::with_capacity(CHUNK) }, receiver)
}

impl BodyWriter {
    /// A second handle, for sending an error after the writer has been moved away.
    pub fn errors(&self) -> mpsc::Sender<io::Result<Bytes>> {
        self.sender.clone()
    }

    fn send(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let bytes = Bytes::from(std::mem::replace(&mut self.buffer, Vec::with_capacity(CHUNK)));
        self.sender.blocking_send(Ok(bytes)).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
    }

    /// Sends the rest of the buffer.
    pub fn finish(mut self) -> io::Result<()> {
        self.send()
    }
}

impl Write for BodyWriter {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let n = data.len().min(CHUNK - self.buffer.len());
        self.buffer.extend_from_slice(&data[..n]);
        if self.buffer.len() == CHUNK {
            self.send()?;
        }
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
