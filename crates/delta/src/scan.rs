//! Lists the files of a snapshot, as a stream or one by one. The list of a table of a million files is never held as a whole.

use std::ops::ControlFlow;

use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, stream};

use crate::drive::{Out, Stop, ask, drive};
use crate::replay::replay;
use crate::{DeltaError, LoggedFile, Snapshot, SourceFile};

/// Files in one page, and pages that may wait for the consumer.
const PAGE_FILES: usize = 1000;
const PAGES_AHEAD: usize = 2;

impl Snapshot {
    /// The files of this version, in the order of the log, which is the same each time.
    ///
    /// An error is the last item. A stream that ends without one is complete.
    pub fn scan_files(&self) -> BoxStream<'static, Result<SourceFile, DeltaError>> {
        let snapshot = self.clone();
        let job = move |out: &Out<Vec<SourceFile>>| {
            let mut page = Vec::new();
            replay(&snapshot, &mut |file| {
                page.push(file.into_source_file());
                if page.len() >= PAGE_FILES {
                    out.send(std::mem::take(&mut page))?;
                }
                Ok(())
            })?;
            Ok(out.send(page)?)
        };
        drive(PAGES_AHEAD, job).map_ok(|page| stream::iter(page).map(Ok)).try_flatten().boxed()
    }

    /// Calls `look` for each file of this version, in the same order, until it breaks; returns the state. `look` runs on a
    /// thread of this crate.
    ///
    /// # Errors
    /// The log cannot be read, up to the file at which `look` ended.
    pub async fn fold_files<S, F>(&self, state: S, look: F) -> Result<S, DeltaError>
    where
        S: Send + 'static,
        F: FnMut(&mut S, &LoggedFile<'_>) -> ControlFlow<()> + Send + 'static,
    {
        let snapshot = self.clone();
        ask(move |gone| fold(&snapshot, state, look, gone)).await
    }
}

fn fold<S, F>(snapshot: &Snapshot, mut state: S, mut look: F, gone: &dyn Fn() -> bool) -> Result<S, DeltaError>
where
    F: FnMut(&mut S, &LoggedFile<'_>) -> ControlFlow<()>,
{
    let mut seen = 0_usize;
    let replayed = replay(snapshot, &mut |file| {
        seen += 1;
        if seen.is_multiple_of(PAGE_FILES) && gone() {
            return Err(Stop::Gone);
        }
        match look(&mut state, &file) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Stop::Gone),
        }
    });
    match replayed {
        Ok(()) | Err(Stop::Gone) => Ok(state),
        Err(Stop::Failed(error)) => Err(error),
    }
}
