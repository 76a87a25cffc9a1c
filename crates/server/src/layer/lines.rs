//! How many log lines refused calls may write. A caller that is refused ten thousand times a second must not fill the disk, nor
//! take the time of the others; how many lines were left out is said. Errors of our own are always logged.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Lines a second.
const LINES: u32 = 50;
const SECOND: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Window {
    began: Instant,
    written: u32,
    left_out: u64,
}

/// The lines that may still be written.
#[derive(Debug)]
pub(crate) struct Lines(Mutex<Window>);

impl Lines {
    pub fn new(now: Instant) -> Self {
        Self(Mutex::new(Window { began: now, written: 0, left_out: 0 }))
    }

    /// Whether a line may be written now: with the number of those that were left out since the one before.
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
