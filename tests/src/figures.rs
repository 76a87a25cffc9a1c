//! The figures of a proof: each test prints its rows, and the proof collects them in one table.

use std::time::Duration;

/// A row of the table. What was not measured is `None`, and shown as `-`.
#[derive(Debug, Default)]
pub struct Row {
    /// Requests, or connections.
    pub requests: Option<u64>,
    /// Requests that were answered INTERNAL.
    pub internal: Option<u64>,
    /// Requests that were wrongly accepted.
    pub let_in: Option<u64>,
    /// The most memory that a service held, in MiB.
    pub peak_mib: Option<u64>,
    /// The p99 of the well-behaved client, and the same without the attack.
    pub p99: Option<[Duration; 2]>,
    /// Failed heartbeats, and all heartbeats.
    pub beats: Option<[u64; 2]>,
    /// Time from SIGTERM to the end of each service, in the order of their ports.
    pub ends: Vec<Duration>,
    /// Anything else that the row has to say.
    pub outcome: String,
}

fn shown<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

impl Row {
    /// Prints the row for `tests/prove.d` to collect: on a line of its own, whatever the test runner has written
    /// before.
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
