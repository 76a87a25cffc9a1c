//! Page tokens: where a list continues, bound to the arguments that the list was asked with. A token is no secret and
//! grants nothing.

use crate::error::ApiError;

/// Items of a page when the request does not set `page_size`.
pub const DEFAULT_PAGE_SIZE: usize = 50;
/// Most items of a page.
pub const MAX_PAGE_SIZE: usize = 1000;

/// The page size for a `page_size` field; 0 means the default. Negative values were rejected by the field's rule.
pub fn size(page_size: i32) -> usize {
    match usize::try_from(page_size).unwrap_or(0) {
        0 => DEFAULT_PAGE_SIZE,
        size => size.min(MAX_PAGE_SIZE),
    }
}

/// The token of the page that begins after the item `after`. `arguments` are all that must stay the same from page to
/// page: parent, filter, order.
pub fn token(arguments: &[&str], after: &str) -> String {
    let mut text = format!("{:016x}", digest(arguments));
    for byte in after.bytes() {
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

/// The item after which the page begins; `None` for the first page.
///
/// # Errors
/// INVALID_PAGE_TOKEN if the token was made for other arguments, or not by [`token`].
pub fn after(arguments: &[&str], token: &str) -> Result<Option<String>, ApiError> {
    if token.is_empty() {
        return Ok(None);
    }
    let parsed = (|| {
        let (head, tail) = token.split_at_checked(16)?;
        if u64::from_str_radix(head, 16).ok()? != digest(arguments) || !tail.len().is_multiple_of(2) {
            return None;
        }
        let bytes: Option<Vec<u8>> =
            (0..tail.len()).step_by(2).map(|at| u8::from_str_radix(tail.get(at..at + 2)?, 16).ok()).collect();
        String::from_utf8(bytes?).ok()
    })();
    parsed.map(Some).ok_or_else(ApiError::invalid_page_token)
}

/// Every item of a list: calls `page` with the token of one page after the other until there is none. `page` answers
/// with the items and the next token, which is empty on the last page.
///
/// # Errors
/// The first error of `page`.
pub async fn all<T, E>(mut page: impl AsyncFnMut(String) -> Result<(Vec<T>, String), E>) -> Result<Vec<T>, E> {
    let (mut all, mut token) = (Vec::new(), String::new());
    loop {
        let (items, next) = page(token).await?;
        all.extend(items);
        if next.is_empty() {
            return Ok(all);
        }
        token = next;
    }
}

/// FNV-1a over the arguments, each terminated by a byte that UTF-8 never has.
fn digest(arguments: &[&str]) -> u64 {
    let bytes = arguments.iter().flat_map(|argument| argument.bytes().chain([0xff]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_token_leads_back(parent in ".{0,20}", item in ".{0,40}") {
            let token = token(&[&parent, ""], &item);
            prop_assert_eq!(after(&[&parent, ""], &token).unwrap(), Some(item));
            prop_assert!(after(&[&parent, "other"], &token).is_err());
        }

        #[test]
        fn any_text_is_a_token_or_refused(text in ".{1,60}") {
            drop(after(&["a"], &text));
        }
    }

    #[test]
    fn sizes_are_bounded() {
        assert_eq!((size(0), size(7), size(i32::MAX)), (50, 7, 1000));
    }
}
