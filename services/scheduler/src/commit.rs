//! Guards the target: which job may write a target unit, that at most one commit of a unit is open, and that what was
//! published in a table that is gone is taken back.

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
