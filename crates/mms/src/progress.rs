//! Progress on stderr: bars on a terminal, a line per change of state elsewhere.

use std::io::IsTerminal;

use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use mms_proto::catalog::v1::Scan;
use mms_proto::scheduler::v1::Job;

use crate::output;

/// What goes on, shown as it goes.
pub struct Progress {
    bar: Option<ProgressBar>,
    shown: String,
}

impl Progress {
    /// Nothing shown yet.
    pub fn new() -> Self {
        Self { bar: std::io::stderr().is_terminal().then(|| ProgressBar::new(0)), shown: String::new() }
    }

    /// A step that has no measure.
    pub fn step(&mut self, text: &str) {
        match &self.bar {
            Some(bar) => {
                style(bar, "{spinner} {msg} {elapsed}");
                bar.enable_steady_tick(std::time::Duration::from_millis(100));
                bar.set_message(text.to_owned());
            }
            None => self.changed(text),
        }
    }

    /// Something that stays on the screen.
    pub fn note(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| output::note(text)),
            None => output::note(text),
        }
    }

    /// How far a scan is.
    pub fn scan(&mut self, scan: &Scan) {
        let state = output::word(scan.state().as_str_name(), "SCAN_STATE_");
        let Some(bar) = &self.bar else { return self.changed(&format!("scan {state}")) };
        let counts = scan.progress.unwrap_or_default();
        style(bar, "{spinner} scan [{bar:30}] {pos}/{len} tables  {elapsed}");
        bar.set_length(unsigned(counts.tables_found));
        bar.set_position(unsigned(counts.tables_read));
    }

    /// How far a job is.
    pub fn job(&mut self, job: &Job) {
        let state = output::word(job.state().as_str_name(), "JOB_STATE_");
        let Some(bar) = &self.bar else { return self.changed(&format!("job {state}")) };
        let counts = job.progress.unwrap_or_default();
        style(bar, "{spinner} {prefix} [{bar:30}] {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec}  {msg}");
        bar.set_prefix(state);
        bar.set_length(unsigned(counts.bytes_total));
        bar.set_position(unsigned(counts.bytes_done));
        let left = match counts.time_left {
            Some(left) => format!("{} s left", left.seconds),
            None => format!("{} s left", bar.eta().as_secs()),
        };
        bar.set_message(format!(
            "{}/{} rows  {}/{} tables  {left}",
            HumanCount(unsigned(counts.rows_done)),
            HumanCount(unsigned(counts.rows_total)),
            counts.tables_done,
            counts.tables_total
        ));
    }

    /// Clears the bar.
    pub fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn changed(&mut self, text: &str) {
        if self.shown != text {
            text.clone_into(&mut self.shown);
            output::note(text);
        }
    }
}

fn style(bar: &ProgressBar, template: &str) {
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
}

fn unsigned(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}
