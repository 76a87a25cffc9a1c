//! Timers: when their runs are due, and what a run does. People's calls are in [`calls`], what runs by itself in [`clock`].

pub mod calls;
pub mod clock;
pub mod due;
pub mod run;
