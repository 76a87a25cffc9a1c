//! A model test of the protocol. Workers that crash, pause and repeat themselves, an outsider who drops and empties
//! partitions of the target, a second job and callers who stop, start and retry act in random order on a store in
//! memory, through the same functions that the service runs. `MMS_MODEL_SEEDS` is the number of plays; `MMS_MODEL_SEED`
//! is the first seed and repeats a play.
//!
//! Invariant at each step: no job becomes DONE while its target lacks a row, unless the outsider acted after the LOOK
//! step. Invariant at the end: once the outsider stops, every job becomes DONE.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the plays say how many states they reached, and which seed failed"
)]

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

use mms_proto::ErrorReason;
use mms_proto::scheduler::v1::CommitOutcome;
use mms_proto::types::v1::{TargetPolicy, Verdict};
use mms_store::{Read, Scope};

use crate::commit::intent::{self, Answer};
use crate::commit::sweep::{self, Cursor, Piece};
use crate::error::Result;
use crate::fixture::{Fixture, Given, holder, job_key, other_key, table_key, target};
use crate::job::calls;
use crate::key::{JobKey, TaskKey};
use crate::lease::end;
use crate::plan::tasks;
use crate::record::{
    Commit, Epoch, Identity, Intent, IntentUnit, JobState, LeaseEnd, Reason, Spec, Step, TunnelCommit, Verification,
    partition_text,
};
use crate::report::at_target::{Looked, LookedUnit};
use crate::report::take::{self, Found, Said, Taken};
use crate::store::{INTENTS, JOB_TABLES, STALE_TARGETS, TARGETS, TASKS};

/// Target units of the table, one task each.
const UNITS: usize = 4;
/// Rows of each unit.
const ROWS: i64 = 7;
/// Steps of a play in which everybody acts, and most steps after that in which only workers do and callers only repair.
const WILD: usize = 250;
const CALM: usize = 6_000;
/// Most acts of the outsider in a play.
const TOUCHES: usize = 4;

/// The table at the target: rows by partition.
#[derive(Debug, Clone, PartialEq, Hash)]
struct Table {
    nonce: u64,
    job: String,
    partitions: BTreeMap<String, i64>,
}

impl Table {
    fn identity(&self) -> Identity {
        Identity { nonce: self.nonce.to_string(), ..Identity::default() }
    }
}

/// What a worker does next.
#[derive(Debug, Clone)]
enum Stage {
    /// Find out the outcomes of open intents.
    Resolve(Vec<(String, Intent)>),
    /// The next step of its task.
    Next,
    /// Publish a unit with a session in this table.
    Session(usize, Identity),
    /// Send the commit of this intent.
    Commit(String, usize, Identity),
    /// Resolve this intent with this outcome.
    Committed(String, usize, CommitOutcome),
    /// Report. The number is how often the outsider had acted when the worker looked.
    Tell(Said, usize),
}

#[derive(Debug, Clone)]
struct Work {
    key: TaskKey,
    epoch: Epoch,
    steps: VecDeque<Step>,
    units: Vec<String>,
    published: BTreeSet<usize>,
    identity: Identity,
    makes: bool,
    replaces: bool,
    stage: Stage,
}

struct Play {
    fixture: Fixture,
    random: fastrand::Rng,
    table: Option<Table>,
    nonces: u64,
    intents: u64,
    hands: Vec<Option<Work>>,
    jobs: Vec<JobKey>,
    touches: usize,
    /// Whether a session may publish into a later table of the same name.
    outlive: bool,
    states: HashSet<u64>,
}

const HANDS: [&str; 2] = ["a", "b"];

impl Play {
    async fn new(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let replaces = random.bool();
        let fixture = if replaces { Fixture::replacing(UNITS, 1).await } else { Fixture::new(UNITS).await };
        let outlive = random.bool();
        let hands = vec![None, None];
        let (nonces, intents, touches) = (0, 0, 0);
        Self {
            fixture,
            random,
            table: None,
            nonces,
            intents,
            hands,
            jobs: vec![job_key()],
            touches,
            outlive,
            states: HashSet::new(),
        }
    }

    fn nonce(&mut self) -> u64 {
        self.nonces += 1;
        self.nonces
    }

