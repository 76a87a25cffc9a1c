//! The only module that prints: results to stdout, everything else to stderr.

use std::io::{ErrorKind, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use mms_proto::error::{MORE, reason_text};
use mms_proto::{ApiError, ErrorReason};

use crate::advice;
use crate::client::Remote;
use crate::screen;

/// Prints a line of results. A closed stdout is not an error here: the exit code still tells the result.
pub fn line(text: &str) {
    let mut out = std::io::stdout().lock();
    drop(writeln!(out, "{text}").and_then(|()| out.flush()));
}

/// Whether only results and failures are printed.
static QUIET: AtomicBool = AtomicBool::new(false);

/// Prints only results and failures from now on.
pub fn be_quiet() {
    QUIET.store(true, Ordering::Relaxed);
}

/// Whether only results and failures are printed.
pub fn is_quiet() -> bool {
    QUIET.load(Ordering::Relaxed)
}

/// Prints a line about the progress, unless quiet.
pub fn note(text: &str) {
    if !is_quiet() {
        failure(text);
    }
}

/// Prints a line about a failure.
pub fn failure(text: &str) {
    let text = screen::wrapped(text, screen::width_of_stderr());
    drop(writeln!(std::io::stderr().lock(), "{text}"));
}

/// Prints a message as one line of canonical JSON, without secrets.
pub fn json<T: prost::Message + prost::Name>(message: &T) {
    line(&mms_proto::json::to_string(message));
}

/// Prints rows under a header, fitted to the width of the screen.
pub fn table<const N: usize>(header: [&str; N], rows: impl IntoIterator<Item = [String; N]>) {
    line(&screen::table(header, &rows.into_iter().collect::<Vec<_>>(), screen::width()));
}

/// Prints text, wrapped to the width of the screen.
pub fn text(text: &str) {
    line(&screen::wrapped(text, screen::width()));
}

/// The text of an error. An error of a service has its reason, message and every violation.
pub fn explain(error: &anyhow::Error, remote: &Remote) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let told = match cause.downcast_ref::<tonic::Status>() {
            Some(status) => of_status(status, remote),
            None => cause.to_string(),
        };
        // Some errors already contain the text of their cause.
        if !text.contains(&told) {
            let colon = if text.is_empty() { "" } else { ": " };
            text.push_str(&format!("{colon}{told}"));
        }
        if cause.is::<tonic::Status>() {
            break;
        }
    }
    if let Some(help) = help_here(error, &text) {
        text.push_str(&format!("\n  help: {help}"));
    }
    text
}

/// What to do about a failure on this machine.
fn help_here(error: &anyhow::Error, text: &str) -> Option<&'static str> {
    let root = error.root_cause().downcast_ref::<std::io::Error>();
    match root.map(std::io::Error::kind) {
        Some(ErrorKind::AddrInUse) => {
            Some("stop the program that has the port, or choose others with --port-base (0: free ones)")
        }
        _ if text.contains(" is in use by ") => {
            Some("another suite runs on this folder: stop it, or choose another folder with --data-dir")
        }
        _ => None,
    }
}

/// The text of a service's error.
pub fn of_status(status: &tonic::Status, remote: &Remote) -> String {
    let error = ApiError::from_status(status);
    let mut text = match error.reason {
        // The answer is not from a service of ours, or nobody answered.
        ErrorReason::Unspecified if error.message.is_empty() && error.code == tonic::Code::Unimplemented => {
            format!("{:?}: there is no such call", error.code)
        }
        ErrorReason::Unspecified => format!("{:?}: {}", error.code, error.message),
        reason => format!("{}: {}", reason_text(reason), error.message),
    };
    if let [first, _, ..] = error.violations.as_slice() {
        // The message lists the violations as well, in one line; that part is removed.
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
    if let Some(help) = help(&error, status) {
        text.push_str(&format!("\n  help: {help}"));
    }
    text
}

/// What to do if the answer did not come from one of our services.
fn help(error: &ApiError, status: &tonic::Status) -> Option<&'static str> {
    let (code, text) = (error.code, &error.message);
    match code {
        // A source means that this process could not connect. What a service reports about another one has none.
        tonic::Code::Unavailable if std::error::Error::source(status).is_none() => None,
        tonic::Code::Unavailable if text.contains("certificate expired") => {
            Some("its certificate has expired: its operator must renew it, see deploy/README.md")
        }
        tonic::Code::Unavailable if text.contains("invalid peer certificate") => {
            Some("is --ca-file the authority that signed its certificate, and the URL's host a name in it?")
        }
        tonic::Code::Unavailable => Some("is the suite running there? Start it with: mms up"),
        // Our services answer with reason NOT_YET for what is not implemented, so another UNIMPLEMENTED means another
        // version.
        tonic::Code::Unimplemented if error.reason == ErrorReason::Unspecified => {
            Some("this command and the suite are of different versions: use the one that came with it (mms --version)")
        }
        _ => None,
    }
}

/// The name of an enum value without its prefix: `JOB_STATE_DONE` without `JOB_STATE_` is `DONE`.
pub fn word(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).to_owned()
}

/// A number with thousands separators.
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

/// A number, or a dash if it is unknown.
pub fn count_or_dash(number: Option<i64>) -> String {
    number.map_or_else(|| "-".into(), count)
}

/// A number of bytes in binary units (KiB, MiB).
pub fn bytes(bytes: i64) -> String {
    indicatif::BinaryBytes(u64::try_from(bytes).unwrap_or(0)).to_string()
}

/// A time in UTC, to the second; a dash if there is none.
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
    fn no_cause_is_told_twice() {
        #[derive(Debug)]
        struct Outer(std::io::Error);
        impl std::fmt::Display for Outer {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "reading the file: {}", self.0)
            }
        }
        impl std::error::Error for Outer {
            fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
                Some(&self.0)
            }
        }
        let error = anyhow::Error::from(Outer(std::io::Error::other("it is gone"))).context("starting");
        assert_eq!(explain(&error, &Remote::default()), "starting: reading the file: it is gone");
    }

    #[test]
    fn a_method_that_the_suite_does_not_have_tells_of_versions() {
        let told = of_status(&tonic::Status::unimplemented("unknown method Foo"), &Remote::default());
        assert!(
            told.starts_with("Unimplemented: unknown method Foo\n  help: ") && told.contains("--version"),
            "{told}"
        );
        let not_yet = of_status(&ApiError::not_yet("ListTimers").into(), &Remote::default());
        assert!(!not_yet.contains("help:"), "{not_yet}");
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
