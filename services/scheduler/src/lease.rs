//! Decides which worker does which task, and for how long. A lease is an epoch on the task's record: whatever a worker
//! reports under another epoch is fenced. When a lease expires is known to [`clock`] alone and never stored.

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
