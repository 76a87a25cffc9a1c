//! The outside inputs of a commit: time, randomness and the store's incarnation.

use mms_store::Incarnation;

/// The outside inputs of a commit, passed in so that everything it decides is a function of its arguments.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// Unix milliseconds, by the wall clock.
    pub now_ms: i64,
    /// A random number in 0.0..1.0.
    pub spread: f64,
    /// The store's incarnation, which is new after each restore.
    pub incarnation: Incarnation,
}
