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
        Self::of(std::io::stderr().is_terminal().then(|| ProgressBar::new(0)))
    }

    fn of(bar: Option<ProgressBar>) -> Self {
        Self { bar, shown: String::new() }
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

#[cfg(test)]
mod tests {
    use std::io::Result;
    use std::sync::{Arc, Mutex};

    use indicatif::{ProgressDrawTarget, TermLike};
    use mms_proto::catalog::v1::{ScanProgress, ScanState};
    use mms_proto::scheduler::v1::{JobProgress, JobState};

    use super::*;

    /// A terminal that keeps what is written to it.
    #[derive(Debug, Clone, Default)]
    struct Paper(Arc<Mutex<String>>);

    impl TermLike for Paper {
        fn width(&self) -> u16 {
            200
        }

        fn move_cursor_up(&self, _: usize) -> Result<()> {
            Ok(())
        }

        fn move_cursor_down(&self, _: usize) -> Result<()> {
            Ok(())
        }

        fn move_cursor_right(&self, _: usize) -> Result<()> {
            Ok(())
        }

        fn move_cursor_left(&self, _: usize) -> Result<()> {
            Ok(())
        }

        fn write_line(&self, text: &str) -> Result<()> {
            self.write_str(text)
        }

        fn write_str(&self, text: &str) -> Result<()> {
            self.0.lock().unwrap().push_str(text);
            Ok(())
        }

        fn clear_line(&self) -> Result<()> {
            Ok(())
        }

        fn flush(&self) -> Result<()> {
            Ok(())
        }
    }

    fn shown(show: impl FnOnce(&mut Progress)) -> String {
        let paper = Paper::default();
        let target = ProgressDrawTarget::term_like(Box::new(paper.clone()));
        let mut progress = Progress::of(Some(ProgressBar::with_draw_target(Some(0), target)));
        show(&mut progress);
        if let Some(bar) = &progress.bar {
            bar.force_draw();
        }
        let text = paper.0.lock().unwrap();
        text.clone()
    }

    #[test]
    fn a_job_shows_rows_bytes_rate_and_time_left() {
        let counts = JobProgress {
            bytes_done: 3 << 20,
            bytes_total: 6 << 20,
            rows_done: 1_234,
            rows_total: 1_111_930,
            tables_done: 2,
            tables_total: 9,
            time_left: Some(prost_types::Duration { seconds: 7, nanos: 0 }),
            ..JobProgress::default()
        };
        let job = Job { state: JobState::Running.into(), progress: Some(counts), ..Job::default() };
        let text = shown(|progress| progress.job(&job));
        for part in ["RUNNING", "3.00 MiB/6.00 MiB", "/s", "1,234/1,111,930 rows", "2/9 tables", "7 s left", "=>"] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn a_scan_shows_its_tables_and_a_step_its_name() {
        let counts = ScanProgress { tables_found: 11, tables_read: 4, ..ScanProgress::default() };
        let scan = Scan { state: ScanState::Running.into(), progress: Some(counts), ..Scan::default() };
        let text = shown(|progress| progress.scan(&scan));
        assert!(text.contains("4/11 tables"), "{text}");
        assert!(shown(|progress| progress.step("checking both ends")).contains("checking both ends"));
    }
}