    /// One act of a worker.
    async fn work(&mut self, hand: usize) {
        let Some(mut work) = self.hands[hand].take() else {
            self.hands[hand] = self.lease(hand).await;
            return;
        };
        let goes_on = match work.stage.clone() {
            Stage::Resolve(mut open) => match open.pop() {
                Some((id, intent)) => {
                    work.stage = Stage::Resolve(open);
                    self.settle(hand, &mut work, &id, &intent).await
                }
                None => {
                    work.stage = Stage::Next;
                    true
                }
            },
            Stage::Next => {
                work.stage = self.next(&mut work);
                true
            }
            Stage::Session(unit, identity) => self.begin(hand, &mut work, unit, identity).await,
            Stage::Commit(id, unit, identity) => {
                let outcome = self.publish(&work.units[unit], &identity);
                work.stage = Stage::Committed(id, unit, outcome);
                true
            }
            Stage::Committed(id, unit, outcome) => {
                if outcome == CommitOutcome::Committed {
                    work.published.insert(unit);
                }
                work.stage = Stage::Next;
                self.resolve(hand, &work, &id, outcome).await
            }
            Stage::Tell(said, touches) => self.tell(hand, &mut work, said, touches).await,
        };
        self.hands[hand] = goes_on.then_some(work);
    }

    async fn lease(&mut self, hand: usize) -> Option<Work> {
        let granted = self.fixture.lease(HANDS[hand], 1).await.pop()?;
        let (task, next) = (&granted.task, granted.task.next_step()?);
        Some(Work {
            key: granted.key.clone(),
            epoch: task.epoch,
            steps: task.steps().into_iter().filter(|step| *step >= next).collect(),
            units: task.units.iter().map(|unit| partition_text(&unit.partition)).collect(),
            published: task.units.iter().enumerate().filter(|(_, unit)| unit.published).map(|(at, _)| at).collect(),
            identity: granted.identity.clone().unwrap_or_default(),
            makes: task.planned().makes_table,
            replaces: granted.job.spec().target_policy == TargetPolicy::Replace,
            stage: Stage::Resolve(granted.open),
        })
    }

    /// Does the next step at the target. Returns what the worker does then.
    fn next(&mut self, work: &mut Work) -> Stage {
        let Some(step) = work.steps.front().copied() else { unreachable!("a task that is done has no lease") };
        let touches = self.touches;
        let tell = |said| Stage::Tell(said, touches);
        match step {
            Step::Schema if work.makes => {
                let job = work.key.job.job.clone();
                match &mut self.table {
                    Some(table) if work.replaces && table.job != job => {
                        table.job = job;
                        self.nonces += 1;
                        table.nonce = self.nonces;
                    }
                    Some(_) => {}
                    None => {
                        let nonce = self.nonce();
                        self.table = Some(Table { nonce, job, partitions: BTreeMap::new() });
                    }
                }
                self.made(work)
            }
            _ if self.identity() != Some(work.identity.clone()) => tell(missed(step, self.identity())),
            Step::Schema => self.made(work),
            Step::Data => match (0..work.units.len()).find(|unit| !work.published.contains(unit)) {
                None => tell(done(step)),
                Some(unit) if self.rows(&work.units[unit]).is_none() => {
                    tell(failed(Step::Schema, ErrorReason::TargetGone))
                }
                Some(unit) => Stage::Session(unit, work.identity.clone()),
            },
            Step::Verification if work.units.iter().all(|unit| self.rows(unit) == Some(ROWS)) => tell(done(step)),
            Step::Verification => tell(failed(step, ErrorReason::VerificationFailed)),
            Step::Look => self.look(work),
        }
    }

    fn identity(&self) -> Option<Identity> {
        self.table.as_ref().map(Table::identity)
    }

    fn rows(&self, unit: &str) -> Option<i64> {
        self.table.as_ref()?.partitions.get(unit).copied()
    }

    fn made(&mut self, work: &mut Work) -> Stage {
        let Some(table) = &mut self.table else { return Stage::Tell(missed(Step::Schema, None), self.touches) };
        for unit in &work.units {
            table.partitions.entry(unit.clone()).or_insert(0);
        }
        work.identity = table.identity();
        let Said::Done { step, rows, bytes, verification, look, .. } = done(Step::Schema) else { unreachable!() };
        let said = Said::Done { step, rows, bytes, verification, look, identity: Some(work.identity.clone()) };
        Stage::Tell(said, self.touches)
    }

