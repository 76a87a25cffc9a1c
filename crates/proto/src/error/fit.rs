//! Shortens a failure until it fits into the headers that gRPC clients accept by default: 8 KB for all of them, so 6 KB
//! for message and details. What is left out is counted, never dropped silently.

use super::ApiError;

/// Most violations in one failure.
pub(super) const LISTED: usize = 20;
/// The metadata key that says how many more violations there are.
pub const MORE: &str = "more_violations";
/// Most bytes of the message, percent-encoded: it travels once in `grpc-message` and once more within the details.
const MESSAGE_BYTES: usize = 1200;
/// Most bytes of all violations together, and of each.
const VIOLATIONS_BYTES: usize = 1600;
const VIOLATION_BYTES: usize = 400;
/// Most bytes of all metadata together, and of each entry.
const METADATA_BYTES: usize = 700;
const ENTRY_BYTES: usize = 300;

/// The same failure, shortened where it is too long.
pub(super) fn fit(mut error: ApiError) -> ApiError {
    let all = error.violations.len();
    let mut left = VIOLATIONS_BYTES;
    error.violations.truncate(LISTED);
    error.violations.iter_mut().for_each(|violation| {
        cut(&mut violation.field, VIOLATION_BYTES / 2);
        cut(&mut violation.description, VIOLATION_BYTES);
    });
    let fits = |violation: &&tonic_types::FieldViolation| {
        let bytes = violation.field.len() + violation.description.len() + 8;
        let fits = bytes <= left;
        left = left.saturating_sub(bytes);
        fits
    };
    let listed = error.violations.iter().take_while(fits).count();
    error.violations.truncate(listed);
    let mut entries: Vec<_> = error.metadata.drain().collect();
    entries.sort();
    let mut left = METADATA_BYTES;
    for (key, mut value) in entries {
        cut(&mut value, ENTRY_BYTES);
        if key.len() + value.len() <= left {
            left -= key.len() + value.len();
            error.metadata.insert(key, value);
        }
    }
    if all > listed {
        error.metadata.insert(MORE.into(), (all - listed).to_string());
        let more = format!("; and {} more", all - listed);
        if !error.message.ends_with(&more) {
            cut_encoded(&mut error.message, MESSAGE_BYTES - more.len());
            error.message.push_str(&more);
        }
    }
    cut_encoded(&mut error.message, MESSAGE_BYTES);
    error
}

fn cut(text: &mut String, most: usize) {
    if text.len() > most {
        text.truncate(text.floor_char_boundary(most));
        text.push('…');
    }
}

/// Cuts a text to at most `most` bytes, counted percent-encoded.
fn cut_encoded(text: &mut String, most: usize) {
    let mut bytes = 0;
    let end = text.char_indices().find_map(|(at, c)| {
        bytes += if c.is_ascii_graphic() && c != '%' || c == ' ' { 1 } else { 3 * c.len_utf8() };
        (bytes > most).then_some(at)
    });
    if let Some(end) = end {
        text.truncate(end);
        text.push('…');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderMap;
    use proptest::prelude::*;
    use tonic::{Code, Status};
    use tonic_types::FieldViolation;

    fn headers(error: ApiError) -> (usize, ApiError) {
        let mut headers = HeaderMap::new();
        let status = Status::from(error);
        status.add_header(&mut headers).unwrap();
        let bytes = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum();
        (bytes, ApiError::from_status(&status))
    }

    #[test]
    fn twenty_are_listed_and_the_rest_counted() {
        let violation = |at| FieldViolation::new(format!("tables[{at}].name"), "is required");
        let (bytes, error) = headers(ApiError::invalid((0..500_000).map(violation).collect()));
        assert!(bytes <= 6 << 10, "{bytes}");
        assert_eq!((error.violations.len(), error.metadata[MORE].as_str()), (20, "499980"));
        assert!(
            error.message.starts_with("500000 fields are not valid: ") && error.message.ends_with("and 499980 more")
        );
        let (_, few) = headers(ApiError::invalid((0..3).map(violation).collect()));
        assert_eq!((few.violations.len(), few.metadata.get(MORE)), (3, None));
    }

    proptest! {
        #[test]
        fn every_failure_fits(
            message in "\\PC{0,3000}", count in 0..60_usize, field in "\\PC{0,900}", description in "\\PC{0,900}",
            metadata in proptest::collection::hash_map("[a-z_]{1,20}", "\\PC{0,900}", 0..5),
        ) {
            let violations = vec![FieldViolation::new(field, description); count];
            let base = if count > 0 { ApiError::invalid(violations) } else {
                ApiError::new(Code::NotFound, crate::ErrorReason::NotFound, message)
            };
            let (bytes, _) = headers(ApiError { metadata, ..base });
            prop_assert!(bytes <= 6 << 10, "{}", bytes);
        }
    }
}
