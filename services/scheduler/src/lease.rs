//! Who does which task, and for how long. What a lease allows ends with its epoch; when it ends without a word, the clock
//! says.

pub mod clock;
pub mod denied;
pub mod dispatch;
pub mod end;
pub mod expire;
pub mod heartbeat;
pub mod held;
pub mod lacks;
pub mod manifest;
pub mod published;
pub mod register;
pub mod wait;

#[cfg(test)]
mod tests;
