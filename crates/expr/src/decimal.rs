//! Compares numbers as decimal texts, exactly: a partition column may be of a decimal type that no machine number can hold.

use std::cmp::Ordering;

/// A parsed number: its sign, its integer digits without leading zeros, its fraction without trailing zeros.
struct Parts<'a> {
    negative: bool,
    whole: &'a str,
    fraction: &'a str,
}

fn parts(text: &str) -> Option<Parts<'_>> {
    let (negative, unsigned) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) {
        return None;
    }
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    // Negative zero equals zero.
    Some(Parts { negative: negative && !(whole.is_empty() && fraction.is_empty()), whole, fraction })
}

/// Compares two numbers; None if one of the texts is not a plain decimal number.
pub(crate) fn compared(a: &str, b: &str) -> Option<Ordering> {
    let (a, b) = (parts(a)?, parts(b)?);
    let sizes =
        a.whole.len().cmp(&b.whole.len()).then_with(|| a.whole.cmp(b.whole)).then_with(|| a.fraction.cmp(b.fraction));
    Some(match (a.negative, b.negative) {
        (false, true) => Ordering::Greater,
        (true, false) => Ordering::Less,
        (false, false) => sizes,
        (true, true) => sizes.reverse(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The decimal text of a number with `scale` digits after the point.
    fn text(unscaled: i64, scale: usize) -> String {
        let (sign, digits) =
            (if unscaled < 0 { "-" } else { "" }, format!("{:0>1$}", unscaled.unsigned_abs(), scale + 1));
        let (whole, fraction) = digits.split_at(digits.len() - scale);
        if scale == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
    }

    proptest! {
        #[test]
        fn texts_compare_as_the_numbers_they_are(a in -2_000..2_000_i64, b in -2_000..2_000_i64, s in 0..4_usize, t in 0..4_usize) {
            let scaled = |n: i64, scale: usize| n * 10_i64.pow(4 - u32::try_from(scale).unwrap());
            prop_assert_eq!(compared(&text(a, s), &text(b, t)), Some(scaled(a, s).cmp(&scaled(b, t))));
        }
    }

    #[test]
    fn long_numbers_are_exact_and_other_texts_are_none() {
        assert_eq!(compared("12345678901234567890.10", "12345678901234567890.1"), Some(Ordering::Equal));
        assert_eq!(compared("12345678901234567890.101", "12345678901234567890.1"), Some(Ordering::Greater));
        assert_eq!(compared("-0.00", "0"), Some(Ordering::Equal));
        for none in ["", "x", "1e5", "NaN", "1.-2", "."] {
            assert_eq!(compared(none, "1"), None, "{none}");
        }
    }
}
