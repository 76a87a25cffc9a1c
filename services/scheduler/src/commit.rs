//! Who may write a target unit, that of two writers only one commits, and what becomes of what was written when the table goes.

pub mod claim;
mod gone;
pub mod handed;
pub mod intent;
pub mod newer;
pub mod open;
pub mod sweep;
pub mod target;

#[cfg(test)]
mod tests;
