//! The only place that prints: results on stdout, everything else on stderr.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

use mms_proto::ApiError;
use mms_proto::error::MORE;
use mms_proto::error::reason_text;

use crate::advice;
use crate::client::Remote;
use crate::screen;

/// A line of results. A reader that is gone is no fault of ours: the exit code still tells.
pub fn line(text: &str) {
    let mut out = std::io::stdout().lock();
    drop(writeln!(out, "{text}").and_then(|()| out.flush()));
}

/// Whether only results and failures are told.
static QUIET: AtomicBool = AtomicBool::new(false);

/// From now on only results and failures are told.
pub fn be_quiet() {
    QUIET.store(true, Ordering::Relaxed);
}

/// Whether only results and failures are told.
pub fn is_quiet() -> bool {
    QUIET.load(Ordering::Relaxed)
}

/// A line about what is going on.
pub fn note(text: &str) {
    if !is_quiet() {
        failure(text);
    }
}

/// A line about what went wrong.
pub fn failure(text: &str) {
    drop(writeln!(std::io::stderr().lock(), "{text}"));
}

/// A message as one line of canonical JSON, secrets hidden.
pub fn json<T: prost::Message + prost::Name>(message: &T) {
    line(&mms_proto::json::to_string(message));
}

/// Rows under a header, for people, in the width of their screen.
pub fn table<const N: usize>(header: [&str; N], rows: impl IntoIterator<Item = [String; N]>) {
    line(&screen::table(header, &rows.into_iter().collect::<Vec<_>>(), screen::width()));
}

/// Text for people, in the width of their screen.
pub fn text(text: &str) {
    line(&screen::wrapped(text, screen::width()));
}

/// What to tell of an error: for one of a service its reason, text and every violation.
pub fn explain(error: &anyhow::Error, remote: &Remote) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        if !text.is_empty() {
            text.push_str(": ");
        }
        match cause.downcast_ref::<tonic::Status>() {
            // Some errors name their cause themselves.
            None if text.ends_with(&format!("{cause}: ")) => text.truncate(text.len() - 2),
            None => text.push_str(&cause.to_string()),
            Some(status) => {
                text.push_str(&of_status(status, remote));
                break;
            }
        }
    }
    text
}

/// What to tell of a service's error.
pub fn of_status(status: &tonic::Status, remote: &Remote) -> String {
    let error = ApiError::from_status(status);
    let mut text = match error.reason {
        // Not a service of ours, or nobody at all.
        mms_proto::ErrorReason::Unspecified => format!("{:?}: {}", error.code, error.message),
        reason => format!("{}: {}", reason_text(reason), error.message),
    };
    if let [first, _, ..] = error.violations.as_slice() {
        // The message has them as well, in one line.
        if let Some(at) = text.find(&format!("{} {}", first.field, first.description)) {
            text.truncate(at);
            text.truncate(text.trim_end().len());
        }
        for violation in &error.violations {
            text.push_str(&format!("\n  {} {}", violation.field, violation.description));
        }
        if let Some(more) = error.metadata.get(MORE) {
            text.push_str(&format!("\n  and {more} more"));
        }
    }
    let resource = error.metadata.get("resource").map(String::as_str).unwrap_or_default();
    text = advice::for_people(&text, resource, remote);
    // A cause of this process: nobody there answered. What a service says of another has none.
    if error.code == tonic::Code::Unavailable && std::error::Error::source(status).is_some() {
        text.push_str("\n  is the suite running there? Start it with: mms up");
    }
    text
}

/// The last part of a value's name: `JOB_STATE_DONE` of prefix `JOB_STATE_` is `DONE`.
pub fn word(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).to_owned()
}

/// A number with separators.
pub fn count(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if number < 0 { format!("-{text}") } else { text }
}

/// A number that may be unknown.
pub fn count_or_dash(number: Option<i64>) -> String {
    number.map_or_else(|| "-".into(), count)
}

/// Bytes in units of 1024.
pub fn bytes(bytes: i64) -> String {
    indicatif::BinaryBytes(u64::try_from(bytes).unwrap_or(0)).to_string()
}

/// A moment as people read it.
pub fn time(time: Option<&prost_types::Timestamp>) -> String {
    time.and_then(|time| jiff::Timestamp::new(time.seconds, time.nanos).ok())
        .map_or_else(|| "-".into(), |time| time.strftime("%Y-%m-%d %H:%M:%SZ").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        assert_eq!([0, 999, 1000, 1_111_930, -12_345].map(count), ["0", "999", "1,000", "1,111,930", "-12,345"]);
        assert_eq!(word("JOB_STATE_DONE", "JOB_STATE_"), "DONE");
    }

    #[test]
    fn every_violation_is_told() {
        let violations = vec![
            mms_proto::FieldViolation::new("a.b", "is required"),
            mms_proto::FieldViolation::new("c", "is too long"),
        ];
        let error = anyhow::Error::from(tonic::Status::from(ApiError::invalid(violations))).context("creating");
        let text = explain(&error, &Remote::default());
        assert!(text.starts_with("creating: INVALID_FIELD: "), "{text}");
        assert_eq!(text.lines().skip(1).collect::<Vec<_>>(), ["  a.b is required", "  c is too long"]);
    }

    #[test]
    fn many_violations_are_told_once_each_and_the_rest_counted() {
        let violation = |at| mms_proto::FieldViolation::new(format!("tables[{at}].name"), "is required");
        let status = tonic::Status::from(ApiError::invalid((0..5000).map(violation).collect()));
        let text = of_status(&status, &Remote::default());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines[0], lines.len()), ("INVALID_FIELD: 5000 fields are not valid:", 22), "{text}");
        assert_eq!((lines[1], lines[20]), ("  tables[0].name is required", "  tables[19].name is required"));
        assert!(lines[21].contains("4980 more"), "{text}");
    }
}
