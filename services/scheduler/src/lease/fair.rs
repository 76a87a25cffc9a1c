//! Decides which job's task is leased next. Data sources share the workers evenly: the source with the fewest running
//! tasks is next, and among equals the one that was served longest ago. Within a source, jobs go by deadline, then by
//! priority, and jobs that are equal in both share evenly again. So no source starves, and no job starves beside others
//! of the same urgency. Pure.

use crate::key::JobKey;

/// What the choice needs to know of a job that may have tasks to lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    pub job: JobKey,
    /// The job's deadline in Unix milliseconds; `i64::MAX` if it has none.
    pub deadline_ms: i64,
    /// The negated priority: less is leased earlier.
    pub rank: i64,
    /// Position among all jobs by age; 0 is the oldest.
    pub age: usize,
    /// Tasks of the job that are leased.
    pub running: usize,
    /// When a task of the job was last leased; 0 if none was.
    pub served: i64,
    /// The job has no further task to lease.
    pub exhausted: bool,
}

/// Returns the position of the job that is next, or None if all are exhausted.
pub fn next(standings: &[Standing]) -> Option<usize> {
    let running = |source: &str| of_source(standings, source).map(|one| one.running).sum::<usize>();
    let served = |source: &str| of_source(standings, source).map(|one| one.served).max().unwrap_or(0);
    let open = standings.iter().enumerate().filter(|(_, one)| !one.exhausted);
    let turn = open.min_by_key(|(_, one)| {
        let source = one.job.data_source.as_str();
        (running(source), served(source), source, one.deadline_ms, one.rank, one.running, one.served, one.age)
    });
    turn.map(|(at, _)| at)
}

fn of_source<'a>(standings: &'a [Standing], source: &'a str) -> impl Iterator<Item = &'a Standing> {
    standings.iter().filter(move |one| one.job.data_source == source)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn standing(source: u8, number: usize, deadline_ms: i64) -> Standing {
        let job = JobKey { data_source: format!("s{source}"), job: format!("j{number}") };
        Standing { job, deadline_ms, rank: 0, age: number, running: 0, served: 0, exhausted: false }
    }

    /// Running tasks, oldest first, each as the position of its job.
    struct Play {
        standings: Vec<Standing>,
        at_work: Vec<usize>,
        now: i64,
    }

    impl Play {
        fn lease(&mut self) -> usize {
            let at = next(&self.standings).expect("somebody has tasks");
            self.now += 1;
            self.standings[at].running += 1;
            self.standings[at].served = self.now;
            self.at_work.push(at);
            at
        }

        fn end(&mut self, which: usize) {
            let at = self.at_work.remove(which % self.at_work.len());
            self.standings[at].running -= 1;
        }
    }

    proptest! {
        /// Whatever the number of slots and whichever task ends first, every source is served, and within a source
        /// every job that is as urgent as its most urgent one. Nobody waits longer than it takes to serve all others
        /// once for each slot.
        #[test]
        fn nobody_starves(
            sources in proptest::collection::vec((0..4_u8, 0..2_i64), 1..12),
            slots in 1..6_usize,
            ends in proptest::collection::vec(any::<usize>(), 300),
        ) {
            let standings: Vec<Standing> =
                sources.iter().enumerate().map(|(number, (source, deadline))| standing(*source, number, *deadline)).collect();
            let mut play = Play { standings, at_work: Vec::new(), now: 0 };
            let mut waited = vec![0_usize; sources.len()];
            let most_urgent = |at: usize| sources.iter().filter(|one| one.0 == sources[at].0).map(|one| one.1).min() == Some(sources[at].1);
            for end in ends {
                while play.at_work.len() < slots {
                    let served = play.lease();
                    waited.iter_mut().for_each(|waited| *waited += 1);
                    waited[served] = 0;
                    prop_assert!(most_urgent(served));
                }
                for (at, waited) in waited.iter().enumerate() {
                    // A job that has a running task is not starved, however long the task takes.
                    let starved = most_urgent(at) && play.standings[at].running == 0 && *waited > (sources.len() + 1) * (slots + 1) * 4;
                    prop_assert!(!starved, "{at} waited {waited} turns of {sources:?} with {slots} slots");
                }
                play.end(end);
            }
        }

        /// Free slots are shared evenly between sources, and between equal jobs of each source.
        #[test]
        fn free_slots_are_shared_evenly(sources in proptest::collection::vec(1..4_usize, 1..4), slots in 1..40_usize) {
            let mut standings = Vec::new();
            for (source, jobs) in (0_u8..).zip(&sources) {
                for _ in 0..*jobs {
                    standings.push(standing(source, standings.len(), 5));
                }
            }
            let mut play = Play { standings, at_work: Vec::new(), now: 0 };
            for _ in 0..slots {
                play.lease();
            }
            let even = |counts: Vec<usize>| counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1;
            let of = |source: u8| play.standings.iter().filter(move |one| one.job.data_source == format!("s{source}"));
            let all: Vec<u8> = (0..u8::try_from(sources.len()).unwrap()).collect();
            prop_assert!(even(all.iter().map(|source| of(*source).map(|one| one.running).sum()).collect()));
            for source in all {
                prop_assert!(even(of(source).map(|one| one.running).collect()));
            }
        }
    }

    #[test]
    fn within_a_source_the_urgent_go_first() {
        let mut all = vec![standing(0, 0, 9), standing(0, 1, 5), Standing { rank: -1, ..standing(0, 2, 5) }];
        assert_eq!(next(&all), Some(2));
        all[2].exhausted = true;
        all[1].running = 7;
        assert_eq!(next(&all), Some(1), "whatever runs of it");
        all[1].exhausted = true;
        all[0].exhausted = true;
        assert_eq!(next(&all), None);
    }
}
