//! The bytes of the tunnel and of the Storage API, both ways: compression, CRC framing, the record stream, Arrow
//! messages, and the limits of cells. Written from the protocol alone, never from our client.

pub mod carrier;
pub mod cells;
pub mod check;
pub mod encoding;
pub mod frame;
pub mod ipc;
pub mod record_read;
pub mod record_write;
pub mod stream;

use std::io;

use super::error::ApiError;

/// Carries an error answer through `Read` and `Write`, which know only `io::Error`.
pub fn to_io(error: ApiError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, Refusal(error))
}

/// The error answer inside an `io::Error`; an error that holds none means a malformed stream.
pub fn from_io(error: io::Error) -> ApiError {
    let text = error.to_string();
    match error.into_inner().and_then(|inner| inner.downcast::<Refusal>().ok()) {
        Some(refusal) => refusal.0,
        None => ApiError::malformed(format!("the body cannot be read: {text}")),
    }
}

#[derive(Debug)]
struct Refusal(ApiError);

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Refusal {}
