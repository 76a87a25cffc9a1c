//! States of tasks, the order of steps, and what a failure means. [`super::task`] decides what follows from an event,
//! and alone sets states. Pure.

use std::time::Duration;

/// The state of a task. The numbers are stored on disk and are those of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum TaskState {
    /// It waits for a worker.
    Init = 1,
    /// Table and partitions are being made.
    SchemaDoing = 2,
    /// Table and partitions exist.
    SchemaDone = 3,
    /// Table or partitions could not be made.
    SchemaFailed = 4,
    /// Rows are being moved.
    DataDoing = 5,
    /// All units are published.
    DataDone = 6,
    /// Rows could not be moved.
    DataFailed = 7,
    /// Source and target are being compared.
    VerificationDoing = 8,
    /// Source and target differ, or could not be compared.
    VerificationFailed = 9,
    /// All steps are done.
    Done = 10,
    /// Its job was stopped before it was done. Never stored: it is what callers see.
    Stopped = 11,
    /// Source and target are equal; the LOOK step is left.
    VerificationDone = 12,
    /// The whole target table is being looked at.
    LookDoing = 13,
    /// The target table could not be looked at, or is not as it was published.
    LookFailed = 14,
}

/// The steps of a task, in order. The numbers are stored on disk and are those of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum Step {
    /// Make the table and its partitions.
    Schema = 1,
    /// Move the rows.
    Data = 2,
    /// Compare source and target.
    Verification = 3,
    /// Look at the whole target table, after every other task of the job has ended.
    Look = 4,
}

impl Step {
    fn doing(self) -> TaskState {
        match self {
            Self::Schema => TaskState::SchemaDoing,
            Self::Data => TaskState::DataDoing,
            Self::Verification => TaskState::VerificationDoing,
            Self::Look => TaskState::LookDoing,
        }
    }

    /// The state of a task that has failed in this step for good.
    pub fn failed(self) -> TaskState {
        match self {
            Self::Schema => TaskState::SchemaFailed,
            Self::Data => TaskState::DataFailed,
            Self::Verification => TaskState::VerificationFailed,
            Self::Look => TaskState::LookFailed,
        }
    }
}

impl TaskState {
    /// The step that is under way or has failed; None in any other state.
    pub fn step(self) -> Option<Step> {
        match self {
            Self::SchemaDoing | Self::SchemaFailed => Some(Step::Schema),
            Self::DataDoing | Self::DataFailed => Some(Step::Data),
            Self::VerificationDoing | Self::VerificationFailed => Some(Step::Verification),
            Self::LookDoing | Self::LookFailed => Some(Step::Look),
            _ => None,
        }
    }

    /// Whether a task in this state can be leased.
    pub fn is_ready(self) -> bool {
        matches!(self, Self::Init | Self::SchemaDone | Self::DataDone | Self::VerificationDone)
    }

    /// Whether the task has failed for good.
    pub fn is_failed(self) -> bool {
        matches!(self, Self::SchemaFailed | Self::DataFailed | Self::VerificationFailed | Self::LookFailed)
    }

    /// Whether the task's table is known to exist.
    pub fn table_made(self) -> bool {
        matches!(
            self,
            Self::SchemaDone
                | Self::DataDoing
                | Self::DataDone
                | Self::DataFailed
                | Self::VerificationDoing
                | Self::VerificationFailed
                | Self::VerificationDone
                | Self::LookDoing
                | Self::LookFailed
                | Self::Done
        )
    }

    /// The state after the last step that is known to be done. A task whose lease ends early returns to it, so that its
    /// next holder begins with the interrupted step.
    pub fn rest(self) -> Self {
        match self {
            Self::SchemaDoing | Self::SchemaFailed => Self::Init,
            Self::DataDoing | Self::DataFailed => Self::SchemaDone,
            // Units that differ are moved again: to verify them alone would find the same.
            Self::VerificationFailed => Self::SchemaDone,
            Self::VerificationDoing => Self::DataDone,
            // Units that the LOOK step found to differ were already taken back one by one.
            Self::LookDoing | Self::LookFailed => Self::VerificationDone,
            other => other,
        }
    }

    /// The first of these steps that is not done; None if all are.
    pub fn next_step(self, steps: &[Step]) -> Option<Step> {
        let done = match self.rest() {
            Self::Init | Self::Stopped => None,
            Self::SchemaDone => Some(Step::Schema),
            Self::DataDone => Some(Step::Data),
            Self::VerificationDone => Some(Step::Verification),
            _ => return None,
        };
        steps.iter().copied().find(|step| done.is_none_or(|done| *step > done))
    }
}

/// The state of a leased task that begins a step; None if that is not its next step.
pub fn begin(state: TaskState, step: Step, steps: &[Step]) -> Option<TaskState> {
    (state == step.doing() || (state.is_ready() && state.next_step(steps) == Some(step))).then(|| step.doing())
}

/// Whether a task has this step and has done it.
pub fn is_done(state: TaskState, step: Step, steps: &[Step]) -> bool {
    steps.contains(&step) && state.next_step(steps).is_none_or(|next| step < next)
}

