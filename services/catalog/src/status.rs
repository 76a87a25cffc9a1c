//! The states of a migration, and how the state of a whole follows from those of its parts. Pure.

use crate::record::Counts;

/// The state of a partition, table or schema. The numbers are those of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum State {
    /// Not migrated.
    Init = 1,
    /// A task is migrating it.
    Doing = 2,
    /// All of it is at the target.
    Done = 3,
    /// The last attempt failed.
    Failed = 4,
    /// Some parts are at the target, others were not tried.
    PartDone = 5,
}

impl State {
    /// The state with this number. An unset or unknown number is INIT.
    pub fn of(number: i32) -> Self {
        Self::try_from(number).unwrap_or(Self::Init)
    }
}

impl Counts {
    /// Counts a single part in this state.
    pub fn one(state: State) -> Self {
        let mut counts = Self::default();
        *counts.of(state) = 1;
        counts
    }

    fn of(&mut self, state: State) -> &mut i64 {
        match state {
            State::Init => &mut self.init,
            State::Doing => &mut self.doing,
            State::Done => &mut self.done,
            State::Failed => &mut self.failed,
            State::PartDone => &mut self.part_done,
        }
    }

    /// The number of parts in any state.
    pub fn total(&self) -> i64 {
        self.init + self.doing + self.done + self.failed + self.part_done
    }

    /// Adds the other counts, multiplied by `sign` (1 or -1).
    pub fn shift(&mut self, other: &Self, sign: i64) {
        self.init += sign * other.init;
        self.doing += sign * other.doing;
        self.done += sign * other.done;
        self.failed += sign * other.failed;
        self.part_done += sign * other.part_done;
    }

    /// The state of the whole: DOING if any part is, else FAILED if any part is; DONE only when every part is. A whole without
    /// parts is INIT.
    pub fn rolled_up(&self) -> State {
        match self {
            _ if self.doing > 0 => State::Doing,
            _ if self.failed > 0 => State::Failed,
            _ if self.part_done > 0 => State::PartDone,
            _ if self.done > 0 && self.init == 0 => State::Done,
            _ if self.done > 0 => State::PartDone,
            _ => State::Init,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: [State; 5] = [State::Init, State::Doing, State::Done, State::Failed, State::PartDone];

    fn rolled(parts: &[State]) -> State {
        let mut counts = Counts::default();
        parts.iter().for_each(|state| counts.shift(&Counts::one(*state), 1));
        counts.rolled_up()
    }

    #[test]
    fn the_rule_of_the_whole() {
        use State::{Doing, Done, Failed, Init, PartDone};
        for (parts, whole) in [
            (&[][..], Init),
            (&[Init, Init], Init),
            (&[Done, Init], PartDone),
            (&[Done, Done], Done),
            (&[PartDone, Done], PartDone),
            (&[Failed, Done, PartDone], Failed),
            (&[Doing, Failed, Done], Doing),
        ] {
            assert_eq!(rolled(parts), whole, "{parts:?}");
        }
    }

    proptest! {
        #[test]
        fn order_does_not_matter_and_done_means_all(parts in proptest::collection::vec(proptest::sample::select(&ALL[..]), 1..8)) {
            let whole = rolled(&parts);
            prop_assert_eq!(whole == State::Done, parts.iter().all(|part| *part == State::Done));
            let mut turned = parts.clone();
            turned.reverse();
            prop_assert_eq!(whole, rolled(&turned));
            prop_assert_eq!(whole, rolled(&[whole]), "a schema of one table has the table's state");
        }
    }
}
