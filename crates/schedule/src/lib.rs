//! When something recurs ([`Schedule`]) and when it may run ([`Windows`]), by the clock on the wall of a time zone.
//!
//! Everything here is a function of its arguments: it never asks what time it is, and does no I/O but reading the machine's time
//! zones. Moments are milliseconds since 1970 in UTC. What clocks do when they are put forward or back is decided here and nowhere
//! else: a fixed time that does not exist comes at the end of the gap, one that comes twice comes once, the first time, and
//! intervals and windows follow what the clock shows.

mod contract;
mod error;
mod schedule;
mod text;
mod window;
mod windows;
mod zone;

pub use error::ScheduleError;
pub use schedule::{Rule, Schedule};
pub use window::{AtEnd, Days, Window};
pub use windows::Windows;
pub use zone::Zone;