    fn look(&self, work: &Work) -> Stage {
        let expected = self.fixture.store.read(|read| {
            let table = read.get(&JOB_TABLES, &table_key(&work.key.job))?.expect("planned");
            let mut units = Vec::new();
            for number in table.tasks() {
                // A worker that has lost its lease may still look, while the table is planned again.
                let task = read.get(&TASKS, &TaskKey { number, ..work.key.clone() })?;
                units.extend(task.iter().flat_map(|task| task.units.iter().filter(|unit| unit.published)).cloned());
            }
            Ok::<_, crate::error::SchedulerError>(units)
        });
        let different = expected.expect("readable").into_iter().filter(|unit| {
            let place = partition_text(&unit.partition);
            self.rows(&place) != Some(unit.published_rows)
        });
        let different: Vec<LookedUnit> =
            different.map(|unit| LookedUnit { partition: unit.partition, rows: None }).collect();
        // Sometimes there are more than can be named.
        let count = i64::try_from(different.len()).expect("small");
        let named = if count > 2 { Vec::new() } else { different };
        let look = Looked { identity: work.identity.clone(), different: (count, named), ..Looked::default() };
        let Said::Done { step, rows, bytes, verification, identity, .. } = done(Step::Look) else { unreachable!() };
        let said = Said::Done { step, rows, bytes, verification, identity, look: Some(Box::new(look)) };
        Stage::Tell(said, self.touches)
    }

    /// Commits a session at the target.
    fn publish(&mut self, unit: &str, session: &Identity) -> CommitOutcome {
        let outlive = self.outlive;
        match &mut self.table {
            Some(table) if table.identity() == *session || outlive => match table.partitions.get_mut(unit) {
                Some(rows) => {
                    *rows = ROWS;
                    CommitOutcome::Committed
                }
                None => CommitOutcome::UnknownToServer,
            },
            _ => CommitOutcome::UnknownToServer,
        }
    }

    async fn begin(&mut self, hand: usize, work: &mut Work, unit: usize, identity: Identity) -> bool {
        if self.identity() != Some(identity.clone()) {
            work.stage = Stage::Tell(missed(Step::Data, self.identity()), self.touches);
            return true;
        }
        self.intents += 1;
        let id = format!("i{}", self.intents);
        let (at, by, key, epoch) = (self.fixture.at(), holder(HANDS[hand]), work.key.clone(), work.epoch);
        let Some(partition) = self.partition_of(&work.key, unit) else { return false };
        let unit_index = i32::try_from(unit).expect("small");
        let wanted = Intent {
            target: target(),
            units: vec![IntentUnit { unit_index, partition, rows: ROWS, bytes: 70 }],
            commit: Some(Commit::Tunnel(TunnelCommit { session_id: id.clone(), ..TunnelCommit::default() })),
            identity: Some(identity.clone()),
            ..Intent::default()
        };
        let own = id.clone();
        let answer = self.fixture.commit(move |tx| intent::begin(tx, &at, &key, &by, epoch, &own, wanted)).await;
        match answer.expect("an intent that fits its task") {
            Answer::Granted => work.stage = Stage::Commit(id, unit, identity),
            Answer::Fenced => return false,
            Answer::Open(other, open) => return self.settle(hand, work, &other, &open).await,
        }
        true
    }

    /// None if the task was deleted.
    fn partition_of(&self, key: &TaskKey, unit: usize) -> Option<Vec<crate::record::PartitionValue>> {
        let task = self.fixture.store.read(|read| read.get(&TASKS, key)).expect("readable")?;
        Some(task.units[unit].partition.clone())
    }

    /// Finds out the outcome of an intent: a session that can still be committed is.
    async fn settle(&mut self, hand: usize, work: &mut Work, id: &str, open: &Intent) -> bool {
        let unit = partition_text(&open.units[0].partition);
        let session = open.identity.clone().unwrap_or_default();
        let same = self.identity() == Some(session.clone());
        let outcome = if same { self.publish(&unit, &session) } else { CommitOutcome::UnknownToServer };
        if outcome == CommitOutcome::Committed && open.task_key() == work.key {
            work.published.insert(usize::try_from(open.units[0].unit_index).expect("small"));
        }
        self.resolve(hand, work, id, outcome).await
    }

    async fn resolve(&self, hand: usize, work: &Work, id: &str, outcome: CommitOutcome) -> bool {
        let (at, by, key, epoch) = (self.fixture.at(), holder(HANDS[hand]), work.key.clone(), work.epoch);
        let id = id.to_owned();
        let taken = self.fixture.commit(move |tx| intent::resolve(tx, &at, &key, &by, epoch, &id, outcome)).await;
        taken.expect("an intent of a unit of its own")
    }

