//! The figures of a proof: each test prints its rows, and the proof makes one table of all that it ran.

use std::time::Duration;

/// One row. What was not measured stays `None` and shows as `-`.
#[derive(Debug, Default)]
pub struct Row {
    /// Requests or connections.
    pub requests: Option<u64>,
    /// Those that were answered INTERNAL.
    pub internal: Option<u64>,
    /// Those that were wrongly let in.
    pub let_in: Option<u64>,
    /// The most memory that a service held, in MiB.
    pub peak_mib: Option<u64>,
    /// The good client's p99, and that without the attack.
    pub p99: Option<[Duration; 2]>,
    /// Heartbeats that failed, and all of them.
    pub beats: Option<[u64; 2]>,
    /// From SIGTERM to the end, of each service in the order of their ports.
    pub ends: Vec<Duration>,
    /// What else there is to say.
    pub outcome: String,
}

fn shown<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

impl Row {
    /// Prints it, for `tests/prove.d` to collect: on a line of its own, whatever the runner has begun to write.
    pub fn print(&self, name: &str) {
        let ms = |at: usize| shown(self.p99.map(|p99| format!("{:.1}", p99[at].as_secs_f64() * 1e3)));
        let ends: Vec<_> = self.ends.iter().map(|end| format!("{:.1}", end.as_secs_f64())).collect();
        let mut cells = vec![name.to_owned(), shown(self.requests), shown(self.internal), shown(self.let_in)];
        cells.extend([shown(self.peak_mib), ms(0), ms(1)]);
        cells.push(shown(self.beats.map(|[failed, all]| format!("{failed} of {all}"))));
        cells.push(shown(Some(ends.join(" ")).filter(|ends| !ends.is_empty())));
        cells.push(shown(Some(&self.outcome).filter(|outcome| !outcome.is_empty())));
        println!("\nFIGURES\t{}", cells.join("\t"));
    }
}
