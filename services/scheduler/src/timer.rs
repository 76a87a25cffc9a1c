//! Timers: when their runs are due, and what a run does. Calls are in [`calls`], the background work in [`clock`], and
//! the changes of a run in [`run`].

pub mod calls;
pub mod clock;
pub mod due;
pub mod run;
