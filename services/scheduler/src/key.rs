//! The keys of this service's tables and indexes, with named parts. Defines which key is a prefix of which, because
//! scans ask for prefixes. The byte encoding is the store's; records and resource names are not known here.

use mms_store::{Key, KeyPrefix};

/// Declares keys. A key is stored as its parts in order; behind `under` are the keys that are prefixes of it.
macro_rules! keys {
    ($($(#[$about:meta])* $name:ident { $($(#[$part_about:meta])* $part:ident: $type:ty),+ $(,)? }
        $(under $($prefix:ident),+)?;)+) => {$(
        $(#[$about])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name {
            $($(#[$part_about])* pub $part: $type,)+
        }

        impl Key for $name {
            fn encode(&self, out: &mut Vec<u8>) {
                $(self.$part.encode(out);)+
            }

            fn decode(input: &mut &[u8]) -> Option<Self> {
                Some(Self { $($part: Key::decode(input)?,)+ })
            }
        }

        $($(impl KeyPrefix<$name> for $prefix {
            fn encode_prefix(&self, out: &mut Vec<u8>) {
                self.encode(out);
            }
        })+)?
    )+};
}

keys! {
    /// A data source.
    DataSourceKey { data_source: String };
    /// A job.
    JobKey { data_source: String, job: String } under DataSourceKey;
    /// A source table of a job.
    TableKey { job: JobKey, schema: String, table: String } under JobKey;
    /// A task of a job.
    TaskKey { job: JobKey, number: u32 } under JobKey, DataSourceKey;
    /// A chunk of the manifest of one unit of a table.
    ChunkKey { table: TableKey, unit: u32, chunk: u32 } under TableKey, JobKey;
    /// A line of a task's log.
    LogKey { task: TaskKey, sequence: u64 } under TaskKey, JobKey;
    /// A check of the last verification of a task.
    CheckKey { task: TaskKey, number: u32 } under TaskKey, JobKey;
    /// A target table. Lower case, because the target ignores case.
    TargetKey { name: String };
    /// A target unit.
    UnitKey {
        target: TargetKey,
        /// Empty for a table without partitions.
        partition: String,
    } under TargetKey;
    /// A job's claim of a target table.
    TableClaimKey { target: TargetKey, job: JobKey } under TargetKey;

    /// A timer.
    TimerKey { data_source: String, timer: String } under DataSourceKey;
    /// A run of a timer.
    RunKey { timer: TimerKey, number: u64 } under TimerKey, DataSourceKey;
    /// When a timer runs next, in Unix milliseconds.
    DueKey { next_time_ms: i64 };

    /// The order in which jobs are read for leasing: deadline, then priority, then age.
    LiveKey {
        deadline_ms: i64,
        /// The negated priority: less is earlier.
        rank: i64,
        create_time_ms: i64,
    };
    /// Jobs at rest, by whether their logs were deleted and by the time of their end.
    EndedKey { logs_dropped: bool, end_time_ms: i64 };
    /// Tables of a job, by the store revision of their last change.
    ChangedKey { job: JobKey, revision: u64 };
}

impl std::fmt::Display for TargetKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes(key: &impl Key) -> Vec<u8> {
        let mut out = Vec::new();
        key.encode(&mut out);
        out
    }

    fn prefix<K>(key: &impl KeyPrefix<K>) -> Vec<u8> {
        let mut out = Vec::new();
        key.encode_prefix(&mut out);
        out
    }

    proptest! {
        /// Every declared prefix begins the encoded key, and encoded keys have the order of the keys.
        #[test]
        fn keys_begin_with_what_they_are_under(parts: [String; 4], numbers: [u32; 2], other: [String; 4]) {
            let [data_source, job, schema, name] = parts;
            let source = DataSourceKey { data_source: data_source.clone() };
            let job = JobKey { data_source, job };
            let table = TableKey { job: job.clone(), schema, table: name.clone() };
            let task = TaskKey { job: job.clone(), number: numbers[0] };
            let chunk = ChunkKey { table: table.clone(), unit: numbers[0], chunk: numbers[1] };
            let log = LogKey { task: task.clone(), sequence: numbers[1].into() };
            let check = CheckKey { task: task.clone(), number: numbers[1] };
            let target = TargetKey { name };
            let unit = UnitKey { target: target.clone(), partition: job.job.clone() };
            let claim = TableClaimKey { target: target.clone(), job: job.clone() };
            let timer = TimerKey { data_source: job.data_source.clone(), timer: job.job.clone() };
            let run = RunKey { timer: timer.clone(), number: numbers[0].into() };
            prop_assert!(bytes(&run).starts_with(&prefix::<RunKey>(&timer)));
            prop_assert!(bytes(&timer).starts_with(&prefix::<TimerKey>(&source)));
            prop_assert!(bytes(&job).starts_with(&prefix::<JobKey>(&source)));
            prop_assert!(bytes(&task).starts_with(&prefix::<TaskKey>(&source)));
            prop_assert!(bytes(&table).starts_with(&prefix::<TableKey>(&job)));
            prop_assert!(bytes(&task).starts_with(&prefix::<TaskKey>(&job)));
            prop_assert!(bytes(&chunk).starts_with(&prefix::<ChunkKey>(&job)));
            prop_assert!(bytes(&chunk).starts_with(&prefix::<ChunkKey>(&table)));
            prop_assert!(bytes(&log).starts_with(&prefix::<LogKey>(&job)));
            prop_assert!(bytes(&log).starts_with(&prefix::<LogKey>(&task)));
            prop_assert!(bytes(&check).starts_with(&prefix::<CheckKey>(&job)));
            prop_assert!(bytes(&check).starts_with(&prefix::<CheckKey>(&task)));
            prop_assert!(bytes(&unit).starts_with(&prefix::<UnitKey>(&target)));
            prop_assert!(bytes(&claim).starts_with(&prefix::<TableClaimKey>(&target)));
            prop_assert_eq!(ChunkKey::decode(&mut &*bytes(&chunk)), Some(chunk));
            let [data_source, of, schema, name] = other;
            let other = TableKey { job: JobKey { data_source, job: of }, schema, table: name };
            prop_assert_eq!(bytes(&table).cmp(&bytes(&other)), table.cmp(&other));
        }
    }
}
