//! When something recurs ([`Schedule`]) and when it may run ([`Windows`]), by the wall clock of a time zone.
//!
//! Everything here is a function of its arguments: it never reads the present time, and does no I/O but to load the machine's
//! time zones. Moments are milliseconds since 1970 in UTC. What happens when clocks are put forward or back is decided here and
//! nowhere else: a fixed time that the clock skips runs at the end of the gap; one that it shows twice runs once, the first time;
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
