//! The integration tests of this crate, one module for each behaviour. They are one program so that they link once.

mod project_arrow;
mod project_commits;
mod project_endpoints;
mod project_instances;
mod project_refuses;
mod project_sessions;
mod project_storage;
mod support;
