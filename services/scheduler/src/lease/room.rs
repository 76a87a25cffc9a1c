//! Counts how many tasks run at once: of a data source, of a job, and of single schemas and tables. Bounds of the data
//! source count the tasks of all its jobs; bounds of a job count its own tasks. Pure.

use std::collections::HashMap;

use mms_expr::folded;

use crate::key::{JobKey, TaskKey};
use crate::record::{Concurrency, Limits};

/// What a bound counts the tasks of. Names of schemas and tables are case-folded.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Place {
    Source(String),
    Job(JobKey),
    /// Of all jobs of a data source.
    SourceSchema(String, String),
    SourceTable(String, String, String),
    /// Of one job.
    JobSchema(JobKey, String),
    JobTable(JobKey, String, String),
}

/// Which bound is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// The data source's bound, over all its jobs.
    Source,
    /// The job's own bound.
    Job,
    /// The bound of a schema.
    Schema,
    /// The bound of a table.
    Table,
}

impl Full {
    /// What the bound is of, for the text of a reason.
    pub fn text(self) -> &'static str {
        match self {
            Self::Source => "its data source (max_concurrent_tasks of its settings)",
            Self::Job => "the job itself (max_concurrent_tasks)",
            Self::Schema => "the schemas of its tasks (concurrency)",
            Self::Table => "the tables of its tasks (concurrency)",
        }
    }
}

/// Running tasks, counted by everything that may bound them.
#[derive(Debug, Default)]
pub struct Running(HashMap<Place, usize>);

impl Running {
    /// Counts one more running task, of this table.
    pub fn add(&mut self, key: &TaskKey, schema: &str, table: &str) {
        let (job, source, schema, table) = (&key.job, &key.job.data_source, folded(schema), folded(table));
        let places = [
            Place::SourceSchema(source.clone(), schema.clone()),
            Place::SourceTable(source.clone(), schema.clone(), table.clone()),
            Place::JobSchema(job.clone(), schema.clone()),
            Place::JobTable(job.clone(), schema, table),
        ];
        places.into_iter().for_each(|place| *self.0.entry(place).or_default() += 1);
        self.add_of(job);
    }

    /// Counts one more running task of a job, whatever its table.
    pub fn add_of(&mut self, job: &JobKey) {
        for place in [Place::Source(job.data_source.clone()), Place::Job(job.clone())] {
            *self.0.entry(place).or_default() += 1;
        }
    }

    /// Running tasks of a job's data source.
    pub fn of_source(&self, job: &JobKey) -> usize {
        self.at(&Place::Source(job.data_source.clone()))
    }

    /// Running tasks of a job.
    pub fn of_job(&self, job: &JobKey) -> usize {
        self.at(&Place::Job(job.clone()))
    }

    fn at(&self, place: &Place) -> usize {
        self.0.get(place).copied().unwrap_or(0)
    }

    /// Returns the bound that keeps every further task of a job from running, whatever its table.
    pub fn job_full(&self, limits: &Limits, job: &JobKey) -> Option<Full> {
        let reached = |bound: i32, running: usize| running >= usize::try_from(bound).unwrap_or(0);
        if reached(limits.source_max_concurrent_tasks, self.of_source(job)) {
            Some(Full::Source)
        } else {
            reached(limits.max_concurrent_tasks, self.of_job(job)).then_some(Full::Job)
        }
    }

    /// Returns the bound that keeps a further task of this table from running.
    pub fn full(&self, limits: &Limits, job: &JobKey, schema: &str, table: &str) -> Option<Full> {
        let (source, schema, table) = (&job.data_source, folded(schema), folded(table));
        let of = |bounds: &Option<Concurrency>, in_schema: Place, in_table: Place| {
            let bounds = bounds.as_ref()?;
            let reached = |bound: Option<i32>, place: &Place| {
                bound.is_some_and(|bound| self.at(place) >= usize::try_from(bound).unwrap_or(0))
            };
            if reached(bounds.of_schema(&schema), &in_schema) {
                Some(Full::Schema)
            } else {
                reached(bounds.of_table(&schema, &table), &in_table).then_some(Full::Table)
            }
        };
        let of_source = || {
            let in_schema = Place::SourceSchema(source.clone(), schema.clone());
            of(&limits.source_concurrency, in_schema, Place::SourceTable(source.clone(), schema.clone(), table.clone()))
        };
        let of_job = || {
            let in_schema = Place::JobSchema(job.clone(), schema.clone());
            of(&limits.concurrency, in_schema, Place::JobTable(job.clone(), schema.clone(), table.clone()))
        };
        self.job_full(limits, job).or_else(of_source).or_else(of_job)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::record::TableBound;

    fn bounds(schema: i32, table: i32, own: i32) -> Concurrency {
        let tables = vec![TableBound { schema: "s0".to_owned(), table: "t0".to_owned(), tasks: own }];
        Concurrency { per_schema: schema, per_table: table, schemas: BTreeMap::from([("s1".to_owned(), own)]), tables }
    }

    proptest! {
        /// Whatever asks to run, every bound holds, and a refused task would break one.
        #[test]
        fn every_bound_holds_and_none_is_too_tight(
            asks in proptest::collection::vec((0..2_usize, 0..3_u8, 0..3_u8), 0..120),
            of_source in (0..6_i32, 0..4_i32, 1..4_i32), of_job in (0..6_i32, 0..4_i32, 1..4_i32), most in 1..30_i32,
        ) {
            let limits = Limits {
                source_max_concurrent_tasks: most,
                max_concurrent_tasks: 12,
                source_concurrency: Some(bounds(of_source.0, of_source.1, of_source.2)),
                concurrency: Some(bounds(of_job.0, of_job.1, of_job.2)),
                ..Limits::default()
            };
            let jobs = ["a", "b"].map(|job| JobKey { data_source: "lake".to_owned(), job: job.to_owned() });
            let (mut running, mut ran) = (Running::default(), Vec::<(usize, u8, u8)>::new());
            let count = |ran: &[(usize, u8, u8)], takes: &dyn Fn(&(usize, u8, u8)) -> bool| {
                i32::try_from(ran.iter().filter(|one| takes(one)).count()).unwrap()
            };
            for (number, ask) in (0_u32..).zip(asks) {
                let (job, schema, table) = ask;
                let names = (format!("S{schema}"), format!("t{table}"));
                let bound = |(per_schema, per_table, own): (i32, i32, i32)| {
                    let of_schema = if schema == 1 { own } else { per_schema };
                    let of_table = if (schema, table) == (0, 0) { own } else { per_table };
                    [of_schema, of_table].map(|bound| if bound == 0 { i32::MAX } else { bound })
                };
                let (source, own) = (bound(of_source), bound(of_job));
                let fits = count(&ran, &|_| true) < most
                    && count(&ran, &|one| one.0 == job) < 12
                    && count(&ran, &|one| one.1 == schema) < source[0]
                    && count(&ran, &|one| (one.1, one.2) == (schema, table)) < source[1]
                    && count(&ran, &|one| (one.0, one.1) == (job, schema)) < own[0]
                    && count(&ran, &|one| *one == ask) < own[1];
                prop_assert_eq!(running.full(&limits, &jobs[job], &names.0, &names.1).is_none(), fits);
                if fits {
                    running.add(&TaskKey { job: jobs[job].clone(), number }, &names.0, &names.1);
                    ran.push(ask);
                }
            }
            prop_assert_eq!(running.of_source(&jobs[0]), ran.len());
        }
    }
}
