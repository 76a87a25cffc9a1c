//! Owns redaction: replaces secrets by [`MASK`] in errors, log lines and traces. It works in two ways, one on top of the other:
//! by value, for every secret that this process uses ([`remember`]), and by pattern, for secrets that it does not know. It may
//! hide too much, but must never hide too little.

mod known;

use std::borrow::Cow;

use url::Url;

pub use known::{remember, remember_encoded};

/// The text that replaces a secret.
pub const MASK: &str = "***";

/// Names of query parameters, JSON fields and connection string keys whose value is secret; in lower case, without `-` and `_`.
const SECRET_NAMES: &[&str] =
    &["sig", "pwd", "passwd", "code", "assertion", "clientassertion", "authorization", "cookie", "setcookie"];

/// Ends of such names: issuers of signed URLs and tokens put words of their own in front (`X-Amz-Signature`).
const SECRET_ENDS: &[&str] = &[
    "signature",
    "token",
    "password",
    "secret",
    "secretkey",
    "accesskey",
    "accountkey",
    "privatekey",
    "apikey",
    "keysecret",
    "credential",
];

/// Words after which a credential follows, as in `Authorization: Bearer abc`.
const SCHEMES: &[&str] = &["bearer", "basic", "odps", "sharedkey", "negotiate"];

/// Prefixes of Databricks personal access tokens and JWTs, by which they are recognized anywhere.
const TOKEN_PREFIXES: &[&str] = &["dapi", "dkea", "dose", "eyj"];

/// `text` with the secrets masked that this process uses. Patterns are not applied: this is for our own log lines.
pub fn redact_known(text: &str) -> String {
    known::mask(text)
}

/// `url` with user, password, fragment and the values of secret query parameters masked or removed.
pub fn redact_url(url: &Url) -> String {
    let mut out = url.clone();
    if !url.username().is_empty() || url.password().is_some() {
        // Both calls fail only for URLs that cannot have a user.
        let _cannot_have_a_user = out.set_username(MASK);
        let _cannot_have_a_password = out.set_password(None);
    }
    out.set_fragment(None);
    if let Some(query) = url.query() {
        let shown: Vec<String> = query
            .split('&')
            .map(|pair| match pair.split_once('=') {
                Some((name, _)) if is_secret_name(&unescaped(name)) => format!("{name}={MASK}"),
                _ => pair.to_owned(),
            })
            .collect();
        out.set_query(Some(&shown.join("&")));
    }
    known::mask(out.as_str())
}

/// Whether a field, parameter or key of this name holds a secret.
pub fn is_secret_name(name: &str) -> bool {
    let plain: String = name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    SECRET_NAMES.contains(&plain.as_str()) || SECRET_ENDS.iter().any(|end| plain.ends_with(end))
}

/// Free text (a body, an error message) with secrets masked: those that this process uses, whatever they look like; `name=value`,
/// `name: value` and `"name":"value"` for secret names; credentials after an authentication scheme; user and password of a URL;
/// and tokens known by their prefix. Text that a server sent must pass through here before it is shown, logged or stored.
pub fn redact_text(text: &str) -> String {
    let text = known::mask(text);
    let text = unescaped(&text);
    let text = without_users(&text);
    let mut out = String::with_capacity(text.len());
    let mut rest = &*text;
    while let Some(first) = rest.chars().next() {
        let word_len = rest.find(|c: char| !is_word(c)).unwrap_or(rest.len());
        if word_len == 0 {
            out.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        }
        let (word, after) = rest.split_at(word_len);
        let lower = word.to_ascii_lowercase();
        if TOKEN_PREFIXES.iter().any(|prefix| lower.starts_with(prefix)) && word.len() >= 16 {
            out.push_str(MASK);
            rest = after;
        } else if let Some((lead, value_len)) = secret_value(&lower, after) {
            out.push_str(word);
            out.push_str(&after[..lead]);
            out.push_str(MASK);
            rest = &after[lead + value_len..];
        } else {
            out.push_str(word);
            rest = after;
        }
    }
    out
}

/// The text with needlessly percent-encoded characters decoded: `%73ig=` becomes `sig=`.
fn unescaped(text: &str) -> Cow<'_, str> {
    let mut out = Cow::Borrowed(text);
    let mut from = 0;
    while let Some(at) = out.get(from..).and_then(|rest| rest.find('%')).map(|at| from + at) {
        let byte = out.get(at + 1..at + 3).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match byte.map(char::from).filter(|c| c.is_ascii_alphanumeric() || "-._~".contains(*c)) {
            Some(c) => out.to_mut().replace_range(at..at + 3, c.encode_utf8(&mut [0; 4])),
            None => from = at + 1,
        }
    }
    out
}

/// The text with user and password of its URLs masked.
fn without_users(text: &str) -> Cow<'_, str> {
    const SCHEME_END: &str = "://";
    let mut out = Cow::Borrowed(text);
    let mut from = 0;
    while let Some(at) = out[from..].find(SCHEME_END).map(|at| from + at + SCHEME_END.len()) {
        let ends = |c: char| c.is_whitespace() || matches!(c, '/' | '?' | '#' | '"' | '\'' | '<' | '>');
        let authority = out[at..].find(ends).unwrap_or(out.len() - at);
        from = at;
        if let Some(user) = out[at..at + authority].rfind('@') {
            out.to_mut().replace_range(at..at + user, MASK);
            from = at + MASK.len();
        }
    }
    out
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '-'
}

