//! What a commit needs from outside: the time, chance, and which life of the store this is.

use mms_store::Incarnation;

/// What a commit needs from outside. Given to it, so that all that it decides is a function of what it was given.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// Milliseconds since 1970, by the wall clock.
    pub now_ms: i64,
    /// A random number in 0.0..1.0.
    pub spread: f64,
    /// The store's incarnation.
    pub incarnation: Incarnation,
}
