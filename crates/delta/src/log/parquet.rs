//! Reads checkpoints (and their sidecars) for the kernel, and normalises their actions as those of commits.

use std::sync::Arc;

use arrow::array::RecordBatch;
use delta_kernel::engine::arrow_data::{ArrowEngineData, EngineDataArrowExt};
use delta_kernel::schema::SchemaRef;
use delta_kernel::{
    EngineData, FileDataReadResultIterator, FileMeta, KernelResult, KernelResultIteratorStatic, ParquetFooter,
    ParquetHandler, PredicateRef,
};
use url::Url;

use super::normal::{Normalizer, relaxed};
use super::storage::read_only;
use super::{LogFile, LogReading, refuse};

pub(super) struct LogParquet {
    pub(super) inner: Arc<dyn ParquetHandler>,
    pub(super) reading: Arc<LogReading>,
}

impl ParquetHandler for LogParquet {
    fn read_parquet_files(
        &self,
        files: &[FileMeta],
        schema: SchemaRef,
        predicate: Option<PredicateRef>,
    ) -> KernelResult<FileDataReadResultIterator> {
        // The name of a sidecar has no version: it belongs to the checkpoint that names it.
        let file = files.first().map(|file| LogFile::of(&file.location));
        let Some(file) = file else { return self.inner.read_parquet_files(files, schema, predicate) };
        let reading = self.reading.clone();
        let mut normalizer = Normalizer::new(reading.clone(), false);
        let batches = self.inner.read_parquet_files(files, relaxed(&schema)?, predicate);
        let batches = batches.map_err(|error| self.reading.failed(&file, error))?;
        let mut ended = false;
        let looked_at = std::iter::from_fn({
            let mut batches = batches;
            move || {
                if ended {
                    return None;
                }
                let normal = batches.next()?.try_into_record_batch().and_then(|batch: RecordBatch| {
                    let normal = normalizer.normal(batch).map_err(refuse)?;
                    Ok(Box::new(ArrowEngineData::new(normal)) as Box<dyn EngineData>)
                });
                Some(normal.map_err(|error| {
                    ended = true;
                    reading.failed(&file, error)
                }))
            }
        });
        Ok(Box::new(looked_at))
    }

    fn write_parquet_file(&self, _: Url, _: KernelResultIteratorStatic<Box<dyn EngineData>>) -> KernelResult<u64> {
        Err(read_only())
    }

    fn read_parquet_footer(&self, file: &FileMeta) -> KernelResult<ParquetFooter> {
        let footer = self.inner.read_parquet_footer(file);
        footer.map_err(|error| self.reading.failed(&LogFile::of(&file.location), error))
    }
}