    async fn tell(&mut self, hand: usize, work: &mut Work, said: Said, touches: usize) -> bool {
        let (over, looked) = (matches!(said, Said::Failed { .. }), matches!(said, Said::Done { step: Step::Look, .. }));
        let before = self.state(&work.key.job);
        let mut taken = self.report(hand, work, said.clone()).await;
        if self.random.u8(..) < 30 {
            // The answer was lost, and the worker repeats the report.
            let again = self.report(hand, work, said).await;
            let task = self.fixture.store.read(|read| read.get(&TASKS, &work.key)).expect("readable");
            // A report that was taken as a failure has ended the lease; the repetition is fenced.
            let leased = task.is_some_and(|task| task.leased());
            assert!(again != Taken::No || !leased || taken == Taken::No, "{again:?} after {taken:?}");
            taken = again;
        }
        if looked && self.state(&work.key.job) == JobState::Done && before != JobState::Done && touches == self.touches
        {
            self.whole(&work.key.job);
        }
        work.steps.pop_front();
        work.stage = Stage::Next;
        taken == Taken::Yes && !over && !work.steps.is_empty()
    }

    async fn report(&self, hand: usize, work: &Work, said: Said) -> Taken {
        let (at, by, key, epoch) = (self.fixture.at(), holder(HANDS[hand]), work.key.clone(), work.epoch);
        let taken = self.fixture.commit(move |tx| take::take(tx, &at, &key, &by, epoch, Some(said), &[])).await;
        taken.expect("the store works")
    }

    fn state(&self, job: &JobKey) -> JobState {
        *self.fixture.job_of(job).state
    }

    /// Checks that all units are at the target.
    fn whole(&self, job: &JobKey) {
        let table = self.table.as_ref().unwrap_or_else(|| panic!("{job:?} is DONE, and there is no table"));
        assert_eq!(table.partitions.len(), UNITS, "{job:?} is DONE over {table:?}");
        assert!(table.partitions.values().all(|rows| *rows == ROWS), "{job:?} is DONE over {table:?}");
    }

    /// The outsider drops the table or a partition, or empties one.
    fn touch(&mut self) {
        if self.touches >= TOUCHES {
            return;
        }
        let Some(table) = &mut self.table else { return };
        self.touches += 1;
        let some = table.partitions.keys().nth(self.random.usize(..UNITS)).cloned();
        match (self.random.u8(..3), some) {
            (0, _) | (_, None) => self.table = None,
            (1, Some(partition)) => drop(table.partitions.remove(&partition)),
            (_, Some(partition)) => drop(table.partitions.insert(partition, 0)),
        }
    }

    /// A lease expires; its holder may not know it.
    async fn expire(&mut self) {
        let hand = self.random.usize(..HANDS.len());
        let Some(work) = &self.hands[hand] else { return };
        let (at, key, epoch) = (self.fixture.at(), work.key.clone(), work.epoch);
        self.fixture
            .commit(move |tx| end::end(tx, &at, &key, epoch, LeaseEnd::Expired))
            .await
            .expect("the store works");
        if self.random.bool() {
            self.hands[hand] = None;
        }
    }

    async fn sweep(&self) {
        let at = self.fixture.at();
        self.fixture
            .commit(move |tx| {
                for (key, _) in tx.index_page(&TARGETS, &STALE_TARGETS, &Scope::all(), None, 10)?.items {
                    let mut cursor = Cursor::default();
                    while let Piece::More(next, _) = sweep::some(tx, &at, &key, cursor)? {
                        cursor = next;
                    }
                }
                Ok(())
            })
            .await
            .expect("swept");
    }

    /// A caller starts, retries or stops a job; rejections are fine.
    async fn people(&mut self, calm: bool) {
        let job = self.jobs[self.random.usize(..self.jobs.len())].clone();
        let at = self.fixture.at();
        let (state, own) = (self.state(&job), job.clone());
        let stop = !calm && self.random.u8(..4) == 0;
        let repin = self.random.bool();
        let begun = self
            .fixture
            .commit(move |tx| match state {
                JobState::Stopped => calls::start(tx, &at, &own).map(drop),
                JobState::Failed => calls::retry(tx, &at, &own, repin).map(drop),
                _ if stop => calls::stop(tx, &at, &own, None).map(drop),
                _ => Ok(()),
            })
            .await;
        if begun.is_ok() {
            self.fixture.carry(&job).await;
        }
        if self.state(&job) == JobState::Planning {
            let (at, own) = (self.fixture.at(), job.clone());
            self.fixture
                .commit(move |tx| {
                    while tasks::drop_some(tx, &at, &table_key(&own), &own.job)?.is_some_and(|left| left > 0) {}
                    crate::fixture::plan_table(tx, &at, &own, 0..UNITS, "")?;
                    tasks::finish(tx, &at, &own, &own.job)
                })
                .await
                .expect("planned again");
        }
    }

