//! Ctrl-C and SIGTERM in a command that follows work of the suite. Owns the message about the work that continues;
//! stops no work.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use mms_server::{CancellationToken, cancel_on_signal};

/// The exit code that shells use for a program that Ctrl-C ended.
pub const EXIT_INTERRUPTED: u8 = 130;

/// The command was interrupted. The text says what continues, and how to watch and stop it.
#[derive(Debug)]
pub struct Interrupted(String);

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Interrupted {}

/// The work that continues in the suite when the command ends.
#[derive(Debug, Default)]
pub struct RunsOn(Mutex<Option<String>>);

impl RunsOn {
    /// Sets the work that continues, with the commands to watch and to stop it.
    pub fn is(&self, what: &str, watch: &str, stop: &str) {
        let text = format!("{what} runs on\n  watch it: {watch}\n  stop it:  {stop}");
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
    }

    /// Sets that no work continues.
    pub fn nothing(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Runs `work` until it ends, or until a signal ends it with [`Interrupted`].
    pub async fn or_interrupted<T>(&self, work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
        let stop = CancellationToken::new();
        tokio::spawn(cancel_on_signal(stop.clone()));
        tokio::select! {
            biased;
            done = work => done,
            () = stop.cancelled() => {
                let goes_on = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let text = goes_on.unwrap_or_else(|| "nothing is running; run the command again to continue".into());
                Err(Interrupted(format!("interrupted: {text}")).into())
            }
        }
    }
}
