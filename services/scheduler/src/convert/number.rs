//! Numbers of enums in messages, and the values that they stand for here.

use mms_proto::FieldViolation;
use mms_store::{Known, Numbered};

use crate::error::{Result, SchedulerError};
use crate::peers::broken;

fn short_name<E>() -> &'static str {
    let name = std::any::type_name::<E>();
    name.rsplit("::").next().unwrap_or(name)
}

/// The value that a number of the catalog stands for; one that this version does not know is a fault of the catalog's.
pub fn told<E: Numbered>(number: i32) -> Result<Known<E>> {
    let unknown = |_| broken(&format!("the catalog sent {number}, which is no {} known here", short_name::<E>()));
    E::try_from(number).map(Known::from).map_err(unknown)
}

/// The value that a number of a request stands for.
pub fn asked<E: Numbered>(field: &str, number: i32) -> Result<Known<E>> {
    let text = || format!("value {number} is not one of {}", short_name::<E>());
    let unknown = |_| SchedulerError::Invalid(vec![FieldViolation::new(field, text())]);
    E::try_from(number).map(Known::from).map_err(unknown)
}

/// Those of a list that this version knows: it asks nobody for what it does not know.
pub fn those_known<E: Numbered>(numbers: Vec<i32>) -> Vec<Known<E>> {
    numbers.into_iter().filter_map(|number| E::try_from(number).ok()).map(Known::from).collect()
}

/// The other way.
pub fn numbers<E: Numbered>(known: &[Known<E>]) -> Vec<i32> {
    known.iter().map(|one| one.number()).collect()
}

/// A position as the contract counts it.
pub fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
