//! Creates, changes and deletes jobs, and carries the consequences to their tables and tasks. Which event a job accepts
//! in which state is decided in [`crate::record`].

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
