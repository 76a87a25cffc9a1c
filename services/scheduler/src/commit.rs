//! Who may write a target unit, and that of two writers only one commits.

pub mod claim;
pub mod intent;
pub mod open;

#[cfg(test)]
mod tests;