    async fn rival(&mut self) {
        if self.jobs.len() > 1 {
            return;
        }
        let policy = if self.random.bool() { TargetPolicy::Replace } else { TargetPolicy::CreateOrOwn };
        let given = Given { spec: Spec { target_policy: policy.into(), ..Spec::default() }, ..Given::default() };
        self.fixture.another("k", given, 0..UNITS, "").await;
        self.jobs.push(other_key("k"));
    }

    async fn step(&mut self, calm: bool) {
        self.fixture.pass(700);
        match self.random.u8(..100) {
            0..75 => {
                let hand = self.random.usize(..HANDS.len());
                self.work(hand).await;
            }
            75..80 => self.expire().await,
            80..90 => self.sweep().await,
            90..94 => self.people(calm).await,
            94..96 if !calm => self.rival().await,
            96..100 if !calm => self.touch(),
            _ => {}
        }
        self.note();
    }

    /// Remembers the state that was reached, for the count of distinct states.
    fn note(&mut self) {
        let mut hash = DefaultHasher::new();
        self.table.as_ref().map(|table| (&table.job, &table.partitions)).hash(&mut hash);
        let known = self.fixture.store.read(|read| {
            let tasks = read.page(&TASKS, &Scope::all(), None, 100)?.items;
            let targets = read.page(&TARGETS, &Scope::all(), None, 100)?.items;
            let intents = read.page(&INTENTS, &Scope::all(), None, 100)?.items;
            Ok::<_, crate::error::SchedulerError>((tasks, targets, intents))
        });
        let (tasks, targets, intents) = known.expect("readable");
        for (key, task) in tasks {
            let published: Vec<bool> = task.units.iter().map(|unit| unit.published).collect();
            (key, *task.state, task.leased(), task.blocked, published).hash(&mut hash);
        }
        for (_, known) in targets {
            (known.identity().is_some(), known.is_stale()).hash(&mut hash);
        }
        intents.len().hash(&mut hash);
        for job in &self.jobs {
            self.state(job).hash(&mut hash);
        }
        self.states.insert(hash.finish());
    }

    async fn play(mut self) -> HashSet<u64> {
        for _ in 0..WILD {
            self.step(false).await;
        }
        for _ in 0..CALM {
            if self.jobs.iter().all(|job| self.state(job) == JobState::Done) {
                let last = self.jobs.last().expect("one at least").clone();
                if self.touches == 0 {
                    self.whole(&last);
                }
                return self.states;
            }
            self.step(true).await;
        }
        let stuck: Vec<_> = self.jobs.iter().map(|job| (job.job.clone(), self.fixture.job_of(job))).collect();
        let tasks = self.fixture.store.read(|read| read.page(&TASKS, &Scope::all(), None, 100)).expect("readable");
        panic!("it does not come to an end: {stuck:#?}\n{:#?}\n{:?}", tasks.items, self.table);
    }
}

fn done(step: Step) -> Said {
    crate::fixture::done(step)
}

fn failed(step: Step, reason: ErrorReason) -> Said {
    let differs = Found {
        summary: Verification { verdict: Verdict::Different.into(), ..Verification::default() },
        checks: Vec::new(),
    };
    let verification = (step == Step::Verification).then_some(differs);
    Said::Failed {
        step,
        permanent: false,
        reason: Reason::new(reason, "seen"),
        verification,
        missed: None,
        lost: Vec::new(),
    }
}

fn missed(_: Step, found: Option<Identity>) -> Said {
    let reason = Reason::new(ErrorReason::TargetGone, "missed");
    Said::Failed {
        step: Step::Schema,
        permanent: false,
        reason,
        verification: None,
        missed: Some(found),
        lost: Vec::new(),
    }
}

#[test]
fn no_play_ends_in_done_over_missing_rows_or_gets_stuck() -> Result<()> {
    let seeds: u64 = std::env::var("MMS_MODEL_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(150);
    let first: u64 = std::env::var("MMS_MODEL_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut states = HashSet::new();
    for seed in first..first + seeds {
        let play = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            runtime.block_on(async { Play::new(seed).await.play().await })
        }));
        match play {
            Ok(reached) => states.extend(reached),
            Err(panic) => {
                eprintln!("the play of seed {seed} failed: MMS_MODEL_SEED={seed} MMS_MODEL_SEEDS=1 repeats it");
                std::panic::resume_unwind(panic);
            }
        }
    }
    println!("{seeds} plays reached {} states", states.len());
    Ok(())
}
