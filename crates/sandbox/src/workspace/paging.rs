//! Cuts lists into pages as the real workspace does: in no order, with opaque tokens, and with empty pages that have a
//! successor, the first page among them. A caller that stops at an empty page misses objects here as it would there.

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::answer::Refusal;
use super::ids::scatter;

/// One page: names, and the token of the next.
#[derive(Debug, PartialEq, Eq)]
pub struct Cut {
    pub names: Vec<String>,
    pub next: Option<String>,
}

/// The contents of a page token. It names the last object that was sent, not a number, so that objects may be added and
/// removed between pages. `None` means that no object was sent yet.
#[derive(Debug, Serialize, Deserialize)]
struct Token {
    list: String,
    after: Option<String>,
    chunks: u32,
    empty: bool,
}

/// Cuts one page of `names` according to `max_results` and `page_token`. `list` identifies the list: a token is valid
/// only for the list that issued it.
pub fn cut(
    list: &str,
    mut names: Vec<String>,
    query: &HashMap<String, String>,
    page_size: usize,
) -> Result<Cut, Refusal> {
    names.sort_by_cached_key(|name| (scatter(name), name.clone()));
    let Some(asked) = query.get("max_results") else {
        // Without max_results, the older mode: everything at once.
        return Ok(Cut { names, next: None });
    };
    let asked: i64 = asked.parse().map_err(|_| Refusal::invalid(format!("max_results '{asked}' is not a number.")))?;
    let size = match usize::try_from(asked) {
        Ok(0) => page_size,
        Ok(asked) => asked.min(page_size),
        Err(_) => return Err(Refusal::invalid(format!("max_results must not be negative, it is {asked}."))),
    };
    let token = match query.get("page_token").filter(|token| !token.is_empty()) {
        Some(token) => Some(
            decode(token)
                .filter(|token| token.list == list)
                .ok_or_else(|| Refusal::invalid("page_token is not one that this list gave out."))?,
        ),
        None => None,
    };
    let next = |after: Option<String>, chunks: u32, empty: bool| {
        Some(encode(&Token { list: list.to_owned(), after, chunks, empty }))
    };
    let Some(token) = token else {
        // The first page is empty, and not the last.
        return Ok(Cut { names: Vec::new(), next: next(None, 0, false) });
    };
    let sent = token.after.as_ref().map(|after| (scatter(after), after));
    let rest: Vec<String> =
        names.into_iter().filter(|name| sent.as_ref().is_none_or(|sent| (scatter(name), name) > *sent)).collect();
    if token.empty {
        let next = if rest.is_empty() { None } else { next(token.after, token.chunks, false) };
        return Ok(Cut { names: Vec::new(), next });
    }
    let chunks = token.chunks;
    let more = rest.len() > size;
    let names: Vec<String> = rest.into_iter().take(size).collect();
    let next = match names.last() {
        // An empty page follows every other page, even the last one.
        Some(last) if chunks.is_multiple_of(2) => next(Some(last.clone()), chunks.saturating_add(1), true),
        Some(last) if more => next(Some(last.clone()), chunks.saturating_add(1), false),
        _ => None,
    };
    Ok(Cut { names, next })
}

fn encode(token: &Token) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(token).expect("a token is text and numbers"))
}

fn decode(token: &str) -> Option<Token> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token).ok()?).ok()
}

/// SQL's LIKE: `%` matches any text, `_` one character; a backslash makes the next character literal.
pub fn like(pattern: &str, text: &str) -> bool {
    let text: Vec<char> = text.chars().collect();
    // reach[i]: the pattern so far matches the first i characters.
    let mut reach = vec![false; text.len() + 1];
    reach[0] = true;
    let mut pattern = pattern.chars();
    while let Some(part) = pattern.next() {
        let mut next = vec![false; text.len() + 1];
        let literal = if part == '\\' { pattern.next().unwrap_or('\\') } else { part };
        for at in 0..=text.len() {
            next[at] = match part {
                '%' => reach[at] || (at > 0 && next[at - 1]),
                '_' => at > 0 && reach[at - 1],
                _ => at > 0 && reach[at - 1] && text[at - 1] == literal,
            };
        }
        reach = next;
    }
    reach[text.len()]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn query(pairs: &[(&str, &str)]) -> HashMap<String, String> {
        pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    fn walk(names: &[String], size: usize) -> (Vec<String>, usize) {
        let (mut seen, mut empty, mut token) = (Vec::new(), 0, String::new());
        loop {
            let page = cut("l", names.to_vec(), &query(&[("max_results", "0"), ("page_token", &token)]), size).unwrap();
            empty += usize::from(page.names.is_empty());
            assert!(page.names.len() <= size);
            seen.extend(page.names);
            match page.next {
                Some(next) => token = next,
                None => return (seen, empty),
            }
        }
    }

    proptest! {
        #[test]
        fn every_object_comes_exactly_once(names in prop::collection::btree_set("\\PC{1,6}", 0..40), size in 1_usize..7) {
            let names: Vec<String> = names.into_iter().collect();
            let (mut seen, empty) = walk(&names, size);
            prop_assert!(empty >= 2, "the first page is empty, and one after the first objects");
            seen.sort();
            prop_assert_eq!(seen, names);
        }
    }

    #[test]
    fn sizes_and_tokens_that_make_no_sense_are_refused() {
        let names = || vec!["a".to_owned(), "b".to_owned()];
        assert_eq!(cut("l", names(), &query(&[]), 1).unwrap().names.len(), 2);
        for pairs in [
            [("max_results", "-1"), ("page_token", "")],
            [("max_results", "x"), ("page_token", "")],
            [("max_results", "0"), ("page_token", "zz")],
        ] {
            assert_eq!(cut("l", names(), &query(&pairs), 1).unwrap_err().status.as_u16(), 400);
        }
        let first = cut("l", names(), &query(&[("max_results", "1")]), 5).unwrap();
        assert_eq!(first.names, [""; 0], "the first page is empty");
        let token = first.next.unwrap();
        let elsewhere = cut("other", names(), &query(&[("max_results", "1"), ("page_token", &token)]), 5);
        assert!(elsewhere.is_err());
    }

    #[test]
    fn patterns_of_like() {
        for (pattern, text, fits) in [
            ("%", "", true),
            ("a%c", "abbc", true),
            ("a_c", "abc", true),
            ("a_c", "ac", false),
            ("a\\_c", "abc", false),
            ("a\\_c", "a_c", true),
            ("", "a", false),
            ("%ü", "grü", true),
        ] {
            assert_eq!(like(pattern, text), fits, "{pattern} {text}");
        }
    }
}
