//! Runs the kernel. Its calls block, and it decodes Parquet inside the futures it polls, so neither may happen on threads
//! that serve RPCs. Each job has a thread of its own, all I/O runs on one runtime of this crate, and results leave through a
//! bounded channel: a slow consumer pauses the job, and one that drops the stream ends it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::mpsc;

use crate::DeltaError;

/// Threads that wait for storage and decode; more would only compete with the jobs for the same cores.
const IO_THREADS: usize = 2;
/// Threads that read local files. Few, because the allocator keeps for each thread what that thread once used.
const FILE_THREADS: usize = 2;

/// The runtime of all the kernel's I/O. It lives as long as the process, because the connection pools of the object stores
/// that it polls end with it.
static RUNTIME: Mutex<Option<Runtime>> = Mutex::new(None);

/// A handle of the runtime that polls the kernel's I/O.
pub(crate) fn io() -> Result<Handle, DeltaError> {
    let mut slot = RUNTIME.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(runtime) = &*slot {
        return Ok(runtime.handle().clone());
    }
    let runtime = Builder::new_multi_thread()
        .worker_threads(IO_THREADS)
        .max_blocking_threads(FILE_THREADS)
        .thread_name("delta-io")
        .enable_all()
        .build()
        .map_err(|e| DeltaError::Internal(format!("cannot start the I/O runtime: {e}")))?;
    Ok(slot.insert(runtime).handle().clone())
}

/// The channel by which a job returns results.
pub(crate) struct Out<T>(mpsc::Sender<Result<T, DeltaError>>);

/// The consumer is gone: the job ends silently.
pub(crate) struct Gone;

/// Why a job ends early.
pub(crate) enum Stop {
    Gone,
    Failed(DeltaError),
}

impl From<Gone> for Stop {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

impl From<DeltaError> for Stop {
    fn from(error: DeltaError) -> Self {
        Self::Failed(error)
    }
}

impl<T> Out<T> {
    /// Whether the consumer is gone.
    pub(crate) fn is_gone(&self) -> bool {
        self.0.is_closed()
    }

    /// Sends a result; waits while the channel is full.
    pub(crate) fn send(&self, item: T) -> Result<(), Gone> {
        self.0.blocking_send(Ok(item)).map_err(|_| Gone)
    }
}

/// Runs `job` on a thread of its own. At most `capacity` results wait in the stream. An error, or a panic of the job, is the
/// last item: a stream that ends without one is complete.
pub(crate) fn drive<T, J>(capacity: usize, job: J) -> BoxStream<'static, Result<T, DeltaError>>
where
    T: Send + 'static,
    J: FnOnce(&Out<T>) -> Result<(), Stop> + Send + 'static,
{
    let (sender, mut receiver) = mpsc::channel(capacity.max(1));
    let body = move || {
        let out = Out(sender);
        let error = match catch_unwind(AssertUnwindSafe(|| job(&out))) {
            Ok(Ok(()) | Err(Stop::Gone)) => return,
            Ok(Err(Stop::Failed(error))) => error,
            Err(panic) => DeltaError::Internal(format!("the Delta reader panicked: {}", panic_text(&*panic))),
        };
        // If nobody receives the error, nobody waits for the rows either.
        drop(out.0.blocking_send(Err(error)));
    };
    if let Err(e) = std::thread::Builder::new().name("delta-job".into()).spawn(body) {
        let error = DeltaError::Internal(format!("cannot start a thread: {e}"));
        return stream::once(async { Err(error) }).boxed();
    }
    stream::poll_fn(move |context| receiver.poll_recv(context)).boxed()
}

/// Runs one blocking job on a thread of its own. The job is given a function that says whether the caller has stopped
/// waiting.
pub(crate) async fn ask<T, J>(job: J) -> Result<T, DeltaError>
where
    T: Send + 'static,
    J: FnOnce(&dyn Fn() -> bool) -> Result<T, DeltaError> + Send + 'static,
{
    let answer = drive(1, move |out| Ok(out.send(job(&|| out.is_gone())?)?)).next().await;
    answer.unwrap_or_else(|| Err(DeltaError::Internal("a job ended without an answer".into())))
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("?")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_error_not_an_early_end() {
        let items: Vec<_> = drive(1, |out| {
            out.send(1)?;
            panic!("boom");
        })
        .collect()
        .await;
        assert!(matches!(&items[..], [Ok(1), Err(DeltaError::Internal(text))] if text.contains("boom")), "{items:?}");
    }

    #[tokio::test]
    async fn a_consumer_that_leaves_ends_the_job_and_bounds_its_lead() {
        let (sent, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(tokio::sync::Notify::new()));
        let (counter, end) = (sent.clone(), ended.clone());
        let mut stream = drive(2, move |out| {
            for i in 0_u32.. {
                let result = out.send(i);
                counter.fetch_add(1, Ordering::SeqCst);
                if result.is_err() {
                    break;
                }
            }
            end.notify_one();
            Ok(())
        });
        assert!(matches!(stream.next().await, Some(Ok(0))));
        drop(stream);
        ended.notified().await;
        assert!(sent.load(Ordering::SeqCst) <= 4, "one taken, two waiting, one refused");
    }
}
