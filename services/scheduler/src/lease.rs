//! Who does which task, and for how long. What a lease allows ends with its epoch; when it ends without a word, the clock
//! says.

pub mod clock;
pub mod denied;
pub mod dispatch;
pub mod end;
pub mod expire;
mod fair;
pub mod heartbeat;
pub mod held;
pub mod lacks;
pub mod manifest;
pub mod published;
pub mod register;
pub mod room;
pub mod wait;

#[cfg(test)]
mod limits_tests;
#[cfg(test)]
mod tests;