/// The number of bytes between the word and its secret value, and the length of that value; `None` if there is none.
fn secret_value(word: &str, after: &str) -> Option<(usize, usize)> {
    if SCHEMES.contains(&word) {
        let blanks = after.len() - after.trim_start_matches(' ').len();
        let value = value_len(&after[blanks..], false);
        return (blanks > 0 && value >= 8).then_some((blanks, value));
    }
    if !is_secret_name(word) {
        return None;
    }
    // Between name and value: the closing quote of the name (perhaps escaped), blanks, one of = or :, blanks, an opening quote.
    let bytes = after.as_bytes();
    let mut at = 0;
    let skip = |at: &mut usize, set: &[u8]| {
        while bytes.get(*at).is_some_and(|b| set.contains(b)) {
            *at += 1;
        }
    };
    skip(&mut at, b"\\\"' ");
    if !matches!(bytes.get(at), Some(b'=' | b':')) {
        return None;
    }
    at += 1;
    skip(&mut at, b" ");
    let quoted_from = at;
    skip(&mut at, b"\\\"'");
    let value = value_len(&after[at..], at > quoted_from);
    // In "authorization: Bearer x" and "token: Basic x" the secret is not the scheme but what follows it.
    let scheme = SCHEMES.iter().find(|s| after[at..at + value].eq_ignore_ascii_case(s));
    match scheme {
        Some(_) => {
            let lead = at + value;
            let blanks = after[lead..].len() - after[lead..].trim_start_matches(' ').len();
            Some((lead + blanks, value_len(&after[lead + blanks..], false)))
        }
        None if value == 0 => None,
        None => Some((at, value)),
    }
}

fn value_len(text: &str, quoted: bool) -> usize {
    let ends = |c: char| {
        if quoted {
            matches!(c, '"' | '\'' | '\\')
        } else {
            c.is_whitespace() || matches!(c, '"' | '\'' | '&' | ';' | ',' | '}' | ')' | '<')
        }
    };
    text.find(ends).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_sas_keeps_what_helps_and_loses_its_signature() {
        let url = Url::parse("https://acc.blob.core.windows.net/c/p?sv=2024&se=2030-01-01&sig=a%2Bb%3D#x").unwrap();
        assert_eq!(redact_url(&url), "https://acc.blob.core.windows.net/c/p?sv=2024&se=2030-01-01&sig=***");
        let url = Url::parse("https://user:pw@h.example/?access_token=abc&x=1").unwrap();
        assert_eq!(redact_url(&url), "https://***@h.example/?access_token=***&x=1");
    }

    #[test]
    fn presigned_urls_of_every_maker_lose_their_signatures() {
        for name in [
            "X-Amz-Signature",
            "X-Amz-Security-Token",
            "X-Amz-Credential",
            "X-Goog-Signature",
            "x-oss-signature",
            "x-oss-security-token",
            "OSSAccessKeyId&Signature",
        ] {
            let text = format!("https://b.example/o?{name}=s3cret&X-Amz-Expires=60");
            let url = Url::parse(&text).unwrap();
            for shown in [redact_url(&url), redact_text(&text)] {
                assert!(!shown.contains("s3cret") && shown.contains("X-Amz-Expires=60"), "{shown}");
            }
        }
    }

    #[test]
    fn text_loses_its_secrets_and_keeps_the_rest() {
        for (given, want) in [
            ("Authorization: Bearer abcdefgh123 end", "Authorization: Bearer *** end"),
            (r#"{"access_token":"s3cret value","expires_in":3}"#, r#"{"access_token":"***","expires_in":3}"#),
            (r#"{\"client_secret\": \"s3cret\"}"#, r#"{\"client_secret\": \"***\"}"#),
            ("AccountName=a;AccountKey=k3y==;X=1", "AccountName=a;AccountKey=***;X=1"),
            ("GET /x?sig=abc%3D&se=1", "GET /x?sig=***&se=1"),
            ("bad token dapi0123456789abcdef01-3 given", "bad token *** given"),
            ("at https://me:hunter2@h.example/x?y=1 no", "at https://***@h.example/x?y=1 no"),
            ("GET /x?%73ig=abc%3D&se=1", "GET /x?sig=***&se=1"),
            ("GET /x?%73%69%67=abc", "GET /x?sig=***"),
            ("the token is expired", "the token is expired"),
            ("Spalte größe: 5", "Spalte größe: 5"),
        ] {
            assert_eq!(redact_text(given), want);
        }
    }

    proptest! {
        #[test]
        fn a_secret_after_a_secret_name_never_survives(
            before in "[ a-z,;{\"]{0,12}", name in prop::sample::select(vec!["sig", "token", "client_secret", "AccountKey", "password"]),
            join in prop::sample::select(vec!["=", ": ", "\":\"", "\" : \""]), secret in "[A-Z0-9/+%.]{8,40}", after in "[ &;]?[a-z ]{0,8}",
        ) {
            // Separated from the name: a name that is joined to other letters is another name.
            let text = format!("{before} {name}{join}{secret}{after}");
            let shown = redact_text(&text);
            prop_assert!(!shown.contains(&secret), "{} -> {}", text, shown);
        }

        #[test]
        fn redacting_twice_changes_nothing_more(text in "\\PC{0,80}") {
            let once = redact_text(&text);
            prop_assert_eq!(redact_text(&once), once);
        }
    }
}
