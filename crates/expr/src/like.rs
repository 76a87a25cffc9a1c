//! Matches LIKE patterns, and globs of `*` and `?`. Takes at most pattern length times text length steps, whatever the pattern.

enum Part {
    AnyText,
    AnyChar,
    Char(char),
}

fn parts(pattern: &str) -> Vec<Part> {
    let mut chars = pattern.chars();
    let mut parts = Vec::new();
    while let Some(c) = chars.next() {
        parts.push(match c {
            '%' => Part::AnyText,
            '_' => Part::AnyChar,
            '\\' => Part::Char(chars.next().unwrap_or('\\')),
            c => Part::Char(c),
        });
    }
    parts
}

/// Whether a LIKE pattern matches the whole text.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    follows(&parts(pattern), text)
}

/// Whether a pattern of `*` (any characters) and `?` (one character) matches the whole text.
pub(crate) fn glob(pattern: &str, text: &str) -> bool {
    let part = |c| match c {
        '*' => Part::AnyText,
        '?' => Part::AnyChar,
        c => Part::Char(c),
    };
    follows(&pattern.chars().map(part).collect::<Vec<_>>(), text)
}

fn follows(parts: &[Part], text: &str) -> bool {
    let text: Vec<char> = text.chars().collect();
    let (mut p, mut t) = (0, 0);
    // The position after the last `%` and the text it has taken so far: only the last `%` needs to be retried.
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        match parts.get(p) {
            Some(Part::AnyText) => {
                p += 1;
                retry = Some((p, t));
            }
            Some(Part::AnyChar) => (p, t) = (p + 1, t + 1),
            Some(Part::Char(c)) if *c == text[t] => (p, t) = (p + 1, t + 1),
            _ => {
                let Some((after, taken)) = retry else { return false };
                retry = Some((after, taken + 1));
                (p, t) = (after, taken + 1);
            }
        }
    }
    parts[p..].iter().all(|part| matches!(part, Part::AnyText))
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_cover_the_whole_text() {
        for (pattern, text) in
            [("a%", "abc"), ("%b%", "abc"), ("a_c", "abc"), ("%", ""), ("a\\_", "a_"), ("%a%b", "aabab")]
        {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("a", "abc"), ("_", ""), ("a\\_", "ab"), ("%a", "ab"), ("", "x")] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn a_hostile_pattern_is_not_exponential() {
        assert!(!matches(&"%a".repeat(200), &"a".repeat(199)));
        assert!(matches(&"%a".repeat(200), &"a".repeat(200)));
    }
}
