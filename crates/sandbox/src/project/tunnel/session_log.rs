//! The log of an upload session: one JSON line for each event, each durable before it is acknowledged.
//!
//! No incomplete line may ever stand before a complete one. A failed write is undone, and an incomplete last line, as a
//! crash leaves it, is removed at the next start.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::super::disk;
use super::super::error::ProjectError;
use super::super::table::FileEntry;

const NAME: &str = "log";

/// An event of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// A block was received.
    Block {
        /// The block's number.
        id: u32,
        /// The attempt at this block. A block of the tunnel has only attempt 0, which a later upload of the block
        /// replaces.
        #[serde(default)]
        attempt: u32,
        /// The file with its rows.
        file: FileEntry,
        /// Seconds since the epoch.
        at: i64,
    },
    /// The session was committed.
    Closed,
}

/// Why an event was not written.
#[derive(Debug)]
pub enum AppendError {
    /// The log is as it was before.
    TakenBack(io::Error),
    /// Part of the line may be left, so nothing may be written after it.
    Torn(io::Error),
}

/// The operations on a file that an append needs.
trait Tail: Write {
    fn len(&self) -> io::Result<u64>;
    fn cut(&mut self, len: u64) -> io::Result<()>;
    fn sync(&mut self) -> io::Result<()>;
}

impl Tail for File {
    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn cut(&mut self, len: u64) -> io::Result<()> {
        self.set_len(len)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}

fn append_to(tail: &mut impl Tail, event: &Event) -> Result<(), AppendError> {
    let before = tail.len().map_err(AppendError::TakenBack)?;
    let mut line = serde_json::to_vec(event).map_err(|error| AppendError::TakenBack(error.into()))?;
    line.push(b'\n');
    tail.write_all(&line).and_then(|()| tail.sync()).map_err(|error| {
        match tail.cut(before).and_then(|()| tail.sync()) {
            Ok(()) => AppendError::TakenBack(error),
            Err(_) => AppendError::Torn(error),
        }
    })
}

/// Appends an event to the log of the session in `dir`. The event is on disk when this returns.
///
/// # Errors
/// The write failed; the variant says whether the log is still usable.
pub fn append(dir: &Path, event: &Event) -> Result<(), AppendError> {
    let path = dir.join(NAME);
    let new = !path.exists();
    let mut file = OpenOptions::new().create(true).append(true).open(path).map_err(AppendError::TakenBack)?;
    append_to(&mut file, event)?;
    if new { disk::sync_dir(dir).map_err(AppendError::Torn) } else { Ok(()) }
}

/// Reads the events of the session in `dir`. An incomplete last line was never acknowledged and is removed from the
/// file.
///
/// # Errors
/// The log cannot be read, or a line is not an event.
pub fn read(dir: &Path) -> Result<Vec<Event>, ProjectError> {
    let path = dir.join(NAME);
    let log = match fs::read(&path) {
        Ok(log) => log,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(disk::io_error(format!("reading {}", path.display()))(error)),
    };
    let whole = log.iter().rposition(|byte| *byte == b'\n').map_or(0, |i| i + 1);
    if whole < log.len() {
        OpenOptions::new()
            .write(true)
            .open(&path)
            .and_then(|file| file.set_len(whole as u64).and_then(|()| file.sync_all()))
            .map_err(disk::io_error(format!("repairing {}", path.display())))?;
    }
    log[..whole]
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| {
            serde_json::from_slice(line)
                .map_err(|e| ProjectError::Damaged { path: path.display().to_string(), reason: e.to_string() })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file on a disk that is full after `room` bytes.
    struct Full {
        bytes: Vec<u8>,
        room: usize,
        can_cut: bool,
    }

    impl Write for Full {
        fn write(&mut self, data: &[u8]) -> io::Result<usize> {
            let n = data.len().min(self.room);
            if n == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.room -= n;
            self.bytes.extend_from_slice(&data[..n]);
            Ok(n)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Tail for Full {
        fn len(&self) -> io::Result<u64> {
            Ok(self.bytes.len() as u64)
        }

        fn cut(&mut self, len: u64) -> io::Result<()> {
            if !self.can_cut {
                return Err(io::ErrorKind::Other.into());
            }
            self.bytes.truncate(len as usize);
            Ok(())
        }

        fn sync(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn block(id: u32) -> Event {
        let file = FileEntry { name: format!("{id}.arrow"), rows: 1, bytes: 9, batches: vec![1] };
        Event::Block { id, attempt: 0, file, at: 5 }
    }

    #[test]
    fn a_write_that_fails_half_way_leaves_nothing_behind() {
        let mut disk = Full { bytes: Vec::new(), room: 120, can_cut: true };
        append_to(&mut disk, &block(1)).expect("there is room for one");
        let error = append_to(&mut disk, &block(2)).expect_err("half of it fits");
        assert!(matches!(error, AppendError::TakenBack(_)), "{error:?}");
        disk.room = 1000;
        append_to(&mut disk, &Event::Closed).expect("there is room again");

        let dir = tempfile::tempdir().expect("a directory");
        fs::write(dir.path().join(NAME), &disk.bytes).expect("written");
        assert_eq!(read(dir.path()).expect("whole lines"), [block(1), Event::Closed]);
    }

    #[test]
    fn half_a_line_that_stays_is_told_apart() {
        let mut disk = Full { bytes: Vec::new(), room: 10, can_cut: false };
        let error = append_to(&mut disk, &block(1)).expect_err("half of it fits");
        assert!(matches!(error, AppendError::Torn(_)), "{error:?}");
    }

    #[test]
    fn what_a_crash_cut_off_is_cut_away() {
        let dir = tempfile::tempdir().expect("a directory");
        assert_eq!(read(dir.path()).expect("no log yet"), []);
        append(dir.path(), &block(1)).expect("written");
        append(dir.path(), &block(2)).expect("written");
        let path = dir.path().join(NAME);
        let bytes = fs::read(&path).expect("read");
        // The cut is also in the middle of a character.
        fs::write(&path, [&bytes[..bytes.len() - 9], b"\xe4\xb8".as_slice()].concat()).expect("cut");
        assert_eq!(read(dir.path()).expect("repaired"), [block(1)]);
        append(dir.path(), &Event::Closed).expect("written");
        assert_eq!(read(dir.path()).expect("read"), [block(1), Event::Closed]);
        fs::write(&path, b"{}\n").expect("damaged");
        assert!(matches!(read(dir.path()), Err(ProjectError::Damaged { .. })));
    }
}
