//! The contracts of mms as Rust: the code generated from `proto/`, and what every program that speaks them needs: the
//! rules of fields and methods, resource names, errors and canonical JSON.
//!
//! Owns no behaviour of any service, does no I/O and depends on no other crate of ours. What the contracts say in
//! options (least roles, field rules, secrets) is read from the descriptors here and nowhere else.

pub mod bounds;
pub mod defaults;
pub mod descriptor;
pub mod error;
pub mod json;
pub mod name;
pub mod page;
pub mod redact;
pub mod rules;
mod source;
pub mod time;
pub mod uid;
pub mod validate;

/// The generated code, module for module as prost lays it out.
#[allow(missing_docs, unused_qualifications, rustdoc::all, clippy::all, clippy::pedantic)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/mms.rs"));
}

mod redacted {
    include!(concat!(env!("OUT_DIR"), "/redact.rs"));
}

/// The types that more than one service uses (`mms.type.v1`).
pub use generated::mms::r#type as types;
pub use generated::mms::{audit, catalog, registry, scheduler, transfer};

pub use error::ApiError;
pub use tonic_types::FieldViolation;
pub use types::v1::{ErrorReason, FindingReason, Role};
pub use validate::validate;
