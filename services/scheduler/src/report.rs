//! Takes workers' reports of tasks, writes the task logs, and delivers migration reports to the catalog.

pub mod at_target;
pub mod log;
pub mod notice;
pub mod take;
pub mod tell;

#[cfg(test)]
mod tests;
