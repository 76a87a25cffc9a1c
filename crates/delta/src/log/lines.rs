//! Fetches the lines of commits (and of checkpoints in JSON) in pieces of bounded size. Knows nothing of their meaning.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use delta_kernel::{FileMeta, KernelError};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use object_store::path::Path as ObjectPath;
use object_store::{GetOptions, ObjectStore, ObjectStoreExt};
use tokio::runtime::Handle;

use super::{LOG_READ_AHEAD, refuse};

/// Bytes of a log file that are fetched at once; the first piece is fetched before the file's turn.
const PIECE_BYTES: u64 = 4 << 20;
/// Longest line that is accepted; the protocol does not bound a schema or a file's statistics.
const LINE_BYTES_MAX: usize = 256 << 20;

/// Log files in order, each opened before its turn. An error is returned in its file's turn.
pub(crate) type Files = BoxStream<'static, (FileMeta, Result<Lines, KernelError>)>;

/// Opens the files in order, [`LOG_READ_AHEAD`] of them at a time.
pub(super) fn files(store: Arc<dyn ObjectStore>, files: Vec<FileMeta>) -> Files {
    let opened = files.into_iter().map(move |file| {
        let store = store.clone();
        async move {
            let lines = Lines::open(store, &file).await;
            (file, lines)
        }
    });
    stream::iter(opened).buffered(LOG_READ_AHEAD.get()).boxed()
}

pub(crate) struct Lines {
    store: Arc<dyn ObjectStore>,
    path: ObjectPath,
    /// Fetched bytes that were not returned yet.
    piece: Bytes,
    /// Range of the file that is not fetched yet.
    left: Range<u64>,
    /// Bytes after the last complete line.
    rest: Vec<u8>,
}

impl Lines {
    async fn open(store: Arc<dyn ObjectStore>, file: &FileMeta) -> Result<Self, KernelError> {
        let path = ObjectPath::from_url_path(file.location.path()).map_err(KernelError::ObjectStorePath)?;
        // A small file is requested as a whole: a listing may know less of its size than the store.
        let range = (file.size > PIECE_BYTES).then_some((0..PIECE_BYTES).into());
        let found = store.get_opts(&path, GetOptions { range, ..GetOptions::default() }).await?;
        let (end, piece) = (found.meta.size, found.bytes().await?);
        let left = piece.len() as u64..end;
        Ok(Self { store, path, piece, left, rest: Vec::new() })
    }

    /// The next complete lines; None after the end. The file's last line may lack its newline.
    pub(crate) fn next(&mut self, io: &Handle) -> Result<Option<Bytes>, KernelError> {
        loop {
            if self.piece.is_empty() {
                if self.left.is_empty() {
                    return Ok(Some(std::mem::take(&mut self.rest)).filter(|rest| !rest.is_empty()).map(Bytes::from));
                }
                let end = self.left.end.min(self.left.start + PIECE_BYTES);
                self.piece = io.block_on(self.store.get_range(&self.path, self.left.start..end))?;
                if self.piece.len() as u64 != end - self.left.start {
                    return Err(refuse(format!("it ends before its {} bytes", self.left.end)));
                }
                self.left.start = end;
            }
            let piece = std::mem::take(&mut self.piece);
            let Some(end) = memchr::memrchr(b'\n', &piece) else {
                self.rest.extend_from_slice(&piece);
                if self.rest.len() > LINE_BYTES_MAX {
                    return Err(refuse(format!("a line is longer than {LINE_BYTES_MAX} bytes")));
                }
                continue;
            };
            if self.rest.is_empty() {
                self.rest.extend_from_slice(&piece[end + 1..]);
                return Ok(Some(piece.slice(..=end)));
            }
            let mut lines = std::mem::take(&mut self.rest);
            lines.extend_from_slice(&piece[..=end]);
            self.rest.extend_from_slice(&piece[end + 1..]);
            return Ok(Some(lines.into()));
        }
    }
}

/// Selects the lines that may have one of the wanted names at their outermost level.
pub(super) struct Wanted(Vec<memchr::memmem::Finder<'static>>);

impl Wanted {
    pub(super) fn new<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let quoted = names.map(|name| format!("\"{name}\""));
        // JSON may spell a name with escapes.
        let needles = quoted.chain(["\\u".to_owned()]);
        Self(needles.map(|needle| memchr::memmem::Finder::new(needle.as_bytes()).into_owned()).collect())
    }

    /// The lines among these that may have any of the names.
    pub(super) fn of(&self, lines: &Bytes) -> Bytes {
        let mut begins: Vec<usize> = Vec::new();
        for finder in &self.0 {
            let mut from = 0;
            while let Some(found) = lines.get(from..).and_then(|rest| finder.find(rest)) {
                let at = from + found;
                begins.push(memchr::memrchr(b'\n', &lines[..at]).map_or(0, |newline| newline + 1));
                from = end_of_line(lines, at);
            }
        }
        begins.sort_unstable();
        begins.dedup();
        let kept = begins.into_iter().flat_map(|begin| &lines[begin..end_of_line(lines, begin)]);
        kept.copied().collect::<Vec<u8>>().into()
    }
}

fn end_of_line(lines: &[u8], from: usize) -> usize {
    memchr::memchr(b'\n', &lines[from..]).map_or(lines.len(), |newline| from + newline + 1)
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;
    use proptest::prelude::*;
    use url::Url;

    use super::*;

    fn lines_of(text: &[u8], size: u64) -> Vec<u8> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().expect("a runtime");
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let file = FileMeta::new(Url::parse("memory:///f").expect("a place"), 0, size);
        runtime.block_on(store.put(&ObjectPath::from("f"), text.to_vec().into())).expect("written");
        let (_, lines) = runtime.block_on(files(store, vec![file]).next()).expect("a file");
        let mut lines = lines.expect("opened");
        let mut all = Vec::new();
        while let Some(some) = lines.next(runtime.handle()).expect("read") {
            assert!(some.ends_with(b"\n") || all.len() + some.len() == text.len(), "whole lines");
            all.extend_from_slice(&some);
        }
        all
    }

    #[test]
    fn a_file_comes_whole_whatever_its_size() {
        let line = |length: usize| [vec![b'x'; length], vec![b'\n']].concat();
        for text in [
            Vec::new(),
            b"a".to_vec(),
            b"a\n\nb\n".to_vec(),
            line(5 << 20),
            [line(9 << 20), line(1), b"end".to_vec()].concat(),
            vec![b'x'; 4 << 20],
            line((4 << 20) - 1),
        ] {
            assert!(lines_of(&text, text.len() as u64) == text, "{} bytes", text.len());
        }
        // The listing was older than the file.
        assert_eq!(lines_of(b"a\nb\n", 2), b"a\nb\n");
    }

    proptest! {
        #[test]
        fn no_line_with_a_name_is_left_out(lines in proptest::collection::vec("[ab\"\\\\u]{0,6}", 0..20), ended in any::<bool>()) {
            let text = lines.join("\n") + if ended { "\n" } else { "" };
            let kept = Wanted::new(["a", "bb"].into_iter()).of(&Bytes::from(text.clone()));
            let wanted = |line: &&str| ["\"a\"", "\"bb\"", "\\u"].iter().any(|name| line.contains(name));
            let expected: String = text.split_inclusive('\n').filter(wanted).collect();
            prop_assert_eq!(String::from_utf8(kept.to_vec()).expect("text"), expected);
        }
    }
}
