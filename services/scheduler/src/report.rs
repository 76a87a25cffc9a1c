//! What workers say of tasks, what is written down of it, and what the catalog is told.

pub mod log;
pub mod notice;
pub mod take;
pub mod tell;

#[cfg(test)]
mod tests;
