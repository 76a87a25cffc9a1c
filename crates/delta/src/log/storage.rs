//! Lists for the kernel only those files of a log that it may use: commits, and checkpoints that can be read.

use std::sync::Arc;

use bytes::Bytes;
use delta_kernel::{FileMeta, FileSlice, KernelError, KernelResult, KernelResultIteratorStatic, StorageHandler};
use url::Url;

use super::{LogFile, LogReading};

pub(super) struct LogStorage {
    pub(super) inner: Arc<dyn StorageHandler>,
    pub(super) reading: Arc<LogReading>,
}

impl StorageHandler for LogStorage {
    fn list_from(&self, path: &Url) -> KernelResult<KernelResultIteratorStatic<FileMeta>> {
        let reading = self.reading.clone();
        let shown = move |file: &FileMeta| {
            let log_file = LogFile::of(&file.location);
            let left_out = log_file.checkpoint.is_some_and(|version| reading.without.checkpoints.contains(&version));
            // A checkpoint without bytes: its writer did not finish.
            let empty = log_file.checkpoint.is_some() && file.size == 0;
            if empty {
                reading.saw_empty(log_file.name.clone());
            }
            !(left_out || empty || log_file.repeats())
        };
        Ok(Box::new(self.inner.list_from(path)?.filter(move |file| file.as_ref().map_or(true, &shown))))
    }

    fn read_files(&self, files: Vec<FileSlice>) -> KernelResult<KernelResultIteratorStatic<Bytes>> {
        let hint = files.iter().find(|(location, _)| LogFile::of(location).name == "_last_checkpoint");
        match hint {
            Some((location, _)) if self.reading.without.hint => {
                let absent = KernelError::FileNotFound(location.to_string());
                Ok(Box::new(std::iter::once(Err(absent))))
            }
            _ => self.inner.read_files(files),
        }
    }

    fn copy_atomic(&self, _: &Url, _: &Url) -> KernelResult<()> {
        Err(read_only())
    }

    fn put(&self, _: &Url, _: Bytes, _: bool) -> KernelResult<()> {
        Err(read_only())
    }

    fn head(&self, path: &Url) -> KernelResult<FileMeta> {
        self.inner.head(path)
    }

    fn delete(&self, _: &Url) -> KernelResult<()> {
        Err(read_only())
    }
}

pub(super) fn read_only() -> KernelError {
    KernelError::Unsupported("a source is never written to".to_owned())
}
