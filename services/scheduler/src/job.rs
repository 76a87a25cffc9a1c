//! What people do to jobs, and what follows for their tables and tasks. When a job may do what is in [`crate::record`].

pub mod calls;
pub mod carry;
pub mod change;
pub mod create;
mod diary;
pub mod followers;
pub mod request;
pub mod rollup;
pub mod stored;

#[cfg(test)]
mod tests;