/// The state after a step is done; None if it is not the next step.
pub fn finish(state: TaskState, step: Step, steps: &[Step]) -> Option<TaskState> {
    if !(state == step.doing() || (state.is_ready() && state.next_step(steps) == Some(step))) {
        return None;
    }
    if steps.last() == Some(&step) {
        return Some(TaskState::Done);
    }
    Some(match step {
        Step::Schema => TaskState::SchemaDone,
        Step::Data => TaskState::DataDone,
        Step::Verification => TaskState::VerificationDone,
        Step::Look => TaskState::Done,
    })
}

/// Leases of a task that may expire before it fails, so that a task that kills its workers ends.
pub const EXPIRIES_MAX: i32 = 100;

/// What follows from an attempt that failed in `step`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterFailure {
    /// It is retried after this pause, from this state.
    Again(TaskState, Duration),
    /// It has failed for good, in this state.
    GivenUp(TaskState),
}

/// Decides what a failed attempt means. `failures` counts this one; `spread` is a random number in 0.0..1.0.
pub fn after_failure(step: Step, what: Failure, failures: i32, max_attempts: i32, spread: f64) -> AfterFailure {
    if what == Failure::Permanent || failures >= max_attempts {
        return AfterFailure::GivenUp(step.failed());
    }
    let pause = match what {
        Failure::OfPeople => backoff(failures.saturating_add(PEOPLE_DOUBLINGS), spread),
        Failure::Passing | Failure::Permanent => backoff(failures, spread),
    };
    AfterFailure::Again(step.failed().rest(), pause)
}

/// The kind of a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// A retry may succeed.
    Passing,
    /// A retry succeeds once somebody has acted, for example renewed a credential. The pauses are longer, so that five
    /// attempts wait minutes for that.
    OfPeople,
    /// A retry cannot succeed.
    Permanent,
}

/// Doublings that a failure of people adds to the pause: the pauses begin at up to 32 s and keep their usual maximum.
const PEOPLE_DOUBLINGS: i32 = 5;

const BACKOFF_FIRST: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(300);

/// The pause before the next attempt after `failures` failures. It doubles from 1 s to 5 min, and half of it is random,
/// so that tasks that failed together are not retried together.
pub fn backoff(failures: i32, spread: f64) -> Duration {
    let doublings = failures.clamp(1, 20).unsigned_abs() - 1;
    let full = BACKOFF_FIRST.saturating_mul(1 << doublings).min(BACKOFF_MAX);
    full.mul_f64(0.5 + 0.5 * spread.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STEPS: [Step; 4] = [Step::Schema, Step::Data, Step::Verification, Step::Look];

    fn any_steps() -> impl Strategy<Value = Vec<Step>> {
        proptest::sample::subsequence(STEPS.to_vec(), 1..=4)
    }

    proptest! {
        #[test]
        fn doing_each_next_step_ends_in_done(steps in any_steps()) {
            let mut state = TaskState::Init;
            let mut walked = Vec::new();
            while let Some(step) = state.next_step(&steps) {
                prop_assert_eq!(begin(state, step, &steps), Some(step.doing()));
                prop_assert!(!is_done(step.doing(), step, &steps));
                state = finish(step.doing(), step, &steps).expect("the step that was begun can be finished");
                prop_assert!(is_done(state, step, &steps));
                walked.push(step);
            }
            prop_assert_eq!(state, TaskState::Done);
            prop_assert_eq!(walked, steps);
        }

        #[test]
        fn an_interrupted_step_is_begun_again(steps in any_steps(), at in 0..4_usize) {
            let step = steps[at.min(steps.len() - 1)];
            let rest = step.doing().rest();
            prop_assert!(rest.is_ready());
            prop_assert_eq!(rest.next_step(&steps), Some(step));
        }

        #[test]
        fn pauses_grow_and_are_bounded(failures in 1..1000, spread in 0.0..1.0_f64) {
            let pause = backoff(failures, spread);
            prop_assert!(pause >= Duration::from_millis(500) && pause <= BACKOFF_MAX);
            prop_assert!(backoff(failures + 1, spread) >= pause);
        }

        #[test]
        fn attempts_are_bounded(step in proptest::sample::select(STEPS.to_vec()), max in 1..10) {
            let ended = after_failure(step, Failure::Passing, max, max, 0.5);
            prop_assert_eq!(ended, AfterFailure::GivenUp(step.failed()));
            prop_assert!(matches!(after_failure(step, Failure::Permanent, 1, max, 0.5), AfterFailure::GivenUp(_)));
        }
    }

    #[test]
    fn where_people_have_to_act_five_attempts_take_minutes() {
        let pause = |failures| match after_failure(Step::Data, Failure::OfPeople, failures, 5, 0.0) {
            AfterFailure::Again(_, pause) => pause,
            AfterFailure::GivenUp(_) => Duration::ZERO,
        };
        assert_eq!(pause(1), Duration::from_secs(16));
        let all: Duration = (1..5).map(pause).sum();
        assert!((240..900).contains(&all.as_secs()), "{all:?}");
    }

    #[test]
    fn rows_that_differ_are_moved_again() {
        assert_eq!(TaskState::VerificationFailed.rest().next_step(&STEPS), Some(Step::Data));
    }

    #[test]
    fn a_step_out_of_turn_is_refused() {
        assert_eq!(finish(TaskState::SchemaDoing, Step::Data, &STEPS), None);
        assert_eq!(begin(TaskState::Init, Step::Verification, &STEPS), None);
    }
}
