//! The integration tests of this crate, one module for each behaviour. They are one program so that they link once.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod apply;
mod cli;
mod commands_page;
mod demo;
mod health;
mod logs;
mod mistakes;
mod outage;
mod own_tables;
mod rerun;
mod retry;
mod review;
mod sandbox;
mod screens;
mod shell;
mod support;
mod traced;
mod up;
mod words;
