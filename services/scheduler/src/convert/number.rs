//! Converts enum numbers of messages to the values that records hold.

use mms_proto::FieldViolation;
use mms_store::{Known, Numbered};

use crate::error::{Result, SchedulerError};
use crate::peers::broken;

fn short_name<E>() -> &'static str {
    let name = std::any::type_name::<E>();
    name.rsplit("::").next().unwrap_or(name)
}

/// Returns the value of a number that the catalog sent. A number that this version does not know is the catalog's
/// error.
pub fn told<E: Numbered>(number: i32) -> Result<Known<E>> {
    let unknown = |_| broken(&format!("the catalog sent {number}, which is no {} known here", short_name::<E>()));
    E::try_from(number).map(Known::from).map_err(unknown)
}

/// Returns the value of a number in a request. A number that this version does not know is a violation of `field`.
pub fn asked<E: Numbered>(field: &str, number: i32) -> Result<Known<E>> {
    let text = || format!("value {number} is not one of {}", short_name::<E>());
    let unknown = |_| SchedulerError::Invalid(vec![FieldViolation::new(field, text())]);
    E::try_from(number).map(Known::from).map_err(unknown)
}

/// Returns the values of those numbers that this version knows. Others are dropped: no task asks for them.
pub fn those_known<E: Numbered>(numbers: Vec<i32>) -> Vec<Known<E>> {
    numbers.into_iter().filter_map(|number| E::try_from(number).ok()).map(Known::from).collect()
}

/// The numbers of a message for these values.
pub fn numbers<E: Numbered>(known: &[Known<E>]) -> Vec<i32> {
    known.iter().map(|one| one.number()).collect()
}

/// A count or position as the contract has it; too large ones become `i32::MAX`.
pub fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
