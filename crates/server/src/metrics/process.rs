//! The metrics of the process, as the system reports them, under the names that Prometheus' own clients use. What the
//! system does not report is not served.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::process::{Resource, getrlimit};

use super::{Metric, Metrics, real};

/// Registers all metrics of the process.
pub(super) fn follow(metrics: &Metrics) {
    metrics.follow(Metric::ProcessCpu, |tell| {
        if let Some(seconds) = stat().and_then(|stat| stat.cpu_seconds()) {
            tell(seconds, &[]);
        }
    });
    metrics.follow(Metric::ProcessMemory, |tell| {
        if let Some(pages) = stat().and_then(|stat| stat.field(24)) {
            tell(real(pages) * real(rustix::param::page_size() as u64), &[]);
        }
    });
    metrics.follow(Metric::ProcessThreads, |tell| {
        if let Some(threads) = stat().and_then(|stat| stat.field(20)) {
            tell(real(threads), &[]);
        }
    });
    metrics.follow(Metric::ProcessFiles, |tell| {
        if let Ok(files) = fs::read_dir("/proc/self/fd") {
            // The folder that is being read is one of them.
            tell(real(files.count().saturating_sub(1) as u64), &[]);
        }
    });
    metrics.follow(Metric::ProcessMostFiles, |tell| {
        if let Some(most) = getrlimit(Resource::Nofile).current {
            tell(real(most), &[]);
        }
    });
    if let Some(began) = began() {
        metrics.follow(Metric::ProcessStart, move |tell| tell(began, &[]));
    }
}

/// `/proc/self/stat` after the program's name, which may contain any character.
struct Stat(String);

fn stat() -> Option<Stat> {
    let text = fs::read_to_string("/proc/self/stat").ok()?;
    Some(Stat(text.rsplit_once(") ")?.1.to_owned()))
}

impl Stat {
    /// A field by its number in proc(5), from 3 on.
    fn field(&self, number: usize) -> Option<u64> {
        self.0.split(' ').nth(number.checked_sub(3)?)?.parse().ok()
    }

    fn cpu_seconds(&self) -> Option<f64> {
        Some(real(self.field(14)? + self.field(15)?) / ticks())
    }
}

fn ticks() -> f64 {
    real(rustix::param::clock_ticks_per_second())
}

/// When the process started, in seconds since 1970: the machine's boot time plus the process's start in ticks.
fn began() -> Option<f64> {
    let ticks_after = stat()?.field(22)?;
    let boot = fs::read_to_string("/proc/stat").ok()?;
    let boot = boot.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse::<u64>().ok()?;
    let began = real(boot) + real(ticks_after) / ticks();
    // In a container, /proc/stat may show another boot time: the process has not started in the future.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs_f64();
    Some(began.min(now))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_system_tells_of_this_process() {
        let stat = stat().unwrap();
        assert!(stat.field(20).unwrap() >= 1 && stat.field(24).unwrap() > 100);
        assert!(stat.cpu_seconds().unwrap() < 3600.0);
        let age = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64() - began().unwrap();
        assert!((0.0..3600.0).contains(&age), "{age}");
        assert_eq!(Stat("S 1 2".into()).field(99), None);
    }
}
