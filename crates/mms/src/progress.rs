//! Progress on stderr: a bar on a terminal, otherwise a line for each change of state.

use std::io::IsTerminal;

use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use mms_proto::catalog::v1::Scan;
use mms_proto::scheduler::v1::Job;

use crate::{output, screen};

/// Shows the progress of a command.
pub struct Progress {
    bar: Option<ProgressBar>,
    width: usize,
    shown: String,
}

impl Progress {
    pub fn new() -> Self {
        let shows = std::io::stderr().is_terminal() && !output::is_quiet();
        Self::of(shows.then(|| ProgressBar::new(0)), screen::width_of_stderr().map_or(80, usize::from))
    }

    fn of(bar: Option<ProgressBar>, width: usize) -> Self {
        Self { bar, width, shown: String::new() }
    }

    /// Shows a step whose progress has no measure.
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

    /// Prints a line that stays on the screen.
    pub fn note(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| output::note(text)),
            None => output::note(text),
        }
    }

    /// Shows the progress of a scan.
    pub fn scan(&mut self, scan: &Scan) {
        let state = output::word(scan.state().as_str_name(), "SCAN_STATE_");
        let Some(bar) = &self.bar else { return self.changed(&format!("scan {state}")) };
        let counts = scan.progress.unwrap_or_default();
        measure(bar, "scan", unsigned(counts.tables_read), unsigned(counts.tables_found), self.width);
        bar.set_message(format!("{}/{} tables", counts.tables_read, counts.tables_found));
    }

    /// Shows the progress of a job.
    pub fn job(&mut self, job: &Job) {
        let state = output::word(job.state().as_str_name(), "JOB_STATE_");
        let Some(bar) = &self.bar else { return self.changed(&format!("job {state}")) };
        let counts = job.progress.unwrap_or_default();
        measure(bar, &state, unsigned(counts.bytes_done), unsigned(counts.bytes_total), self.width);
        // The most important parts come first, since parts that do not fit are left out.
        let mut parts = vec![format!("{}/{} tables", counts.tables_done, counts.tables_total)];
        if counts.bytes_total > 0 {
            parts.push(format!("{}/{}", output::bytes(counts.bytes_done), output::bytes(counts.bytes_total)));
            let left = counts.time_left.map_or_else(|| bar.eta().as_secs(), |left| unsigned(left.seconds));
            parts.push(format!("{left} s left"));
            parts.push(format!("{}/s", output::bytes(counts.bytes_per_second)));
        }
        if counts.rows_total > 0 {
            let (done, total) = (HumanCount(unsigned(counts.rows_done)), HumanCount(unsigned(counts.rows_total)));
            parts.push(format!("{done}/{total} rows"));
        }
        bar.set_message(fitting(&parts, room(&state, self.width)));
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

/// Shows a bar, or a spinner while the total is unknown.
fn measure(bar: &ProgressBar, prefix: &str, done: u64, total: u64, width: usize) {
    match total {
        0 => style(bar, "{spinner} {prefix} {msg}"),
        _ => style(bar, &format!("{{spinner}} {{prefix}} [{{bar:{}}}] {{msg}}", bar_width(width))),
    }
    bar.set_prefix(prefix.to_owned());
    bar.set_length(total);
    bar.set_position(done);
}

fn bar_width(width: usize) -> usize {
    if width < 100 { 16 } else { 30 }
}

/// The columns that a line has for its message, beside the spinner, the prefix and the bar.
fn room(prefix: &str, width: usize) -> usize {
    width.saturating_sub(prefix.len() + bar_width(width) + "s  [] ".len() + 1)
}

/// The parts that fit, in their order.
fn fitting(parts: &[String], room: usize) -> String {
    let mut text = String::new();
    for part in parts {
        let gap = if text.is_empty() { "" } else { "  " };
        if text.len() + gap.len() + part.len() <= room {
            text.push_str(gap);
            text.push_str(part);
        }
    }
    text
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

    /// A terminal that stores what is written to it, and its width.
    #[derive(Debug, Clone)]
    struct Paper(Arc<Mutex<String>>, u16);

    impl TermLike for Paper {
        fn width(&self) -> u16 {
            self.1
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

    fn shown(width: u16, show: impl FnOnce(&mut Progress)) -> String {
        let paper = Paper(Arc::default(), width);
        let target = ProgressDrawTarget::term_like(Box::new(paper.clone()));
        let bar = ProgressBar::with_draw_target(Some(0), target);
        let mut progress = Progress::of(Some(bar), usize::from(width));
        show(&mut progress);
        // What was drawn before the last message is not part of the line.
        paper.0.lock().unwrap().clear();
        if let Some(bar) = &progress.bar {
            bar.force_draw();
        }
        let text = paper.0.lock().unwrap();
        text.trim_end().to_owned()
    }

    fn running() -> Job {
        let counts = JobProgress {
            bytes_done: 3 << 20,
            bytes_total: 6 << 20,
            bytes_per_second: 1 << 20,
            rows_done: 1_234,
            rows_total: 1_111_930,
            tables_done: 2,
            tables_total: 9,
            time_left: Some(prost_types::Duration { seconds: 7, nanos: 0 }),
            ..JobProgress::default()
        };
        Job { state: JobState::Running.into(), progress: Some(counts), ..Job::default() }
    }

    #[test]
    fn a_job_shows_tables_bytes_time_left_rate_and_rows() {
        let text = shown(200, |progress| progress.job(&running()));
        let parts =
            ["RUNNING", "2/9 tables", "3.00 MiB/6.00 MiB", "7 s left", "1.00 MiB/s", "1,234/1,111,930 rows", "=>"];
        for part in parts {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn a_line_fits_eighty_columns_and_leaves_out_what_matters_least() {
        let text = shown(80, |progress| progress.job(&running()));
        assert!(text.chars().count() <= 80, "{text}");
        assert!(text.contains("2/9 tables") && text.contains("7 s left") && !text.contains("rows"), "{text}");
    }

    #[test]
    fn an_unknown_total_is_no_full_bar() {
        let job = Job { state: JobState::Planning.into(), ..Job::default() };
        let text = shown(80, |progress| progress.job(&job));
        assert!(text.contains("PLANNING") && !text.contains('='), "{text}");
    }

    #[test]
    fn a_scan_shows_its_tables_and_a_step_its_name() {
        let counts = ScanProgress { tables_found: 11, tables_read: 4, ..ScanProgress::default() };
        let scan = Scan { state: ScanState::Running.into(), progress: Some(counts), ..Scan::default() };
        assert!(shown(80, |progress| progress.scan(&scan)).contains("4/11 tables"));
        assert!(
            shown(80, |progress| progress.step("checking source and target")).contains("checking source and target")
        );
    }
}
