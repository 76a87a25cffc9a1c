//! Limits how many log lines rejected calls may write. A caller that is rejected ten thousand times a second must
//! neither fill the disk nor take the time of others. The number of lines left out is logged; errors of our own are
//! always logged.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Most lines in a second.
const LINES: u32 = 50;
const SECOND: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Window {
    began: Instant,
    written: u32,
    left_out: u64,
}

/// The lines that may still be written in this second.
#[derive(Debug)]
pub(crate) struct Lines(Mutex<Window>);

impl Lines {
    pub fn new(now: Instant) -> Self {
        Self(Mutex::new(Window { began: now, written: 0, left_out: 0 }))
    }

    /// Takes one line: `None` if this second has none left, else the number of lines left out since the last one.
    pub fn take(&self, now: Instant) -> Option<u64> {
        let mut window = self.0.lock();
        if now.saturating_duration_since(window.began) >= SECOND {
            (window.began, window.written) = (now, 0);
        }
        if window.written >= LINES {
            window.left_out += 1;
            return None;
        }
        window.written += 1;
        Some(std::mem::take(&mut window.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_lines_a_second_and_the_next_says_how_many_were_left_out() {
        let start = Instant::now();
        let lines = Lines::new(start);
        assert_eq!((0..LINES + 7).filter_map(|_| lines.take(start)).count(), LINES as usize);
        assert_eq!(lines.take(start + SECOND / 2), None);
        assert_eq!(lines.take(start + SECOND), Some(8));
        assert_eq!(lines.take(start + SECOND), Some(0));
    }
}
